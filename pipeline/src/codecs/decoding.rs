//! Decoding: one record of a source (a line, an array's element, a body) becomes events that keep its bytes.
//! In: Vector's `decoding` and `framing` options; records. Out: events appended to an array, or why not.
//! Never: changes a byte of a record, puts a record's content into an error, recurses with a record's depth.
//!
//! With `bytes` a record is the event's `message`. With `json` it is checked once and kept as text; nothing is
//! added to it (in Vector `timestamp`, `source_type` and the like become fields; here they stay in the metadata).

mod json;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::event::{EventMetadata, LogEvent};
pub use json::{JSON_LEVELS_MAX, JsonFault};
use json::{check_value, is_space, skip_space};

/// The words of an option that takes one of a few, with an error that lists them.
macro_rules! words {
    ($what:literal, $type:ident { $($word:literal => $variant:ident),* $(,)? }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                match word.as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(serde::de::Error::custom(format!(
                        concat!($what, " `{}` is not supported here; supported: {}"),
                        word,
                        [$(concat!("`", $word, "`")),*].join(", "),
                    ))),
                }
            }
        }
    };
}

/// How a record is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecodingCodec {
    /// The record is the event's `message`, whatever it is.
    #[default]
    Bytes,
    /// The record is a JSON object, or an array of objects that become one event each.
    Json,
}

words!("codec", DecodingCodec { "bytes" => Bytes, "json" => Json });

/// Options of the `json` codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JsonDecodingOptions {
    /// Whether bytes that are not UTF-8 are replaced by U+FFFD (Vector's default). Here such a record is
    /// refused unless this is set, so that no record is repaired in silence.
    pub lossy: bool,
}

/// `decoding: {codec: bytes | json}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DecodingConfig {
    /// How a record is read: `bytes` or `json`.
    pub codec: DecodingCodec,
    /// Options of the `json` codec.
    pub json: JsonDecodingOptions,
}

impl DecodingConfig {
    /// The decoder for these options.
    #[must_use]
    pub fn build(&self) -> Decoder {
        Decoder { codec: self.codec, lossy: self.json.lossy }
    }
}

/// How records are found in a stream of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FramingMethod {
    /// Lines; a `\r` before the `\n` belongs to the line's end.
    #[default]
    NewlineDelimited,
    /// Records that end with one ASCII character.
    CharacterDelimited,
    /// The whole body is one record.
    Bytes,
}

words!("framing method", FramingMethod {
    "newline_delimited" => NewlineDelimited,
    "character_delimited" => CharacterDelimited,
    "bytes" => Bytes,
});

/// Options of `newline_delimited`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NewlineDelimitedOptions {
    /// The longest line in bytes, its end not counted. Unset: the source's own limit.
    pub max_length: Option<usize>,
}

/// Options of `character_delimited`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CharacterDelimitedOptions {
    /// The ASCII character that ends a record.
    pub delimiter: String,
    /// The longest record in bytes, its end not counted. Unset: the source's own limit.
    #[serde(default)]
    pub max_length: Option<usize>,
}

/// `framing: {method: newline_delimited | character_delimited | bytes}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FramingConfig {
    /// How records are found: `newline_delimited`, `character_delimited` or `bytes`.
    pub method: FramingMethod,
    /// Options of `newline_delimited`.
    pub newline_delimited: NewlineDelimitedOptions,
    /// Options of `character_delimited`.
    pub character_delimited: Option<CharacterDelimitedOptions>,
}

/// How records are found, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each record ends with `delimiter`.
    Lines {
        /// The byte that ends a record.
        delimiter: u8,
        /// The longest record in bytes, if it was said.
        max_length: Option<usize>,
    },
    /// The whole body is one record.
    Whole,
}

impl FramingConfig {
    /// The framing that these options ask for.
    ///
    /// # Errors
    /// One sentence about the option that cannot be.
    pub fn build(&self) -> Result<Framing, String> {
        let (delimiter, max_length) = match self.method {
            FramingMethod::Bytes => return Ok(Framing::Whole),
            FramingMethod::NewlineDelimited => (b'\n', self.newline_delimited.max_length),
            FramingMethod::CharacterDelimited => {
                let options = self.character_delimited.as_ref().ok_or(
                    "`framing.method: character_delimited` needs `framing.character_delimited.delimiter`",
                )?;
                match options.delimiter.as_bytes() {
                    &[delimiter] if delimiter.is_ascii() => (delimiter, options.max_length),
                    _ => {
                        return Err(format!(
                            "`framing.character_delimited.delimiter` must be one ASCII character, not {:?}",
                            options.delimiter
                        ));
                    }
                }
            }
        };
        if max_length == Some(0) {
            return Err("`framing` `max_length` must be greater than 0".to_owned());
        }
        Ok(Framing::Lines { delimiter, max_length })
    }
}

/// Why a record is no event. Says where, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Which element of a root array it is, from 1.
    pub element: Option<usize>,
    /// Events that the same text gave before this one.
    pub decoded: usize,
    /// Where the document or element begins that is no event.
    pub start: usize,
    /// Where and why.
    pub fault: JsonFault,
}

impl DecodeError {
    fn new(start: usize, fault: JsonFault) -> Self {
        Self { element: None, decoded: 0, start, fault }
    }

    fn after(self, decoded: usize) -> Self {
        Self { decoded, ..self }
    }
}

impl std::error::Error for DecodeError {}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(element) = self.element {
            write!(formatter, "element {element} of the array, ")?;
        }
        write!(formatter, "byte {}: {}", self.fault.offset, self.fault.reason)
    }
}

