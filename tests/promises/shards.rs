//! Promise 5, and what happens to a stream in mid-run: rate limits, one slow shard, splits, a stream that ignores keys.

use std::io::Write;

use super::accounting::ask_until;
use super::pipeline::{Pipeline, events, tagger, tags};
use super::support::{Distribution, Fault, FaultServer, Operation, Rate, StreamSpec};

#[test]
fn at_the_streams_limit_nothing_is_lost_and_few_attempts_are_throttled() {
    let rate = Rate::default().times(0.5).burst_secs(0.2);
    let kinesis = FaultServer::builder()
        .stream_spec(StreamSpec::new("profiles", 4).rate(rate))
        .rate_limits(true)
        .keep_tags(tagger)
        .watch_keys()
        .start_on_thread();
    // Four shards at 500 records a second: about six seconds' worth.
    Pipeline::stdin(&kinesis, "").run(events(12_000, 4000)).assert_delivered(12_000);
    kinesis.ledger().audit(tags(12_000, 4000)).assert_kept();
    let share = kinesis.requests().throttled_share();
    assert!(share < 0.4, "{share} of the attempts throttled, the first burst included");
}

#[test]
fn at_the_limit_of_a_stream_that_ignores_keys_nothing_is_lost_and_few_attempts_are_throttled() {
    let rate = Rate::default().burst_secs(0.2);
    let spec = StreamSpec::new("profiles", 4).distribution(Distribution::AutoRandom).rate(rate);
    let kinesis =
        FaultServer::builder().stream_spec(spec).rate_limits(true).keep_tags(tagger).start_on_thread();
    // Four shards at 1,000 records a second: about six seconds' worth.
    Pipeline::stdin(&kinesis, "").run(events(24_000, 8000)).assert_delivered(24_000);
    assert!(kinesis.ledger().audit(tags(24_000, 8000)).lost.is_empty());
    let share = kinesis.requests().throttled_share();
    // How few exactly is for `overload.rs` to say, in virtual time: here a busy machine is in the way.
    assert!(share < 0.4, "{share} of the attempts throttled, the first burst included");
}

#[test]
fn rate_limits_resets_splits_and_every_fault_together_lose_and_reorder_nothing() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 8)
        .rate_limits(true)
        .seed(7)
        .keep_tags(tagger)
        .shuffle_within_requests()
        .watch_keys()
        .fault(Fault::record_failure().chance(0.2))
        .fault(Fault::status(500).chance(0.3))
        .fault(Fault::answer_lost().chance(0.3))
        .fault(Fault::reset().chance(0.1))
        .fault(Fault::split_all().at_request(40))
        .start_on_thread();
    Pipeline::stdin(&kinesis, "").run(events(12_000, 3000)).assert_delivered(12_000);
    kinesis.ledger().audit(tags(12_000, 3000)).assert_kept();
    assert!(kinesis.open_shards("profiles").len() > 8, "the split came in mid-run");
    assert_eq!(kinesis.requests().key_overlaps(), 0);
}

#[test]
fn shards_are_listed_once_where_that_is_granted_and_not_a_word_is_said_where_not() {
    for granted in [true, false] {
        let mut builder = FaultServer::builder().stream("profiles", 4).keep_tags(tagger);
        if !granted {
            builder = builder.deny(Operation::ListShards);
        }
        let kinesis = builder.start_on_thread();
        let ended = Pipeline::stdin(&kinesis, "").run(events(2000, 500));
        ended.assert_delivered(2000);
        let listings: Vec<_> = kinesis.requests().of(Operation::ListShards).map(|log| log.status).collect();
        assert_eq!(listings, [Some(if granted { 200 } else { 400 })]);
        assert!(
            !ended.words.contains("ListShards") && !ended.words.contains("AccessDenied"),
            "{}",
            ended.words
        );
    }
}

#[test]
fn every_shard_split_in_mid_run_keeps_order() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .watch_keys()
        .fault(Fault::split_all().at_request(5))
        .start_on_thread();
    Pipeline::stdin(&kinesis, "").run(events(10_000, 1000)).assert_delivered(10_000);
    kinesis.ledger().audit(tags(10_000, 1000)).assert_kept();
}

#[test]
fn a_stream_that_ignores_keys_is_told_once_and_still_gets_everything() {
    let kinesis = FaultServer::builder()
        .stream_spec(StreamSpec::new("profiles", 4).distribution(Distribution::AutoRandom))
        .keep_tags(tagger)
        .start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, "").api();
    let mut running = pipeline.start(&[]);
    let address = running.api_address();
    let mut stdin = running.stdin();
    stdin.write_all(events(10_000, 1000).as_bytes()).unwrap();
    ask_until(&address, |metrics, _| metrics.sum("kinesis_auto_distribution") == 1);
    drop(stdin);
    let ended = running.wait();
    ended.assert_delivered(10_000);
    assert_eq!(ended.words.matches("AUTO").count(), 1, "{}", ended.words);
    assert!(kinesis.ledger().audit(tags(10_000, 1000)).lost.is_empty());
}
