//! Poison: a record that the service refuses is rejected alone, and kept if the user wants it.

use std::time::Duration;

use super::pipeline::{Pipeline, event, events, tagger, tags};
use super::support::{FaultServer, Naming, StreamSpec};

/// 500 events, one of which has an attribute that makes it too large for the stream.
fn input() -> String {
    let mut lines = events(500, 500);
    let large = event(0, 1).replace("\"seq\":1", &format!("\"seq\":\"{}\"", "x".repeat(70_000)));
    lines.push_str(&large);
    lines.push('\n');
    lines
}

/// Refused requests that a poison record among 500 may cost.
const REFUSALS_MAX: usize = 10;

fn refusals(kinesis: &FaultServer) -> usize {
    kinesis.requests().writes().filter(|log| log.status == Some(400)).count()
}

#[test]
fn one_record_too_large_for_the_stream_is_kept_apart_and_the_others_arrive() {
    for naming in [Naming::FromOne, Naming::FromZero, Naming::Unnamed, Naming::Silent] {
        let kinesis = FaultServer::builder()
            .stream_spec(StreamSpec::new("profiles", 2).record_bytes_max(50_000))
            .naming(naming)
            .keep_tags(tagger)
            .start_on_thread();
        let letters = tempfile::tempdir().unwrap();
        let letters = letters.path().join("letters.ndjson");
        let options = format!("    dead_letter: {{path: {}}}", letters.display());
        let ended = Pipeline::stdin(&kinesis, &options).run(input());
        ended.assert_books(501, &[("dead-lettered", 1), ("delivered", 500)]);
        assert!(!ended.words.contains("xxxx"), "no content in the log");
        kinesis.ledger().audit(tags(500, 500)).assert_kept();
        let letter: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&letters).unwrap()).unwrap();
        assert_eq!(letter["partition_key"], "crmid:0");
        assert!(letter["record"].as_str().unwrap().contains("xxxx"));
        let refusals = refusals(&kinesis);
        assert!((1..=REFUSALS_MAX).contains(&refusals), "{naming:?}: {refusals} refusals");
    }
}

#[test]
fn a_poison_record_is_found_as_fast_while_events_arrive_all_the_time_and_share_records() {
    const EVENTS: u64 = 20_000;
    for (options, keys) in [("", 500), ("    aggregation: {enabled: true}", 1)] {
        let kinesis = FaultServer::builder()
            // More than 500 events together.
            .stream_spec(StreamSpec::new("profiles", 2).record_bytes_max(100_000))
            .naming(Naming::Silent)
            .round_trip(Duration::from_millis(20))
            .keep_tags(tagger)
            .start_on_thread();
        let large = event(0, 1_000_000).replace("1000000", &format!("\"{}\"", "x".repeat(110_000)));
        let mut input = events(EVENTS, keys);
        let middle = input[..input.len() / 2].rfind('\n').unwrap();
        input.insert_str(middle + 1, &format!("{large}\n"));
        let ended = Pipeline::stdin(&kinesis, options).run(input);
        let books = "received 20001 = delivered 20000 + rejected 1 + ";
        assert!(ended.words.contains(books), "{options}: {}", ended.words);
        kinesis.ledger().audit(tags(EVENTS, keys)).assert_kept();
        let refusals = refusals(&kinesis);
        assert!((1..=REFUSALS_MAX).contains(&refusals), "{options}: {refusals} refusals");
    }
}
