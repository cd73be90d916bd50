//! Bodies: from what a request carries to records.
//! In: a body as it arrives, its `Content-Encoding` and `Content-Type`. Out: events, or a refusal of all of it.
//! Holds: at most `max_body_bytes` of it, compressed and again decompressed; every byte has a permit of the source.
//! Never: takes a part of a body, puts what it holds into a refusal.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use afluente_pipeline::codecs::decoding::{
    DecodeError, Decoder, DecodingCodec, DecodingConfig, json_elements,
};
use afluente_pipeline::event::{EventMetadata, LogEvent};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lines::Delimiter;

/// How long a body may take to arrive; chosen: 10 MiB at 1.4 Mbit/s.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Bytes that are decompressed before their permit is asked for again.
const PIECE_BYTES: usize = 64 * 1024;
/// The smallest window that every zstd writer may use by its specification: 8 MiB.
const ZSTD_WINDOW_LOG_MIN: u32 = 23;

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// Whether a record is named that is no event; the operator hears of that, too.
    pub(crate) names_record: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), names_record: false }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit} bytes"))
    }

    fn record(message: String) -> Self {
        Self { names_record: true, ..Self::bad(message) }
    }

    pub(crate) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Error delivering contents to sink")
    }

    pub(crate) fn full() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "full: try again")
    }
}

/// Permits for the bytes of one request.
pub(crate) struct Held {
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(crate) fn new(budget: Arc<Semaphore>) -> Self {
        Self { budget, permit: None }
    }

    /// Takes permits for `bytes` more, or refuses the request: waiting with a body in hand could wait for itself.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes == 0 {
            return Ok(());
        }
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::full())?;
        let more = self.budget.clone().try_acquire_many_owned(bytes).map_err(|_| Refusal::full())?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    /// Gives back permits for `bytes`.
    fn shrink(&mut self, bytes: usize) {
        drop(self.permit.as_mut().and_then(|permit| permit.split(bytes)));
    }
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(Refusal::too_large(limit));
    }
    match tokio::time::timeout(BODY_TIME, collect(body, limit, announced.unwrap_or(0), held)).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 60 seconds")),
    }
}

async fn collect(mut body: Body, limit: usize, announced: usize, held: &mut Held) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::bad(format!("the body did not arrive: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(Refusal::too_large(limit));
        }
        held.grow(data.len())?;
        // A body that came in one piece is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(announced.max(first.len() + data.len()));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// How a body is compressed, the last step first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Zstd,
    Snappy,
}

/// The steps that undo the `Content-Encoding`.
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Refusal> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for word in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            codings.push(match word.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "zstd" => Coding::Zstd,
                "snappy" => Coding::Snappy,
                _ => {
                    let message =
                        format!("content encoding {word:?} is not one of gzip, deflate, zstd, snappy");
                    return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
                }
            });
        }
    }
    codings.reverse();
    Ok(codings)
}

/// Undoes one step; the result has at most `limit` bytes.
pub(crate) fn decompress(
    coding: Coding,
    body: &Bytes,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let bad =
        |error: std::io::Error| Refusal::bad(format!("the body is not {coding:?} as announced: {error}"));
    let plain = match coding {
        Coding::Gzip => inflate(flate2::bufread::MultiGzDecoder::new(&**body), coding, limit, held)?,
        Coding::Deflate => inflate(flate2::bufread::ZlibDecoder::new(&**body), coding, limit, held)?,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&**body).map_err(bad)?;
            // A window is memory that the sender chooses; the default allows 128 MiB.
            let window = (usize::BITS - limit.leading_zeros()).clamp(ZSTD_WINDOW_LOG_MIN, 27);
            decoder.window_log_max(window).map_err(bad)?;
            inflate(decoder, coding, limit, held)?
        }
        Coding::Snappy => {
            let length = snap::raw::decompress_len(body).map_err(|error| bad(error.into()))?;
            if length > limit {
                return Err(Refusal::too_large(limit));
            }
            held.grow(length)?;
            snap::raw::Decoder::new().decompress_vec(body).map_err(|error| bad(error.into()))?
        }
    };
    held.shrink(body.len());
    Ok(plain.into())
}

fn inflate(mut reader: impl Read, coding: Coding, limit: usize, held: &mut Held) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    loop {
        let before = plain.len();
        // One byte over the limit is enough to know.
        let piece = PIECE_BYTES.min(limit + 1 - before) as u64;
        reader
            .by_ref()
            .take(piece)
            .read_to_end(&mut plain)
            .map_err(|error| Refusal::bad(format!("the body is not {coding:?} as announced: {error}")))?;
        if plain.len() > limit {
            return Err(Refusal::too_large(limit));
        }
        if plain.len() == before {
            return Ok(plain);
        }
        held.grow(plain.len() - before)?;
    }
}

