//! Tests of the core, turn by turn: the test plays the service. `model` plays whole outages against a simulated one.
#![allow(clippy::unwrap_used)]

mod aggregation;
mod classes;
mod model;
mod overload;

use std::borrow::Cow;
use std::time::Duration;

use afluente_pipeline::event::{BatchNotifier, BatchStatus, BatchStatusReceiver, EventFinalizers};
use bytes::Bytes;

use super::super::answer::Entry;
use super::super::inflight::InFlight;
use super::super::limits::PINNED_BYTES_MAX;
use super::super::shard_list::ListedShard;
use super::super::verdict::Trouble;
use super::*;

fn core(settings: CoreSettings) -> Core {
    Core::new(settings, InFlight::adaptive(8, 200))
}

fn put(core: &mut Core, key: u64, data: &str) -> BatchStatusReceiver {
    put_bytes(core, key, Bytes::copy_from_slice(data.as_bytes()))
}

fn put_bytes(core: &mut Core, key: u64, data: Bytes) -> BatchStatusReceiver {
    let (notifier, receiver) = BatchNotifier::new_with_receiver();
    let fate = core.open_fate(EventFinalizers::from_notifier(notifier), at(0));
    core.accept(Record::keyed(data, Bytes::from(format!("k{key}")), key, fate, Duration::ZERO));
    core.close_fate(fate);
    receiver
}

fn texts(core: &Core, sealed: &Sealed) -> Vec<String> {
    let text = |id: &RecordId| String::from_utf8(core.record(*id).unwrap().data.to_vec()).unwrap();
    sealed.records.iter().map(text).collect()
}

fn stored() -> Entry<'static> {
    Entry::Stored { shard: Cow::Borrowed("shardId-000000000000"), sequence: Cow::Borrowed("1") }
}

fn failed(code: &'static str) -> Entry<'static> {
    Entry::Failed { code: Cow::Borrowed(code), message: Cow::Borrowed("") }
}

fn refused<'a>(status: u16, code: &'a str, message: &'a str) -> Reply<'a> {
    Reply::Refused { status, code, message, retry_after: None }
}

fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

#[test]
fn a_delivered_record_is_counted_with_the_time_since_its_source_took_it_in() {
    let mut core = core(CoreSettings::default());
    for (array, ingested) in [at(5), at(8)].into_iter().enumerate() {
        let fate = core.open_fate(EventFinalizers::default(), ingested);
        for n in 0..2 {
            let key = (2 * array + n) as u64;
            core.accept(Record::keyed(Bytes::new(), Bytes::from(format!("k{key}")), key, fate, at(9)));
        }
        core.close_fate(fate);
    }
    let sealed = core.next_request(at(10)).unwrap();
    let entries = [stored(), stored(), failed("InternalFailure"), stored()];
    core.on_reply(at(30), sealed, Reply::Entries(&entries));
    assert_eq!(core.take_latencies().collect::<Vec<_>>(), [(at(25), 2), (at(22), 1)]);
    assert_eq!(core.take_latencies().count(), 0);
    let now = core.wake_at().unwrap();
    let sealed = core.next_request(now).unwrap();
    core.on_reply(now + at(1), sealed, Reply::Entries(&[stored()]));
    assert_eq!(core.take_latencies().collect::<Vec<_>>(), [(now + at(1) - at(8), 1)]);
}

#[test]
fn partial_failure_resends_only_the_failed_records() {
    let mut core = core(CoreSettings::default());
    let receivers: Vec<_> = (0..3).map(|n| put(&mut core, n, &n.to_string())).collect();
    let sealed = core.next_request(at(0)).unwrap();
    assert_eq!(texts(&core, &sealed), ["0", "1", "2"]);
    core.on_reply(at(10), sealed, Reply::Entries(&[stored(), failed("InternalFailure"), stored()]));
    assert!(core.next_request(at(10)).is_none(), "it waits a little first");
    let again = core.next_request(core.wake_at().unwrap()).unwrap();
    assert_eq!(texts(&core, &again), ["1"]);
    core.on_reply(at(200), again, Reply::Entries(&[stored()]));
    assert!(core.is_idle() && core.held_bytes() == 0);
    assert_eq!(core.failures_by_code(), [("InternalFailure".into(), 1)]);
    for mut receiver in receivers {
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Delivered));
    }
}

