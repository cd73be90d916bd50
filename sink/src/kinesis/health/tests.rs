//! Tests of the health check: a table from answer to sentence, and nothing is ever written.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::*;
use crate::kinesis::{
    http::loopback::{Asked, Loopback, Reply},
    put::{ClientSettings, Refusal, Skew},
};

const LIMIT: Duration = Duration::from_secs(20);

fn scene() -> Scene {
    Scene {
        stream: "profile".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: "https://kinesis.eu-west-1.amazonaws.com/".to_owned(),
        custom: false,
        probe: Probe::DryRun,
        streams: None,
    }
}

fn listed(names: &[&str]) -> Scene {
    Scene { streams: Some(names.iter().map(|name| (*name).to_owned()).collect()), ..scene() }
}

fn custom(scene: Scene) -> Scene {
    Scene { custom: true, probe: Probe::HashKey, endpoint: "http://127.0.0.1:4567/".to_owned(), ..scene }
}

fn asked_nothing() -> Scene {
    Scene { probe: Probe::Nothing, ..custom(scene()) }
}

fn refused(status: u16, code: &str, message: &str) -> Attempt {
    Attempt::Refused(Refusal {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        retry_after: None,
        skew: None,
        key_hint: "AKIA…WXYZ".to_owned(),
        credentials_refused: false,
    })
}

fn skewed(code: &str, seconds: i64) -> Attempt {
    match refused(403, code, "Signature expired") {
        Attempt::Refused(refusal) => Attempt::Refused(Refusal { skew: Some(Skew { seconds }), ..refusal }),
        other => other,
    }
}

fn failed(kind: FailureKind, message: &str) -> Attempt {
    Attempt::Failed(Failure { kind, may_be_stored: false, message: message.to_owned() })
}

