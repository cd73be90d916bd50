//! Encoding: from an event to the bytes a sink sends, in Vector's `encoding` options.
//! In: events. Out: the event's own bytes where nothing asks for a change (no copy), else newly written ones.
//! Never: adds a field, frames a stream (see `framing`), compresses (see `compression`).

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use vrl::path::{OwnedValuePath, parse_value_path};
use vrl::value::{ObjectMap, Value};

use crate::event::{EstimatedJsonEncodedSizeOf, EventMetadata, LogEvent, MESSAGE_KEY, Raw};

mod framing;
#[cfg(test)]
mod tests;

pub use framing::{
    CharacterDelimitedOptions, DEFAULT_FRAME_BYTES_MAX, FramingConfig, LengthDelimitedOptions, StreamEncoder,
};

/// Why an event has no bytes. Texts tell nothing of the event's content.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The options ask for single fields, but the JSON text cannot be read.
    #[error("event cannot be taken apart for `encoding`: its JSON is malformed or nested too deeply")]
    Unreadable(#[source] serde_json::Error),
    /// The tree cannot be written as JSON.
    #[error("event cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// `timestamp_format: unix_ns` and a time that has no such number.
    #[error(
        "a timestamp of the event lies outside of the years 1677 to 2262 that `timestamp_format: unix_ns` \
         can tell: use unix_us, or change the timestamp in a transform"
    )]
    TimestampOutOfRange,
    /// Longer than a frame may be.
    #[error(
        "encoded event has {bytes} bytes; a frame takes {bytes_max}: raise \
         `framing.length_delimited.max_frame_length` (or `length_field_length`) or trim the event in a transform"
    )]
    FrameTooLong {
        /// The event's encoded size.
        bytes: usize,
        /// The most a frame takes.
        bytes_max: u64,
    },
}

/// What an event is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// The whole event as one JSON object. Bytes that came as JSON and were not changed leave as they came.
    Json,
    /// The `message` field; empty without one.
    Text,
    /// The bytes of the `message` field; the same as `text` here.
    RawMessage,
}

impl Codec {
    const ALL: [(&'static str, Self); 3] =
        [("json", Self::Json), ("text", Self::Text), ("raw_message", Self::RawMessage)];
}

impl<'de> Deserialize<'de> for Codec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, codec)| *codec).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "codec `{name}` is not supported, expected one of `json`, `text`, `raw_message`"
            ))
        })
    }
}

/// Options of `codec: json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JsonOptions {
    /// Whether the object is spread over lines and indented, with its keys sorted. Such an event is read and
    /// written anew; without it, JSON that nobody changed leaves byte for byte.
    pub pretty: bool,
}

/// How native timestamps are written. Text that looks like a time is never touched; JSON has no native
/// timestamps, so an event that came as JSON and was not changed stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampFormat {
    /// `2026-01-31T09:30:00.123Z`; what is written without this option, too.
    Rfc3339,
    /// Whole seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// Nanoseconds since 1970.
    UnixNs,
    /// Seconds since 1970, with a fraction.
    UnixFloat,
}

impl TimestampFormat {
    fn value(self, time: DateTime<Utc>) -> Result<Value, EncodeError> {
        Ok(match self {
            Self::Rfc3339 => Value::Timestamp(time),
            Self::Unix => Value::Integer(time.timestamp()),
            Self::UnixMs => Value::Integer(time.timestamp_millis()),
            Self::UnixUs => Value::Integer(time.timestamp_micros()),
            Self::UnixNs => {
                Value::Integer(time.timestamp_nanos_opt().ok_or(EncodeError::TimestampOutOfRange)?)
            }
            // Microseconds are what a float of today's seconds can still tell apart.
            #[allow(clippy::cast_precision_loss)]
            Self::UnixFloat => Value::from_f64_or_zero(time.timestamp_micros() as f64 / 1e6),
        })
    }
}

/// How metric tags would be written; accepted for configurations moved over, without effect: only logs flow here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricTagValues {
    /// One value a tag.
    Single,
    /// All values a tag.
    Full,
    /// As many as there are.
    Auto,
}

/// How events are written as bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EncodingConfig {
    /// What an event is written as.
    pub codec: Codec,
    /// Options of `codec: json`.
    #[serde(default)]
    pub json: JsonOptions,
    /// Only these fields are written, e.g. `[.user.id, traits]`. Unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_fields: Option<Vec<String>>,
    /// These fields are left out. Taken out before `only_fields` is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_fields: Option<Vec<String>>,
    /// How native timestamps are written. Unset: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<TimestampFormat>,
    /// Accepted without effect: only logs flow here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_tag_values: Option<MetricTagValues>,
}

impl From<Codec> for EncodingConfig {
    /// `codec` without further wishes.
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            json: JsonOptions::default(),
            only_fields: None,
            except_fields: None,
            timestamp_format: None,
            metric_tag_values: None,
        }
    }
}

/// Writes events as an [`EncodingConfig`] says. Has no state: one serves all threads.
#[derive(Clone, Debug)]
pub struct Encoder {
    codec: Codec,
    pretty: bool,
    fields: Fields,
    timestamps: Option<TimestampFormat>,
}

/// Which fields are written.
#[derive(Clone, Debug, Default)]
struct Fields {
    only: Option<Vec<OwnedValuePath>>,
    except: Vec<OwnedValuePath>,
}

