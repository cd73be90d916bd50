//! Promises 1 to 3: nothing lost, nothing out of order, doubled only where an answer was lost, and counted.

use std::time::Duration;

use super::pipeline::{Pipeline, events, tagger, tags};
use super::support::{AnswerShape, Fault, FaultServer, Operation};

const EVENTS: u64 = 5_000;
const KEYS: u64 = 700;

fn run(kinesis: &FaultServer) {
    Pipeline::stdin(kinesis, "").run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
    assert_eq!(kinesis.requests().key_overlaps(), 0, "a key is in one unanswered request at most, and once");
}

#[test]
fn every_event_arrives_once_and_in_order_when_nothing_fails() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(5))
        .shuffle_within_requests()
        .watch_keys()
        .start_on_thread();
    run(&kinesis);
    assert_eq!(kinesis.stored() as u64, EVENTS, "nothing is doubled");
    assert!(kinesis.requests().in_flight_max() > 1, "requests run side by side");
}

#[test]
fn a_number_of_requests_in_flight_that_the_user_set_is_used_and_never_exceeded() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(20))
        .start_on_thread();
    let options = "    request: {concurrency: 3}\n    batch: {max_events: 50}";
    Pipeline::stdin(&kinesis, options).run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
    assert_eq!(kinesis.requests().in_flight_max(), 3);
}

#[test]
fn failing_records_failing_requests_and_lost_answers_cost_nothing_but_counted_doubles() {
    for (seed, times) in [(1, 1.0), (2, 10.0)] {
        let kinesis = FaultServer::builder()
            .stream("profiles", 8)
            .seed(seed)
            .keep_tags(tagger)
            .shuffle_within_requests()
            .watch_keys()
            .fault(Fault::record_failure().chance(0.02 * times))
            .fault(Fault::status(500).chance(0.03 * times))
            .fault(Fault::answer_lost().chance(0.03 * times))
            .start_on_thread();
        run(&kinesis);
    }
}

#[test]
fn wrong_answers_are_lost_answers_and_never_a_delivery() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 2)
        .seed(3)
        .keep_tags(tagger)
        .watch_keys()
        .fault(Fault::answer(AnswerShape::TooFew).chance(0.05))
        .fault(Fault::answer(AnswerShape::TooMany).chance(0.05))
        .fault(Fault::answer(AnswerShape::Garbage).chance(0.05))
        .fault(Fault::answer(AnswerShape::LyingCount).chance(0.1))
        .fault(Fault::answer(AnswerShape::Empty).chance(0.05))
        .fault(Fault::reset().chance(0.05))
        .start_on_thread();
    Pipeline::stdin(&kinesis, "").run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    let audit = kinesis.ledger().audit(tags(EVENTS, KEYS));
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty(), "{audit}");
}

#[test]
fn a_right_that_is_missing_for_a_while_loses_nothing_and_is_told() {
    let kinesis = FaultServer::builder().stream("profiles", 2).keep_tags(tagger).start_on_thread();
    kinesis.deny(Operation::PutRecords);
    let pipeline = Pipeline::stdin(&kinesis, "");
    let mut running = pipeline.start(&[]);
    running.feed(events(1000, 100));
    kinesis.block_on(kinesis.wait_for(|seen| seen.requests.count(Operation::PutRecords) >= 2));
    kinesis.allow(Operation::PutRecords);
    let ended = running.wait();
    ended.assert_delivered(1000);
    assert!(ended.words.contains("AccessDeniedException"), "{}", ended.words);
    kinesis.ledger().audit(tags(1000, 100)).assert_kept();
}

#[test]
fn credentials_called_expired_in_mid_run_are_fetched_again() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 2)
        .keep_tags(tagger)
        .fault(Fault::expired_token().requests(3, 6))
        .start_on_thread();
    Pipeline::stdin(&kinesis, "").run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
}
