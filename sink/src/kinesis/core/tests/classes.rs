//! Retry classes: what each failure costs. Nothing may be lost but to the user's own limit, and nothing counts as
//! delivered that has no sequence number.

use super::super::super::backoff::Backoff;
use super::super::super::verdict::trouble;
use super::*;

/// Status, code, text and class of refusals of a whole request that time or a person heals.
const REFUSALS: &[(u16, &str, &str, Trouble)] = &[
    (400, "ProvisionedThroughputExceededException", "Rate exceeded for stream s", Trouble::Throttled),
    (400, "LimitExceededException", "Rate exceeded for account 1", Trouble::Throttled),
    (400, "KMSThrottlingException", "", Trouble::Throttled),
    (429, "", "", Trouble::Throttled),
    (500, "InternalFailure", "", Trouble::Transient),
    (500, "", "<html>500</html>", Trouble::Transient),
    (502, "", "", Trouble::Transient),
    (503, "ServiceUnavailable", "", Trouble::Transient),
    (504, "", "", Trouble::Transient),
    (408, "RequestTimeout", "", Trouble::Transient),
    (500, "ValidationException", "records.1.member.data", Trouble::Transient),
    (400, "ExpiredTokenException", "", Trouble::Credentials),
    (400, "UnrecognizedClientException", "", Trouble::Credentials),
    (403, "InvalidSignatureException", "", Trouble::Credentials),
    (403, "SignatureDoesNotMatch", "", Trouble::Credentials),
    (400, "MissingAuthenticationTokenException", "", Trouble::Credentials),
    (400, "InvalidToken", "", Trouble::Credentials),
    (403, "RequestInTheFuture", "", Trouble::Credentials),
    (403, "", "", Trouble::Credentials),
    (400, "AccessDeniedException", "not authorized to perform: kinesis:PutRecords", Trouble::Pause),
    (400, "ResourceNotFoundException", "Stream s under account 1 not found.", Trouble::Pause),
    (400, "ResourceInUseException", "Stream s is CREATING", Trouble::Pause),
    (400, "KMSAccessDeniedException", "", Trouble::Pause),
    (400, "KMSDisabledException", "", Trouble::Pause),
    (400, "KMSInvalidStateException", "", Trouble::Pause),
    (400, "KMSNotFoundException", "", Trouble::Pause),
    (400, "KMSOptInRequired", "", Trouble::Pause),
    (400, "ValidationException", "Value at 'streamName' failed to satisfy constraint", Trouble::Pause),
    (400, "OfALaterDayException", "", Trouble::Pause),
    (404, "", "", Trouble::Pause),
];

/// The next request, whenever it goes.
fn next(core: &mut Core, now: &mut Moment) -> Sealed {
    loop {
        if let Some(sealed) = core.next_request(*now) {
            return sealed;
        }
        *now = core.wake_at().expect("it is tried again") + Duration::from_micros(1);
    }
}

#[test]
fn each_refusal_of_a_whole_request_has_its_class_and_costs_no_record() {
    for (status, code, message, class) in REFUSALS.iter().copied() {
        assert_eq!(trouble(status, code, message), class, "{status} {code}");
        let (mut core, mut now) = (core(CoreSettings::default()), at(0));
        let mut receivers: Vec<_> = (0..3).map(|key| put(&mut core, key, "x")).collect();
        for _ in 0..20 {
            let sealed = next(&mut core, &mut now);
            now += at(10);
            core.on_reply(now, sealed, refused(status, code, message));
        }
        assert!(core.take_rejections().is_empty(), "{status} {code}");
        let told: Vec<_> = core.take_notices();
        assert!(
            matches!(told.as_slice(), [Notice::StormBegan { trouble, .. }] if *trouble == class),
            "once, with its class: {told:?}"
        );
        let sealed = next(&mut core, &mut now);
        assert_eq!(sealed.records.len(), 3);
        core.on_reply(now, sealed, Reply::Entries(&[stored(), stored(), stored()]));
        assert!(core.is_idle() && core.held_bytes() == 0);
        assert!(receivers.iter_mut().all(|receiver| receiver.try_recv() == Ok(BatchStatus::Delivered)));
        let counted = if code.is_empty() { format!("http_{status}") } else { code.to_owned() };
        assert_eq!(core.failures_by_code(), [(counted.into(), 60)]);
        let doubtful = if matches!(status, 502 | 504) { 3 } else { 0 };
        assert_eq!(
            core.stats().possible_duplicates,
            doubtful,
            "only what was answered on the way may be stored"
        );
    }
}