#[test]
fn a_record_that_waits_is_copied_out_of_its_array_once_much_has_entered_behind_it() {
    let mut core = core(CoreSettings::default());
    let array = Bytes::from_static(b"onetwo");
    put_bytes(&mut core, 1, array.slice(..3));
    put_bytes(&mut core, 1, array.slice(3..));
    let waiting =
        |core: &Core| core.records.iter().find(|(_, record)| record.data == "two").unwrap().1.data.as_ptr();
    let bytes = PINNED_BYTES_MAX as usize / 16;
    for other in 2..17 {
        put_bytes(&mut core, other, Bytes::from(vec![0; bytes]));
        assert_eq!(waiting(&core), array[3..].as_ptr(), "most records wait no longer than this");
    }
    put_bytes(&mut core, 17, Bytes::from(vec![0; bytes]));
    assert_ne!(waiting(&core), array[3..].as_ptr());
}

#[test]
fn a_key_is_in_one_unanswered_request_at_most_and_others_flow_past_it() {
    let mut core = core(CoreSettings::default());
    for (key, text) in [(1, "a1"), (1, "a2"), (2, "b1"), (1, "a3")] {
        put(&mut core, key, text);
    }
    let first = core.next_request(at(0)).unwrap();
    assert_eq!(texts(&core, &first), ["a1", "b1"]);
    put(&mut core, 2, "b2");
    put(&mut core, 3, "c1");
    let second = core.next_request(at(0)).unwrap();
    assert_eq!(texts(&core, &second), ["c1"]);
    core.on_reply(
        at(5),
        first,
        Reply::Lost { may_be_stored: true, trouble: Trouble::Transient, problem: "reset" },
    );
    assert!(core.next_request(at(5)).is_none());
    core.on_reply(at(6), second, Reply::Entries(&[stored()]));
    let again = core.next_request(at(1000)).unwrap();
    assert_eq!(texts(&core, &again), ["a1", "b1"], "nothing of a key passes its unresolved record");
    core.on_reply(at(1001), again, Reply::Entries(&[stored(), stored()]));
    assert_eq!(core.stats().possible_duplicates, 2);
    let next = core.next_request(at(1001)).unwrap();
    assert_eq!(texts(&core, &next), ["a2", "b2"]);
}

#[test]
fn behind_a_backlog_a_busy_key_gets_its_turn_by_age() {
    let mut core = core(CoreSettings { request_records_max: 10, ..CoreSettings::default() });
    let fate = core.open_fate(EventFinalizers::default(), at(0));
    for n in 0..200 {
        // The first five are of one key, then each has its own.
        let key = if n < 5 { 1000 } else { n };
        core.accept(Record::keyed(Bytes::new(), Bytes::from(format!("k{key}")), key, fate, at(n)));
    }
    for turn in 0..5 {
        let sealed = core.next_request(at(300 + turn)).unwrap();
        let busy = sealed.records.iter().filter(|id| core.record(**id).unwrap().key == "k1000").count();
        assert_eq!(busy, 1, "in request {turn}");
        let entries = vec![stored(); sealed.records.len()];
        core.on_reply(at(300 + turn), sealed, Reply::Entries(&entries));
    }
    core.close_fate(fate);
}

#[test]
fn an_unknown_code_counts_as_failed_and_an_answer_of_the_wrong_length_as_lost() {
    let mut core = core(CoreSettings::default());
    put(&mut core, 1, "x");
    let sealed = core.next_request(at(0)).unwrap();
    core.on_reply(at(1), sealed, Reply::Entries(&[failed("SomethingNew")]));
    let sealed = core.next_request(at(1000)).unwrap();
    core.on_reply(at(1001), sealed, Reply::Entries(&[]));
    assert!(matches!(core.take_notices().as_slice(), [Notice::BadAnswer { .. }]));
    let sealed = core.next_request(at(1500)).unwrap();
    core.on_reply(at(1501), sealed, Reply::Unreadable { problem: "no JSON".to_owned() });
    assert!(matches!(core.take_notices().as_slice(), [Notice::BadAnswer { .. }]));
    let sealed = core.next_request(at(2000)).unwrap();
    core.on_reply(at(2001), sealed, Reply::Entries(&[stored()]));
    assert!(core.is_idle());
    assert_eq!(core.stats().possible_duplicates, 1);
}

