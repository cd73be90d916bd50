//! LogEvent: one event, kept as the bytes it came with until someone asks for a field.
//! In: bytes from a source or a transform, or a tree from code. Out: the same bytes, or a [`Value`].
//! Holds: at most one of raw bytes and a changed tree; a tree that was only read stands beside its bytes.
//! Never: parses on the way through, changes a byte that nobody asked to change.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use vrl::path::{PathParseError, PathPrefix, TargetPath, parse_target_path};
use vrl::value::{KeyString, ObjectMap, Value};

use super::finalization::{AddBatchNotifier, BatchNotifier, EventFinalizer, EventFinalizers, Finalizable};
use super::metadata::EventMetadata;
use super::size::{ByteSizeOf, EstimatedJsonEncodedSizeOf, estimate_json_size};

/// The field that holds the text of an event made of plain bytes.
pub const MESSAGE_KEY: &str = "message";
/// The field that holds the time of an event made of plain bytes.
pub const TIMESTAMP_KEY: &str = "timestamp";
/// The field that names the type of the source of an event made of plain bytes.
pub const SOURCE_TYPE_KEY: &str = "source_type";

/// The bytes of an event that nobody has changed.
#[derive(Clone, Debug)]
pub enum Raw {
    /// The whole event as JSON text. The maker vouches that it is one JSON object in UTF-8.
    Json(Bytes),
    /// The `message` of an event that a source made of plain bytes; its other fields
    /// (`timestamp`, `source_type`, `host`, …) are in the metadata and appear when asked for.
    Message(Bytes),
}

/// A log event: fields and metadata. `size_of::<LogEvent>()` is about two cache lines.
#[derive(Clone, Debug)]
pub struct LogEvent {
    raw: Option<Raw>,
    tree: OnceLock<Arc<Value>>,
    metadata: EventMetadata,
}

impl Default for LogEvent {
    fn default() -> Self {
        Self::from_parts(Value::Object(ObjectMap::new()), EventMetadata::default())
    }
}

impl LogEvent {
    /// An event whose JSON text is `json`: one object in UTF-8, which the caller has checked or written.
    #[must_use]
    pub fn from_json_bytes(json: Bytes, metadata: EventMetadata) -> Self {
        Self { raw: Some(Raw::Json(json)), tree: OnceLock::new(), metadata }
    }

    /// An event made of plain bytes: they are its `message`.
    #[must_use]
    pub fn from_message_bytes(message: Bytes, metadata: EventMetadata) -> Self {
        Self { raw: Some(Raw::Message(message)), tree: OnceLock::new(), metadata }
    }

    /// An event made of plain bytes, without a source.
    #[must_use]
    pub fn from_bytes_legacy(message: &Bytes) -> Self {
        Self::from_message_bytes(message.clone(), EventMetadata::default())
    }

    /// An event made of text, without a source.
    #[must_use]
    pub fn from_str_legacy(message: impl Into<String>) -> Self {
        Self::from_message_bytes(Bytes::from(message.into()), EventMetadata::default())
    }

    /// An event with these fields.
    #[must_use]
    pub fn from_map(map: ObjectMap, metadata: EventMetadata) -> Self {
        Self::from_parts(Value::Object(map), metadata)
    }

    /// An event with this tree.
    #[must_use]
    pub fn from_parts(value: Value, metadata: EventMetadata) -> Self {
        Self { raw: None, tree: OnceLock::from(Arc::new(value)), metadata }
    }

    /// An empty event with this metadata.
    #[must_use]
    pub fn new_with_metadata(metadata: EventMetadata) -> Self {
        Self::from_map(ObjectMap::new(), metadata)
    }

    /// The tree and the metadata.
    #[must_use]
    pub fn into_parts(self) -> (Value, EventMetadata) {
        let value = self.value().clone();
        (value, self.metadata)
    }

    /// The metadata alone; the fields are let go.
    #[must_use]
    pub fn into_metadata(self) -> EventMetadata {
        self.metadata
    }

    /// The bytes the event came with, as long as nobody has changed it.
    #[must_use]
    pub fn raw(&self) -> Option<&Raw> {
        self.raw.as_ref()
    }

    /// Takes the event apart without parsing it: the raw bytes if it has them, and its metadata.
    ///
    /// # Errors
    /// The event itself if it only exists as a tree.
    pub fn try_into_raw(self) -> Result<(Raw, EventMetadata), Box<Self>> {
        match self.raw {
            Some(raw) => Ok((raw, self.metadata)),
            None => Err(Box::new(self)),
        }
    }

    /// The event as a tree. The first call on raw bytes parses them.
    pub fn value(&self) -> &Value {
        self.tree.get_or_init(|| Arc::new(self.parse()))
    }

    /// The event as a tree to change; its raw bytes are let go.
    pub fn value_mut(&mut self) -> &mut Value {
        let tree = self.tree.take().unwrap_or_else(|| Arc::new(self.parse()));
        self.raw = None;
        self.tree = OnceLock::from(tree);
        match self.tree.get_mut() {
            Some(tree) => Arc::make_mut(tree),
            None => unreachable!("the cell was filled one line above"),
        }
    }

