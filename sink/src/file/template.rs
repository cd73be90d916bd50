//! Template: the path of an event, from literal text, time formats and fields.
//! In: `path` and its confinement, read once; then an event and a time. Out: a path below the base directory.
//! Never: touches the file system (so links are not followed here), shows a field's value in an error.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use afluente_pipeline::event::{LogEvent, Raw, Value};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local, Utc};
use vrl::path::{OwnedTargetPath, parse_target_path};

/// Why an event has no path; it never will have one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("the event has no field `{0}`, which `path` asks for: set it in a transform")]
    MissingField(String),
    #[error(
        "a field of the event would lead `path` out of {}: clean it in a transform, or set `base_dir`",
        .0.display()
    )]
    Escapes(PathBuf),
}

/// The zone that time formats are rendered in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Zone {
    #[default]
    Utc,
    Local,
}

impl Zone {
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "UTC" | "Etc/UTC" | "utc" => Ok(Self::Utc),
            "local" => Ok(Self::Local),
            other => Err(format!("`timezone: {other}` is not supported: use `UTC` (the default) or `local`")),
        }
    }
}

/// How far fields may lead a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Confinement {
    pub(super) base_dir: Option<PathBuf>,
    pub(super) none: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Checked when it was read.
    Time(String),
    Field {
        name: String,
        path: OwnedTargetPath,
    },
}

/// A parsed `path`.
#[derive(Clone, Debug)]
pub(super) struct PathTemplate {
    parts: Vec<Part>,
    zone: Zone,
    /// The directory that stands before the first time format and field.
    dir: PathBuf,
    /// Rendered paths stay below; empty is the working directory. Unset: anywhere.
    base: Option<PathBuf>,
}

impl PathTemplate {
    pub(super) fn new(text: &str, zone: Zone, confinement: &Confinement) -> Result<Self, String> {
        let parts = parse(text)?;
        if let Some(base) = confinement.base_dir.as_deref().filter(|base| base.is_relative()) {
            return Err(format!("`base_dir` is {base:?}; it must be an absolute path"));
        }
        let base = if confinement.none { None } else { base(text, &parts, confinement.base_dir.as_deref())? };
        let dir = literal_dir(literal_start(&parts)).to_owned();
        Ok(Self { parts, zone, dir, base })
    }

    /// The path if it is the same for all events.
    pub(super) fn fixed(&self) -> Option<&Path> {
        match self.parts.as_slice() {
            [Part::Literal(path)] => Some(Path::new(path)),
            _ => None,
        }
    }

    /// The directory that all paths are in, as far as it does not depend on event and time.
    pub(super) fn fixed_dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the event's path into `out`. Time formats show when the event happened: its native `timestamp`, else
    /// when its source took it in, else `now`.
    pub(super) fn render(
        &self,
        event: &LogEvent,
        now: DateTime<Utc>,
        out: &mut String,
    ) -> Result<(), PathError> {
        out.clear();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(format) => {
                    let time = event_time(event).unwrap_or(now);
                    // Formats were checked; writing into a string does not fail.
                    let _ = match self.zone {
                        Zone::Utc => write!(out, "{}", time.format(format)),
                        Zone::Local => write!(out, "{}", time.with_timezone(&Local).format(format)),
                    };
                }
                Part::Field { name, path } => match event.get(path) {
                    None | Some(Value::Null) => return Err(PathError::MissingField(name.clone())),
                    Some(value) => out.push_str(&value.to_string_lossy()),
                },
            }
        }
        match &self.base {
            Some(base) if !below(base, Path::new(out)) => Err(PathError::Escapes(base.clone())),
            _ => Ok(()),
        }
    }
}

/// The event's own time. JSON that nobody read has no native timestamp, so nothing is parsed for it.
fn event_time(event: &LogEvent) -> Option<DateTime<Utc>> {
    let own = match event.raw() {
        Some(Raw::Json(_) | Raw::Message(_)) => None,
        None => event.get_timestamp().and_then(Value::as_timestamp).copied(),
    };
    own.or_else(|| event.metadata().ingest_timestamp())
}

/// Whether `path` is inside `base`, by its text: no step of it leads up again.
fn below(base: &Path, path: &Path) -> bool {
    path.strip_prefix(base).is_ok_and(|rest| {
        rest.components().all(|step| matches!(step, Component::Normal(_) | Component::CurDir))
    })
}

fn parse(text: &str) -> Result<Vec<Part>, String> {
    if text.is_empty() {
        return Err("`path` is empty; it must name a file".to_owned());
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        push_text(&mut parts, &rest[..open])?;
        let inside = &rest[open + 2..];
        let close = inside
            .find("}}")
            .ok_or_else(|| format!("`path` {text:?} opens a field with `{{{{` that no `}}}}` closes"))?;
        let name = inside[..close].trim();
        let path = parse_target_path(name).map_err(|_| {
            format!("`path` {text:?}: `{name}` is not a path of a field, such as `user.id` or `%source`")
        })?;
        parts.push(Part::Field { name: name.to_owned(), path });
        rest = &inside[close + 2..];
    }
    push_text(&mut parts, rest)?;
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if !text.contains('%') {
        parts.push(Part::Literal(text.to_owned()));
        return Ok(());
    }
    if StrftimeItems::new(text).any(|item| item == Item::Error) {
        return Err(format!(
            "`path`: {text:?} holds a time format that is none; write `%%` for a percent sign"
        ));
    }
    parts.push(Part::Time(text.to_owned()));
    Ok(())
}