#[test]
fn a_stated_record_limit_is_learned_and_costs_one_request() {
    let mut core = core(CoreSettings::default());
    let mut large: Vec<_> = (0..3).map(|n| put_bytes(&mut core, n, Bytes::from(vec![b'x'; 3000]))).collect();
    let mut small = put(&mut core, 9, "small");
    let sealed = core.next_request(at(0)).unwrap();
    let message = "Value at 'records.1.member.data' … Member must have length less than or equal to 2048";
    core.on_reply(at(1), sealed, refused(400, "ValidationException", message));
    for rejection in core.take_rejections() {
        assert!(matches!(rejection.reason, Reason::TooLarge { limit: 2048, .. }));
        core.settle_rejected(&rejection, EventStatus::Rejected);
    }
    assert!(large.iter_mut().all(|receiver| receiver.try_recv() == Ok(BatchStatus::Rejected)));
    let sealed = core.next_request(at(1)).unwrap();
    core.on_reply(at(2), sealed, Reply::Entries(&[stored()]));
    assert_eq!(small.try_recv(), Ok(BatchStatus::Delivered));
    put_bytes(&mut core, 1, Bytes::from(vec![b'x'; 3000]));
    assert_eq!(core.take_rejections().len(), 1, "the next one is not even sent");
    assert_eq!(core.stats().requests, 2);
}

#[test]
fn poison_without_a_word_about_it_is_found_alone_and_nobody_else_is_rejected() {
    let mut core = core(CoreSettings::default());
    for key in 0..500 {
        put(&mut core, key, &key.to_string());
    }
    let (mut requests, mut now) = (0, 0);
    while !core.is_idle() {
        now += 1;
        if let Some(sealed) = core.next_request(at(now)) {
            requests += 1;
            if texts(&core, &sealed).iter().any(|text| text == "333") {
                core.on_reply(at(now), sealed, refused(400, "ValidationException", "no"));
            } else {
                let entries = vec![stored(); sealed.records.len()];
                core.on_reply(at(now), sealed, Reply::Entries(&entries));
            }
        }
        for rejection in core.take_rejections() {
            assert_eq!(&rejection.record.data[..], b"333");
            core.settle_rejected(&rejection, EventStatus::Rejected);
        }
        assert!(now < 100_000);
    }
    assert_eq!(core.stats().delivered, 499);
    assert!(requests <= 1 + 10 + 10, "{requests} requests");
}

#[test]
fn a_413_halves_the_request() {
    let mut core = core(CoreSettings::default());
    for key in 0..100 {
        put_bytes(&mut core, key, Bytes::from(vec![b'x'; 10_000]));
    }
    let sealed = core.next_request(at(0)).unwrap();
    let weight = sealed.weight;
    core.on_reply(at(1), sealed, refused(413, "", ""));
    let sealed = core.next_request(at(1000)).unwrap();
    assert!(sealed.weight <= weight / 2);
}

#[test]
fn requests_of_one_round_that_are_all_too_large_lower_the_limit_once() {
    let mut core = core(CoreSettings { request_bytes_max: 100_000, ..CoreSettings::default() });
    for key in 0..100 {
        put_bytes(&mut core, key, Bytes::from(vec![b'x'; 10_000]));
    }
    let round: Vec<_> = (0..3).map(|_| core.next_request(at(0)).unwrap()).collect();
    let limit = round[0].weight / 2;
    for sealed in round {
        core.on_reply(at(1), sealed, refused(413, "", ""));
    }
    assert_eq!(core.take_notices(), [Notice::RequestLimit { limit }]);
    let sealed = core.next_request(at(1000)).unwrap();
    core.on_reply(at(1001), sealed, refused(413, "", ""));
    assert_eq!(core.take_notices().len(), 1, "what was sealed since is news");
}

