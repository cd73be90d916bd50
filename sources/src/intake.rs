//! Intake: from lines to arrays of events.
//! In: chunks of whole lines; what all events of an array share. Out: arrays of at most [`ARRAY_EVENTS`] events.
//! A line that is no event is counted and told with its place; the rest goes on. Empty lines are nothing.
//! Holds: the number of the line it is at. Never: waits, copies a line.

use std::borrow::Cow;
use std::sync::Arc;

use afluente_pipeline::codecs::decoding::Decoder;
use afluente_pipeline::component::ComponentKey;
use afluente_pipeline::event::{
    EventFinalizers, EventMetadata, KeyString, LogEvent, ObjectMap, SourceMetadata, Value,
};
use chrono::Utc;

use crate::faults::{Fault, Faults};
use crate::lines::{Chunk, Line, LineRules, TooLong};

/// Most events of one array: those of the queues between components.
pub(crate) const ARRAY_EVENTS: usize = afluente_pipeline::CHUNK_EVENTS;

/// What all events of one source share; stamped with the time once an array.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    template: SourceMetadata,
}

impl Stamp {
    pub(crate) fn new(source_type: &'static str, key: &ComponentKey) -> Self {
        let template = SourceMetadata {
            source_id: Some(Arc::new(key.clone())),
            source_type: Some(source_type),
            ..Default::default()
        };
        Self { template }
    }

    /// Adds a field to events made of plain bytes, unless `key` is `None`.
    pub(crate) fn with_field(mut self, key: Option<&str>, value: impl Into<Value>) -> Self {
        if let Some(key) = key {
            self.template.fields.insert(KeyString::from(key), value.into());
        }
        self
    }

    /// Metadata for events taken in now.
    pub(crate) fn now(&self, finalizers: EventFinalizers) -> EventMetadata {
        self.with_fields(ObjectMap::new(), finalizers)
    }

    /// Metadata for events taken in now that have more fields.
    pub(crate) fn with_fields(&self, fields: ObjectMap, finalizers: EventFinalizers) -> EventMetadata {
        let mut shared = self.template.clone();
        shared.fields.extend(fields);
        shared.ingest_timestamp = Some(Utc::now());
        EventMetadata::from_source(Arc::new(shared)).with_finalizers(finalizers)
    }
}

/// Which field name an option such as `host_key` means: unset is `default`, empty is none, a leading dot is let go.
pub(crate) fn field_name<'a>(option: Option<&'a str>, default: Option<&'a str>) -> Option<&'a str> {
    match option {
        None => default,
        Some(name) => Some(name.strip_prefix('.').unwrap_or(name)).filter(|name| !name.is_empty()),
    }
}

/// One sentence if an option such as `host_key` asks for a nested field, which has no place here.
pub(crate) fn check_field_name(option: &str, name: Option<&str>) -> Result<(), String> {
    match field_name(name, None) {
        Some(name) if name.contains(['.', '[', '"', '%']) => {
            Err(format!("`{option}` must be the name of a top level field, not the path {name:?}"))
        }
        _ => Ok(()),
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes events of lines.
pub(crate) struct Intake {
    pub(crate) rules: LineRules,
    decoder: Decoder,
    faults: Faults,
}

/// Names the place of a line: its number if lines are counted from the beginning of the stream, else its position.
pub(crate) enum Place<'a> {
    /// The stream has one line number.
    Numbered(&'a mut u64),
    /// A file that was not read from its beginning.
    File(&'a str),
}

impl Place<'_> {
    fn step(&mut self) {
        if let Self::Numbered(number) = self {
            **number += 1;
        }
    }

    fn name(&self, offset: u64) -> String {
        match self {
            Self::Numbered(number) => format!("line {number} (at byte {offset})"),
            Self::File(path) => format!("the line at byte {offset} of {path}"),
        }
    }
}

impl Intake {
    pub(crate) fn new(rules: LineRules, decoder: Decoder, faults: Faults) -> Self {
        Self { rules, decoder, faults }
    }

    /// Moves lines of `chunk` into `events` until that is full or the chunk is empty; whether there is more.
    /// `metadata` gets the position of each line: usually all events of an array share theirs.
    pub(crate) fn fill<'m>(
        &mut self,
        chunk: &mut Chunk,
        events: &mut Vec<LogEvent>,
        mut place: Place<'_>,
        metadata: impl Fn(u64) -> Cow<'m, EventMetadata>,
    ) -> bool {
        while events.len() < ARRAY_EVENTS {
            let Some(line) = chunk.next_line(&self.rules) else { return false };
            place.step();
            match line {
                Line::Empty => {}
                Line::Record { offset, bytes } => {
                    if let Err(error) = self.decoder.decode(bytes, &metadata(offset), events) {
                        let place = || format!("{} cannot be decoded: {error}", place.name(offset));
                        self.faults.add(Fault::Undecodable, place);
                    }
                }
                Line::TooLong(TooLong { offset, bytes }) => {
                    let limit = self.rules.max_line_bytes;
                    self.faults.add(Fault::TooLong, || {
                        let place = place.name(offset);
                        format!("{place} is {bytes} bytes long and the limit is {limit}: raise it or shorten the record")
                    });
                }
            }
        }
        !chunk.is_done()
    }
}
