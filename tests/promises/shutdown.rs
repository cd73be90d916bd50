//! Shutdown: a stop drains; a dead endpoint ends at the limit, says what was not delivered, and exits 1.

use std::time::Duration;

use super::pipeline::{Pipeline, events, tagger, tags};
use super::support::{FaultServer, Operation};

#[test]
fn an_interrupt_drains_what_is_in_flight() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(100))
        .start_on_thread();
    let input = tempfile::tempdir().unwrap();
    let file = input.path().join("events.ndjson");
    std::fs::write(&file, events(5000, 500)).unwrap();
    let source = format!("    type: file\n    include: [{}]\n    mode: once", file.display());
    let pipeline = Pipeline::new(&kinesis.endpoint(), &source, "");
    let running = pipeline.start(&[]);
    kinesis.block_on(kinesis.wait_for_stored(1));
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.words);
    assert!(!ended.words.contains("not delivered"), "{}", ended.words);
    assert_eq!(pipeline.start(&[]).wait().code, Some(0));
    let audit = kinesis.ledger().audit(tags(5000, 500));
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty(), "{audit}");
}

#[test]
fn a_dead_endpoint_ends_at_the_limit_and_the_next_run_replays() {
    let kinesis = FaultServer::builder().stream("profiles", 2).keep_tags(tagger).start_on_thread();
    kinesis.stall();
    let input = tempfile::tempdir().unwrap();
    let file = input.path().join("events.ndjson");
    std::fs::write(&file, events(1000, 100)).unwrap();
    let source = format!("    type: file\n    include: [{}]\n    mode: once", file.display());
    let pipeline = Pipeline::new(&kinesis.endpoint(), &source, "");
    let running = pipeline.start(&["--graceful-shutdown-limit-secs", "1"]);
    kinesis.block_on(kinesis.wait_for(|seen| seen.requests.count(Operation::PutRecords) >= 1));
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.words);
    assert!(ended.words.contains("not delivered 1000"), "{}", ended.words);
    kinesis.resume();
    assert_eq!(pipeline.start(&[]).wait().code, Some(0));
    let audit = kinesis.ledger().audit(tags(1000, 100));
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty(), "{audit}");
}
