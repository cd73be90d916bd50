//! Aggregation, turn by turn: who rides with whom, and what becomes of riders when something fails.

use proptest::prelude::*;

use super::super::super::aggregate::tests::read;
use super::super::super::limits::{AGGREGATE_BYTES_MAX, AGGREGATE_RECORDS_MAX};
use super::*;

fn aggregating() -> CoreSettings {
    CoreSettings { aggregate: true, ..CoreSettings::default() }
}

/// User records of each Kinesis record of the request, as a consumer sees them.
fn rides(core: &Core, sealed: &Sealed) -> Vec<Vec<String>> {
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    let ride = |id: &RecordId| {
        let (data, key) = core.content(*id).unwrap();
        match read(&data) {
            None => vec![text(&data)],
            Some(records) => {
                assert!(records.iter().all(|(own, _)| own == key), "one key only");
                records.iter().map(|(_, data)| text(data)).collect()
            }
        }
    };
    sealed.records.iter().map(ride).collect()
}

/// What the service counts.
fn weighed(core: &Core, sealed: &Sealed) -> Vec<usize> {
    let weight = |id: &RecordId| core.content(*id).map(|(data, key)| data.len() + key.len()).unwrap();
    sealed.records.iter().map(weight).collect()
}

fn refused<'a>(message: &'a str) -> Reply<'a> {
    Reply::Refused { status: 400, code: "ValidationException", message, retry_after: None }
}

fn all_stored(core: &mut Core, now: Moment, sealed: Sealed) {
    let entries = vec![stored(); sealed.records.len()];
    core.on_reply(now, sealed, Reply::Entries(&entries));
}

#[test]
fn records_that_wait_ride_with_the_next_of_their_key_and_a_lone_one_goes_plain() {
    let mut core = core(aggregating());
    let mut receivers: Vec<_> = (0..5).map(|n| put(&mut core, 1, &format!("a{n}"))).collect();
    receivers.push(put(&mut core, 2, "b0"));
    let first = core.next_request(at(0)).unwrap();
    assert_eq!(rides(&core, &first), [vec!["a0", "a1", "a2", "a3", "a4"], vec!["b0"]]);
    assert_eq!(*core.content(first.records[1]).unwrap().0, *b"b0", "plain");
    assert_eq!(first.weight, weighed(&core, &first).iter().sum::<usize>());
    receivers.push(put(&mut core, 1, "a5"));
    all_stored(&mut core, at(1), first);
    let second = core.next_request(at(1)).unwrap();
    assert_eq!(rides(&core, &second), [["a5"]]);
    all_stored(&mut core, at(2), second);
    assert!(receivers.iter_mut().all(|receiver| receiver.try_recv() == Ok(BatchStatus::Delivered)));
    assert!(core.is_idle() && core.held_bytes() == 0 && core.gate_load() == (0, 0));
    let stats = core.stats();
    assert_eq!((stats.delivered, stats.attempts), (7, 7), "user records are counted");
    assert_eq!((stats.aggregates, stats.aggregated), (1, 5));
}

#[test]
fn off_means_that_nothing_is_joined() {
    let mut core = core(CoreSettings::default());
    put(&mut core, 1, "a0");
    put(&mut core, 1, "a1");
    let sealed = core.next_request(at(0)).unwrap();
    assert_eq!(rides(&core, &sealed), [["a0"]]);
}

#[test]
fn riders_of_a_failed_aggregate_go_again_before_those_that_came_later() {
    for lost in [false, true] {
        let mut core = core(aggregating());
        for n in 0..3 {
            put(&mut core, 1, &format!("a{n}"));
        }
        let sealed = core.next_request(at(0)).unwrap();
        put(&mut core, 1, "a3");
        if lost {
            let trouble = Trouble::Transient;
            core.on_reply(at(1), sealed, Reply::Lost { may_be_stored: true, trouble, problem: "reset" });
        } else {
            core.on_reply(at(1), sealed, Reply::Entries(&[failed("InternalFailure")]));
            assert_eq!(core.failures_by_code(), [("InternalFailure".into(), 3)]);
        }
        let again = core.next_request(at(5000)).unwrap();
        assert_eq!(rides(&core, &again), [["a0", "a1", "a2", "a3"]]);
        all_stored(&mut core, at(5001), again);
        assert!(core.is_idle());
        assert_eq!((core.stats().delivered, core.stats().retried), (4, 3));
        assert_eq!(core.stats().possible_duplicates, if lost { 3 } else { 0 });
    }
}

