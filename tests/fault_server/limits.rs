//! What a request may hold, and the words in which it is refused.

use super::support::raw_client::put_body;
use super::support::{DryRun, FaultServer, Naming, StreamSpec, Wording};
use super::{client, many, started};

#[tokio::test]
async fn a_request_holds_1_to_500_records() {
    let (server, mut client) = started(FaultServer::builder()).await;
    for (count, status) in [(0, 400), (1, 200), (500, 200), (501, 400)] {
        let answer = client.put("s", &many(count)).await.unwrap();
        assert_eq!(answer.status, status, "{count}");
        if status == 400 {
            assert_eq!(answer.code(), "ValidationException");
            assert!(answer.message().contains("'records'"), "{}", answer.message());
        }
    }
    assert_eq!(server.stored(), 501);
}

#[tokio::test]
async fn a_key_has_1_to_256_characters_and_the_message_names_the_record() {
    let (server, mut client) = started(FaultServer::builder()).await;
    let longest = "ü".repeat(256);
    let too_long = "x".repeat(257);
    let answer = client.put("s", &[(longest.as_str(), "v")]).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = client.put("s", &[("k", "v"), ("k", "v"), (too_long.as_str(), "v")]).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "ValidationException"));
    assert_eq!(
        answer.message(),
        "1 validation error detected: Value at 'records.3.member.partitionKey' failed to satisfy constraint: Member must have length less than or equal to 256"
    );
    let answer = client.put("s", &[("", "v"), (too_long.as_str(), "v")]).await.unwrap();
    assert!(answer.message().starts_with("2 validation errors detected: "), "{}", answer.message());
    let mut body = put_body("s", &[("k", "v")]);
    body["Records"][0].as_object_mut().unwrap().remove("PartitionKey");
    let answer = client.call("PutRecords", &body).await.unwrap();
    assert!(answer.message().contains("must not be null"), "{}", answer.message());
    assert_eq!(server.stored(), 1, "nothing of a refused request is stored");
}

#[tokio::test]
async fn a_record_too_big_refuses_the_whole_request_in_each_wording() {
    let spec = StreamSpec::new("s", 1).record_bytes_max(100);
    let fits = "x".repeat(99);
    let too_big = "x".repeat(100);
    for (naming, path, limit) in [
        (Naming::FromOne, Some("'records.2.member.data'"), true),
        (Naming::FromZero, Some("'records.1.member.data'"), true),
        (Naming::Unnamed, None, true),
        (Naming::Silent, None, false),
    ] {
        let server = FaultServer::builder().stream_spec(spec.clone()).naming(naming).start().await;
        let mut client = client(&server).await;
        let answer = client.put("s", &[("k", &fits), ("k", &too_big)]).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "ValidationException"));
        let message = answer.message();
        assert_eq!(message.contains("records."), path.is_some(), "{message}");
        assert!(path.is_none_or(|path| message.contains(path)), "{message}");
        assert_eq!(message.contains("less than or equal to 100"), limit, "{message}");
        assert_eq!(client.put("s", &[("k", &fits)]).await.unwrap().status, 200);
        server.set_record_bytes_max("s", 101);
        assert_eq!(client.put("s", &[("k", &too_big)]).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn messages_may_repeat_the_value() {
    let wording = Wording { echo_values: true, ..Wording::default() };
    let (_server, mut client) = started(FaultServer::builder().wording(wording)).await;
    let key = "secret".repeat(50);
    let answer = client.put("s", &[(&key, "v")]).await.unwrap();
    assert!(answer.message().contains(&key));
}

#[tokio::test]
async fn a_request_too_big_is_refused_and_far_too_big_unread() {
    let (server, mut client) =
        started(FaultServer::builder().request_bytes_max(1000).body_bytes_max(3000)).await;
    let record = |bytes: usize| vec![b'x'; bytes];
    let answer = client.put("s", &[("k", record(499)), ("k", record(499))]).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = client.put("s", &[("k", record(499)), ("k", record(500))]).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidArgumentException"));
    let answer = client.put("s", &[("k", record(2500))]).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (413, 0));
    assert_eq!(server.stored(), 2);
    assert_eq!(server.requests().all()[2].status, Some(413));
}

#[tokio::test]
async fn an_explicit_hash_key_is_checked_after_the_stream_is_found() {
    let (server, mut client) = started(FaultServer::builder()).await;
    let put = |stream: &str, hash: &str| {
        let mut body = put_body(stream, &[("k", "v")]);
        body["Records"][0]["ExplicitHashKey"] = hash.into();
        body
    };
    // 2^128, and the largest number of 39 digits.
    for hash in ["340282366920938463463374607431768211456", &"9".repeat(39)] {
        let answer = client.call("PutRecords", &put("s", hash)).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidArgumentException"));
        let answer = client.call("PutRecords", &put("absent", hash)).await.unwrap();
        assert_eq!(answer.code(), "ResourceNotFoundException");
    }
    for hash in ["", "01", "-1", "1x", &"1".repeat(40)] {
        let answer = client.call("PutRecords", &put("s", hash)).await.unwrap();
        assert_eq!(answer.code(), "ValidationException", "{hash}");
    }
    assert_eq!(server.stored(), 0);
}

#[tokio::test]
async fn a_dry_run_passes_the_checks_and_stores_nothing_unless_the_endpoint_does_not_know_it() {
    for (dry_run, status, stored) in [(DryRun::Known, 400, 0), (DryRun::Unknown, 200, 1)] {
        let (server, mut client) = started(FaultServer::builder().dry_run(dry_run)).await;
        let mut body = put_body("s", &[("k", "v")]);
        body["DryRun"] = true.into();
        let answer = client.call("PutRecords", &body).await.unwrap();
        assert_eq!((answer.status, server.stored()), (status, stored));
        if dry_run == DryRun::Known {
            assert_eq!(answer.code(), "DryRunOperationException");
        }
        body["StreamName"] = "absent".into();
        let answer = client.call("PutRecords", &body).await.unwrap();
        assert_eq!(answer.code(), "ResourceNotFoundException");
        assert!(server.requests().all().iter().all(|log| log.dry_run));
    }
}
