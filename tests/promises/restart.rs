//! Restart: a kill at any moment loses nothing, and no event comes first after a later one of its key.

use std::time::Duration;

use super::pipeline::{Pipeline, events, tagger, tags};
use super::support::FaultServer;

const EVENTS: u64 = 20_000;
const KEYS: u64 = 500;

#[test]
fn a_killed_file_run_goes_on_where_everything_was_settled() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(20))
        .start_on_thread();
    let input = tempfile::tempdir().unwrap();
    let file = input.path().join("events.ndjson");
    std::fs::write(&file, events(EVENTS, KEYS)).unwrap();
    let source = format!("    type: file\n    include: [{}]\n    mode: once", file.display());
    let pipeline = Pipeline::new(&kinesis.endpoint(), &source, "");
    for part in 1..=3 {
        let running = pipeline.start(&[]);
        let wanted = (EVENTS / 5 * part) as usize;
        kinesis.block_on(kinesis.wait_for_stored(wanted));
        running.signal("KILL");
    }
    let ended = pipeline.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.words);
    let audit = kinesis.ledger().audit(tags(EVENTS, KEYS));
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty(), "{audit}");
    let again = pipeline.start(&[]).wait();
    assert!(again.words.contains("received 0 "), "what is settled is not read again: {}", again.words);
}