/// The text before the first time format and field.
fn literal_start(parts: &[Part]) -> &str {
    match parts.first() {
        Some(Part::Literal(text)) => text,
        Some(Part::Time(format)) => &format[..format.find('%').unwrap_or(0)],
        Some(Part::Field { .. }) | None => "",
    }
}

/// `text` up to its last separator, which only the root keeps.
fn literal_dir(text: &str) -> &Path {
    Path::new(match text.rfind('/') {
        Some(0) => "/",
        Some(end) => &text[..end],
        None => "",
    })
}

/// The directory that paths must stay in: `base_dir`, or what stands before the first field and time format.
fn base(text: &str, parts: &[Part], base_dir: Option<&Path>) -> Result<Option<PathBuf>, String> {
    let literal = literal_start(parts);
    let dir = literal_dir(literal);
    if let Some(base) = base_dir {
        let reachable = if parts.len() == 1 && literal.len() == text.len() {
            below(base, Path::new(text))
        } else {
            dir.starts_with(base) || base.starts_with(dir)
        };
        return if reachable {
            Ok(Some(base.to_owned()))
        } else {
            Err(format!(
                "`path` {text:?} is not inside `base_dir` {base:?}: no event could be written; change one of them"
            ))
        };
    }
    if !parts.iter().any(|part| matches!(part, Part::Field { .. })) {
        return Ok(None);
    }
    if literal.is_empty() || dir == Path::new("/") {
        return Err(format!(
            "`path` {text:?} takes its directory from event fields, so an event could choose any file: begin it \
             with a directory, set `base_dir`, or set `dangerously_allow_unconfined_template_resolution: true`"
        ));
    }
    Ok(Some(dir.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use afluente_pipeline::event::{EventMetadata, SourceMetadata};
    use bytes::Bytes;
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(seconds, 0).single().unwrap()
    }

    fn event(json: &str) -> LogEvent {
        LogEvent::from_json_bytes(Bytes::copy_from_slice(json.as_bytes()), EventMetadata::default())
    }

    fn render_with(text: &str, confinement: &Confinement, event: &LogEvent) -> Result<String, PathError> {
        let mut out = String::new();
        let template = PathTemplate::new(text, Zone::Utc, confinement).unwrap();
        template.render(event, at(1_769_851_800), &mut out).map(|()| out)
    }

    fn render(text: &str, json: &str) -> Result<String, PathError> {
        render_with(text, &Confinement::default(), &event(json))
    }

    fn below_dir(base: &str) -> Confinement {
        Confinement { base_dir: Some(base.into()), none: false }
    }

    #[test]
    fn literal_text_times_and_fields_make_a_path() {
        for (text, json, expected) in [
            ("/var/out.ndjson", "{}", "/var/out.ndjson"),
            ("out.ndjson", "{}", "out.ndjson"),
            ("/var/%Y/%m-%d.log", "{}", "/var/2026/01-31.log"),
            ("/var/100%%.log", "{}", "/var/100%.log"),
            ("/var/{{ user.id }}/{{n}}-%H.log", r#"{"user":{"id":"u 1"},"n":12.50}"#, "/var/u 1/12.5-09.log"),
            ("/var/{{ a }}.log", r#"{"a":"x/y"}"#, "/var/x/y.log"),
            ("logs-{{ a }}", r#"{"a":"x"}"#, "logs-x"),
            ("../up/{{ a }}", r#"{"a":"x"}"#, "../up/x"),
            ("/var/{{ a }}", r#"{"a":"./x"}"#, "/var/./x"),
            ("/var/%Y/{{ a }}.log", r#"{"a":"..x.."}"#, "/var/2026/..x...log"),
        ] {
            assert_eq!(render(text, json), Ok(expected.to_owned()), "{text} {json}");
        }
    }

    #[test]
    fn an_event_without_a_field_has_no_path_and_the_error_names_it() {
        for json in ["{}", r#"{"user":{"id":null}}"#, r#"{"user":7}"#] {
            assert_eq!(
                render("/var/{{ .user.id }}", json),
                Err(PathError::MissingField(".user.id".to_owned())),
                "{json}"
            );
        }
    }

    #[test]
    fn no_field_leads_out_of_the_directory_before_it() {
        for (text, json) in [
            ("/var/{{ a }}", r#"{"a":"../etc/passwd"}"#),
            ("/var/{{ a }}", r#"{"a":".."}"#),
            ("/var/{{ a }}", r#"{"a":"x/../../etc"}"#),
            ("/var/.{{ a }}/x", r#"{"a":"."}"#),
            ("/var/{{ a }}{{ a }}/x", r#"{"a":"."}"#),
            ("/var/%Y/{{ a }}", r#"{"a":"../2025/x"}"#),
            ("logs-{{ a }}", r#"{"a":"x/../../y"}"#),
        ] {
            let error = render(text, json).unwrap_err();
            assert!(matches!(error, PathError::Escapes(_)), "{text} {json}: {error}");
            assert!(!error.to_string().contains("etc"), "no value of the event: {error}");
        }
    }

    #[test]
    fn base_dir_is_the_bound_where_it_is_set() {
        let base = below_dir("/srv/out");
        for (text, json, inside) in [
            ("{{ a }}/x", r#"{"a":"/srv/out/t"}"#, true),
            ("{{ a }}/x", r#"{"a":"/srv/other"}"#, false),
            ("{{ a }}/x", r#"{"a":"relative"}"#, false),
            ("/srv/{{ a }}/x", r#"{"a":"out"}"#, true),
            ("/srv/{{ a }}/x", r#"{"a":"outer"}"#, false),
            ("/srv/out/deep/{{ a }}", r#"{"a":"../x"}"#, false),
            ("/srv/out/%Y", "{}", true),
        ] {
            assert_eq!(render_with(text, &base, &event(json)).is_ok(), inside, "{text} {json}");
        }
    }

    #[test]
    fn the_bound_can_be_taken_away() {
        let none = Confinement { base_dir: None, none: true };
        for (text, json, expected) in
            [("{{ a }}", r#"{"a":"/etc/x"}"#, "/etc/x"), ("/var/{{ a }}", r#"{"a":"../x"}"#, "/var/../x")]
        {
            assert_eq!(render_with(text, &none, &event(json)), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        let free = Confinement::default();
        for (text, confinement, expected) in [
            ("", &free, "empty"),
            ("/var/{{ a", &free, "that no `}}` closes"),
            ("/var/{{ a..b }}", &free, "`a..b` is not a path of a field"),
            ("/var/{{ }}", &free, "`` is not a path of a field"),
            ("/var/%Q.log", &free, "time format that is none"),
            ("{{ a }}.log", &free, "begin it with a directory"),
            ("/{{ a }}.log", &free, "begin it with a directory"),
            ("/x{{ a }}.log", &free, "begin it with a directory"),
            ("%Y/{{ a }}.log", &free, "begin it with a directory"),
            ("/var/x.log", &below_dir("/srv"), "is not inside `base_dir`"),
            ("/srv/../etc/x.log", &below_dir("/srv"), "is not inside `base_dir`"),
            ("/var/{{ a }}", &below_dir("/srv"), "is not inside `base_dir`"),
            ("/srv/x.log", &below_dir("srv"), "must be an absolute path"),
        ] {
            let error = PathTemplate::new(text, Zone::Utc, confinement).map(drop).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn times_are_the_events_own_before_the_sources_before_now() {
        let shared = SourceMetadata { ingest_timestamp: Some(at(86_400)), ..SourceMetadata::default() };
        let taken_in = |event: LogEvent| {
            let mut event = event;
            *event.metadata_mut() = EventMetadata::from_source(Arc::new(shared.clone()));
            event
        };
        let mut own = LogEvent::default();
        own.insert(&parse_target_path("timestamp").unwrap(), Value::Timestamp(at(0)));
        for (event, expected) in [
            (taken_in(own.clone()), "/t/1970-01-01"),
            (own, "/t/1970-01-01"),
            (taken_in(event(r#"{"timestamp":"2020-01-01T00:00:00Z"}"#)), "/t/1970-01-02"),
            (taken_in(LogEvent::from_str_legacy("x")), "/t/1970-01-02"),
            (LogEvent::from_str_legacy("x"), "/t/2026-01-31"),
        ] {
            assert_eq!(render_with("/t/%F", &Confinement::default(), &event), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn fixed_parts_are_known_without_an_event() {
        let dir = |text| PathTemplate::new(text, Zone::Utc, &Confinement::default()).unwrap().dir;
        assert_eq!(dir("/var/log/x.log"), PathBuf::from("/var/log/"));
        assert_eq!(dir("/var/log/a-{{ a }}.log"), PathBuf::from("/var/log/"));
        assert_eq!(dir("/var/log/%Y/x.log"), PathBuf::from("/var/log/"));
        assert_eq!(dir("x.log"), PathBuf::new());
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_base(parts in prop::collection::vec(
            prop::sample::select(vec!["..", ".", "/", "//", "a", "b..", "\u{0}", " "]), 0..8,
        )) {
            let value = parts.concat();
            let json = serde_json::json!({"a": value}).to_string();
            for text in ["/base/dir/{{ a }}/x", "/base/dir/.{{ a }}", "/base/dir/p{{ a }}{{ a }}"] {
                if let Ok(path) = render(text, &json) {
                    let mut depth = 0_i32;
                    for step in Path::new(&path).strip_prefix("/base/dir").unwrap().components() {
                        depth += match step {
                            Component::ParentDir => -1,
                            Component::Normal(_) => 1,
                            Component::CurDir => 0,
                            Component::RootDir | Component::Prefix(_) => -100,
                        };
                        prop_assert!(depth >= 0, "{}", path);
                    }
                }
            }
        }
    }
}