impl Encoder {
    /// Checks the options.
    ///
    /// # Errors
    /// One sentence: a path that is none, or one that is both in `only_fields` and in `except_fields`.
    pub fn new(config: &EncodingConfig) -> Result<Self, String> {
        let only =
            config.only_fields.as_deref().map(|paths| parse_paths("only_fields", paths)).transpose()?;
        let except = parse_paths("except_fields", config.except_fields.as_deref().unwrap_or_default())?;
        if only.iter().flatten().any(|path| except.contains(path)) {
            return Err("`except_fields` and `only_fields` should be mutually exclusive.".to_owned());
        }
        Ok(Self {
            codec: config.codec,
            pretty: config.json.pretty && config.codec == Codec::Json,
            fields: Fields { only, except },
            timestamps: config.timestamp_format.filter(|format| *format != TimestampFormat::Rfc3339),
        })
    }

    /// The event's bytes; its own ones, shared, where nothing asks for a change.
    ///
    /// # Errors
    /// The event cannot be encoded and never will be.
    pub fn encode(&self, event: &LogEvent) -> Result<Bytes, EncodeError> {
        if let Some(own) = self.own_bytes(event) {
            return Ok(own.clone());
        }
        let mut out = Vec::with_capacity(event.estimated_json_encoded_size_of());
        self.write(event, &mut out)?;
        Ok(out.into())
    }

    /// As [`Self::encode`] for an event that is not needed any more; its metadata comes back in either case, so
    /// that its finalizers can be settled.
    pub fn encode_owned(&self, mut event: LogEvent) -> (Result<Bytes, EncodeError>, EventMetadata) {
        if self.own_bytes(&event).is_some() {
            match event.try_into_raw() {
                Ok((Raw::Json(bytes) | Raw::Message(bytes), metadata)) => return (Ok(bytes), metadata),
                Err(back) => event = *back,
            }
        }
        let encoded = self.encode(&event);
        (encoded, std::mem::take(event.metadata_mut()))
    }

    /// Appends the event's bytes to `out`; on an error `out` is as before.
    ///
    /// # Errors
    /// The event cannot be encoded and never will be.
    pub fn encode_to(&self, event: &LogEvent, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(own) = self.own_bytes(event) {
            out.extend_from_slice(own);
            return Ok(());
        }
        let start = out.len();
        self.write(event, out).inspect_err(|_| out.truncate(start))
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes that the event came with, if they are what is to be written.
    fn own_bytes<'a>(&self, event: &'a LogEvent) -> Option<&'a Bytes> {
        if !self.fields.all() {
            return None;
        }
        match (event.raw()?, self.codec) {
            (Raw::Json(json), Codec::Json) if !self.pretty => Some(json),
            (Raw::Message(message), Codec::Text | Codec::RawMessage) => Some(message),
            _ => None,
        }
    }

    /// Writes the event by its tree.
    fn write(&self, event: &LogEvent, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut tree = match event.raw() {
            // Not `LogEvent::value`: for text that it cannot read, that shows the whole text as one field, and
            // a field that must not leave would leave.
            Some(Raw::Json(json)) => {
                Cow::Owned(serde_json::from_slice(json).map_err(EncodeError::Unreadable)?)
            }
            _ => Cow::Borrowed(event.value()),
        };
        if !self.fields.all() {
            self.fields.select(tree.to_mut());
        }
        if let Some(format) = self.timestamps
            && has_timestamp(&tree)
        {
            format_timestamps(tree.to_mut(), format)?;
        }
        match self.codec {
            Codec::Json if self.pretty => {
                serde_json::to_writer_pretty(out, &*tree).map_err(EncodeError::Json)
            }
            Codec::Json => serde_json::to_writer(out, &*tree).map_err(EncodeError::Json),
            Codec::Text | Codec::RawMessage => {
                match tree.as_object().and_then(|fields| fields.get(MESSAGE_KEY)) {
                    None | Some(Value::Null) => {}
                    Some(Value::Bytes(message)) => out.extend_from_slice(message),
                    Some(other) => out.extend_from_slice(&other.coerce_to_bytes()),
                }
                Ok(())
            }
        }
    }
}

impl Fields {
    fn all(&self) -> bool {
        self.only.is_none() && self.except.is_empty()
    }

    fn select(&self, tree: &mut Value) {
        for path in &self.except {
            tree.remove(path, false);
        }
        if let Some(only) = &self.only {
            let mut rest = std::mem::replace(tree, Value::Object(ObjectMap::new()));
            for path in only {
                if let Some(value) = rest.remove(path, true) {
                    tree.insert(path, value);
                }
            }
        }
    }
}

fn parse_paths(option: &str, paths: &[String]) -> Result<Vec<OwnedValuePath>, String> {
    paths
        .iter()
        .map(|path| {
            parse_value_path(path).map_err(|_| {
                format!(
                    "`encoding.{option}`: `{path}` is not a path of a field, such as `.user.id` or `traits`"
                )
            })
        })
        .collect()
}

fn has_timestamp(value: &Value) -> bool {
    match value {
        Value::Timestamp(_) => true,
        Value::Object(fields) => fields.values().any(has_timestamp),
        Value::Array(items) => items.iter().any(has_timestamp),
        _ => false,
    }
}

fn format_timestamps(value: &mut Value, format: TimestampFormat) -> Result<(), EncodeError> {
    match value {
        Value::Timestamp(time) => *value = format.value(*time)?,
        Value::Object(fields) => {
            fields.values_mut().try_for_each(|field| format_timestamps(field, format))?;
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| format_timestamps(item, format))?,
        _ => {}
    }
    Ok(())
}
