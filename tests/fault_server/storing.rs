//! Where records land, in which order, and how fast a shard takes them.

use std::time::Duration;

use serde_json::json;

use super::support::raw_client::put_body;
use super::support::{
    Distribution, Fate, Fault, FaultServer, Operation, Rate, StreamSpec, TokenBucket, Wording,
};
use super::{client, many, started};

#[tokio::test]
async fn records_are_stored_in_request_order_with_rising_sequence_numbers() {
    let server = FaultServer::builder().stream("s", 8).start().await;
    let mut client = client(&server).await;
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let answer = client.put("s", &many(20)).await.unwrap().json();
        assert_eq!(answer["FailedRecordCount"], 0);
        for record in answer["Records"].as_array().unwrap() {
            sequences.push(record["SequenceNumber"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(sequences.len(), 40);
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let ledger = server.ledger();
    let expected: Vec<String> = many(20).into_iter().chain(many(20)).map(|r| r.1).collect();
    assert_eq!(ledger.texts(), expected);
    assert_eq!(ledger.records()[21].key(), "key-1");
    assert_eq!((ledger.records()[21].request, ledger.records()[21].position), (1, 1));
    assert_eq!(ledger.fate(1), Fate::Answered);
    assert_eq!(ledger.by_shard(0).values().sum::<u64>(), 40);
    assert!(ledger.by_shard(0).len() > 4);
    let requests = server.requests();
    assert_eq!(requests.records_per_request(), [20, 20]);
    assert_eq!((requests.attempts(), requests.throttled()), (40, 0));
    assert_eq!((requests.in_flight(), requests.in_flight_max()), (0, 1));
    assert_eq!(requests.all()[0].access_key.as_ref(), "AKIDTEST");
}

#[tokio::test]
async fn a_key_lands_on_the_shard_whose_range_holds_its_md5() {
    let server = FaultServer::builder().stream("s", 4).start().await;
    let mut client = client(&server).await;
    // MD5("a") = 0cc1…, MD5("b") = 92eb…, MD5("c") = 4a8a…, MD5("d") = 8277…
    let answer = client.put("s", &[("a", ""), ("b", ""), ("c", ""), ("d", "")]).await.unwrap();
    assert_eq!(
        answer.verdicts(),
        ["shardId-000000000000", "shardId-000000000002", "shardId-000000000001", "shardId-000000000002"]
    );
    let max = u128::MAX.to_string();
    let mut body = put_body("s", &[("a", ""), ("a", "")]);
    body["Records"][0]["ExplicitHashKey"] = max.into();
    body["Records"][1]["ExplicitHashKey"] = "0".into();
    let answer = client.call("PutRecords", &body).await.unwrap();
    assert_eq!(answer.verdicts(), ["shardId-000000000003", "shardId-000000000000"]);
}

#[tokio::test]
async fn put_record_answers_without_a_list() {
    let (server, mut client) =
        started(FaultServer::builder().fault(Fault::record_failure().on(Operation::PutRecord).at_request(2)))
            .await;
    let body = json!({"StreamARN": "arn:aws:kinesis:us-east-1:111122223333:stream/s", "Data": "dg==", "PartitionKey": "k"});
    let answer = client.call("PutRecord", &body).await.unwrap();
    assert_eq!(answer.json()["ShardId"], "shardId-000000000000");
    let answer = client.call("PutRecord", &body).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (500, "InternalFailure"));
    assert_eq!(server.ledger().texts(), ["v"]);
}

#[tokio::test]
async fn splits_and_merges_keep_ranges_whole_and_sequences_rising() {
    let server = FaultServer::builder().stream("s", 2).start().await;
    let mut client = client(&server).await;
    client.put("s", &many(50)).await.unwrap();
    server.split_all("s");
    assert_eq!(server.open_shards("s"), [2, 3, 4, 5]);
    client.put("s", &many(50)).await.unwrap();
    server.merge("s", 3);
    assert_eq!(server.open_shards("s"), [2, 6, 5]);
    server.split("s", 6);
    client.put("s", &many(50)).await.unwrap();
    let ledger = server.ledger();
    for (index, record) in ledger.records().iter().enumerate() {
        assert_eq!(record.sequence, index as u64 + 1);
        let allowed: &[u32] = [&[0, 1][..], &[2, 3, 4, 5], &[2, 7, 8, 5]][index / 50];
        assert!(allowed.contains(&record.shard), "{index} on {}", record.shard);
    }
    let shards = client
        .call("ListShards", &json!({"StreamName": "s", "ShardFilter": {"Type": "AT_LATEST"}}))
        .await
        .unwrap()
        .json();
    let mut next = 0_u128;
    let mut ranges: Vec<(u128, u128)> = shards["Shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| {
            let edge = |name: &str| shard["HashKeyRange"][name].as_str().unwrap().parse().unwrap();
            (edge("StartingHashKey"), edge("EndingHashKey"))
        })
        .collect();
    ranges.sort_unstable();
    for (first, last) in ranges {
        assert_eq!(first, next);
        next = last.wrapping_add(1);
    }
    assert_eq!(next, 0, "the last range ends at 2^128-1");
}

#[tokio::test]
async fn the_script_splits_and_merges_at_a_request() {
    let server = FaultServer::builder()
        .stream("s", 2)
        .fault(Fault::split_all().at_request(2))
        .fault(Fault::merge_all().at_request(3))
        .start()
        .await;
    let mut client = client(&server).await;
    let mut shards = Vec::new();
    for _ in 0..3 {
        let mut seen = client.put("s", &many(60)).await.unwrap().verdicts();
        seen.sort_unstable();
        seen.dedup();
        shards.push(seen.len());
    }
    assert_eq!(shards, [2, 4, 2]);
    assert_eq!((server.fired("split_all"), server.fired("merge_all")), (1, 1));
}

#[tokio::test]
async fn auto_distribution_ignores_keys() {
    for distribution in [Distribution::AutoRoundRobin, Distribution::AutoRandom] {
        let spec = StreamSpec::new("s", 4).distribution(distribution);
        let server = FaultServer::builder().stream_spec(spec).start().await;
        let mut client = client(&server).await;
        let mut body = put_body("s", &[("k", "v"); 40]);
        body["Records"][0].as_object_mut().unwrap().remove("PartitionKey");
        let mut seen = client.call("PutRecords", &body).await.unwrap().verdicts();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4, "{distribution:?}");
    }
}

