//! Tests of one attempt: endpoint, signature, clock, refusals and failures.
#![allow(clippy::unwrap_used)]

mod environment;

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_runtime_api::client::identity::Identity;
use serde_json::json;

use super::*;
use crate::kinesis::http::loopback::{Asked, Loopback, Reply};

/// 2026-01-01 00:00:00 UTC.
const NOW: u64 = 1_767_225_600;

fn settings(endpoint: &str) -> ClientSettings {
    ClientSettings {
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        auth: serde_json::from_value(json!({
            "access_key_id": "AKIDEXAMPLE00000001", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
        }))
        .unwrap(),
        ..ClientSettings::default()
    }
}

async fn client(settings: ClientSettings) -> KinesisClient {
    KinesisClient::with_clock(settings, StaticTimeSource::from_secs(NOW).into()).await.unwrap()
}

fn refusal(attempt: Attempt) -> Refusal {
    match attempt {
        Attempt::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn failure(attempt: Attempt) -> Failure {
    match attempt {
        Attempt::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Signature Version 4 worked by hand, to check what the crate makes of our requests.
fn signature_by_hand(asked: &Asked, secret: &str) -> String {
    use sha2::{Digest, Sha256};
    let mac = |key: &[u8], text: &[u8]| {
        let block = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).unwrap_or(&0) ^ pad).collect() };
        let inner = Sha256::digest([&block(0x36)[..], text].concat());
        Sha256::digest([&block(0x5c)[..], &inner[..]].concat()).to_vec()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let authorization = asked.header("authorization");
    let part = |name: &str| authorization.split(name).nth(1).unwrap().split(',').next().unwrap().to_owned();
    let (signed, scope) = (part("SignedHeaders="), part("Credential="));
    let scope = scope.split_once('/').unwrap().1.to_owned();
    let lines: String = signed.split(';').map(|name| format!("{name}:{}\n", asked.header(name))).collect();
    let canonical = format!("POST\n/\n\n{lines}\n{signed}\n{}", sha(&asked.body));
    let text =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", asked.header("x-amz-date"), sha(canonical.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in scope.split('/') {
        key = mac(&key, step.as_bytes());
    }
    hex(&mac(&key, text.as_bytes()))
}

#[tokio::test]
async fn a_request_is_signed_as_the_service_checks_it() {
    let server = Loopback::start(|_| Reply::ok("{}")).await;
    let client = client(settings(&server.url())).await;
    let attempt = client.put_records(Bytes::from_static(b"{\"Records\":[]}")).await;
    assert!(matches!(attempt, Attempt::Answer(body) if &body[..] == b"{}"));
    server.look(|asked| {
        let asked = &asked[0];
        assert_eq!(asked.line, "POST /");
        assert_eq!(asked.header("x-amz-target"), "Kinesis_20131202.PutRecords");
        assert_eq!(asked.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(asked.header("x-amz-date"), "20260101T000000Z");
        let authorization = asked.header("authorization");
        assert!(
            authorization.starts_with(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE00000001/20260101/eu-west-1/kinesis/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
            ),
            "{authorization}"
        );
        let signature = authorization.rsplit('=').next().unwrap();
        assert_eq!(signature, signature_by_hand(asked, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
    });
}

/// The `post-vanilla` case of the published Signature Version 4 test suite.
#[test]
fn the_published_signature_of_a_vanilla_post_comes_out() {
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
    let (mut head, ()) = Request::post("https://example.amazonaws.com/").body(()).unwrap().into_parts();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    sign::sign_for("service", &mut head, b"", &Identity::from(credentials), "us-east-1", time).unwrap();
    assert_eq!(
        head.headers["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    );
}

#[tokio::test]
async fn a_session_token_goes_along() {
    let server = Loopback::start(|_| Reply::ok("{}")).await;
    let mut settings = settings(&server.url());
    settings.auth = serde_json::from_value(
        json!({"access_key_id": "AKIDEXAMPLE00000001", "secret_access_key": "s", "session_token": "the-token"}),
    )
    .unwrap();
    client(settings).await.call("ListShards", Bytes::from_static(b"{}")).await;
    server.look(|asked| {
        assert_eq!(asked[0].header("x-amz-security-token"), "the-token");
        assert_eq!(asked[0].header("x-amz-target"), "Kinesis_20131202.ListShards");
    });
}

#[tokio::test]
async fn a_refusal_carries_code_words_and_wait() {
    let server = Loopback::start(|_| {
        Reply::Answer(
            400,
            vec![("retry-after", "7".to_owned())],
            json!({"__type": "com.amazonaws#ResourceNotFoundException", "message": "Stream x not found"})
                .to_string(),
        )
    })
    .await;
    let found = refusal(client(settings(&server.url())).await.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!(
        found,
        Refusal {
            status: 400,
            code: "ResourceNotFoundException".to_owned(),
            message: "Stream x not found".to_owned(),
            retry_after: Some(Duration::from_secs(7)),
            skew: None,
            key_hint: "AKID…0001".to_owned(),
            credentials_refused: false,
        }
    );
}

#[test]
fn a_wait_may_be_seconds_milliseconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    for (name, value, wait) in [
        ("retry-after", "3", Some(Duration::from_secs(3))),
        ("x-amz-retry-after", "250", Some(Duration::from_millis(250))),
        ("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT", Some(Duration::from_secs(60))),
        ("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT", None),
        ("retry-after", "soon", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        assert_eq!(retry_after(&headers, now), wait, "{value}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_learned_from_the_refusal_and_the_next_request_is_signed_with_the_right_time() {
    for (code, message) in [
        (
            "InvalidSignatureException",
            "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z",
        ),
        ("RequestTimeTooSkewed", "too far"),
        ("SignatureDoesNotMatch", "no match"),
    ] {
        let server = Loopback::start(move |asked| {
            if asked.header("x-amz-date") == "20260101T001000Z" {
                return Reply::ok("{}");
            }
            let body = json!({"__type": code, "message": message}).to_string();
            Reply::Answer(403, vec![("date", "Thu, 01 Jan 2026 00:10:00 GMT".to_owned())], body)
        })
        .await;
        let client = client(settings(&server.url())).await;
        let found = refusal(client.put_records(Bytes::from_static(b"{}")).await);
        assert_eq!(found.skew, Some(Skew { seconds: 600 }), "{code}");
        assert!(!found.credentials_refused, "the key is good");
        assert_eq!(client.skew(), Some(Skew { seconds: 600 }));
        let attempt = client.put_records(Bytes::from_static(b"{}")).await;
        assert!(matches!(attempt, Attempt::Answer(_)), "{attempt:?}");
    }
}

#[tokio::test]
async fn without_a_date_the_complaint_itself_says_what_time_it_is() {
    let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z (20260101T010000Z - 5 min.)";
    let server = Loopback::start(move |asked| match asked.header("x-amz-date") {
        "20260101T010000Z" => Reply::ok("{}"),
        _ => Reply::refuse(403, "InvalidSignatureException", expired),
    })
    .await;
    let client = client(settings(&server.url())).await;
    let found = refusal(client.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((found.skew, found.credentials_refused), (Some(Skew { seconds: 3600 }), false));
    let attempt = client.put_records(Bytes::from_static(b"{}")).await;
    assert!(matches!(attempt, Attempt::Answer(_)), "{attempt:?}");
}

#[tokio::test]
async fn a_complaint_that_corrected_time_does_not_help_is_not_called_corrected() {
    let server = Loopback::start(|_| {
        let body = json!({"__type": "RequestExpired", "message": "expired"}).to_string();
        Reply::Answer(400, vec![("date", "Thu, 01 Jan 2026 00:10:00 GMT".to_owned())], body)
    })
    .await;
    let client = client(settings(&server.url())).await;
    for skew in [Some(Skew { seconds: 600 }), None] {
        let found = refusal(client.put_records(Bytes::from_static(b"{}")).await);
        assert_eq!((found.skew, found.credentials_refused), (skew, false));
    }
}

#[tokio::test]
async fn a_wrong_secret_is_not_taken_for_a_wrong_clock() {
    let server = Loopback::start(|_| {
        let body = json!({"__type": "InvalidSignatureException", "message": "does not match"}).to_string();
        Reply::Answer(403, vec![("date", "Thu, 01 Jan 2026 00:00:02 GMT".to_owned())], body)
    })
    .await;
    let client = client(settings(&server.url())).await;
    let found = refusal(client.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((found.skew, found.credentials_refused, client.skew()), (None, true, None));
}

#[tokio::test]
async fn credentials_called_expired_are_read_anew_for_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let write = |key: &str| {
        std::fs::write(&path, format!("[other]\naws_access_key_id = {key}\naws_secret_access_key = s\n"))
            .unwrap();
    };
    write("AKIDOLD000000000001");
    let server = Loopback::start(|asked| {
        if asked.header("authorization").contains("AKIDNEW") {
            Reply::ok("{}")
        } else {
            Reply::refuse(
                400,
                "ExpiredTokenException",
                "The security token included in the request is expired",
            )
        }
    })
    .await;
    let mut settings = settings(&server.url());
    settings.auth =
        serde_json::from_value(json!({"credentials_file": path.to_str().unwrap(), "profile": "other"}))
            .unwrap();
    let client = client(settings).await;
    let found = refusal(client.put_records(Bytes::from_static(b"{}")).await);
    assert!(found.credentials_refused);
    assert_eq!(found.key_hint, "AKID…0001");
    write("AKIDNEW000000000002");
    let attempt = client.put_records(Bytes::from_static(b"{}")).await;
    assert!(matches!(attempt, Attempt::Answer(_)), "{attempt:?}");
}

#[tokio::test]
async fn a_lost_answer_may_be_stored_and_a_refused_connection_is_not() {
    let server = Loopback::start(|_| Reply::Reset).await;
    let lost = failure(client(settings(&server.url())).await.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((lost.kind, lost.may_be_stored), (FailureKind::Reset, true));
    let nobody =
        failure(client(settings("http://127.0.0.1:9")).await.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((nobody.kind, nobody.may_be_stored), (FailureKind::Connect, false));
}

#[tokio::test]
async fn missing_credentials_are_told_per_attempt_and_nothing_is_sent() {
    let server = Loopback::start(|_| Reply::ok("{}")).await;
    let mut settings = settings(&server.url());
    settings.auth =
        serde_json::from_value(json!({"credentials_file": "/no/such/file", "profile": "x"})).unwrap();
    let found = failure(client(settings).await.put_records(Bytes::from_static(b"{}")).await);
    assert_eq!((found.kind, found.may_be_stored, server.count()), (FailureKind::Credentials, false, 0));
    assert!(found.message.contains("the profile `x` of /no/such/file"), "{}", found.message);
}

#[tokio::test]
async fn wrong_options_are_refused_with_a_sentence() {
    for (settings, part) in [
        (
            ClientSettings { region: Some("Eu West".to_owned()), ..settings("http://h") },
            "region: `Eu West` is not",
        ),
        (settings("kinesis:4567"), "endpoint: `kinesis:4567` cannot be used"),
    ] {
        let error = KinesisClient::new(settings).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_the_client_usable() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Loopback::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Silence,
        _ => Reply::ok("{}"),
    })
    .await;
    let client = client(settings(&server.url())).await;
    let first = {
        let client = client.clone();
        tokio::spawn(async move { client.put_records(Bytes::from_static(b"{}")).await })
    };
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    let attempt = client.put_records(Bytes::from_static(b"{}")).await;
    assert!(matches!(attempt, Attempt::Answer(_)), "{attempt:?}");
}
