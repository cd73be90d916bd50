//! Component: `profile_export` as a transform of the pipeline.
//! In: arrays of events; the record is the `message` of an event made of plain bytes, else the event's own JSON text.
//! Out: exports by the primary output, with the profile's key as their partition key; dropped records by the port `dropped`.
//! Holds: one buffer for all outputs of an array; an export is a slice of it. When nobody holds one any more, it is used again.
//! Never: maps (see `mapper.rs`), prints a record.

use std::ops::Range;

use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, DataType, Input, TransformConfig, TransformContext, TransformOutput,
};
use afluente_pipeline::event::{Event, EventArray, LogEvent, ObjectMap, Raw, Value};
use afluente_pipeline::spare::Spares;
use afluente_pipeline::transform::{SyncTransform, Transform, TransformOutputsBuf};
use async_trait::async_trait;
use bytes::Bytes;
use metrics::{Counter, Gauge};

use super::{
    Counters, DropReason, IgnoreReason, Mapper, Outcome, ProfileExportConfig, SkipReason, Timestamp, Trigger,
};

/// The name of the output for records that could not be used.
pub const DROPPED_PORT: &str = "dropped";
/// Fields of an event of that output: the record's bytes, and why it was dropped.
const RECORD_FIELD: &str = "message";
const REASON_FIELD: &str = "reason";
/// Buffers of outputs that are remembered after they were given away, and their bytes. Chosen, not measured.
const SPARES_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 4 << 20;

afluente_pipeline::inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Transform,
        name: "profile_export",
        summary: "Adobe XDM profile events to the JSON that Adobe Experience Platform documents for Kinesis",
        schema: |generator| generator.subschema_for::<ProfileExportConfig>(),
    }
}