/// How records are found in bodies.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) decoder: Decoder,
    pub(crate) framing: BodyFraming,
}

/// Where one record ends and the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// By what the body is: documents of JSON, else lines.
    Natural,
    /// Each record ends with this byte, and is at most so long.
    Lines { delimiter: u8, max_length: Option<usize> },
    /// The body is one record.
    Whole,
}

impl Records {
    /// All events of a body.
    pub(crate) fn decode(
        &self,
        body: &Bytes,
        headers: &HeaderMap,
        metadata: &EventMetadata,
    ) -> Result<Vec<LogEvent>, Refusal> {
        let mut events = Vec::new();
        let json = self.decoder.codec() == DecodingCodec::Json;
        let whole = |events: &mut Vec<LogEvent>, record: Bytes| {
            let decoded = self.decoder.decode(record, metadata, events);
            decoded.map_err(|error| refuse_record(error.decoded + 1, body, 0, &error))
        };
        match &self.framing {
            BodyFraming::Whole if body.is_empty() => {}
            BodyFraming::Whole => whole(&mut events, body.clone())?,
            BodyFraming::Natural if json => {
                self.decoder
                    .decode_documents(body, metadata, &mut events)
                    .map_err(|error| refuse_record(error.decoded + 1, body, 0, &error))?;
            }
            BodyFraming::Natural if says_json(headers) => match first_byte(body) {
                Some(b'[') => {
                    let elements = json_elements(body)
                        .map_err(|error| refuse_record(error.decoded + 1, body, 0, &error))?;
                    for element in elements {
                        whole(&mut events, element)?;
                    }
                }
                // One document, over however many lines; or lines that are called JSON, as some senders do.
                Some(b'{') if is_one_document(body, metadata) => {
                    whole(&mut events, body.slice_ref(body.trim_ascii()))?;
                }
                _ => self.lines(body, b'\n', None, metadata, &mut events)?,
            },
            BodyFraming::Natural => self.lines(body, b'\n', None, metadata, &mut events)?,
            BodyFraming::Lines { delimiter, max_length } => {
                self.lines(body, *delimiter, *max_length, metadata, &mut events)?;
            }
        }
        Ok(events)
    }

    fn lines(
        &self,
        body: &Bytes,
        delimiter: u8,
        max_length: Option<usize>,
        metadata: &EventMetadata,
        events: &mut Vec<LogEvent>,
    ) -> Result<(), Refusal> {
        let delimiter = Delimiter::byte(delimiter);
        let mut start = 0;
        let mut number = 0;
        while start < body.len() {
            let end = delimiter.find(&body[start..]).map_or(body.len(), |end| start + end);
            let line = delimiter.trim(&body[start..end]);
            if !line.is_empty() {
                number += 1;
                if let Some(limit) = max_length.filter(|limit| line.len() > *limit) {
                    let place = place(number, body, start);
                    let length = line.len();
                    return Err(Refusal::record(format!(
                        "{place} is {length} bytes long and the limit is {limit}; nothing was taken"
                    )));
                }
                self.decoder
                    .decode(body.slice_ref(line), metadata, events)
                    .map_err(|error| refuse_record(number, body, start, &error))?;
            }
            start = end + delimiter.len();
        }
        Ok(())
    }
}

fn place(number: usize, body: &[u8], offset: usize) -> String {
    let before = &body[..offset.min(body.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    format!("record {number} (line {line})")
}

/// Names the record, its line, the byte of the body, and what is wrong there. `start` is where what was decoded
/// begins in the body.
fn refuse_record(number: usize, body: &[u8], start: usize, error: &DecodeError) -> Refusal {
    let place = place(number, body, start + error.start);
    let (offset, reason) = (start + error.fault.offset, error.fault.reason);
    Refusal::record(format!(
        "{place} cannot be decoded: byte {offset} of the body: {reason}; nothing was taken"
    ))
}

fn first_byte(body: &[u8]) -> Option<u8> {
    body.trim_ascii_start().first().copied()
}

fn is_one_document(body: &Bytes, metadata: &EventMetadata) -> bool {
    let json = DecodingConfig { codec: DecodingCodec::Json, ..Default::default() }.build();
    json.decode(body.clone(), metadata, &mut Vec::new()).is_ok()
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}