#[test]
fn an_aggregate_is_as_large_as_allowed_and_the_request_too() {
    let settings = CoreSettings { request_bytes_max: 600_000, ..aggregating() };
    let mut core = core(settings);
    for n in 0..2000 {
        put_bytes(&mut core, n % 4, Bytes::from(vec![b'x'; 1000]));
    }
    let sealed = core.next_request(at(0)).unwrap();
    let weights = weighed(&core, &sealed);
    assert!(weights.iter().all(|weight| *weight <= AGGREGATE_BYTES_MAX), "{weights:?}");
    assert_eq!(sealed.weight, weights.iter().sum::<usize>());
    assert!((599_000 - 1000..=600_000).contains(&sealed.weight), "{} bytes", sealed.weight);
    let mut core = self::core(aggregating());
    for n in 0..1200 {
        put(&mut core, 1, &format!("{n}"));
    }
    let sealed = core.next_request(at(0)).unwrap();
    assert_eq!(rides(&core, &sealed)[0].len(), usize::from(AGGREGATE_RECORDS_MAX));
}

#[test]
fn two_keys_with_one_hash_share_a_queue_but_no_aggregate() {
    let mut core = core(aggregating());
    let (notifier, _receiver) = BatchNotifier::new_with_receiver();
    let fate = core.open_fate(EventFinalizers::from_notifier(notifier), at(0));
    for (key, text) in [("a", "a0"), ("a", "a1"), ("b", "b0"), ("a", "a2")] {
        core.accept(Record::keyed(Bytes::from(text), Bytes::from(key), 7, fate, Duration::ZERO));
    }
    core.close_fate(fate);
    let mut seen = Vec::new();
    while !core.is_idle() {
        let sealed = core.next_request(at(0)).unwrap();
        seen.extend(rides(&core, &sealed));
        all_stored(&mut core, at(0), sealed);
    }
    assert_eq!(seen, [vec!["a0", "a1"], vec!["b0"], vec!["a2"]]);
}

#[test]
fn a_poisonous_rider_is_rejected_alone_after_ten_refusals_while_new_records_arrive() {
    for guilty in [0, 1, 250, 499] {
        let mut core = core(aggregating());
        for n in 0..500 {
            put(&mut core, 1, &format!("{n}"));
        }
        let (mut refusals, mut now, mut seen) = (0, 0, Vec::new());
        while !core.is_idle() {
            now += 1;
            assert!(now < 100_000);
            // Neither key is ever without fresh company.
            if now < 50 {
                put(&mut core, 1, &(500 + now).to_string());
                put(&mut core, 2 + now, "innocent");
            }
            if let Some(sealed) = core.next_request(at(now)) {
                let rides = rides(&core, &sealed);
                if rides.iter().flatten().any(|text| *text == guilty.to_string()) {
                    refusals += 1;
                    core.on_reply(at(now), sealed, refused("no"));
                } else {
                    seen.extend(rides.into_iter().flatten().filter(|text| text != "innocent"));
                    all_stored(&mut core, at(now), sealed);
                }
            }
            for rejection in core.take_rejections() {
                assert_eq!(rejection.record.data, guilty.to_string());
                core.settle_rejected(&rejection, EventStatus::Rejected);
            }
        }
        let fresh = 501..=500 + now.min(49);
        let expected: Vec<_> =
            (0..500).chain(fresh).filter(|n| *n != guilty).map(|n| n.to_string()).collect();
        assert_eq!(seen, expected, "everyone else arrives, in order");
        assert_eq!(core.stats().delivered, core.stats().received - 1);
        assert!(refusals <= 10, "guilty {guilty}: {refusals} refusals");
        assert!(core.stats().requests <= 100, "{} requests", core.stats().requests);
    }
}

#[test]
fn a_learned_limit_makes_aggregates_smaller_and_rejects_only_what_weighs_too_much_alone() {
    let mut core = core(aggregating());
    for _ in 0..10 {
        put_bytes(&mut core, 1, Bytes::from(vec![b'x'; 500]));
    }
    put_bytes(&mut core, 1, Bytes::from(vec![b'y'; 3000]));
    put(&mut core, 1, "last");
    let sealed = core.next_request(at(0)).unwrap();
    core.on_reply(at(1), sealed, refused("Member must have length less than or equal to 2048"));
    while let Some(sealed) = core.next_request(at(2)) {
        assert!(weighed(&core, &sealed).iter().all(|weight| *weight <= 2048));
        all_stored(&mut core, at(2), sealed);
    }
    let rejections = core.take_rejections();
    assert_eq!(rejections.len(), 1);
    assert!(matches!(rejections[0].reason, Reason::TooLarge { limit: 2048, .. }));
    core.settle_rejected(&rejections[0], EventStatus::Rejected);
    assert!(core.is_idle());
    assert_eq!(core.stats().delivered, 11);
    assert!(core.stats().requests <= 6, "{} requests", core.stats().requests);
}