    fn parse(&self) -> Value {
        match &self.raw {
            Some(Raw::Json(json)) => serde_json::from_slice::<Value>(json)
                // Deeper than the parser goes, or not what its maker vouched for: the text itself is kept.
                .unwrap_or_else(|_| self.message_object(json)),
            Some(Raw::Message(message)) => self.message_object(message),
            None => Value::Object(ObjectMap::new()),
        }
    }

    fn message_object(&self, message: &Bytes) -> Value {
        let mut fields = ObjectMap::new();
        if let Some(shared) = self.metadata.shared() {
            fields.clone_from(&shared.fields);
            if let Some(timestamp) = shared.ingest_timestamp {
                fields.insert(TIMESTAMP_KEY.into(), Value::Timestamp(timestamp));
            }
            if let Some(source_type) = shared.source_type {
                fields.insert(SOURCE_TYPE_KEY.into(), Value::from(source_type));
            }
        }
        fields.insert(MESSAGE_KEY.into(), Value::Bytes(message.clone()));
        Value::Object(fields)
    }

    /// The bytes of the `message` field; no tree for an event made of plain bytes.
    #[must_use]
    pub fn get_message_bytes(&self) -> Option<Cow<'_, [u8]>> {
        if let Some(Raw::Message(message)) = &self.raw {
            return Some(Cow::Borrowed(message));
        }
        match self.value().as_object()?.get(MESSAGE_KEY)? {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Null => None,
            other => Some(Cow::Owned(other.coerce_to_bytes().to_vec())),
        }
    }

    /// The `message` field.
    #[must_use]
    pub fn get_message(&self) -> Option<&Value> {
        self.as_map()?.get(MESSAGE_KEY)
    }

    /// The `timestamp` field.
    #[must_use]
    pub fn get_timestamp(&self) -> Option<&Value> {
        self.as_map()?.get(TIMESTAMP_KEY)
    }

    /// The `host` field.
    #[must_use]
    pub fn get_host(&self) -> Option<&Value> {
        self.as_map()?.get("host")
    }

    /// The value at `path`; a `%` path looks into the metadata's free values.
    pub fn get<'a>(&self, path: impl TargetPath<'a>) -> Option<&Value> {
        match path.prefix() {
            PathPrefix::Event => self.value().get(path.value_path()),
            PathPrefix::Metadata => {
                let (first, rest) = split_first(path.value_path())?;
                let value = self.metadata.value()?.get(first.as_str())?;
                value.get(&rest)
            }
        }
    }

    /// Whether there is a value at `path`.
    pub fn contains<'a>(&self, path: impl TargetPath<'a>) -> bool {
        self.get(path).is_some()
    }

    /// The value at `path`, given as text such as `.user.id`.
    ///
    /// # Errors
    /// When the text is not a path.
    pub fn parse_path_and_get_value(&self, path: &str) -> Result<Option<&Value>, PathParseError> {
        parse_target_path(path).map(|path| self.get(&path))
    }

    /// Sets the value at `path` in the event and returns the one that was there. Metadata paths set nothing.
    pub fn insert<'a>(&mut self, path: impl TargetPath<'a>, value: impl Into<Value>) -> Option<Value> {
        match path.prefix() {
            PathPrefix::Event => self.value_mut().insert(path.value_path(), value.into()),
            PathPrefix::Metadata => {
                let (first, rest) = split_first(path.value_path())?;
                let slot = self.metadata.value_mut().entry(first).or_insert(Value::Null);
                slot.insert(&rest, value.into())
            }
        }
    }

    /// Sets the value at `path` if nothing is there yet.
    pub fn try_insert<'a>(&mut self, path: impl TargetPath<'a>, value: impl Into<Value>) {
        if !self.contains(path.clone()) {
            self.insert(path, value);
        }
    }

    /// Removes the value at `path` from the event.
    pub fn remove<'a>(&mut self, path: impl TargetPath<'a>) -> Option<Value> {
        self.remove_prune(path, false)
    }

    /// Removes the value at `path` from the event, and parents left empty if `prune`.
    pub fn remove_prune<'a>(&mut self, path: impl TargetPath<'a>, prune: bool) -> Option<Value> {
        match path.prefix() {
            PathPrefix::Event => self.value_mut().remove(path.value_path(), prune),
            PathPrefix::Metadata => None,
        }
    }

    /// The fields, if the event is an object.
    #[must_use]
    pub fn as_map(&self) -> Option<&ObjectMap> {
        self.value().as_object()
    }

    /// The fields to change, if the event is an object.
    pub fn as_map_mut(&mut self) -> Option<&mut ObjectMap> {
        self.value_mut().as_object_mut()
    }

    /// The names of the top level fields.
    pub fn keys(&self) -> impl Iterator<Item = &KeyString> {
        self.as_map().into_iter().flat_map(|map| map.keys())
    }

    /// Whether the event is an object without fields.
    #[must_use]
    pub fn is_empty_object(&self) -> bool {
        self.as_map().is_some_and(ObjectMap::is_empty)
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &EventMetadata {
        &self.metadata
    }

    /// The metadata, to change it.
    pub fn metadata_mut(&mut self) -> &mut EventMetadata {
        &mut self.metadata
    }

    /// Adds a finalizer.
    pub fn add_finalizer(&mut self, finalizer: EventFinalizer) {
        self.metadata.add_finalizer(finalizer);
    }

    /// The event as JSON text, with keys sorted if it has to be written anew; the raw text if it still is that.
    ///
    /// # Errors
    /// When the tree cannot be written as JSON.
    pub fn to_json_bytes(&self) -> Result<Bytes, serde_json::Error> {
        match &self.raw {
            Some(Raw::Json(json)) => Ok(json.clone()),
            _ => serde_json::to_vec(self.value()).map(Bytes::from),
        }
    }
}

