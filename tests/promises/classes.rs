//! Retry classes on the wire: throttles, trouble of the service, credentials, rights, names and keys. Each costs time and nothing
//! else, and the user reads which one it was.

use std::time::Duration;

use super::pipeline::{Pipeline, events, tagger, tags};
use super::support::{
    AccessKey, Fault, FaultServer, FaultServerBuilder, Kms, NotActive, Operation, StreamSpec, StreamStatus,
};

const EVENTS: u64 = 2000;
const KEYS: u64 = 400;

fn server() -> FaultServerBuilder {
    FaultServer::builder().stream("profiles", 2).keep_tags(tagger).watch_keys()
}

/// Some requests meet a fault that passes by itself; everything arrives, in order.
fn passes(name: &str, fault: Fault, options: &str) {
    let kinesis = server().fault(fault.requests(2, 6).named("it")).start_on_thread();
    Pipeline::stdin(&kinesis, options).run(events(EVENTS, KEYS)).assert_delivered(EVENTS);
    assert!(kinesis.fired("it") >= 1, "{name} did not happen");
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
    assert_eq!(kinesis.requests().key_overlaps(), 0, "{name}");
}

#[test]
fn throttled_requests_and_records_are_sent_again() {
    passes("throttle", Fault::throttle(), "");
    passes("account throttle", Fault::limit_exceeded(), "");
    passes("KMS throttle", Fault::refusal(400, "KMSThrottlingException", "slow down"), "");
    passes("record throttle", Fault::record_throttle().chance(0.3), "");
}

#[test]
fn a_stream_that_refuses_everything_for_its_rate_is_told_once_and_so_is_the_end() {
    let refused = Fault::record_throttle().between(Duration::ZERO, Duration::from_secs(20));
    let kinesis = server().fault(refused).start_on_thread();
    let ended = Pipeline::stdin(&kinesis, "").run(events(EVENTS, KEYS));
    ended.assert_delivered(EVENTS);
    for words in ["the stream has refused every record for its rate", "The stream stores records again"] {
        assert_eq!(ended.words.matches(words).count(), 1, "{words}: {}", ended.words);
    }
}

#[test]
fn trouble_of_the_service_and_of_the_network_is_tried_again() {
    passes("500", Fault::internal_failure(), "");
    passes("503", Fault::status(503), "");
    passes("reset", Fault::reset(), "");
    passes("record failure", Fault::record_failure().chance(0.3), "");
}

#[test]
fn an_unknown_code_of_a_record_is_a_failure_and_never_a_delivery() {
    passes("unknown", Fault::record_code("OfALaterDayException", "Something new.").chance(0.3), "");
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_as_long_as_the_user_says() {
    // Nothing is stored before a hang; a request whose client left is not stored later.
    passes("timeout", Fault::hang(), "    request: {timeout_secs: 0.3}");
    passes("timeout after storing", Fault::hang_after_storing(), "    request: {timeout_secs: 0.3}");
}

/// The run begins in a bad state that a person heals; the user reads `words`, and nothing is lost.
fn heals(kinesis: FaultServerBuilder, words: &str, options: &str, heal: impl FnOnce(&FaultServer)) {
    let kinesis = kinesis.start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, options);
    let mut running = pipeline.start(&[]);
    running.feed(events(EVENTS, KEYS));
    kinesis.block_on(kinesis.wait_for(|seen| seen.requests.count(Operation::PutRecords) >= 2));
    assert_eq!(kinesis.stored(), 0);
    heal(&kinesis);
    let ended = running.wait();
    ended.assert_delivered(EVENTS);
    assert!(ended.words.contains(words), "{words}: {}", ended.words);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
}

#[test]
fn each_state_of_the_streams_key_is_waited_out_and_told() {
    for (kms, code) in [
        (Kms::AccessDenied, "KMSAccessDeniedException"),
        (Kms::Disabled, "KMSDisabledException"),
        (Kms::InvalidState, "KMSInvalidStateException"),
        (Kms::NotFound, "KMSNotFoundException"),
        (Kms::OptInRequired, "KMSOptInRequired"),
    ] {
        let stream = StreamSpec::new("profiles", 2).kms(kms);
        let kinesis = FaultServer::builder().stream_spec(stream).keep_tags(tagger);
        heals(kinesis, code, "", |kinesis| kinesis.set_kms("profiles", None));
    }
}

