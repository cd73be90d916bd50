//! Who may do what: signatures, credentials, rights, streams in a bad state; and the operations that list streams.

use serde_json::{Value, json};

use super::support::raw_client::RawAnswer;
use super::support::{AccessKey, Fault, FaultServer, Kms, NotActive, Operation, StreamSpec, StreamStatus};
use super::{client, many, started};

const RECORD: &[(&str, &str)] = &[("k", "v")];

#[track_caller]
fn assert_refused(answer: &RawAnswer, code: &str, words: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (400, code));
    assert!(answer.message().contains(words), "{}", answer.message());
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let (server, mut client) = started(FaultServer::builder()).await;
    client.signed = false;
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(&answer, "MissingAuthenticationTokenException", "Missing");
    assert_eq!(server.stored(), 0);
}

#[tokio::test]
async fn access_keys_are_valid_expired_unknown_or_have_a_wrong_secret() {
    let (server, mut client) = started(
        FaultServer::builder()
            .only_access_key("GOOD")
            .access_key("OLD", AccessKey::Expired)
            .access_key("FORGED", AccessKey::WrongSecret),
    )
    .await;
    for (key, code) in [
        ("GOOD", ""),
        ("OLD", "ExpiredTokenException"),
        ("STRANGER", "UnrecognizedClientException"),
        ("FORGED", "InvalidSignatureException"),
    ] {
        client.access_key = key.to_owned();
        let answer = client.put("s", RECORD).await.unwrap();
        assert_eq!(answer.code(), code, "{key}");
    }
    server.set_access_key("GOOD", AccessKey::Expired);
    client.access_key = "GOOD".to_owned();
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(&answer, "ExpiredTokenException", "expired");
    assert_eq!(server.stored(), 1);
}

#[tokio::test]
async fn credentials_that_expire_in_mid_run_stay_expired_until_they_change() {
    let (server, mut client) =
        started(FaultServer::builder().fault(Fault::credentials_expire().at_request(2))).await;
    let mut codes = Vec::new();
    for number in 0..5 {
        if number == 3 {
            client.session_token = Some("new".to_owned());
        }
        codes.push(client.put("s", RECORD).await.unwrap().code());
    }
    assert_eq!(codes, ["", "ExpiredTokenException", "ExpiredTokenException", "", ""]);
    assert_eq!(server.stored(), 3);
}