#[test]
fn a_missing_right_stops_everything_at_once_and_load_only_what_met_it() {
    for (status, code, message, class) in REFUSALS.iter().copied() {
        let mut core = core(CoreSettings::default());
        put(&mut core, 1, "x");
        let sealed = core.next_request(at(0)).unwrap();
        core.on_reply(at(1), sealed, refused(status, code, message));
        put(&mut core, 2, "y");
        assert_eq!(core.next_request(at(1)).is_none(), class.stops_everything(), "{status} {code}");
    }
}

#[test]
fn a_lost_answer_may_double_and_a_request_that_never_left_may_not() {
    for (may_be_stored, trouble, code) in [
        (true, Trouble::Transient, "no_answer"),
        (false, Trouble::Transient, "not_sent"),
        (false, Trouble::Credentials, "not_sent"),
    ] {
        let (mut core, mut now) = (core(CoreSettings::default()), at(0));
        let mut receiver = put(&mut core, 1, "x");
        for _ in 0..20 {
            let sealed = next(&mut core, &mut now);
            now += at(10);
            core.on_reply(now, sealed, Reply::Lost { may_be_stored, trouble, problem: "timeout" });
        }
        let sealed = next(&mut core, &mut now);
        core.on_reply(now, sealed, Reply::Entries(&[stored()]));
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Delivered));
        assert_eq!(core.stats().possible_duplicates, u64::from(may_be_stored));
        assert_eq!(core.failures_by_code(), [(code.into(), 20)]);
    }
}

#[test]
fn a_record_that_failed_by_itself_goes_again_by_itself_whatever_the_code() {
    for (code, throttled) in [
        ("ProvisionedThroughputExceededException", true),
        ("KMSThrottlingException", true),
        ("InternalFailure", false),
        ("AccessDeniedException", false),
        ("ValidationException", false),
        ("OfALaterDayException", false),
    ] {
        let (mut core, mut now) = (core(CoreSettings::default()), at(0));
        let mut receivers = [put(&mut core, 1, "x"), put(&mut core, 2, "y")];
        let sealed = core.next_request(now).unwrap();
        core.on_reply(now, sealed, Reply::Entries(&[failed(code), stored()]));
        for _ in 0..20 {
            assert_eq!(core.stats().delivered, 1, "{code} is not a delivery");
            let sealed = next(&mut core, &mut now);
            assert_eq!(texts(&core, &sealed), ["x"]);
            now += at(10);
            core.on_reply(now, sealed, Reply::Entries(&[failed(code)]));
        }
        let sealed = next(&mut core, &mut now);
        core.on_reply(now, sealed, Reply::Entries(&[stored()]));
        assert!(receivers.iter_mut().all(|receiver| receiver.try_recv() == Ok(BatchStatus::Delivered)));
        let stats = core.stats();
        assert_eq!((stats.throttled, stats.failed), if throttled { (21, 0) } else { (0, 21) }, "{code}");
        assert!(core.take_rejections().is_empty());
    }
}

/// Fails every attempt at the only record in one way until it is rejected; how often it was tried.
fn tries(attempts_max: u32, fail: impl Fn(&mut Core, Moment, Sealed)) -> u32 {
    let settings = CoreSettings { attempts_max: Some(attempts_max), ..CoreSettings::default() };
    let (mut core, mut now, mut tries) = (core(settings), at(0), 0);
    let mut receiver = put(&mut core, 1, "x");
    put(&mut core, 1, "the next of its key");
    loop {
        let sealed = next(&mut core, &mut now);
        if texts(&core, &sealed) != ["x"] {
            return tries;
        }
        tries += 1;
        now += at(10);
        fail(&mut core, now, sealed);
        for rejection in core.take_rejections() {
            assert!(matches!(rejection.reason, Reason::GaveUp { attempts, .. } if attempts == tries));
            core.settle_rejected(&rejection, EventStatus::Rejected);
            assert_eq!(receiver.try_recv(), Ok(BatchStatus::Rejected));
        }
    }
}