/// Makes events of records. Cheap to copy; no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    codec: DecodingCodec,
    lossy: bool,
}

impl Decoder {
    /// How records are read.
    #[must_use]
    pub fn codec(&self) -> DecodingCodec {
        self.codec
    }

    /// Appends the events of `record` to `events`; each gets a copy of `metadata`. With `json` a blank record
    /// gives none, a root array one per element.
    ///
    /// # Errors
    /// Why the record is no event; then nothing was appended.
    pub fn decode(
        &self,
        record: Bytes,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<(), DecodeError> {
        if self.codec == DecodingCodec::Bytes {
            events.push(LogEvent::from_message_bytes(record, metadata.clone()));
            return Ok(());
        }
        let before = events.len();
        let start = skip_space(&record, 0);
        if start == record.len() {
            return Ok(());
        }
        let result = self.document(&record, start, metadata, events).and_then(|end| {
            let rest = skip_space(&record, end);
            if rest == record.len() {
                return Ok(());
            }
            let fault = JsonFault { offset: rest, reason: "expected the end of the record" };
            Err(DecodeError::new(start, fault))
        });
        result.map_err(|error| {
            events.truncate(before);
            error.after(0)
        })
    }

    /// Appends the events of a body that holds one or several documents, each an object or an array of
    /// objects, each on a line (or lines) of its own. Only for `json`.
    ///
    /// # Errors
    /// Why a document is no event: `decoded` says how many came before it. Then nothing was appended.
    pub fn decode_documents(
        &self,
        body: &Bytes,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<(), DecodeError> {
        let before = events.len();
        let result = self.documents(body, metadata, events);
        if result.is_err() {
            events.truncate(before);
        }
        result.map_err(|error| error.after(error.decoded.saturating_sub(before)))
    }

    fn documents(
        &self,
        body: &Bytes,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<(), DecodeError> {
        let mut start = skip_space(body, 0);
        while start < body.len() {
            let end = self.document(body, start, metadata, events)?;
            start = skip_space(body, end);
            if start < body.len() && !body[end..start].contains(&b'\n') {
                let fault = JsonFault { offset: start, reason: "expected the end of the line" };
                return Err(DecodeError::new(start, fault).after(events.len()));
            }
        }
        Ok(())
    }

    /// Appends the events of the object or array of objects that begins at `start`; returns where it ends.
    fn document(
        &self,
        text: &Bytes,
        start: usize,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<usize, DecodeError> {
        match text[start] {
            b'{' => {
                let object = self.object(text, start, metadata, events);
                object.map_err(|fault| DecodeError::new(start, fault).after(events.len()))
            }
            b'[' => {
                let elements = walk_array(text, start, |at| {
                    if text.get(at) != Some(&b'{') {
                        return Err(JsonFault { offset: at, reason: "expected an object" });
                    }
                    self.object(text, at, metadata, events)
                });
                elements.map_err(|error| error.after(events.len()))
            }
            _ => {
                let reason = "expected an object or an array of objects";
                let fault = JsonFault { offset: start, reason };
                Err(DecodeError::new(start, fault).after(events.len()))
            }
        }
    }

    fn object(
        &self,
        text: &Bytes,
        start: usize,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<usize, JsonFault> {
        let end = check_value(text, start)?;
        let json = match std::str::from_utf8(&text[start..end]) {
            Ok(_) => text.slice(start..end),
            Err(_) if self.lossy => {
                Bytes::from(String::from_utf8_lossy(&text[start..end]).into_owned().into_bytes())
            }
            Err(error) => {
                return Err(JsonFault { offset: start + error.valid_up_to(), reason: "not UTF-8" });
            }
        };
        events.push(LogEvent::from_json_bytes(json, metadata.clone()));
        Ok(end)
    }
}

/// Calls `element` with the start of each element of the array at `start`, which returns the element's end;
/// returns the array's end.
fn walk_array(
    text: &[u8],
    start: usize,
    mut element: impl FnMut(usize) -> Result<usize, JsonFault>,
) -> Result<usize, DecodeError> {
    let mut at = skip_space(text, start + 1);
    if text.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    for number in 1.. {
        let begins = at;
        let fail = |fault| DecodeError { element: Some(number), ..DecodeError::new(begins, fault) };
        at = skip_space(text, element(at).map_err(fail)?);
        match text.get(at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(fail(JsonFault { offset: at, reason: "expected `,` or `]` after it" })),
        }
    }
    unreachable!("the loop ends with the text")
}

/// The texts of the elements of `body`, which is one JSON array; they may be any JSON values.
///
/// # Errors
/// Where the body stops being a JSON array.
pub fn json_elements(body: &Bytes) -> Result<Vec<Bytes>, DecodeError> {
    let mut elements = Vec::new();
    let start = skip_space(body, 0);
    if body.get(start) != Some(&b'[') {
        return Err(DecodeError::new(start, JsonFault { offset: start, reason: "expected `[`" }));
    }
    let walked = walk_array(body, start, |at| {
        let end = check_value(body, at)?;
        elements.push(body.slice(at..end));
        Ok(end)
    });
    match walked {
        Ok(end) if body[end..].iter().all(|byte| is_space(*byte)) => Ok(elements),
        Ok(end) => {
            let fault = JsonFault { offset: skip_space(body, end), reason: "expected the end of the body" };
            Err(DecodeError::new(fault.offset, fault).after(elements.len()))
        }
        Err(error) => Err(error.after(elements.len())),
    }
}
