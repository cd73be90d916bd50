//! Tests of `file` on real files: what is read, in which order, and where the next run begins.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use afluente_pipeline::buffers::BufferReceiver;
use afluente_pipeline::event::{EventArray, EventStatus, LogEvent};
use afluente_pipeline::shutdown::ShutdownTrigger;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{context, messages};

/// A folder for files and one for positions; sources come and go.
struct Rig {
    folder: TempDir,
    data: TempDir,
    options: String,
}

/// A source that runs.
struct Run {
    arrays: BufferReceiver,
    shutdown: ShutdownTrigger,
    source: JoinHandle<Result<(), ()>>,
}

impl Rig {
    fn new(options: &str) -> Self {
        let options = options.to_owned();
        Self { folder: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap(), options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn config(&self) -> FileConfig {
        let include = self.path("*.log");
        let text = format!(
            r#"{{"include":[{include:?}],"data_dir":{:?},"glob_minimum_cooldown_ms":1{}}}"#,
            self.data.path(),
            self.options
        );
        serde_json::from_str(&text).unwrap()
    }

    async fn start(&self, acknowledgements: bool) -> Run {
        let (mut context, arrays) = context();
        context.inner.acknowledgements = acknowledgements;
        let source = self.config().build(context.inner).await.unwrap();
        Run { arrays, shutdown: context.shutdown, source: tokio::spawn(source) }
    }

    /// Runs a source that ends by itself; every event is delivered.
    async fn run(&self) -> Vec<String> {
        let run = self.start(true).await;
        let arrays: Vec<_> =
            run.arrays.map(|array| settle(array, |_| EventStatus::Delivered)).collect().await;
        assert_eq!(run.source.await.unwrap(), Ok(()));
        arrays.concat()
    }
}

/// Settles the events of an array; returns their texts.
fn settle(array: EventArray, fate: impl Fn(&str) -> EventStatus) -> Vec<String> {
    let texts = messages([&array]);
    for (log, text) in array.as_logs().iter().zip(&texts) {
        log.metadata().finalizers().update_status(fate(text));
    }
    texts
}

impl Run {
    /// The next texts; delivered.
    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let array = self.arrays.next().await.expect("the source goes on");
            texts.extend(settle(array, |_| EventStatus::Delivered));
        }
        texts
    }

    async fn stop(self) -> Vec<String> {
        self.shutdown.trigger();
        let arrays: Vec<_> =
            self.arrays.map(|array| settle(array, |_| EventStatus::Delivered)).collect().await;
        assert_eq!(self.source.await.unwrap(), Ok(()));
        arrays.concat()
    }
}

fn numbered(range: std::ops::Range<usize>) -> (Vec<String>, String) {
    let lines: Vec<_> = range.map(|number| format!("line {number} {}", "x".repeat(number % 200))).collect();
    let text = lines.iter().map(|line| format!("{line}\n")).collect();
    (lines, text)
}

const ONCE: &str = r#","mode":"once""#;

#[tokio::test]
async fn once_reads_every_file_to_its_end_by_name_and_the_next_run_begins_there() {
    let rig = Rig::new(ONCE);
    let (first, text) = numbered(0..5000);
    rig.write("a.log", &text);
    rig.write("b.log", "without an end");
    rig.write("c.txt", "not included\n");
    assert_eq!(rig.run().await, [first, vec!["without an end".to_owned()]].concat());
    assert_eq!(rig.run().await, Vec::<String>::new());
    let (more, text) = numbered(5000..5100);
    rig.write("a.log", &text);
    assert_eq!(rig.run().await, more);
}

#[tokio::test]
async fn two_files_that_begin_alike_are_both_read() {
    let rig = Rig::new(ONCE);
    rig.write("a.log", "head\none\n");
    rig.write("b.log", "head\none\ntwo\n");
    assert_eq!(rig.run().await, ["head", "one", "head", "one", "two"]);
    fs::rename(rig.path("a.log"), rig.path("z.log")).unwrap();
    rig.write("z.log", "more\n");
    assert_eq!(rig.run().await, ["more"], "a file is known by another name");
    fs::copy(rig.path("b.log"), rig.path("copy.log")).unwrap();
    fs::remove_file(rig.path("b.log")).unwrap();
    assert_eq!(rig.run().await, Vec::<String>::new(), "a file is known in another place");
}

