//! Framing: how one event ends and the next begins in a stream of bytes, in Vector's `framing` options.
//! In: events and a growing buffer. Out: the same buffer with one whole frame more, or untouched.
//! Never: leaves half a frame, breaks a line frame by a line break inside JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Codec, EncodeError, Encoder, EncodingConfig};
use crate::event::LogEvent;

/// Most bytes of a frame with a length in front by default, as in Vector.
pub const DEFAULT_FRAME_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How events are told apart in a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum FramingConfig {
    /// Nothing between events.
    Bytes,
    /// One character after each event.
    CharacterDelimited {
        /// Which character.
        character_delimited: CharacterDelimitedOptions,
    },
    /// The number of bytes before each event, in a fixed width.
    LengthDelimited {
        /// Its form.
        #[serde(default)]
        length_delimited: LengthDelimitedOptions,
    },
    /// A line break after each event. The default.
    #[default]
    NewlineDelimited,
    /// The number of bytes before each event, seven bits a byte, the lowest first.
    VarintLengthDelimited,
}

/// Options of `framing.method: character_delimited`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CharacterDelimitedOptions {
    /// One ASCII character.
    pub delimiter: String,
}

/// Options of `framing.method: length_delimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LengthDelimitedOptions {
    /// Most bytes of an event; 8 MiB by default.
    pub max_frame_length: u64,
    /// Bytes of the length, 1 to 8; 4 by default.
    pub length_field_length: usize,
    /// Whether the highest byte comes first (the default).
    pub length_field_is_big_endian: bool,
}

impl Default for LengthDelimitedOptions {
    fn default() -> Self {
        Self {
            max_frame_length: DEFAULT_FRAME_BYTES_MAX,
            length_field_length: 4,
            length_field_is_big_endian: true,
        }
    }
}

/// Bytes a varint of 64 bits can take.
const VARINT_BYTES_MAX: usize = 10;

#[derive(Clone, Copy, Debug)]
enum Framer {
    Bytes,
    Delimiter(u8),
    Length { bytes_max: u64, prefix_bytes: usize, big_endian: bool },
    Varint,
}

impl Framer {
    fn new(config: &FramingConfig) -> Result<Self, String> {
        Ok(match config {
            FramingConfig::Bytes => Self::Bytes,
            FramingConfig::NewlineDelimited => Self::Delimiter(b'\n'),
            FramingConfig::CharacterDelimited {
                character_delimited: CharacterDelimitedOptions { delimiter },
            } => match delimiter.as_bytes() {
                [byte] => Self::Delimiter(*byte),
                _ => {
                    return Err(format!(
                        "`framing.character_delimited.delimiter` is {delimiter:?}; it must be one ASCII character"
                    ));
                }
            },
            FramingConfig::LengthDelimited { length_delimited: options } => {
                let prefix_bytes = options.length_field_length;
                if !(1..=8).contains(&prefix_bytes) {
                    return Err(format!(
                        "`framing.length_delimited.length_field_length` is {prefix_bytes}; it must be 1 to 8 bytes"
                    ));
                }
                let fits = u64::MAX >> (64 - 8 * prefix_bytes);
                Self::Length {
                    bytes_max: options.max_frame_length.min(fits),
                    prefix_bytes,
                    big_endian: options.length_field_is_big_endian,
                }
            }
            FramingConfig::VarintLengthDelimited => Self::Varint,
        })
    }

    /// Makes room for what stands before the event.
    fn begin(self, out: &mut Vec<u8>) {
        if let Self::Length { prefix_bytes, .. } = self {
            out.resize(out.len() + prefix_bytes, 0);
        }
    }

    /// Completes the frame that was begun at `start`.
    fn finish(self, out: &mut Vec<u8>, start: usize) -> Result<(), EncodeError> {
        match self {
            Self::Bytes => {}
            Self::Delimiter(byte) => out.push(byte),
            Self::Length { bytes_max, prefix_bytes, big_endian } => {
                let bytes = out.len() - start - prefix_bytes;
                if bytes as u64 > bytes_max {
                    return Err(EncodeError::FrameTooLong { bytes, bytes_max });
                }
                let prefix = &mut out[start..start + prefix_bytes];
                if big_endian {
                    prefix.copy_from_slice(&(bytes as u64).to_be_bytes()[8 - prefix_bytes..]);
                } else {
                    prefix.copy_from_slice(&(bytes as u64).to_le_bytes()[..prefix_bytes]);
                }
            }
            Self::Varint => {
                let (mut rest, mut prefix, mut used) = (out.len() - start, [0_u8; VARINT_BYTES_MAX], 0);
                loop {
                    let low = (rest & 0x7f) as u8;
                    rest >>= 7;
                    prefix[used] = if rest > 0 { low | 0x80 } else { low };
                    used += 1;
                    if rest == 0 {
                        break;
                    }
                }
                out.splice(start..start, prefix[..used].iter().copied());
            }
        }
        Ok(())
    }
}

/// Writes events as frames of a stream. Has no state: one serves all threads.
#[derive(Clone, Debug)]
pub struct StreamEncoder {
    encoder: Encoder,
    framer: Framer,
    /// Whether JSON that came on several lines must be written on one.
    one_line: bool,
}

impl StreamEncoder {
    /// Checks the options. Without `framing`, a line break ends each event.
    ///
    /// # Errors
    /// What is wrong with them, in one sentence.
    pub fn new(encoding: &EncodingConfig, framing: Option<&FramingConfig>) -> Result<Self, String> {
        let encoder = Encoder::new(encoding)?;
        let framer = Framer::new(framing.unwrap_or(&FramingConfig::NewlineDelimited))?;
        let one_line = matches!(framer, Framer::Delimiter(b'\n')) && encoder.codec() == Codec::Json;
        Ok(Self { one_line: one_line && !encoding.json.pretty, encoder, framer })
    }

    /// Appends the event's frame to `out`; on an error `out` is as before.
    ///
    /// # Errors
    /// The event cannot be encoded and never will be.
    pub fn encode_to(&self, event: &LogEvent, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        self.framer.begin(out);
        let written = self.encoder.encode_to(event, out).and_then(|()| {
            if self.one_line && out[start..].contains(&b'\n') {
                remove_json_spaces(out, start);
            }
            self.framer.finish(out, start)
        });
        written.inspect_err(|_| out.truncate(start))
    }
}

/// Takes the spaces and line breaks between the tokens out of the JSON text from `start` on.
fn remove_json_spaces(out: &mut Vec<u8>, start: usize) {
    let (mut end, mut in_string, mut escaped) = (start, false, false);
    for index in start..out.len() {
        let byte = out[index];
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        out[end] = byte;
        end += 1;
    }
    out.truncate(end);
}