/// What the sentence must say, after `+` (well), `~` (not proven) or `-` (wrong).
#[test]
fn each_answer_becomes_a_sentence_that_says_what_to_change() {
    let hash = "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was 3402";
    for (attempt, scene, expected) in [
        (
            refused(400, "DryRunOperationException", "ok"),
            scene(),
            "+records may be written to stream `profile` in eu-west-1",
        ),
        (
            refused(400, "InvalidArgumentException", hash),
            custom(scene()),
            "+records may be written to stream `profile` at http://127.0.0.1:4567/",
        ),
        (
            refused(400, "InvalidArgumentException", hash),
            custom(listed(&["profiles"])),
            "-did you mean `profiles`?",
        ),
        (
            refused(400, "InvalidArgumentException", hash),
            custom(listed(&["profile"])),
            "+nothing was written",
        ),
        (
            refused(400, "InvalidArgumentException", hash),
            scene(),
            "-refused the dry run with InvalidArgumentException",
        ),
        (
            refused(400, "ValidationException", "explicitHashKey"),
            custom(scene()),
            "~neither the stream nor the right",
        ),
        (
            refused(400, "ValidationException", "explicitHashKey"),
            custom(listed(&["profile"])),
            "~the right to write is not proven",
        ),
        (
            refused(400, "ValidationException", "Value '…' at 'streamName' failed"),
            scene(),
            "-stream_name: `profile` is not a stream's name",
        ),
        (
            refused(400, "ResourceNotFoundException", "x"),
            listed(&["orders", "profiles"]),
            "-stream `profile` in eu-west-1 was not found; did you mean `profiles`?",
        ),
        (refused(400, "ResourceNotFoundException", "x"), listed(&["PROFILE"]), "-did you mean `PROFILE`?"),
        (
            refused(400, "ResourceNotFoundException", "x"),
            listed(&["clickstream"]),
            "-create it, or correct stream_name, region, or the account",
        ),
        (refused(400, "ResourceNotFoundException", "x"), listed(&[]), "-this account has no stream there"),
        (refused(400, "ResourceNotFoundException", "x"), scene(), "-was not found: create it"),
        (
            refused(
                400,
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/x is not authorized to perform: kinesis:PutRecords because no identity-based policy allows the kinesis:PutRecords action",
            ),
            scene(),
            "-the right kinesis:PutRecords on stream `profile` in eu-west-1 is missing: allow it in the policy",
        ),
        (
            refused(400, "AccessDeniedException", "… with an explicit deny in a service control policy"),
            scene(),
            "-a policy denies it explicitly",
        ),
        (
            refused(400, "AccessDeniedException", "not authorized to perform: kms:GenerateDataKey"),
            scene(),
            "-allow kms:GenerateDataKey",
        ),
        (refused(400, "KMSAccessDeniedException", "x"), scene(), "-allow kms:GenerateDataKey"),
        (refused(400, "KMSDisabledException", "x"), scene(), "-KMS key is disabled: enable it"),
        (refused(400, "KMSInvalidStateException", "x"), scene(), "-not usable in its state"),
        (refused(400, "KMSNotFoundException", "x"), scene(), "-KMS key does not exist"),
        (refused(400, "KMSOptInRequired", "x"), scene(), "-not signed up for KMS"),
        (refused(400, "KMSThrottlingException", "x"), scene(), "~KMS is throttling"),
        (
            refused(400, "UnrecognizedClientException", "x"),
            scene(),
            "-the access key AKIA…WXYZ is not known in eu-west-1",
        ),
        (
            refused(403, "InvalidSignatureException", "The request signature we calculated does not match"),
            scene(),
            "-the secret does not belong to the access key AKIA…WXYZ",
        ),
        (
            refused(403, "InvalidSignatureException", "Credential should be scoped to a valid region."),
            scene(),
            "-correct `region` or `endpoint`",
        ),
        (
            refused(400, "ExpiredTokenException", "x"),
            scene(),
            "-the session token of the key AKIA…WXYZ has ended",
        ),
        (
            refused(400, "MissingAuthenticationTokenException", "x"),
            scene(),
            "-no valid credentials in the request",
        ),
        (refused(400, "SubscriptionRequiredException", "x"), scene(), "-enable the region or the account"),
        (refused(400, "LimitExceededException", "x"), scene(), "~was found but is busy"),
        (
            refused(400, "UnknownOperationException", "x"),
            custom(scene()),
            "-not Kinesis Data Streams: check `endpoint`",
        ),
        (refused(500, "InternalFailure", "x"), scene(), "-the service is in trouble (HTTP 500"),
        (
            refused(400, "NewException", "words"),
            scene(),
            "-refused the dry run with NewException (HTTP 400): words",
        ),
        (refused(407, "", "Squid"), scene(), "-a proxy asks for a name and password"),
        (
            refused(403, "", "Blocked"),
            scene(),
            "-answered HTTP 403 with \"Blocked\": a firewall, proxy or gateway",
        ),
        (refused(404, "", ""), scene(), "-answered HTTP 404 with no text: there is no Kinesis"),
        (refused(302, "", ""), scene(), "-something redirects"),
        (refused(502, "", "Bad Gateway"), scene(), "-try again later"),
        (
            skewed("InvalidSignatureException", 600),
            scene(),
            "-this machine's clock is 10 minutes behind the service's",
        ),
        (
            skewed("RequestExpired", -90),
            scene(),
            "-this machine's clock is 90 seconds ahead of the service's",
        ),
        (refused(400, "RequestExpired", "x"), scene(), "-refuses the time of the signature"),
        (
            refused(403, "InvalidSignatureException", "Signature expired: …"),
            scene(),
            "-refuses the time of the signature",
        ),
        (
            Attempt::Answer(Bytes::from_static(b"<html>Welcome to the guest network</html>")),
            custom(scene()),
            "-http://127.0.0.1:4567/ answered with HTTP 200, but not as Kinesis does",
        ),
        (
            failed(FailureKind::Dns, "the name `kinesis.eu-wst-1.amazonaws.com` could not be resolved"),
            scene(),
            "-check `region` (`eu-west-1`)",
        ),
        (failed(FailureKind::Connect, "x"), scene(), "-cannot be reached: x; check `endpoint`, the firewall"),
        (failed(FailureKind::Proxy, "x"), scene(), "-check `proxy`"),
        (failed(FailureKind::Tls, "x"), scene(), "-check tls.ca_file"),
        (failed(FailureKind::Timeout, "x"), scene(), "-did not answer"),
        (failed(FailureKind::Reset, "x"), scene(), "-hung up: x; check the scheme and port"),
        (failed(FailureKind::Protocol, "x"), scene(), "-does not speak HTTP"),
        (
            failed(FailureKind::Credentials, "no credentials from y: do z"),
            scene(),
            "-no credentials from y: do z",
        ),
        (
            Attempt::Answer(Bytes::from_static(br#"{"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#)),
            custom(scene()),
            "-MAY HAVE BEEN WRITTEN",
        ),
        (Attempt::Answer(Bytes::from_static(b"{}")), custom(scene()), "-MAY HAVE BEEN WRITTEN"),
        (Attempt::Answer(Bytes::from_static(b"<html>")), asked_nothing(), "-not as Kinesis does"),
        (
            Attempt::Answer(Bytes::from_static(br#"{"FailedRecordCount":0,"Records":[]}"#)),
            asked_nothing(),
            "~whether it takes records is not proven",
        ),
        (
            refused(400, "ValidationException", "Value '[]' at 'records' failed to satisfy constraint"),
            asked_nothing(),
            "~neither the stream nor the right",
        ),
        (
            Attempt::Answer(Bytes::from_static(br#"{"Records":[{"ErrorCode":"InternalFailure"}]}"#)),
            custom(scene()),
            "-did not store the probe",
        ),
    ] {
        let finding = judge_probe(&attempt, &scene);
        let mark = match finding.standing {
            Standing::Well | Standing::Note => '+',
            Standing::Corrected | Standing::Unproven => '~',
            Standing::Wrong => '-',
        };
        let words = &expected[1..];
        assert_eq!(Some(mark), expected.chars().next(), "{attempt:?}: {}", finding.sentence);
        assert!(finding.sentence.contains(words), "{attempt:?}: {}", finding.sentence);
    }
}

#[test]
fn a_denied_list_alone_is_only_a_warning() {
    let finding = judge_list(&refused(400, "AccessDeniedException", "x"), &scene()).unwrap();
    assert!(finding.standing == Standing::Note && finding.sentence.contains("writing works without it"));
    assert_eq!(judge_list(&refused(400, "LimitExceededException", "x"), &scene()), None);
}

async fn client(server: &Loopback) -> KinesisClient {
    KinesisClient::new(ClientSettings {
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(server.url()),
        auth: serde_json::from_value(
            json!({"access_key_id": "AKIDEXAMPLE00000001", "secret_access_key": "s"}),
        )
        .unwrap(),
        ..ClientSettings::default()
    })
    .await
    .unwrap()
}

fn operation(asked: &Asked) -> &str {
    asked.header("x-amz-target").rsplit('.').next().unwrap()
}

fn names(names: &[String], more: bool) -> Reply {
    Reply::ok(&json!({"StreamNames": names, "HasMoreStreams": more}).to_string())
}

#[tokio::test]
async fn the_probe_cannot_be_stored_by_an_endpoint_that_does_not_know_dry_runs() {
    let server = Loopback::start(|asked| match operation(asked) {
        "PutRecords" => Reply::refuse(400, "InvalidArgumentException", "Invalid ExplicitHashKey."),
        _ => names(&["profile".to_owned()], false),
    })
    .await;
    let health = check(&client(&server).await, "profile", LIMIT).await;
    assert!(health.is_ok(), "{health:?}");
    server.look(|asked| {
        let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
        assert_eq!(body["StreamName"], "profile");
        assert_eq!(body["DryRun"], true);
        assert_eq!(body["Records"][0]["ExplicitHashKey"], HASH_KEY_OF_NO_SHARD);
        assert_eq!(body["Records"][0]["Data"], "");
    });
    assert_eq!(HASH_KEY_OF_NO_SHARD.len(), 39);
    assert!(HASH_KEY_OF_NO_SHARD.parse::<u128>().is_err(), "2^128 does not fit");
}

#[test]
fn the_probe_of_awss_own_endpoint_is_a_dry_run_alone() {
    let body: Value = serde_json::from_slice(&request("profile", Probe::DryRun)).unwrap();
    assert_eq!(body["DryRun"], true);
    assert_eq!(body["Records"][0].get("ExplicitHashKey"), None);
}

#[tokio::test]
async fn at_a_start_an_endpoint_that_keeps_to_no_rule_gets_nothing_to_store() {
    let server = Loopback::start(|asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        match body["Records"].as_array() {
            Some(records) => {
                let stored = json!({"SequenceNumber": "1", "ShardId": "s"});
                Reply::ok(&json!({"Records": vec![stored; records.len()]}).to_string())
            }
            None => names(&["profile".to_owned()], false),
        }
    })
    .await;
    let health = check_at_start(&client(&server).await, "profile", LIMIT).await;
    assert!(health.findings.iter().all(|finding| finding.standing != Standing::Wrong), "{health:?}");
    server.look(|asked| {
        let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
        assert_eq!((operation(&asked[0]), &body["Records"]), ("PutRecords", &json!([])));
    });
}

#[tokio::test]
async fn a_name_on_a_later_page_is_suggested() {
    let server = Loopback::start(|asked| match operation(asked) {
        "PutRecords" => Reply::refuse(400, "ResourceNotFoundException", "no such stream"),
        _ => {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            match body["ExclusiveStartStreamName"].as_str() {
                None => names(&(0..100).map(|i| format!("a{i:03}")).collect::<Vec<_>>(), true),
                Some("a099") => names(&["profiles".to_owned()], false),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let health = check(&client(&server).await, "profile", LIMIT).await;
    assert!(!health.is_ok());
    assert!(health.findings[0].sentence.ends_with("did you mean `profiles`?"), "{health:?}");
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_wrong_clock_is_told_and_the_rest_is_looked_at_all_the_same() {
    let server = Loopback::start(|asked| {
        let right = asked.header("x-amz-date").starts_with("2041");
        match (operation(asked), right) {
            ("PutRecords", false) => Reply::Answer(
                403,
                vec![("date", "Wed, 02 Jan 2041 00:00:00 GMT".to_owned())],
                json!({"__type": "InvalidSignatureException", "message": "Signature expired"}).to_string(),
            ),
            ("PutRecords", true) => Reply::refuse(400, "DryRunOperationException", "ok"),
            _ => Reply::refuse(400, "AccessDeniedException", "no"),
        }
    })
    .await;
    let health = check(&client(&server).await, "profile", LIMIT).await;
    let what: Vec<_> = health.findings.iter().map(|finding| (finding.what, finding.standing)).collect();
    assert_eq!(
        what,
        [
            ("clock", Standing::Corrected),
            ("kinesis:PutRecords", Standing::Well),
            ("kinesis:ListStreams", Standing::Note)
        ],
        "{health:?}"
    );
    assert!(!health.is_ok());
}

#[tokio::test]
async fn nothing_more_is_asked_of_an_endpoint_that_does_not_answer() {
    let server = Loopback::start(|_| Reply::Silence).await;
    let health = check(&client(&server).await, "profile", Duration::from_millis(100)).await;
    assert_eq!(health.findings.len(), 1);
    assert!(health.findings[0].sentence.contains("did not answer"), "{health:?}");
    assert!(server.count() <= 1);
}

#[test]
fn the_policy_allows_one_action_on_one_stream_and_marks_the_rest_as_optional() {
    let policy: Value =
        serde_json::from_str(&iam_policy("profiles", "cn-north-1", Some("111122223333"))).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements[0]["Action"], json!(["kinesis:PutRecords"]));
    assert_eq!(
        statements[0]["Resource"],
        json!(["arn:aws-cn:kinesis:cn-north-1:111122223333:stream/profiles"])
    );
    assert!(
        statements[1..].iter().all(|statement| statement["Sid"].as_str().unwrap().starts_with("Optional"))
    );
    assert_eq!(statements[2]["Resource"], json!(["*"]));
    assert!(iam_policy("s", "eu-west-1", None).contains("arn:aws:kinesis:eu-west-1:*:stream/s"));
}