#[tokio::test]
async fn a_signature_for_another_region_is_refused_when_asked_for() {
    let (_server, mut client) = started(FaultServer::builder().only_region("eu-west-1")).await;
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(&answer, "InvalidSignatureException", "'us-east-1'");
    client.region = "eu-west-1".to_owned();
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_wrong_clock_is_refused_and_the_date_header_tells_the_servers_time() {
    let (server, mut client) = started(FaultServer::builder().check_clock()).await;
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
    server.set_clock_skew_secs(3600);
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(&answer, "InvalidSignatureException", "Signature expired: ");
    let date = chrono::DateTime::parse_from_rfc2822(&answer.headers["date"]).unwrap();
    let ahead = date.to_utc() - chrono::Utc::now();
    assert!((3590..3610).contains(&ahead.num_seconds()), "{ahead}");
    server.set_clock_skew_secs(-3600);
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(&answer, "InvalidSignatureException", "not yet current");
    let past = chrono::Utc::now() - chrono::TimeDelta::hours(1);
    client.signed_at = Some(past.format("%Y%m%dT%H%M%SZ").to_string());
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_denied_operation_names_the_right_and_the_resource() {
    let (server, mut client) = started(
        FaultServer::builder().region("eu-west-1").deny(Operation::PutRecords).deny(Operation::ListStreams),
    )
    .await;
    let answer = client.put("s", RECORD).await.unwrap();
    assert_refused(
        &answer,
        "AccessDeniedException",
        "not authorized to perform: kinesis:PutRecords on resource: arn:aws:kinesis:eu-west-1:111122223333:stream/s",
    );
    let answer = client.call("ListStreams", &json!({})).await.unwrap();
    assert_refused(&answer, "AccessDeniedException", "kinesis:ListStreams on resource: * ");
    server.allow(Operation::PutRecords);
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
    server.deny(Operation::PutRecords);
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 400);
}

#[tokio::test]
async fn a_missing_stream_is_not_found_until_it_is_created() {
    let (server, mut client) = started(FaultServer::builder()).await;
    let answer = client.put("t", RECORD).await.unwrap();
    assert_refused(&answer, "ResourceNotFoundException", "Stream t under account 111122223333 not found.");
    let answer = client.call("CreateStream", &json!({"StreamName": "t", "ShardCount": 3})).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(server.open_shards("t"), [0, 1, 2]);
    assert_eq!(client.put("t", RECORD).await.unwrap().status, 200);
    server.delete_stream("t");
    assert_eq!(client.put("t", RECORD).await.unwrap().status, 400);
    server.create_stream(&StreamSpec::new("t", 1));
    assert_eq!(client.put("t", RECORD).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_stream_that_is_not_active_takes_nothing() {
    for (answer, code) in
        [(NotActive::InUse, "ResourceInUseException"), (NotActive::NotFound, "ResourceNotFoundException")]
    {
        let (server, mut client) = started(FaultServer::builder().not_active(answer)).await;
        for status in [StreamStatus::Creating, StreamStatus::Deleting] {
            server.set_status("s", status);
            let answer = client.put("s", RECORD).await.unwrap();
            assert_refused(&answer, code, "Stream s under account 111122223333");
        }
        server.set_status("s", StreamStatus::Updating);
        assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn each_kms_state_has_its_code() {
    let (server, mut client) = started(FaultServer::builder()).await;
    for (kms, code) in [
        (Kms::AccessDenied, "KMSAccessDeniedException"),
        (Kms::Disabled, "KMSDisabledException"),
        (Kms::InvalidState, "KMSInvalidStateException"),
        (Kms::NotFound, "KMSNotFoundException"),
        (Kms::OptInRequired, "KMSOptInRequired"),
        (Kms::Throttling, "KMSThrottlingException"),
    ] {
        server.set_kms("s", Some(kms));
        let answer = client.put("s", RECORD).await.unwrap();
        assert_refused(&answer, code, "");
    }
    server.set_kms("s", None);
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
}

// Listing.

#[tokio::test]
async fn list_streams_gives_a_hundred_names_a_page_after_the_given_name() {
    let mut builder = FaultServer::builder();
    for number in 0..205 {
        builder = builder.stream(&format!("stream-{number:03}"), 1);
    }
    let server = builder.start().await;
    let mut client = client(&server).await;
    let mut names = Vec::new();
    let mut pages = 0;
    let mut body = json!({});
    loop {
        let page = client.call("ListStreams", &body).await.unwrap().json();
        pages += 1;
        names.extend(page["StreamNames"].as_array().unwrap().iter().cloned());
        if page["HasMoreStreams"] == false {
            break;
        }
        body = json!({"ExclusiveStartStreamName": names.last()});
    }
    assert_eq!((pages, names.len()), (3, 205));
    assert!(names.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()));
    let page = client
        .call("ListStreams", &json!({"Limit": 2, "ExclusiveStartStreamName": "stream-1"}))
        .await
        .unwrap()
        .json();
    assert_eq!(page["StreamNames"], json!(["stream-100", "stream-101"]));
}

#[tokio::test(start_paused = true)]
async fn list_streams_is_limited_to_five_calls_a_second_when_asked_for() {
    let (_server, mut client) = started(FaultServer::builder().call_limits()).await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(client.call("ListStreams", &json!({})).await.unwrap().code());
    }
    assert_eq!(codes[4..], ["", "LimitExceededException"]);
}

#[tokio::test]
async fn shards_are_listed_in_pages_and_described() {
    let server = FaultServer::builder().stream("s", 5).start().await;
    let mut client = client(&server).await;
    server.split("s", 0);
    let mut ids: Vec<Value> = Vec::new();
    let mut body = json!({"StreamName": "s", "MaxResults": 3});
    loop {
        let page = client.call("ListShards", &body).await.unwrap().json();
        let shards = page["Shards"].as_array().unwrap();
        ids.extend(shards.iter().map(|shard| shard["ShardId"].clone()));
        let Some(token) = page["NextToken"].as_str() else { break };
        body = json!({"NextToken": token, "MaxResults": 3});
    }
    assert_eq!(ids.len(), 7);
    assert_eq!(ids[6], "shardId-000000000006");
    let name = json!({"StreamName": "s"});
    let described = client.call("DescribeStream", &name).await.unwrap().json();
    let description = &described["StreamDescription"];
    assert_eq!(description["StreamStatus"], "ACTIVE");
    assert_eq!(description["Shards"][5]["ParentShardId"], "shardId-000000000000");
    assert_eq!(description["HasMoreShards"], false);
    let summary = client.call("DescribeStreamSummary", &name).await.unwrap().json();
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 6);
    assert_eq!(summary["StreamDescriptionSummary"]["MaxRecordSizeInKiB"], 1024);
    let answer = client.call("MergeShards", &name).await.unwrap();
    assert_eq!(answer.code(), "UnknownOperationException");
}

#[tokio::test]
async fn a_consumer_reads_a_shard_to_its_end() {
    let (server, mut client) = started(FaultServer::builder()).await;
    client.put("s", &many(5)).await.unwrap();
    server.split_all("s");
    client.put("s", &many(5)).await.unwrap();
    let iterator = json!({
        "StreamName": "s",
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let answer = client.call("GetShardIterator", &iterator).await.unwrap().json();
    let mut iterator = answer["ShardIterator"].clone();
    let mut data = Vec::new();
    while !iterator.is_null() {
        let body = json!({"ShardIterator": iterator, "Limit": 2});
        let page = client.call("GetRecords", &body).await.unwrap().json();
        for record in page["Records"].as_array().unwrap() {
            let bytes = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
            data.push(String::from_utf8(bytes).unwrap());
        }
        iterator = page["NextShardIterator"].clone();
    }
    assert_eq!(data, ["value-0", "value-1", "value-2", "value-3", "value-4"]);
}