#[test]
fn a_request_that_is_signed_anew_is_no_failure_of_its_records_and_holds_nothing_up() {
    let mut core = core(CoreSettings { attempts_max: Some(1), ..CoreSettings::default() });
    for key in 0..10 {
        put(&mut core, key, "v");
        let sealed = core.next_request(at(0)).unwrap();
        core.on_reply(at(1), sealed, Reply::ClockCorrected { code: "RequestExpired" });
    }
    let mut sent = 0;
    while let Some(sealed) = core.next_request(at(1000)) {
        sent += sealed.records.len();
        let entries = vec![stored(); sealed.records.len()];
        core.on_reply(at(1001), sealed, Reply::Entries(&entries));
    }
    assert_eq!((sent, core.stats().delivered), (10, 10));
    assert!(core.take_notices().is_empty() && core.take_rejections().is_empty());
}

#[test]
fn conflation_sends_the_newest_of_those_that_wait_and_settles_the_older_with_it() {
    let mut core = core(CoreSettings { conflate: true, ..CoreSettings::default() });
    let mut receivers: Vec<_> = (0..5).map(|n| put(&mut core, 1, &format!("v{n}"))).collect();
    let first = core.next_request(at(0)).unwrap();
    core.on_reply(at(1), first, Reply::Entries(&[stored()]));
    let second = core.next_request(at(1)).unwrap();
    assert_eq!(texts(&core, &second), ["v4"]);
    assert!(receivers[2].try_recv().is_err());
    assert_eq!((core.stats().delivered, core.held_records()), (1, 4), "accounted while it waits");
    core.on_reply(at(2), second, Reply::Entries(&[stored()]));
    assert!(receivers.iter_mut().all(|receiver| receiver.try_recv() == Ok(BatchStatus::Delivered)));
    assert!(core.is_idle() && core.held_bytes() == 0);
    let stats = core.stats();
    assert_eq!((stats.received, stats.delivered, stats.stored, stats.conflated), (5, 5, 2, 3));
}

#[test]
fn events_that_a_newer_one_stands_for_count_in_the_budget_since_their_sources_wait() {
    let mut core = core(CoreSettings { conflate: true, ..CoreSettings::default() });
    put(&mut core, 1, "v");
    put(&mut core, 1, "v");
    let few = core.held_bytes();
    for _ in 0..1000 {
        put(&mut core, 1, "v");
    }
    assert!(
        core.held_bytes() >= few + 1000 * std::mem::size_of::<RecordId>(),
        "an outage of any length is bounded"
    );
}

#[test]
fn after_an_outage_of_hanging_requests_those_that_still_hang_hold_nothing_up() {
    let (timeout, back, round_trip) = (at(10_000), at(25_000), at(15));
    let mut core = core(CoreSettings::default());
    for key in 0..20_000 {
        put(&mut core, key, "x");
    }
    let mut under_way: Vec<(Moment, Sealed)> = Vec::new();
    let mut now = at(0);
    let ends = |sent: Moment| if sent < back { sent + timeout } else { sent + round_trip };
    while now < back + at(2000) {
        while let Some(sealed) = core.next_request(now) {
            under_way.push((now, sealed));
        }
        now += at(1);
        for (sent, sealed) in under_way.extract_if(.., |(sent, _)| ends(*sent) <= now) {
            if sent < back {
                let (may_be_stored, trouble) = (true, Trouble::Transient);
                core.on_reply(now, sealed, Reply::Lost { may_be_stored, trouble, problem: "no answer" });
            } else {
                let entries = vec![stored(); sealed.records.len()];
                core.on_reply(now, sealed, Reply::Entries(&entries));
            }
        }
    }
    let hanging: usize = under_way.iter().map(|(_, sealed)| sealed.records.len()).sum();
    assert!(hanging > 0, "some probes hang on");
    assert_eq!(core.held_records(), hanging, "all else is delivered");
}