#[tokio::test]
async fn records_of_a_request_may_be_stored_in_another_order() {
    let (server, mut client) = started(FaultServer::builder().shuffle_within_requests()).await;
    let answer = client.put("s", &[("k", "1"), ("k", "2"), ("k", "3"), ("k", "4")]).await.unwrap();
    assert_eq!(answer.verdicts().len(), 4);
    let mut texts = server.ledger().texts();
    assert_ne!(texts, ["1", "2", "3", "4"]);
    texts.sort_unstable();
    assert_eq!(texts, ["1", "2", "3", "4"]);
}

#[test]
fn a_bucket_refills_evenly_and_never_above_its_capacity() {
    let at = Duration::from_secs_f64;
    let mut bucket = TokenBucket::new(10.0, 20.0, at(0.0));
    assert!(bucket.take(20.0, at(0.0)));
    assert!(!bucket.take(1.0, at(0.05)));
    assert!(bucket.take(1.0, at(0.1)));
    assert!(bucket.take(20.0, at(1000.0)));
    assert!(!bucket.take(1.0, at(1000.0)));
    // Over the capacity: only from a full bucket, and the debt is paid first.
    assert!(bucket.take(40.0, at(1002.0)));
    assert!(!bucket.take(1.0, at(1003.9)));
    assert!(bucket.take(1.0, at(1004.2)));
}

#[tokio::test(start_paused = true)]
async fn a_shard_over_its_rate_throttles_by_name_and_leaves_the_others_alone() {
    let server = FaultServer::builder()
        .stream_spec(StreamSpec::new("s", 4).shard_rate(2, Rate::scaled(0.01)))
        .rate_limits(true)
        .start()
        .await;
    let mut client = client(&server).await;
    // "b" lands on shard 2: ten records a second, a burst of ten.
    let records: Vec<(&str, &str)> = [("a", "v"); 100].into_iter().chain([("b", "v"); 100]).collect();
    let answer = client.put("s", &records).await.unwrap().json();
    assert_eq!(answer["FailedRecordCount"], 90);
    assert_eq!(answer["Records"][150]["ErrorCode"], "ProvisionedThroughputExceededException");
    assert_eq!(
        answer["Records"][150]["ErrorMessage"],
        "Rate exceeded for shard shardId-000000000002 in stream s under account 111122223333."
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    let answer = client.put("s", &[("b", "v"); 100]).await.unwrap().json();
    assert_eq!(answer["FailedRecordCount"], 90);
    let requests = server.requests();
    assert_eq!((requests.attempts(), requests.throttled()), (300, 180));
    assert!((requests.throttled_share() - 0.6).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_limited_as_well_as_records() {
    let (server, mut client) = started(FaultServer::builder().rate_limits(true)).await;
    let data = vec![b'x'; 300_000];
    let answer = client.put("s", &[("k", &data); 5]).await.unwrap();
    assert_eq!(answer.json()["FailedRecordCount"], 2);
    drop(server);
}

#[tokio::test]
async fn throttle_messages_may_name_no_shard() {
    let wording = Wording { throttles_name_shard: false, ..Wording::default() };
    let (_server, mut client) =
        started(FaultServer::builder().wording(wording).fault(Fault::record_throttle())).await;
    let answer = client.put("s", &[("k", "v")]).await.unwrap().json();
    let message = answer["Records"][0]["ErrorMessage"].as_str().unwrap();
    assert!(!message.contains("shardId"), "{message}");
}
