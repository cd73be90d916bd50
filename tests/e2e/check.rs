//! `check`: each wrong right, name, region, key and clock is told apart; nothing is ever written; 0 only when all is well.

use tempfile::TempDir;

use super::program::{Ended, run};
use super::support::{
    AccessKey, DryRun, Fault, FaultServer, FaultServerBuilder, Kms, Operation, StreamSpec, StreamStatus,
};

fn check_at(endpoint: &str, options: &str) -> Ended {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {{type: stdin}}}}
sinks:
  out:
    type: aws_kinesis_streams
    inputs: [in]
    stream_name: profiles
    region: us-east-1
    endpoint: {endpoint}
    auth: {{access_key_id: AKIATEST, secret_access_key: s}}
    encoding: {{codec: json}}
    healthcheck: {{timeout_secs: 5}}
{options}"
    );
    std::fs::write(&path, text).unwrap();
    run(&[&"check", &"-c", &path], b"")
}

/// Runs `check`; nothing may be stored, and 0 goes with good lines alone.
fn check(server: FaultServerBuilder) -> Ended {
    let server = server.start_on_thread();
    let ended = check_at(&server.endpoint(), "");
    assert_eq!(server.stored(), 0, "{}", ended.out);
    assert_eq!(ended.code == Some(0), !ended.out.contains("x "), "{}", ended.out);
    ended
}

fn stream() -> FaultServerBuilder {
    FaultServer::builder().stream("profiles", 1)
}

#[track_caller]
fn assert_wrong(server: FaultServerBuilder, words: &str) {
    let ended = check(server);
    assert_eq!(ended.code, Some(1), "{words}: {}", ended.out);
    let told = ended.out.lines().any(|line| line.starts_with("x sinks.out: ") && line.contains(words));
    assert!(told, "{words}: {}", ended.out);
}

#[test]
fn all_is_well_with_put_records_alone() {
    for server in [stream(), stream().deny(Operation::ListStreams).deny(Operation::ListShards)] {
        let ended = check(server);
        assert_eq!(ended.code, Some(0), "{}", ended.out);
        assert!(
            ended.out.starts_with("√ sinks.out: records may be written to stream `profiles`"),
            "{}",
            ended.out
        );
    }
}

#[test]
fn an_endpoint_that_does_not_know_dry_runs_stores_nothing_either() {
    let ended = check(stream().dry_run(DryRun::Unknown));
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert_wrong(FaultServer::builder().dry_run(DryRun::Unknown), "was not found");
    assert_wrong(
        stream().dry_run(DryRun::Unknown).deny(Operation::PutRecords),
        "the right kinesis:PutRecords",
    );
}

#[test]
fn a_missing_right_is_named() {
    assert_wrong(stream().deny(Operation::PutRecords), "the right kinesis:PutRecords on stream `profiles`");
}

#[test]
fn a_wrong_name_is_told_with_the_nearest_right_one() {
    assert_wrong(FaultServer::builder().stream("profile", 1), "was not found; did you mean `profile`?");
    assert_wrong(FaultServer::builder(), "this account has no stream there");
    let creating = StreamSpec::new("profiles", 1).status(StreamStatus::Creating);
    assert_wrong(FaultServer::builder().stream_spec(creating), "wait until it is ACTIVE");
}

#[test]
fn a_wrong_region_is_told() {
    assert_wrong(stream().only_region("eu-west-1"), "correct `region` or `endpoint`");
}

#[test]
fn an_unknown_key_a_wrong_secret_and_an_ended_token_are_told_apart() {
    assert_wrong(stream().only_access_key("OTHER"), "the access key … is not known in us-east-1");
    assert_wrong(stream().access_key("AKIATEST", AccessKey::WrongSecret), "the secret does not belong");
    assert_wrong(stream().access_key("AKIATEST", AccessKey::Expired), "has ended");
}

#[test]
fn a_wrong_clock_is_told_and_what_else_is_wrong_too() {
    assert_wrong(stream().check_clock().clock_skew_secs(3630), "this machine's clock is 60 minutes behind");
    let both = stream().check_clock().clock_skew_secs(-3630).deny(Operation::PutRecords);
    assert_wrong(both, "the right kinesis:PutRecords");
}

#[test]
fn each_state_of_the_streams_key_is_told() {
    for (kms, words) in [
        (Kms::AccessDenied, "allow kms:GenerateDataKey"),
        (Kms::Disabled, "is disabled: enable it"),
        (Kms::InvalidState, "not usable in its state"),
        (Kms::NotFound, "does not exist"),
        (Kms::OptInRequired, "not signed up for KMS"),
        (Kms::Throttling, "KMS is throttling"),
    ] {
        assert_wrong(FaultServer::builder().stream_spec(StreamSpec::new("profiles", 1).kms(kms)), words);
    }
}

#[test]
fn what_passes_is_waited_out_and_what_does_not_is_no_proof() {
    let busy = stream().fault(Fault::throttle().requests(1, 2));
    assert_eq!(check(busy).code, Some(0));
    assert_wrong(stream().fault(Fault::throttle()), "was found but is busy");
    assert_eq!(check(stream().fault(Fault::status(503).requests(1, 1))).code, Some(0));
    assert_wrong(stream().fault(Fault::status(503)), "HTTP 503");
    assert_wrong(stream().fault(Fault::hang()), "did not answer");
}

#[test]
fn nobody_there_is_told() {
    let ended = check_at("http://127.0.0.1:9", "");
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(
        ended.out.starts_with("x sinks.out: ") && ended.out.contains("cannot be reached"),
        "{}",
        ended.out
    );
}