#[test]
fn an_outage_is_probed_by_one_request_at_a_time_and_ends_within_seconds() {
    let mut core = core(CoreSettings::default());
    for key in 0..2000 {
        put(&mut core, key, "x");
    }
    let (mut now, mut sent) = (0, 0);
    while now < 600_000 {
        if let Some(sealed) = core.next_request(at(now)) {
            sent += 1;
            core.on_reply(at(now), sealed, refused(503, "", ""));
        } else {
            now = core.wake_at().unwrap().as_millis() as u64 + 1;
        }
    }
    assert!((100..2000).contains(&sent), "{sent} probes in ten minutes");
    let back = now;
    while !core.is_idle() {
        match core.next_request(at(now)) {
            Some(sealed) => {
                let entries = vec![stored(); sealed.records.len()];
                core.on_reply(at(now), sealed, Reply::Entries(&entries));
            }
            None => now = now.max(core.wake_at().unwrap().as_millis() as u64 + 1),
        }
    }
    assert!(now - back <= 3100, "{} ms after it was back", now - back);
}

#[test]
fn a_listed_shard_is_paced_alone_before_anything_has_landed() {
    let mut core = core(CoreSettings::default());
    let half = u128::MAX / 2;
    let shard = |n, low, high| ListedShard { name: format!("shardId-{n:012}"), low, high };
    core.shards_listed(at(0), &[shard(0, 0, half), shard(1, half + 1, u128::MAX)]);
    for key in 0..1000 {
        put(&mut core, key, "x");
    }
    let sealed = core.next_request(at(0)).unwrap();
    let is_low = |core: &Core, id: &RecordId| {
        super::super::shard_map::key_hash(&core.record(*id).unwrap().key) <= half
    };
    // The message names no shard: only the list can tell whose refusals these are.
    let answer = |core: &Core, id: &RecordId| match is_low(core, id) {
        true => failed("ProvisionedThroughputExceededException"),
        false => Entry::Stored { shard: "shardId-000000000001".into(), sequence: Cow::Borrowed("1") },
    };
    let entries: Vec<_> = sealed.records.iter().map(|id| answer(&core, id)).collect();
    core.on_reply(at(10), sealed, Reply::Entries(&entries));
    let next = core.next_request(at(10)).unwrap();
    assert!(next.records.len() > 200, "the other shard's records go on: {}", next.records.len());
    assert!(!next.records.iter().any(|id| is_low(&core, id)), "the refused shard waits");
}

#[test]
fn a_stated_record_limit_is_learned_from_a_record_that_was_sent_alone() {
    let mut core = core(CoreSettings::default());
    put_bytes(&mut core, 1, Bytes::from(vec![b'x'; 3000]));
    let sealed = core.next_request(at(0)).unwrap();
    let message = "Value at 'records.1.member.data' … Member must have length less than or equal to 2048";
    core.on_reply(at(1), sealed, refused(400, "ValidationException", message));
    assert_eq!(core.take_rejections().len(), 1);
    put_bytes(&mut core, 2, Bytes::from(vec![b'x'; 3000]));
    assert_eq!(core.take_rejections().len(), 1, "the next one is not even sent");
    assert_eq!(core.stats().requests, 1);
}

#[test]
fn a_service_that_hangs_is_probed_every_few_seconds_although_older_probes_are_unanswered() {
    let mut core = core(CoreSettings::default());
    for key in 0..40_000 {
        put(&mut core, key, "x");
    }
    let lost = || Reply::Lost { may_be_stored: true, trouble: Trouble::Transient, problem: "timeout" };
    let (mut now, mut hanging, mut last) = (0, std::collections::VecDeque::new(), 0);
    while now < 60_000 {
        while hanging.front().is_some_and(|(sent, _)| sent + 10_000 <= now) {
            let (_, sealed) = hanging.pop_front().unwrap();
            core.on_reply(at(now), sealed, lost());
        }
        while let Some(sealed) = core.next_request(at(now)) {
            assert!(now < 20_000 || now - last <= 5_000, "{} ms without a probe", now - last);
            last = now;
            hanging.push_back((now, sealed));
            assert!(hanging.len() <= 8);
        }
        let timeout = hanging.front().map(|(sent, _)| sent + 10_000);
        let wake = core.wake_at().map(|wake| wake.as_millis() as u64);
        now = [timeout, wake].into_iter().flatten().min().unwrap().max(now + 1);
    }
    assert!(last > 55_000);
}