/// First step (a field name) of a value path and what follows.
fn split_first<'a>(path: impl vrl::path::ValuePath<'a>) -> Option<(KeyString, vrl::path::OwnedValuePath)> {
    let mut owned = path.to_owned_value_path().ok()?;
    if owned.segments.is_empty() {
        return None;
    }
    match owned.segments.remove(0) {
        vrl::path::OwnedSegment::Field(name) => Some((name, owned)),
        _ => None,
    }
}

impl Finalizable for LogEvent {
    fn take_finalizers(&mut self) -> EventFinalizers {
        self.metadata.take_finalizers()
    }
}

impl AddBatchNotifier for LogEvent {
    fn add_batch_notifier(&mut self, notifier: BatchNotifier) {
        self.metadata.add_batch_notifier(notifier);
    }
}

impl ByteSizeOf for LogEvent {
    fn allocated_bytes(&self) -> usize {
        let raw = match &self.raw {
            Some(Raw::Json(bytes) | Raw::Message(bytes)) => bytes.len(),
            None => 0,
        };
        raw + self.tree.get().map_or(0, |tree| estimate_json_size(tree))
            + self.metadata.partition_key().map_or(0, Bytes::len)
    }
}

impl EstimatedJsonEncodedSizeOf for LogEvent {
    fn estimated_json_encoded_size_of(&self) -> usize {
        match &self.raw {
            Some(Raw::Json(json)) => json.len(),
            // {"message":"…"}: what a reader of the metric expects, without making the tree.
            Some(Raw::Message(message)) => message.len() + r#"{"message":""}"#.len(),
            None => estimate_json_size(self.value()),
        }
    }
}

impl<T: Into<Value> + Display> From<std::collections::HashMap<KeyString, T>> for LogEvent {
    fn from(map: std::collections::HashMap<KeyString, T>) -> Self {
        let map = map.into_iter().map(|(key, value)| (key, value.into())).collect();
        Self::from_map(map, EventMetadata::default())
    }
}

impl From<Value> for LogEvent {
    fn from(value: Value) -> Self {
        Self::from_parts(value, EventMetadata::default())
    }
}

impl PartialEq for LogEvent {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_through_until_the_event_is_changed() {
        let text = Bytes::from_static(br#"{"b":1.50,"a":{"x":[1,null]}}"#);
        let mut event = LogEvent::from_json_bytes(text.clone(), EventMetadata::default());
        assert_eq!(event.parse_path_and_get_value(".a.x[0]").unwrap(), Some(&Value::Integer(1)));
        assert_eq!(event.to_json_bytes().unwrap(), text, "reading changes nothing");
        event.insert(&parse_target_path(".a.y").unwrap(), "new");
        assert_eq!(
            event.to_json_bytes().unwrap(),
            Bytes::from_static(br#"{"a":{"x":[1,null],"y":"new"},"b":1.5}"#)
        );
    }

    #[test]
    fn plain_bytes_read_as_a_message_with_the_fields_of_its_source() {
        let shared =
            super::super::metadata::SourceMetadata { source_type: Some("stdin"), ..Default::default() };
        let event = LogEvent::from_message_bytes(
            Bytes::from_static(b"hello"),
            EventMetadata::from_source(Arc::new(shared)),
        );
        assert_eq!(event.get_message_bytes().unwrap().as_ref(), b"hello");
        assert_eq!(
            serde_json::to_string(event.value()).unwrap(),
            r#"{"message":"hello","source_type":"stdin"}"#
        );
    }

    #[test]
    fn metadata_paths_look_into_the_metadata() {
        let mut event = LogEvent::from_str_legacy("x");
        event.insert(&parse_target_path("%a.b").unwrap(), 7);
        assert_eq!(event.parse_path_and_get_value("%a.b").unwrap(), Some(&Value::Integer(7)));
        assert!(matches!(event.raw(), Some(Raw::Message(_))), "the fields were not touched");
    }
}