#[async_trait]
#[typetag::serde(name = "profile_export")]
impl TransformConfig for ProfileExportConfig {
    async fn build(&self, context: &TransformContext) -> afluente_pipeline::Result<Transform> {
        let id = context.key.as_ref().map_or_else(|| "profile_export".to_owned(), ToString::to_string);
        Ok(Transform::synchronous(ProfileExport::new(self.clone(), id)?))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn outputs(&self, _: &TransformContext) -> Vec<TransformOutput> {
        vec![TransformOutput::new(DataType::Log), TransformOutput::new(DataType::Log).with_port(DROPPED_PORT)]
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        self.compile().map(drop).map_err(|error| vec![error.to_string()])
    }

    fn enable_concurrency(&self) -> bool {
        // `change` remembers, and events of one key must be looked at in order by one instance.
        self.trigger != Trigger::Change
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

/// Where one export lies in the buffers of its array.
struct Place {
    output: Range<usize>,
    key: Range<usize>,
    log: LogEvent,
}

struct ProfileExport {
    config: ProfileExportConfig,
    id: String,
    mapper: Mapper,
    telemetry: Telemetry,
    places: Vec<Place>,
    spares: Spares,
}

impl ProfileExport {
    fn new(config: ProfileExportConfig, id: String) -> Result<Self, super::ConfigError> {
        let mapper = config.compile()?;
        let telemetry = Telemetry::new(&id);
        let spares = Spares::new(SPARES_MAX, SPARE_BYTES_MAX);
        Ok(Self { config, id, mapper, telemetry, places: Vec::new(), spares })
    }

    /// The buffer as shared bytes; a copy of its content if that is less than half of it, so that few outputs do not hold much memory.
    fn share(&mut self, outputs: Vec<u8>) -> Bytes {
        let few = (outputs.len() < outputs.capacity() / 2).then(|| Bytes::copy_from_slice(&outputs));
        let all = self.spares.give(outputs);
        few.unwrap_or(all)
    }
}

impl Clone for ProfileExport {
    /// A clone starts with an empty memory; only a transform without one is cloned to work side by side.
    fn clone(&self) -> Self {
        match Self::new(self.config.clone(), self.id.clone()) {
            Ok(clone) => clone,
            Err(error) => unreachable!("a configuration that compiled once compiles again: {error}"),
        }
    }
}

impl SyncTransform for ProfileExport {
    fn transform(&mut self, event: Event, output: &mut TransformOutputsBuf) {
        self.transform_all(EventArray::from(event), output);
    }

    fn transform_all(&mut self, events: EventArray, output: &mut TransformOutputsBuf) {
        let logs = events.into_logs();
        let now = if self.mapper.needs_clock() { now() } else { Timestamp::from_unix_nanos(0) };
        let input_bytes: usize = logs.iter().map(raw_bytes).sum();
        // Outputs are smaller than their inputs as a rule; the buffer grows if not.
        let mut outputs = self.spares.take(input_bytes);
        let mut keys = Vec::with_capacity(logs.len() * 48);
        let mut skipped = 0;
        for log in logs {
            let (output_start, key_start) = (outputs.len(), keys.len());
            let outcome = match log.raw() {
                Some(Raw::Message(record) | Raw::Json(record)) => {
                    self.mapper.map(record, now, &mut outputs, &mut keys)
                }
                None => match log.to_json_bytes() {
                    Ok(record) => self.mapper.map(&record, now, &mut outputs, &mut keys),
                    Err(_) => Outcome::Dropped(DropReason::InvalidJson),
                },
            };
            match outcome {
                Outcome::Export => self.places.push(Place {
                    output: output_start..outputs.len(),
                    key: key_start..keys.len(),
                    log,
                }),
                Outcome::Skipped(_) => skipped += 1,
                Outcome::Dropped(reason) => output.push(Some(DROPPED_PORT), dropped(log, reason)),
            }
        }
        let (outputs, keys) = (self.share(outputs), Bytes::from(keys));
        let exports = output.primary_mut();
        exports.reserve(self.places.len());
        for Place { output, key, log } in self.places.drain(..) {
            let mut metadata = log.into_metadata();
            if !key.is_empty() {
                metadata.set_partition_key(keys.slice(key));
            }
            exports.push_log(LogEvent::from_json_bytes(outputs.slice(output), metadata));
        }
        output.count_skipped(skipped);
        self.telemetry.add(&self.mapper.take_counters());
        self.telemetry.remembered.set(self.mapper.profiles_remembered() as f64);
    }
}

fn now() -> Timestamp {
    let now = chrono::Utc::now();
    let nanos = i128::from(now.timestamp()) * 1_000_000_000 + i128::from(now.timestamp_subsec_nanos());
    Timestamp::from_unix_nanos(nanos)
}

fn raw_bytes(log: &LogEvent) -> usize {
    match log.raw() {
        Some(Raw::Message(bytes) | Raw::Json(bytes)) => bytes.len(),
        None => 0,
    }
}

/// The event of a dropped record: its bytes and the reason.
fn dropped(log: LogEvent, reason: DropReason) -> Event {
    let record = match log.raw() {
        Some(Raw::Message(bytes) | Raw::Json(bytes)) => bytes.clone(),
        None => log.to_json_bytes().unwrap_or_else(|_| Bytes::new()),
    };
    let fields: ObjectMap =
        [(RECORD_FIELD.into(), Value::Bytes(record)), (REASON_FIELD.into(), Value::from(reason.as_str()))]
            .into();
    Event::Log(LogEvent::from_map(fields, log.into_metadata()))
}

/// The counters of the specification's section 9.
struct Telemetry {
    id: String,
    received: Counter,
    exported: Counter,
    identities_ignored: Counter,
    remembered: Gauge,
    skipped: Vec<Counter>,
    dropped: Vec<Counter>,
    ignored: Vec<Counter>,
}

impl Telemetry {
    fn new(id: &str) -> Self {
        let labels = |reason: Option<&'static str>| {
            let mut labels = vec![
                ("component_kind", "transform".to_owned()),
                ("component_type", "profile_export".to_owned()),
                ("component_id", id.to_owned()),
            ];
            labels.extend(reason.map(|reason| ("reason", reason.to_owned())));
            labels
        };
        let counter = |name: &'static str, reason| metrics::counter!(name, &labels(reason));
        let skipped = |reason: SkipReason| counter("profile_export_skipped_total", Some(reason.as_str()));
        let dropped = |reason: DropReason| counter("profile_export_dropped_total", Some(reason.as_str()));
        let ignored =
            |reason: IgnoreReason| counter("profile_export_memberships_ignored_total", Some(reason.as_str()));
        Self {
            id: id.to_owned(),
            received: counter("profile_export_received_total", None),
            exported: counter("profile_export_exported_total", None),
            identities_ignored: counter("profile_export_identities_ignored_total", None),
            remembered: metrics::gauge!("profile_export_profiles_remembered", &labels(None)),
            skipped: SkipReason::ALL.into_iter().map(skipped).collect(),
            dropped: DropReason::ALL.into_iter().map(dropped).collect(),
            ignored: IgnoreReason::ALL.into_iter().map(ignored).collect(),
        }
    }

    fn add(&self, counts: &Counters) {
        self.received.increment(counts.received);
        self.exported.increment(counts.exported);
        if counts.identities_ignored > 0 {
            self.identities_ignored.increment(counts.identities_ignored);
        }
        let lists = [
            (&self.skipped, counts.skipped.as_slice()),
            (&self.dropped, &counts.dropped),
            (&self.ignored, &counts.memberships_ignored),
        ];
        for (counters, counts) in lists {
            for (counter, count) in counters.iter().zip(counts).filter(|(_, count)| **count > 0) {
                counter.increment(*count);
            }
        }
        for (reason, count) in DropReason::ALL.iter().zip(counts.dropped).filter(|(_, count)| *count > 0) {
            tracing::warn!(component_id = %self.id, reason = reason.as_str(), count, "Records dropped.");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"a":12.50,"identityMap":{"ECID":[{"id":"7"}]}}"#;

    fn run(events: Vec<LogEvent>) -> (Vec<LogEvent>, Vec<LogEvent>, u64) {
        let config = serde_json::json!({"attributes": ["a"], "trigger": "every"});
        let config = ProfileExportConfig::from_json(config).unwrap();
        let mut transform = ProfileExport::new(config, "t".to_owned()).unwrap();
        let mut output = TransformOutputsBuf::new([DROPPED_PORT.to_owned()]);
        transform.transform_all(EventArray::Logs(events), &mut output);
        let exports = output.drain().map(Event::into_log).collect();
        let dropped = output.drain_named(DROPPED_PORT).map(Event::into_log).collect();
        (exports, dropped, output.take_skipped())
    }

    #[test]
    fn bytes_and_an_event_of_json_map_alike_and_carry_the_profiles_key() {
        let bytes = LogEvent::from_str_legacy(RECORD);
        let json = LogEvent::from_json_bytes(Bytes::from_static(RECORD.as_bytes()), Default::default());
        let (exports, dropped, _) = run(vec![bytes, json]);
        assert!(dropped.is_empty());
        assert_eq!(exports.len(), 2);
        for export in exports {
            assert_eq!(
                export.to_json_bytes().unwrap(),
                Bytes::from_static(
                    br#"{"a":12.50,"segmentMembership":{},"identityMap":{"ECID":[{"id":"7"}]}}"#
                )
            );
            assert_eq!(export.metadata().partition_key().map(|key| &key[..]), Some(&b"ecid:7"[..]));
        }
    }

    #[test]
    fn few_outputs_hold_little_memory_and_their_buffer_is_used_again() {
        let config = ProfileExportConfig::from_json(serde_json::json!({})).unwrap();
        let mut transform = ProfileExport::new(config, "t".to_owned()).unwrap();
        let mut buffer = transform.spares.take(10_000);
        buffer.extend_from_slice(b"few");
        let place = buffer.as_ptr();
        let few = transform.share(buffer);
        assert_eq!(few, "few");
        let mut buffer = transform.spares.take(10_000);
        assert_eq!(buffer.as_ptr(), place);
        buffer.resize(9_000, b'x');
        assert_eq!(transform.share(buffer).as_ptr(), place, "many are not copied");
    }

    #[test]
    fn a_bad_record_goes_by_its_own_port_with_its_bytes_and_the_reason() {
        let (exports, dropped, _) = run(vec![LogEvent::from_str_legacy("{oops")]);
        assert!(exports.is_empty());
        assert_eq!(
            serde_json::to_string(dropped[0].value()).unwrap(),
            r#"{"message":"{oops","reason":"invalid_json"}"#
        );
    }
}