#[test]
fn a_shard_that_refuses_from_the_start_is_paced_though_nothing_has_landed_there() {
    let mut core = core(CoreSettings::default());
    for key in 0..400 {
        put(&mut core, key, "x");
    }
    let (mut now, mut refused) = (0, 0);
    let is_low = |core: &Core, id: &RecordId| {
        super::super::shard_map::key_hash(&core.record(*id).unwrap().key) <= u128::MAX / 2
    };
    while now < 2000 {
        let Some(sealed) = core.next_request(at(now)) else {
            now += 1;
            continue;
        };
        let answer = |id: &RecordId| match is_low(&core, id) {
            true => Entry::Failed {
                code: Cow::Borrowed("ProvisionedThroughputExceededException"),
                message: Cow::Borrowed("Rate exceeded for shard shardId-000000000000 in stream s."),
            },
            false => Entry::Stored { shard: "shardId-000000000001".into(), sequence: Cow::Borrowed("1") },
        };
        let entries: Vec<_> = sealed.records.iter().map(answer).collect();
        refused += entries.iter().filter(|entry| matches!(entry, Entry::Failed { .. })).count();
        now += 5;
        core.on_reply(at(now), sealed, Reply::Entries(&entries));
    }
    assert!(refused < 1000, "{refused} refusals of about 200 records in two seconds");
}

#[test]
fn a_test_that_is_too_large_is_halved_and_ends() {
    let mut core = core(CoreSettings::default());
    for key in 0..64 {
        put(&mut core, key, &key.to_string());
    }
    let (mut now, mut requests) = (0, 0);
    while !core.is_idle() {
        now += 10;
        assert!(now < 100_000);
        let Some(sealed) = core.next_request(at(now)) else { continue };
        requests += 1;
        let sent = texts(&core, &sealed);
        let (status, code) = if requests == 1 { (400, "ValidationException") } else { (413, "") };
        if sent.len() > 4 || sent.contains(&"7".to_owned()) {
            core.on_reply(at(now), sealed, refused(status, code, ""));
        } else {
            let entries = vec![stored(); sealed.records.len()];
            core.on_reply(at(now), sealed, Reply::Entries(&entries));
        }
        for rejection in core.take_rejections() {
            core.settle_rejected(&rejection, EventStatus::Rejected);
        }
    }
    assert_eq!(core.stats().delivered, 63);
}

#[test]
fn a_refusal_for_a_neighbours_sake_is_no_attempt_of_ones_own() {
    let mut core = core(CoreSettings { attempts_max: Some(2), ..CoreSettings::default() });
    for key in 0..8 {
        put(&mut core, key, &key.to_string());
    }
    let mut now = 0;
    while !core.is_idle() {
        now += 1000;
        let Some(sealed) = core.next_request(at(now)) else { continue };
        if texts(&core, &sealed).contains(&"3".to_owned()) {
            let refused = refused(400, "ValidationException", "");
            core.on_reply(at(now + 1), sealed, refused);
        } else {
            let entries = vec![stored(); sealed.records.len()];
            core.on_reply(at(now + 1), sealed, Reply::Entries(&entries));
        }
        for rejection in core.take_rejections() {
            assert_eq!((&rejection.record.data[..], rejection.record.attempts), (&b"3"[..], 1));
            core.settle_rejected(&rejection, EventStatus::Rejected);
        }
    }
    assert_eq!(core.stats().delivered, 7);
}

#[test]
fn a_held_record_costs_no_more_than_the_budget_counts() {
    use std::mem::size_of;
    // Its slot, its place in a lane, its key in the gate (hash tables are filled to at least 7/16), its place in a request.
    let cost = size_of::<Record>() + 2 * size_of::<(RecordId, u32)>() + 48 * 16 / 7 + size_of::<RecordId>();
    assert!(cost <= super::super::limits::RECORD_OVERHEAD_BYTES + 48, "{cost} bytes");
}
