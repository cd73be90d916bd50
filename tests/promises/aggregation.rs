//! Aggregation: the promises hold for user records, and a reader that is not ours finds them all.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::pipeline::{Pipeline, event, events, tagger, tags};
use super::support::{Fault, FaultServer, FaultServerBuilder, Naming, Rate, Stored, StreamSpec, Tag, tag};

const EVENTS: u64 = 10_000;
/// Few: much waits behind each.
const KEYS: u64 = 30;
const ON: &str = "    aggregation: {enabled: true}";

/// A stream far enough away that a key's events pile up.
fn far_away() -> FaultServerBuilder {
    FaultServer::builder()
        .stream("profiles", 4)
        .round_trip(Duration::from_millis(20))
        .shuffle_within_requests()
        .watch_keys()
}

fn run(kinesis: &FaultServer) {
    Pipeline::stdin(kinesis, ON).run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    let requests = kinesis.requests();
    assert_eq!(requests.key_overlaps(), 0, "a key is in one unanswered request at most, and once");
    let stored: usize = requests.writes().map(|log| log.stored).sum();
    assert!(stored * 2 < EVENTS as usize, "{stored} Kinesis records carried all events");
}

#[test]
fn aggregates_keep_order_and_lose_nothing_when_records_and_requests_fail() {
    for (seed, times) in [(1, 1.0), (2, 10.0)] {
        let kinesis = far_away()
            .seed(seed)
            .keep_tags(tagger)
            .rate(Rate { records_per_s: 100.0, burst_records: 10.0, ..Rate::default() })
            .fault(Fault::record_failure().chance(0.02 * times))
            .fault(Fault::status(500).chance(0.03 * times))
            .start_on_thread();
        run(&kinesis);
        kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
        assert_eq!(kinesis.stored() as u64, EVENTS, "nothing is doubled");
    }
}

#[test]
fn after_a_lost_answer_an_aggregate_may_come_again_but_nothing_new_is_late() {
    let kinesis =
        far_away().seed(3).keep_tags(tagger).fault(Fault::answer_lost().requests(1, 4)).start_on_thread();
    run(&kinesis);
    let audit = kinesis.ledger().audit(tags(EVENTS, KEYS));
    let kept =
        audit.lost.is_empty() && audit.out_of_order.is_empty() && audit.doubled_without_cause.is_empty();
    assert!(kept && audit.unexpected.is_empty() && audit.untagged == 0, "{audit}");
    assert!(audit.doubled > 0, "the fault struck");
}

#[test]
fn an_event_too_large_for_the_stream_does_not_condemn_those_that_ride_with_it() {
    for naming in [Naming::FromOne, Naming::Silent] {
        let kinesis = FaultServer::builder()
            .stream_spec(StreamSpec::new("profiles", 2).record_bytes_max(20_000))
            .naming(naming)
            .keep_tags(tagger)
            .start_on_thread();
        let large = event(0, 1_000_000).replace("1000000", &format!("\"{}\"", "x".repeat(30_000)));
        let input = format!("{}{large}\n{}", events(200, 2), event(0, 100));
        let ended = Pipeline::stdin(&kinesis, ON).run(input);
        let books = "received 202 = delivered 201 + rejected 1 + dead-lettered 0 + dropped 0 + skipped 0";
        assert!(ended.words.contains(books), "{naming:?}: {}", ended.words);
        kinesis.ledger().audit(tags(200, 2).chain([tag("crmid:0", 100)])).assert_kept();
    }
}

/// Reads `key<TAB>base64` lines of Kinesis records; writes the same of user records.
const READER: &str = r#"
import base64, sys
from aws_kinesis_agg.deaggregator import deaggregate_records
for line in sys.stdin:
    key, data = line.rstrip("\n").split("\t")
    record = {"kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 0, "partitionKey": key, "data": data}
    for user in deaggregate_records([{"kinesis": record}]):
        data = user["kinesis"]["data"]
        print(user["kinesis"]["partitionKey"], data if isinstance(data, str) else data.decode(), sep="\t")
"#;

const SKIPPED: &str = "
SKIPPED: no Python with the published reader of aggregates. `pip install aws_kinesis_agg six` (it does not ask for `six` by itself),
and set AFLUENTE_TEST_PYTHON if that is not the `python3` on the path.
";

/// The Python that has `aws_kinesis_agg`, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("AFLUENTE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = ["-c", "import aws_kinesis_agg.deaggregator"];
    let found = Command::new(&python)
        .args(import)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    found.then_some(python)
}

/// What the reader makes of `lines`.
fn read_with(python: &str, lines: String) -> String {
    let mut child = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_published_reader_finds_every_user_record_in_order() {
    let Some(python) = python() else {
        // Straight to the stream: the test harness hides what a passing test prints.
        let _ = std::io::stderr().write_all(SKIPPED.as_bytes());
        return;
    };
    let kinesis = far_away().start_on_thread();
    run(&kinesis);
    let ledger = kinesis.ledger();
    let line = |record: &Stored| {
        format!("{}\t{}\n", record.key(), base64_simd::STANDARD.encode_to_string(record.data()))
    };
    let read = read_with(&python, ledger.records().iter().map(line).collect());
    let mut next = HashMap::<u64, u64>::new();
    for line in read.lines() {
        let (key, data) = line.split_once('\t').unwrap();
        let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
        let Tag { key, seq } = tagger(key, &data).unwrap();
        let next = next.entry(key).or_default();
        assert_eq!(seq, *next, "in order, none missing, none twice");
        *next += 1;
    }
    assert_eq!(next.len() as u64, KEYS);
    assert_eq!(next.values().sum::<u64>(), EVENTS);
}