#[tokio::test]
async fn a_failed_batch_is_read_again_with_all_that_came_after_it() {
    let rig = Rig::new(ONCE);
    let (lines, text) = numbered(0..30_000);
    rig.write("a.log", &text);
    let run = rig.start(true).await;
    let fail = |text: &str| match text.starts_with("line 15000 ") {
        true => EventStatus::Errored,
        false => EventStatus::Delivered,
    };
    let seen: Vec<_> = run.arrays.map(|array| settle(array, fail)).collect().await;
    assert_eq!((seen.concat(), run.source.await.unwrap()), (lines.clone(), Ok(())));

    let again = rig.run().await;
    let first = lines.len() - again.len();
    assert_eq!(again, lines[first..], "in order, without a gap");
    assert!((14_000..=15_000).contains(&first), "from the failed batch on: {first}");
    assert_eq!(rig.run().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_failed_for_good_is_not_read_again() {
    let rig = Rig::new(ONCE);
    rig.write("a.log", "bad\n");
    let run = rig.start(true).await;
    let _: Vec<_> = run.arrays.map(|array| settle(array, |_| EventStatus::Rejected)).collect().await;
    run.source.await.unwrap().unwrap();
    assert_eq!(rig.run().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_nothing() {
    let rig = Rig::new("");
    let (lines, text) = numbered(0..20_000);
    rig.write("a.log", &text);
    let mut run = rig.start(true).await;
    let settled = run.take(3000).await;
    let held: Vec<LogEvent> = run.arrays.next().await.unwrap().into_logs();
    assert!(!held.is_empty());
    // Positions reach the disk while the source runs; then it vanishes without a word.
    let checkpoints = rig.data.path().join("in/checkpoints.json");
    while !fs::read_to_string(&checkpoints).is_ok_and(|text| !text.contains(r#""position": 0"#)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    run.source.abort();
    assert!(run.source.await.unwrap_err().is_cancelled());
    drop(held);

    let mut run = rig.start(true).await;
    let mut again = run.take(1).await;
    let first = lines.iter().position(|line| *line == again[0]).unwrap();
    assert!(0 < first && first <= settled.len(), "{first}");
    again.extend(run.take(lines.len() - first - again.len()).await);
    assert_eq!(again, lines[first..]);
    run.stop().await;
}

#[tokio::test]
async fn without_acknowledgements_positions_move_with_what_was_sent() {
    let rig = Rig::new(ONCE);
    rig.write("a.log", "one\n");
    let run = rig.start(false).await;
    let arrays: Vec<EventArray> = run.arrays.collect().await;
    run.source.await.unwrap().unwrap();
    assert_eq!((messages(&arrays), rig.run().await), (vec!["one".to_owned()], vec![]));
}

#[tokio::test]
async fn tail_follows_files_as_they_grow_and_come() {
    let rig = Rig::new("");
    rig.write("a.log", "one\nhal");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(1).await, ["one"]);
    rig.write("a.log", "f\n");
    assert_eq!(run.take(1).await, ["half"], "a line waits for its end");
    rig.write("b.log", "new\n");
    assert_eq!(run.take(1).await, ["new"]);
    assert_eq!(run.stop().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_and_its_name_goes_on_with_the_new_one() {
    let rig = Rig::new("");
    rig.write("a.log", "one\n");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(1).await, ["one"]);
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.write("a.log.1", "late\n");
    assert_eq!(run.take(1).await, ["late"]);
    rig.write("a.log", "fresh\n");
    assert_eq!(run.take(1).await, ["fresh"]);
    run.stop().await;
    rig.write("a.log", "next\n");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(1).await, ["next"], "the old file's position was not taken for the new one's");
    run.stop().await;
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning_and_its_copy_is_not_read_again() {
    let rig = Rig::new("");
    rig.write("a.log", "first\none\ntwo\n");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(3).await, ["first", "one", "two"]);
    // As by a program that rotates by copying, except that the copy comes to be included afterwards.
    fs::copy(rig.path("a.log"), rig.path("copy")).unwrap();
    rig.write("copy", "three\n");
    fs::write(rig.path("a.log"), "anew\n").unwrap();
    assert_eq!(run.take(1).await, ["anew"]);
    fs::rename(rig.path("copy"), rig.path("a.1.log")).unwrap();
    assert_eq!(run.take(1).await, ["three"], "only what was not read before the truncation");
    run.stop().await;
}

#[tokio::test]
async fn a_file_that_grows_past_where_it_was_after_a_truncation_is_noticed() {
    let rig = Rig::new("");
    rig.write("a.log", "first\none\n");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(2).await, ["first", "one"]);
    fs::write(rig.path("a.log"), "other\nlines and more of them\n").unwrap();
    assert_eq!(run.take(2).await, ["other", "lines and more of them"]);
    run.stop().await;
}

#[tokio::test]
async fn a_deleted_file_is_read_to_its_end_though_its_last_line_has_none() {
    let rig = Rig::new(r#","rotate_wait_secs":0"#);
    rig.write("a.log", "one\nlast");
    let mut run = rig.start(true).await;
    assert_eq!(run.take(1).await, ["one"]);
    fs::remove_file(rig.path("a.log")).unwrap();
    assert_eq!(run.take(1).await, ["last"]);
    run.stop().await;
}

#[tokio::test]
async fn a_file_that_was_read_and_settled_is_removed_if_asked() {
    let rig = Rig::new(r#","remove_after_secs":0"#);
    rig.write("a.log", "one\n");
    let mut run = rig.start(true).await;
    let array = run.arrays.next().await.unwrap();
    assert!(rig.path("a.log").exists(), "its event is not settled");
    assert_eq!(settle(array, |_| EventStatus::Delivered), ["one"]);
    while rig.path("a.log").exists() {
        tokio::task::yield_now().await;
    }
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn read_from_end_begins_at_the_end_of_files_that_are_there() {
    let rig = Rig::new(r#","read_from":"end""#);
    rig.write("a.log", "old\n");
    let mut run = rig.start(true).await;
    // Its position reaches the disk once it was begun.
    while !rig.data.path().join("in/checkpoints.json").exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.write("a.log", "new\n");
    assert_eq!(run.take(1).await, ["new"]);
    rig.write("b.log", "later\n");
    assert_eq!(run.take(1).await, ["later"], "a file that comes later is read from its beginning");
    run.stop().await;
}

#[tokio::test]
async fn the_oldest_file_is_read_to_its_end_first_if_asked() {
    let rig = Rig::new(r#","oldest_first":true"#);
    let (lines, text) = numbered(0..20_000);
    rig.write("z.log", &text);
    // Files of one instant have no order, and the file system's clock is coarse.
    rig.write("a.log", "young\n");
    while age_of(&rig.path("a.log")) <= age_of(&rig.path("z.log")) {
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.write("a.log", "young\n");
    }
    let mut run = rig.start(true).await;
    assert_eq!(run.take(lines.len()).await, lines);
    assert_eq!(run.take(1).await, ["young"]);
    run.stop().await;
}

fn age_of(path: &Path) -> SystemTime {
    let metadata = fs::metadata(path).unwrap();
    metadata.created().or_else(|_| metadata.modified()).unwrap()
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_full_pipeline_and_what_was_not_sent_comes_next_time() {
    let rig = Rig::new("");
    let (lines, text) = numbered(0..50_000);
    rig.write("a.log", &text);
    let mut run = rig.start(true).await;
    let seen = run.take(1).await;
    run.shutdown.trigger();
    // Nobody takes the rest until the source has stopped sending.
    let rest: Vec<_> = run.arrays.map(|array| settle(array, |_| EventStatus::Delivered)).collect().await;
    run.source.await.unwrap().unwrap();
    let seen = [seen, rest.concat()].concat();
    assert!(seen.len() < lines.len());
    let mut run = rig.start(true).await;
    let again = run.take(lines.len() - seen.len()).await;
    assert_eq!([seen, again].concat(), lines);
    run.stop().await;
}

#[tokio::test]
async fn a_line_over_the_limit_is_let_go_and_the_rest_goes_on() {
    let rig = Rig::new(r#","mode":"once","max_line_bytes":10"#);
    rig.write("a.log", &format!("short\n{}\r\nafter\r\n", "x".repeat(500_000)));
    assert_eq!(rig.run().await, ["short", "after"]);
}

#[tokio::test]
async fn plain_lines_have_the_fields_that_vector_adds() {
    let rig = Rig::new(r#","mode":"once","offset_key":"offset","host_key":"""#);
    rig.write("a.log", "one\ntwo\n");
    let run = rig.start(false).await;
    let arrays: Vec<EventArray> = run.arrays.collect().await;
    let two = &arrays[0].as_logs()[1];
    let keys: Vec<_> = two.keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["file", "message", "offset", "source_type", "timestamp"]);
    assert_eq!(two.parse_path_and_get_value(".offset").unwrap(), Some(&Value::Integer(4)));
    run.source.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_read() {
    let config = |text: &str| serde_json::from_str::<FileConfig>(text).unwrap();
    let errors = |text| config(text).validate_structure().unwrap_err().join("; ");
    assert!(errors(r#"{"include":[]}"#).contains("names no file"));
    assert!(errors(r#"{"include":["a**b"]}"#).contains("no glob"));
    assert!(errors(r#"{"include":["a"],"multiline":{"mode":"halt_before"}}"#).contains("`multiline`"));
    assert!(errors(r#"{"include":["a"],"encoding":{"charset":"utf-16le"}}"#).contains("`encoding.charset`"));
    assert!(errors(r#"{"include":["a"],"line_delimiter":""}"#).contains("`line_delimiter`"));
    let checksum = r#"{"include":["a"],"fingerprint":{"strategy":"checksum","lines":0}}"#;
    assert!(errors(checksum).contains("`fingerprint.lines`"));
    let inode = config(r#"{"include":["a"],"fingerprint":{"strategy":"device_and_inode"}}"#);
    assert_eq!(inode.fingerprint, FingerprintConfig::DeviceAndInode);

    let (context, _arrays) = context();
    let nowhere = config(r#"{"include":["a"],"data_dir":"/nowhere/at/all"}"#);
    let error = nowhere.build(context.inner).await.err().unwrap().to_string();
    assert!(error.contains("does not exist: create it"), "{error}");
}