#[test]
fn a_stream_that_is_not_there_yet_is_waited_for_and_told() {
    let missing = FaultServer::builder().keep_tags(tagger);
    heals(missing, "ResourceNotFoundException", "", |kinesis| {
        kinesis.create_stream(&StreamSpec::new("profiles", 2));
    });
    for (answer, code) in
        [(NotActive::InUse, "ResourceInUseException"), (NotActive::NotFound, "ResourceNotFoundException")]
    {
        let stream = StreamSpec::new("profiles", 2).status(StreamStatus::Creating);
        let kinesis = FaultServer::builder().stream_spec(stream).not_active(answer).keep_tags(tagger);
        heals(kinesis, code, "", |kinesis| kinesis.set_status("profiles", StreamStatus::Active));
    }
}

#[test]
fn a_key_that_is_not_taken_is_tried_again_and_told() {
    for (state, code) in [
        (AccessKey::Unknown, "UnrecognizedClientException"),
        (AccessKey::Expired, "ExpiredTokenException"),
        (AccessKey::WrongSecret, "InvalidSignatureException"),
    ] {
        heals(server().access_key("AKIATEST", state), code, "", |kinesis| {
            kinesis.set_access_key("AKIATEST", AccessKey::Valid);
        });
    }
}

#[test]
fn a_wrong_region_is_told_by_a_run_too_and_nothing_counts_as_delivered() {
    let kinesis = server().only_region("eu-west-1").start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, "");
    let mut running = pipeline.start(&["--graceful-shutdown-limit-secs", "1"]);
    running.feed(events(EVENTS, KEYS));
    kinesis.block_on(kinesis.wait_for(|seen| seen.requests.count(Operation::PutRecords) >= 2));
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.words);
    for words in
        ["should be scoped to a valid region, not 'us-east-1'", "check the `auth` and `region` options"]
    {
        assert!(ended.words.contains(words), "{words}: {}", ended.words);
    }
    assert_eq!(ended.books.fates(), [("not delivered", ended.books.received)]);
}

#[test]
fn a_clock_that_is_off_is_corrected_by_the_first_refusal_and_told_once() {
    let (behind, ahead) = ("clock is 60 minutes behind", "clock is 60 minutes ahead");
    // Met by the first requests alone, by them and the health check, by the health check alone.
    for (seconds, words, check, required) in
        [(3630, behind, "false", "false"), (-3630, ahead, "true", "false"), (3630, behind, "true", "true")]
    {
        let kinesis = server().check_clock().clock_skew_secs(seconds).start_on_thread();
        let pipeline =
            Pipeline::stdin(&kinesis, "").edit("healthcheck: false", &format!("healthcheck: {check}"));
        let mut running = pipeline.start(&["--require-healthy", required]);
        running.feed(events(EVENTS, KEYS));
        let ended = running.wait();
        ended.assert_delivered(EVENTS);
        for others in ["ERROR", "held up"] {
            assert!(!ended.words.contains(others), "{}", ended.words);
        }
        assert_eq!(ended.words.matches(words).count(), 1, "{}", ended.words);
        kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
    }
}

#[test]
fn retry_attempts_is_the_users_own_limit_and_the_books_say_what_it_cost() {
    let kinesis = server().fault(Fault::record_failure().key("crmid:7")).start_on_thread();
    let ended = Pipeline::stdin(&kinesis, "    request: {retry_attempts: 2}").run(events(EVENTS, KEYS));
    let lost = EVENTS / KEYS;
    ended.assert_books(EVENTS, &[("delivered", EVENTS - lost), ("rejected", lost)]);
    assert!(ended.words.contains("retry_attempts"), "{}", ended.words);
    let kept = tags(EVENTS, KEYS).filter(|tag| tag.key != super::support::tag("crmid:7", 0).key);
    kinesis.ledger().audit(kept).assert_kept();
    assert_eq!(kinesis.fired("record_failure"), 3 * lost, "one try and two more, each");
}