#[test]
fn retry_attempts_end_a_record_in_every_class_and_the_next_of_its_key_goes_on() {
    for attempts_max in [1, 2, 5] {
        for (status, code, message, _) in REFUSALS.iter().copied() {
            let refuse = |core: &mut Core, now, sealed| {
                core.on_reply(now, sealed, refused(status, code, message));
            };
            assert_eq!(tries(attempts_max, refuse), attempts_max, "{status} {code}");
        }
        for code in ["ProvisionedThroughputExceededException", "InternalFailure"] {
            let fail =
                |core: &mut Core, now, sealed| core.on_reply(now, sealed, Reply::Entries(&[failed(code)]));
            assert_eq!(tries(attempts_max, fail), attempts_max, "{code}");
        }
        let lose = |core: &mut Core, now, sealed| {
            let lost = Reply::Lost { may_be_stored: true, trouble: Trouble::Transient, problem: "timeout" };
            core.on_reply(now, sealed, lost);
        };
        assert_eq!(tries(attempts_max, lose), attempts_max);
    }
}

#[test]
fn retry_max_duration_bounds_each_wait_and_never_their_sum() {
    let backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(2), jitter: false };
    let settings = || CoreSettings { backoff, pause_backoff: backoff, ..CoreSettings::default() };
    for whole in [false, true] {
        let (mut core, mut now, mut waits) = (core(settings()), at(0), Vec::new());
        let mut receiver = put(&mut core, 1, "x");
        for _ in 0..50 {
            let sealed = next(&mut core, &mut now);
            let failed_at = now;
            match whole {
                true => core.on_reply(now, sealed, refused(503, "", "")),
                false => core.on_reply(now, sealed, Reply::Entries(&[failed("InternalFailure")])),
            }
            waits.push((core.wake_at().unwrap() - failed_at).as_secs());
        }
        assert_eq!(waits[0], 1);
        assert!(waits.iter().all(|wait| (1..=2).contains(wait)) && waits.contains(&2), "{waits:?}");
        assert!(now > Duration::from_secs(90) && receiver.try_recv().is_err(), "long past it, still held");
    }
}

#[test]
fn a_wait_that_the_service_asks_for_is_obeyed_up_to_the_longest_wait() {
    let max = CoreSettings::default().backoff.max;
    for (asked, least) in [(Duration::from_secs(2), Duration::from_secs(2)), (Duration::MAX, max)] {
        let (mut core, mut now) = (core(CoreSettings::default()), at(0));
        put(&mut core, 1, "x");
        // One failure alone first, then a storm.
        for _ in 0..10 {
            let sealed = next(&mut core, &mut now);
            let refused = Reply::Refused { status: 503, code: "", message: "", retry_after: Some(asked) };
            core.on_reply(now, sealed, refused);
            let wait = core.wake_at().unwrap() - now;
            // Our own wait, which differs from producer to producer, comes on top.
            assert!((least..=least + max).contains(&wait) && wait > least, "{asked:?}: {wait:?}");
        }
    }
}

#[test]
fn a_test_for_poison_that_fails_is_an_attempt_as_any_other() {
    for aggregate in [false, true] {
        let settings = CoreSettings { aggregate, attempts_max: Some(2), ..CoreSettings::default() };
        let (mut core, mut now) = (core(settings), at(0));
        for n in 0..16 {
            put(&mut core, n % 8, &n.to_string());
        }
        let refused = refused(400, "ValidationException", "");
        let sealed = next(&mut core, &mut now);
        core.on_reply(now, sealed, refused);
        let mut given_up = 0;
        while !core.is_idle() {
            let sealed = next(&mut core, &mut now);
            now += at(10);
            let lost = Reply::Lost { may_be_stored: false, trouble: Trouble::Transient, problem: "reset" };
            core.on_reply(now, sealed, lost);
            for rejection in core.take_rejections() {
                assert!(matches!(rejection.reason, Reason::GaveUp { attempts: 2, .. }), "{rejection:?}");
                given_up += 1;
                core.settle_rejected(&rejection, EventStatus::Rejected);
            }
        }
        assert_eq!(given_up, 16);
    }
}