#[test]
fn a_413_for_one_aggregate_makes_it_smaller() {
    let mut core = core(aggregating());
    for _ in 0..100 {
        put_bytes(&mut core, 1, Bytes::from(vec![b'x'; 1000]));
    }
    let sealed = core.next_request(at(0)).unwrap();
    let weight = sealed.weight;
    core.on_reply(at(1), sealed, Reply::Refused { status: 413, code: "", message: "", retry_after: None });
    assert!(core.take_rejections().is_empty());
    let sealed = core.next_request(at(1000)).unwrap();
    assert!(sealed.weight <= weight / 2 && sealed.weight > weight / 3, "{} bytes", sealed.weight);
}

#[test]
fn retry_attempts_are_counted_for_each_user_record() {
    let mut core = core(CoreSettings { attempts_max: Some(2), ..aggregating() });
    let fail = |core: &mut Core, now: u64| {
        let sealed = core.next_request(at(now)).unwrap();
        let rides = rides(core, &sealed);
        core.on_reply(at(now + 1), sealed, Reply::Entries(&[failed("InternalFailure")]));
        rides
    };
    put(&mut core, 1, "a0");
    put(&mut core, 1, "a1");
    assert_eq!(fail(&mut core, 0), [["a0", "a1"]]);
    put(&mut core, 1, "a2");
    assert_eq!(fail(&mut core, 1000), [["a0", "a1", "a2"]]);
    let rejections = core.take_rejections();
    let given_up: Vec<_> = rejections.iter().map(|rejection| &rejection.record.data[..]).collect();
    assert_eq!(given_up, [b"a0", b"a1"]);
    assert!(rejections.iter().all(|r| matches!(r.reason, Reason::GaveUp { attempts: 2, .. })));
    assert_eq!(fail(&mut core, 2000), [["a2"]], "its own second attempt");
    assert_eq!(core.take_rejections().len(), 1);
}

#[test]
fn aggregates_of_a_paced_shard_keep_its_pace_in_bytes() {
    let mut core = core(aggregating());
    put(&mut core, 1, "to learn the shard");
    let sealed = core.next_request(at(0)).unwrap();
    all_stored(&mut core, at(0), sealed);
    for _ in 0..3000 {
        put_bytes(&mut core, 1, Bytes::from(vec![b'x'; 1000]));
    }
    // The only key's shard refuses the first aggregate, and is paced from then on.
    let sealed = core.next_request(at(0)).unwrap();
    core.on_reply(at(1), sealed, Reply::Entries(&[failed("ProvisionedThroughputExceededException")]));
    let (mut now, mut bytes) = (1, 0);
    while now < 1000 {
        match core.next_request(at(now)) {
            Some(sealed) => {
                bytes += sealed.weight;
                all_stored(&mut core, at(now), sealed);
            }
            None => now += 1,
        }
    }
    assert!(
        (400_000..600_000).contains(&bytes),
        "{bytes} bytes in a second: pacing begins at half the book rate"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_guilty_event_among_n_costs_at_most_log2_of_n_and_one_refusals(
        aggregate in any::<bool>(), named in any::<bool>(), keys in 1..40u64, count in 2..500u64, pick in any::<u64>(), skew in 1..4u32
    ) {
        let mut core = core(CoreSettings { aggregate, ..CoreSettings::default() });
        for n in 0..count {
            // Some keys are busier than others.
            let key = (0..skew).map(|turn| (n + 1).wrapping_mul(2_654_435_761 + u64::from(turn)) % keys).min();
            put(&mut core, key.unwrap_or(0), &n.to_string());
        }
        let guilty = (pick % count).to_string();
        let (mut suspects, mut refusals, mut now) = (0, 0, 0);
        while !core.is_idle() {
            now += 1;
            prop_assert!(now < 10_000);
            if now < 200 {
                put(&mut core, now % keys, "fresh");
            }
            if let Some(sealed) = core.next_request(at(now)) {
                let rides = rides(&core, &sealed);
                if let Some(place) = rides.iter().position(|ride| ride.contains(&guilty)) {
                    let message = if named { format!("records.{}.member.data", place + 1) } else { String::new() };
                    suspects = suspects.max(rides.iter().flatten().count());
                    refusals += 1;
                    core.on_reply(at(now), sealed, refused(&message));
                } else {
                    all_stored(&mut core, at(now), sealed);
                }
            }
            for rejection in core.take_rejections() {
                prop_assert_eq!(&rejection.record.data, &guilty);
                core.settle_rejected(&rejection, EventStatus::Rejected);
            }
        }
        prop_assert_eq!(core.stats().order_violations, 0);
        prop_assert_eq!(core.stats().delivered, core.stats().received - 1);
        prop_assert!(refusals <= suspects.next_power_of_two().ilog2() + 1, "{} refusals for {}", refusals, suspects);
    }
}
