//! Each fault of the script, once.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::support::{AnswerShape, End, Fate, Fault, FaultServer};
use super::{HOUR, answer_under, many, started};

#[tokio::test]
async fn record_faults_strike_by_seed_key_and_number() {
    let run = async |seed: u64| {
        let (server, mut client) =
            started(FaultServer::builder().seed(seed).fault(Fault::record_failure().chance(0.2))).await;
        let answer = client.put("s", &many(200)).await.unwrap();
        let failed = answer.json()["FailedRecordCount"].as_u64().unwrap();
        assert_eq!((server.fired("record_failure"), server.stored() as u64), (failed, 200 - failed));
        assert!((20..60).contains(&failed), "{failed}");
        answer.verdicts()
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);

    let (_server, mut client) = started(
        FaultServer::builder()
            .fault(Fault::record_throttle().key("a"))
            .fault(Fault::record_code("StrangeFailure", "unheard of").key("b").times(1)),
    )
    .await;
    let records = [("a", "v"), ("b", "v"), ("b", "v")];
    let answer = client.put("s", &records).await.unwrap();
    assert_eq!(
        answer.verdicts(),
        ["ProvisionedThroughputExceededException", "StrangeFailure", "shardId-000000000000"]
    );
    assert_eq!(answer.json()["FailedRecordCount"], 2);
}

#[tokio::test]
async fn each_whole_request_fault_has_its_status_and_code_and_stores_nothing() {
    for (fault, status, code) in [
        (Fault::status(500), 500, ""),
        (Fault::status(503), 503, ""),
        (Fault::internal_failure(), 500, "InternalFailure"),
        (Fault::throttle(), 400, "ProvisionedThroughputExceededException"),
        (Fault::limit_exceeded(), 400, "LimitExceededException"),
        (Fault::expired_token(), 400, "ExpiredTokenException"),
        (Fault::unrecognized_client(), 400, "UnrecognizedClientException"),
        (Fault::invalid_signature(), 400, "InvalidSignatureException"),
        (Fault::access_denied(), 400, "AccessDeniedException"),
        (Fault::refusal(418, "Teapot", "short and stout"), 418, "Teapot"),
    ] {
        let name = fault.name();
        let (server, mut client) = started(FaultServer::builder().fault(fault.at_request(2))).await;
        for number in 1..=3 {
            let answer = client.put("s", &[("k", "v")]).await.unwrap();
            let expected = if number == 2 { (status, code) } else { (200, "") };
            assert_eq!((answer.status, answer.code().as_str()), expected, "{name}");
        }
        assert_eq!((server.fired(name), server.stored()), (1, 2), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_strike_between_two_moments_and_for_a_key() {
    let (_server, mut client) = started(
        FaultServer::builder()
            .fault(Fault::status(503).between(Duration::from_secs(10), Duration::from_secs(20)))
            .fault(Fault::status(500).key("poison")),
    )
    .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.put("s", &[("k", "v")]).await.unwrap().status);
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    statuses.push(client.put("s", &[("k", "v"), ("poison", "v")]).await.unwrap().status);
    assert_eq!(statuses, [200, 503, 200, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_hang_never_answers_before_or_after_storing() {
    for (fault, stored) in [(Fault::hang(), 0), (Fault::hang_after_storing(), 1)] {
        let (server, mut client) = started(FaultServer::builder().fault(fault.at_request(1))).await;
        let waited = tokio::time::timeout(HOUR, client.put("s", &[("k", "v")])).await;
        assert!(waited.is_err());
        assert_eq!(server.stored(), stored);
        drop(client);
        server.wait_for(|seen| seen.requests.in_flight() == 0).await;
        assert_eq!(server.requests().all()[0].end, End::Gone);
        assert_eq!(server.ledger().fate(0), Fate::Lost);
    }
}

#[tokio::test]
async fn a_reset_breaks_the_connection_before_or_after_storing() {
    for (fault, stored) in [(Fault::reset(), 0), (Fault::answer_lost(), 1)] {
        let (server, answer) = answer_under(fault).await;
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(server.stored(), stored);
        assert_eq!(server.ledger().fate(0), Fate::Lost);
        assert_eq!(server.requests().all()[0].end, End::Reset);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_requests_are_stored_late_and_slow_answers_early() {
    let ten = Duration::from_secs(10);
    for (fault, stored_at) in [(Fault::slow_request(ten), ten), (Fault::slow_answer(ten), Duration::ZERO)] {
        let (server, answer) = answer_under(fault).await;
        assert_eq!(answer.unwrap().status, 200);
        let at = server.ledger().records()[0].at();
        assert!((stored_at..stored_at + Duration::from_secs(1)).contains(&at), "{at:?}");
        assert!(server.elapsed() >= ten);
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_delays_everything() {
    let (server, mut client) = started(FaultServer::builder().round_trip(Duration::from_millis(200))).await;
    let before = server.elapsed();
    client.put("s", &[("k", "v")]).await.unwrap();
    let took = server.elapsed() - before;
    assert!((200..=210).contains(&took.as_millis()), "{took:?}");
    server.set_round_trip(Duration::ZERO);
}

#[tokio::test]
async fn wrong_answers_are_wrong_in_their_own_way_and_the_records_are_stored() {
    for (shape, check) in [
        (
            AnswerShape::TooFew,
            (|body| body["Records"].as_array().is_some_and(|all| all.len() == 1)) as fn(&Value) -> bool,
        ),
        (AnswerShape::TooMany, |body| body["Records"].as_array().is_some_and(|all| all.len() == 3)),
        (AnswerShape::LyingCount, |body| body["FailedRecordCount"] == 1),
        (AnswerShape::Garbage, Value::is_null),
        (AnswerShape::Empty, Value::is_null),
    ] {
        let (server, mut client) = started(FaultServer::builder().fault(Fault::answer(shape))).await;
        let answer = client.put("s", &[("k", "v"), ("k", "v")]).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(check(&answer.json()), "{shape:?}: {}", answer.text());
        assert_eq!(answer.body.is_empty(), shape == AnswerShape::Empty);
        assert_eq!(server.stored(), 2);
        assert_eq!(server.ledger().fate(0), Fate::Lost);
    }
    let (server, answer) = answer_under(Fault::answer(AnswerShape::Cut)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(server.stored(), 1);
}
