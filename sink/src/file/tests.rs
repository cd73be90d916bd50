//! Tests of the `file` sink as a whole, on real files.

#![allow(clippy::unwrap_used)]

use std::io::Read;

use afluente_pipeline::accounting::Ledger;
use afluente_pipeline::event::{BatchStatus, EventArray, EventMetadata, LogEvent, lose};
use bytes::Bytes;
use futures::stream;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::tally::tests::{books, context, messages, of_one_fate};

struct Setup {
    dir: TempDir,
    ledger: Ledger,
    context: SinkContext,
}

impl Setup {
    fn new() -> Self {
        let (context, ledger) = context();
        Self { dir: tempfile::tempdir().unwrap(), ledger, context }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    async fn sink(&self, path: &str, more: Value) -> VectorSink {
        let mut options = json!({"type": "file", "path": self.path(path), "encoding": {"codec": "text"}});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: Box<dyn SinkConfig> = serde_json::from_value(options).unwrap();
        config.build(self.context.clone()).await.unwrap().0
    }

    async fn run(&self, path: &str, more: Value, arrays: Vec<EventArray>) -> std::result::Result<(), ()> {
        self.sink(path, more).await.run(stream::iter(arrays)).await
    }
}

fn json_event(text: &str) -> LogEvent {
    LogEvent::from_json_bytes(Bytes::copy_from_slice(text.as_bytes()), EventMetadata::default())
}

#[tokio::test]
async fn events_are_appended_in_order_and_delivered() {
    let setup = Setup::new();
    std::fs::write(setup.path("out.log"), "before\n").unwrap();
    let (first, first_status) = messages(&["a", "b"]);
    let (second, second_status) = messages(&["c"]);
    setup.run("out.log", json!({}), vec![first, second]).await.unwrap();
    assert_eq!(setup.text("out.log"), "before\na\nb\nc\n");
    assert_eq!(first_status.await, BatchStatus::Delivered);
    assert_eq!(second_status.await, BatchStatus::Delivered);
    assert_eq!(books(&setup.ledger), (3, 0));
}

#[tokio::test]
async fn delivered_events_are_in_the_file_while_the_sink_runs_on() {
    let setup = Setup::new();
    for (name, compression) in [("plain", "none"), ("packed", "gzip")] {
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let sink = setup.sink(name, json!({"compression": compression})).await;
        let run = tokio::spawn(sink.run(receiver));
        let mut expected = String::new();
        for message in ["a", "b"] {
            let (array, status) = messages(&[message]);
            sender.unbounded_send(array).unwrap();
            assert_eq!(status.await, BatchStatus::Delivered);
            expected = format!("{expected}{message}\n");
            let mut text = String::new();
            if compression == "gzip" {
                let bytes = setup.read(name);
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            } else {
                text = setup.text(name);
            }
            assert_eq!(text, expected);
        }
        drop(sender);
        run.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn compressed_files_read_as_one_stream_also_after_a_restart() {
    let setup = Setup::new();
    for message in ["a", "b"] {
        for compression in ["gzip", "zstd"] {
            let array = messages(&[message, message]).0;
            setup.run(compression, json!({"compression": compression}), vec![array]).await.unwrap();
        }
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&setup.read("gzip")[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "a\na\nb\nb\n");
    assert_eq!(zstd::stream::decode_all(&setup.read("zstd")[..]).unwrap(), b"a\na\nb\nb\n");
}

#[tokio::test]
async fn each_event_goes_to_the_path_that_it_names() {
    let setup = Setup::new();
    let logs = [r#"{"t":"x","n":1}"#, r#"{"t":"y","n":2}"#, r#"{"t":"x","n":3}"#].map(json_event);
    let (array, status) = of_one_fate(logs.to_vec());
    let more = json!({"encoding": {"codec": "json"}, "internal_metrics": {"include_file_tag": true}});
    setup.run("by/{{ t }}.ndjson", more, vec![array]).await.unwrap();
    assert_eq!(setup.text("by/x.ndjson"), "{\"t\":\"x\",\"n\":1}\n{\"t\":\"x\",\"n\":3}\n");
    assert_eq!(setup.text("by/y.ndjson"), "{\"t\":\"y\",\"n\":2}\n");
    assert_eq!(status.await, BatchStatus::Delivered);
}

#[tokio::test]
async fn events_without_a_path_or_with_one_that_escapes_are_rejected_alone() {
    let setup = Setup::new();
    let long = format!(r#"{{"t":"{}"}}"#, "x".repeat(300));
    for (event, expected) in [
        (r#"{"t":"fine"}"#, BatchStatus::Delivered),
        (r#"{"u":1}"#, BatchStatus::Rejected),
        (r#"{"t":"../escaped"}"#, BatchStatus::Rejected),
        (r#"{"t":"nul\u0000"}"#, BatchStatus::Rejected),
        (long.as_str(), BatchStatus::Rejected),
    ] {
        let (array, status) = of_one_fate(vec![json_event(event)]);
        setup.run("in/{{ t }}", json!({"encoding": {"codec": "json"}}), vec![array]).await.unwrap();
        assert_eq!(status.await, expected, "{event}");
    }
    assert_eq!(books(&setup.ledger), (1, 4));
    assert!(!setup.path("escaped").exists());
}

#[tokio::test]
async fn a_failed_write_is_errored_and_the_sink_goes_on() {
    let setup = Setup::new();
    std::fs::write(setup.path("blocked"), "").unwrap();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let run = tokio::spawn(setup.sink("blocked/out.log", json!({})).await.run(receiver));
    let (array, status) = messages(&["lost", "too"]);
    sender.unbounded_send(array).unwrap();
    assert_eq!(status.await, BatchStatus::Errored);
    std::fs::remove_file(setup.path("blocked")).unwrap();
    let (array, status) = messages(&["kept"]);
    sender.unbounded_send(array).unwrap();
    assert_eq!(status.await, BatchStatus::Delivered);
    drop(sender);
    run.await.unwrap().unwrap();
    assert_eq!(setup.text("blocked/out.log"), "kept\n");
    assert_eq!(books(&setup.ledger), (1, 2));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_errored() {
    let setup = Setup::new();
    let (array, status) = messages(&["x"]);
    setup.run("/dev/full", json!({}), vec![array]).await.unwrap();
    assert_eq!(status.await, BatchStatus::Errored);
}

#[tokio::test(start_paused = true)]
async fn a_file_without_events_is_closed_after_the_idle_timeout() {
    let setup = Setup::new();
    let config: FileConfig = serde_json::from_value(
        json!({"path": setup.path("out.log"), "encoding": {"codec": "text"}, "idle_timeout_secs": 7}),
    )
    .unwrap();
    let Settings { template, encoder } = config.settings().unwrap();
    let mut writer = Writer {
        template,
        encoder,
        compressor: None,
        files: Files::new(OPEN_FILES_MAX),
        idle_timeout: Duration::from_secs(config.idle_timeout_secs),
        tally: Tally::new(&setup.context, NAME, NAME),
        include_file_tag: false,
    };
    let start = Instant::now();
    writer.write(vec![messages(&["a"]).0], chrono::Utc::now(), start);
    writer.close_idle(start + Duration::from_millis(6_999));
    assert_eq!(writer.files.len(), 1);
    writer.close_idle(start + Duration::from_secs(7));
    assert_eq!(writer.files.len(), 0);
    writer.write(vec![messages(&["b"]).0], chrono::Utc::now(), start);
    assert_eq!(setup.text("out.log"), "a\nb\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_running_sink_closes_idle_files_by_itself() {
    let setup = Setup::new();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let run = tokio::spawn(setup.sink("out.log", json!({"idle_timeout_secs": 0})).await.run(receiver));
    let (array, status) = messages(&["a"]);
    sender.unbounded_send(array).unwrap();
    assert_eq!(status.await, BatchStatus::Delivered);
    let path = setup.path("out.log");
    let open = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .any(|target| target == path)
    };
    while open() {
        tokio::task::yield_now().await;
    }
    drop(sender);
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn events_of_a_sink_that_is_killed_are_not_delivered_unless_written() {
    let setup = Setup::new();
    let (array, status) = messages(&["a"]);
    let run = setup.sink("never/polled", json!({})).await;
    let run = run.run(stream::iter([array]));
    lose(run);
    assert_eq!(status.await, BatchStatus::Errored);
}

#[tokio::test]
async fn the_health_check_names_what_is_in_the_way_and_makes_nothing() {
    let setup = Setup::new();
    std::fs::write(setup.path("plain"), "").unwrap();
    for (path, expected) in [
        ("new/dir/out.log", None),
        ("plain", None),
        ("new/{{ a }}", None),
        ("plain/out.log", Some("is not a directory")),
        ("plain/%Y/out.log", Some("is not a directory")),
        (".", Some("cannot be appended to")),
    ] {
        let config: FileConfig =
            serde_json::from_value(json!({"path": setup.path(path), "encoding": {"codec": "text"}})).unwrap();
        let (_, healthcheck) = config.build(setup.context.clone()).await.unwrap();
        let result = healthcheck.await.map_err(|error| error.to_string());
        match expected {
            None => assert_eq!(result, Ok(()), "{path}"),
            Some(expected) => assert!(result.clone().unwrap_err().contains(expected), "{path}: {result:?}"),
        }
    }
    assert!(!setup.path("new").exists());
}

#[test]
fn options_read_as_in_vector() {
    let config: FileConfig = serde_json::from_value(
        json!({"path": "/var/out/%F.log", "encoding": {"codec": "json"}, "truncate": {}, "timezone": "local"}),
    )
    .unwrap();
    assert_eq!(config.idle_timeout_secs, 30);
    assert!(config.settings().is_ok());
    let config: FileConfig = serde_json::from_value(json!({
        "path": "/srv/{{ a }}", "base_dir": "/srv/x", "compression": {"algorithm": "zstd", "level": 9},
        "encoding": {"codec": "json"}, "framing": {"method": "length_delimited"}, "acknowledgements": false,
        "dangerously_allow_unconfined_template_resolution": true, "idle_timeout_secs": 1,
    }))
    .unwrap();
    assert!(config.settings().is_ok());
    assert_eq!(config.notes().len(), 1);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let config: FileConfig = serde_json::from_value(json!({
        "path": "{{ a }}", "compression": "snappy", "timezone": "Europe/Berlin", "truncate": {"after_secs": 5},
        "encoding": {"codec": "json", "only_fields": ["a..b"]},
    }))
    .unwrap();
    let errors = config.validate_structure().unwrap_err();
    for expected in [
        "`timezone: Europe/Berlin` is not supported",
        "takes its directory from event fields",
        "`a..b` is not a path",
        "`compression: snappy` is not possible in files",
        "`truncate` is not supported",
    ] {
        assert_eq!(
            errors.iter().filter(|error| error.contains(expected)).count(),
            1,
            "{expected}: {errors:?}"
        );
    }
    assert_eq!(errors.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_event_is_lost_and_each_file_keeps_its_order(
        events in prop::collection::vec((0..6_usize, any::<u16>()), 0..60),
        arrays in 1..5_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let setup = Setup::new();
        let logs: Vec<_> =
            events.iter().map(|(file, n)| json_event(&format!(r#"{{"f":"f{file}","message":"{n}"}}"#))).collect();
        let chunk = logs.len().div_ceil(arrays).max(1);
        let input: Vec<EventArray> = logs.chunks(chunk).map(|logs| logs.to_vec().into()).collect();
        runtime.block_on(setup.run("{{ f }}", json!({"base_dir": setup.dir.path()}), input)).unwrap();
        for file in 0..6 {
            let expected: String =
                events.iter().filter(|(of, _)| *of == file).map(|(_, n)| format!("{n}\n")).collect();
            let name = format!("f{file}");
            let found = if setup.path(&name).exists() { setup.text(&name) } else { String::new() };
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(books(&setup.ledger), (events.len() as u64, 0));
    }
}
