//! Buffer: `buffer` of a sink, one stage or a list of them, by Vector's rules and with reasons.
//! In: the value of the key. Out: the buffer in force.
//! Disk stages and overflow chains load and are checked, but become a memory buffer that blocks: nothing is lost by it, for
//! a source that can wait is held back instead.

use serde_json::Value;

use super::document::Document;
use super::error::Trail;
use super::fields::{Fields, Report, Unknown};
use super::{BufferConfig, DEFAULT_BUFFER_EVENTS, WhenFull};

/// Vector's smallest disk buffer: two data files and a little.
const DISK_BYTES_MIN: usize = 268_435_488;
/// The smallest byte budget. Chosen: one record of the default size limit fits.
pub(super) const BUDGET_BYTES_MIN: usize = 1024 * 1024;

const WHEN_FULL: [(&str, WhenFull); 3] =
    [("block", WhenFull::Block), ("drop_newest", WhenFull::DropNewest), ("overflow", WhenFull::Overflow)];

struct Stage {
    trail: Trail,
    disk: bool,
    config: BufferConfig,
}

/// Reads the buffer at `trail`.
pub(super) fn read(document: &Document, trail: &Trail, value: &Value, report: &mut Report) -> BufferConfig {
    let stages: Vec<Stage> = match value {
        Value::Array(list) if list.is_empty() => {
            report.error(trail.clone(), "invalid length 0, expected at least one stage");
            Vec::new()
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .filter_map(|(index, stage)| read_stage(document, trail.index(index), stage, report))
            .collect(),
        Value::Object(_) => read_stage(document, trail.clone(), value, report).into_iter().collect(),
        other => {
            let found = document.describe(trail, other);
            report.error(trail.clone(), format!("invalid type: {found}, expected a map or a list of maps"));
            Vec::new()
        }
    };
    for (position, stage) in stages.iter().enumerate() {
        let last = position + 1 == stages.len();
        let overflows = stage.config.when_full == WhenFull::Overflow;
        if overflows && last {
            report.error(
                stage.trail.key("when_full"),
                "`overflow` needs a next stage to hand events to; add one, or use `block` or `drop_newest`",
            );
        } else if !overflows && !last {
            report.error(
                stage.trail.key("when_full"),
                "a stage that is followed by another must say `overflow`, or the next one is never reached",
            );
        }
    }
    in_force(stages, trail, report)
}

fn in_force(stages: Vec<Stage>, trail: &Trail, report: &mut Report) -> BufferConfig {
    let disk = stages.iter().any(|stage| stage.disk);
    let chain = stages.len() > 1;
    if disk || chain {
        let what = if disk { "disk buffers are" } else { "overflow chains are" };
        report.warn(
            trail.clone(),
            format!(
                "{what} not built yet: events wait in memory under the byte budget (`max_bytes`), and sources that can \
                 wait are held back instead; what waits is not kept across a restart unless the source can replay it"
            ),
        );
    }
    let max_bytes = stages.iter().find_map(|stage| stage.config.max_bytes);
    let memory = stages.into_iter().find(|stage| !stage.disk).map(|stage| stage.config).unwrap_or_default();
    let when_full = if disk || chain { WhenFull::Block } else { memory.when_full };
    BufferConfig { when_full, max_bytes, ..memory }
}

fn read_stage(document: &Document, trail: Trail, value: &Value, report: &mut Report) -> Option<Stage> {
    let fields = Fields::of(document, trail.clone(), value, report)?;
    let disk = match fields.get("type") {
        None => false,
        Some(_) => fields.one_of("type", &[("memory", false), ("disk", true)], report)?,
    };
    let when_full = fields.one_of("when_full", &WHEN_FULL, report).unwrap_or_default();
    let known: &[&'static str] = if disk {
        &["type", "max_size", "when_full", "max_bytes"]
    } else {
        &["type", "max_events", "max_size", "when_full", "max_bytes"]
    };
    fields.unknown(known, Unknown::Refused, report);
    let max_size_bytes = fields.count("max_size", 1, report);
    let max_bytes = fields.count("max_bytes", BUDGET_BYTES_MIN, report);
    let max_events = if disk { None } else { fields.count("max_events", 1, report) };
    if disk {
        match (max_size_bytes, fields.get("max_size")) {
            (_, None) => {
                report.error(trail.clone(), "missing field `max_size`: a disk buffer needs its size in bytes");
            }
            (Some(bytes), _) if bytes < DISK_BYTES_MIN => report.error(
                trail.key("max_size"),
                format!(
                    "parameter 'max_buffer_size' was invalid: must be greater than or equal to {DISK_BYTES_MIN} bytes"
                ),
            ),
            _ => {}
        }
    } else if fields.get("max_size").is_some() && fields.get("max_events").is_some() {
        report.error(trail.clone(), "a memory buffer takes `max_events` or `max_size`, not both");
    }
    let config = BufferConfig {
        // Limited by bytes alone, as in Vector, where `max_size` takes the place of `max_events`.
        max_events: match (max_events, max_size_bytes) {
            (Some(events), _) => events,
            (None, Some(_)) if !disk => usize::MAX,
            (None, _) => DEFAULT_BUFFER_EVENTS,
        },
        max_size_bytes: if disk { None } else { max_size_bytes },
        when_full,
        max_bytes,
    };
    Some(Stage { trail, disk, config })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(value: Value) -> (BufferConfig, Vec<String>, usize) {
        let mut report = Report::default();
        let config = read(&Document::default(), &Trail::of(&["buffer"]), &value, &mut report);
        let errors =
            report.errors.iter().map(|error| format!("{}: {}", error.trail, error.message)).collect();
        (config, errors, report.warnings.len())
    }

    #[test]
    fn memory_buffers_are_taken_as_they_are() {
        let default = BufferConfig::default();
        for (value, expected) in [
            (json!({}), default.clone()),
            (json!({"type": "memory"}), default.clone()),
            (json!({"max_events": 7}), BufferConfig { max_events: 7, ..default.clone() }),
            (
                json!({"max_size": 9, "when_full": "drop_newest"}),
                BufferConfig {
                    max_events: usize::MAX,
                    max_size_bytes: Some(9),
                    when_full: WhenFull::DropNewest,
                    max_bytes: None,
                },
            ),
            (json!([{"max_bytes": 1048576}]), BufferConfig { max_bytes: Some(1_048_576), ..default.clone() }),
        ] {
            assert_eq!(run(value.clone()), (expected, vec![], 0), "{value}");
        }
    }

    #[test]
    fn disk_and_overflow_load_with_a_warning_and_block_in_memory() {
        let disk = json!({"type": "disk", "max_size": 268_435_488, "when_full": "drop_newest"});
        assert_eq!(run(disk.clone()), (BufferConfig::default(), vec![], 1));
        let chain = json!([{"max_events": 9, "when_full": "overflow"}, disk]);
        assert_eq!(run(chain), (BufferConfig { max_events: 9, ..BufferConfig::default() }, vec![], 1));
    }

    #[test]
    fn a_bad_buffer_is_told_with_its_reason() {
        for (value, expected) in [
            (json!(null), "buffer: invalid type: null, expected a map or a list of maps"),
            (json!([]), "buffer: invalid length 0"),
            (json!({"max_events": 0}), "buffer.max_events: invalid value: integer `0`, expected at least 1"),
            (
                json!({"max_events": "x"}),
                "buffer.max_events: invalid type: string \"x\", expected a whole number",
            ),
            (
                json!({"max_events": 1, "max_size": 1}),
                "buffer: a memory buffer takes `max_events` or `max_size`",
            ),
            (
                json!({"max_bytes": 1}),
                "buffer.max_bytes: invalid value: integer `1`, expected at least 1048576",
            ),
            (json!({"max_event": 1}), "buffer.max_event: unknown field `max_event`"),
            (json!({"when_full": "drop"}), "buffer.when_full: unknown variant `drop`"),
            (json!({"when_full": "overflow"}), "buffer.when_full: `overflow` needs a next stage"),
            (json!({"type": "tape"}), "buffer.type: unknown variant `tape`"),
            (json!({"type": "disk"}), "buffer: missing field `max_size`"),
            (
                json!({"type": "disk", "max_size": 1}),
                "buffer.max_size: parameter 'max_buffer_size' was invalid",
            ),
            (
                json!({"type": "disk", "max_size": 268_435_488, "max_events": 1}),
                "buffer.max_events: unknown field",
            ),
            (json!([{}, {}]), "buffer[0].when_full: a stage that is followed by another"),
        ] {
            let (_, errors, _) = run(value.clone());
            assert_eq!(errors.len(), 1, "{value}: {errors:?}");
            assert!(errors[0].starts_with(expected), "{value}: {errors:?}");
        }
    }
}
