//! Outages, stalls, waiting, the audit, and servers side by side.

use std::io;
use std::time::Instant;

use super::support::raw_client::{RawClient, put_body};
use super::support::{Fault, FaultServer, Keep, Operation, Tag, tag};
use super::{HOUR, client, many, started};

const RECORD: &[(&str, &str)] = &[("k", "v")];

/// The data is the event's place among its key's.
fn read_tag(key: &str, data: &[u8]) -> Option<Tag> {
    Some(tag(key, std::str::from_utf8(data).ok()?.parse().ok()?))
}

#[tokio::test]
async fn a_server_that_is_down_refuses_connections_and_comes_up_at_the_same_address() {
    let (server, mut old) = started(FaultServer::builder()).await;
    assert_eq!(old.put("s", RECORD).await.unwrap().status, 200);
    for _ in 0..3 {
        server.go_down().await;
        let error = old.put("s", RECORD).await.unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{error}"
        );
        let refused = RawClient::connect(server.address()).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        server.come_up();
        old = client(&server).await;
        assert_eq!(old.put("s", RECORD).await.unwrap().status, 200);
    }
    assert_eq!((server.stored(), server.connections_opened()), (4, 4));
}

#[tokio::test]
async fn a_stall_withholds_requests_until_it_ends() {
    let (server, mut client) = started(FaultServer::builder()).await;
    server.stall();
    let body = put_body("s", RECORD).to_string();
    client.send("PutRecords", body.as_bytes()).await.unwrap();
    server.wait_for(|seen| seen.requests.count(Operation::PutRecords) == 1).await;
    assert_eq!((server.stored(), server.look(|seen| seen.requests.in_flight())), (0, 1));
    server.resume();
    assert_eq!(client.receive().await.unwrap().status, 200);
    assert_eq!(server.stored(), 1);
}

#[tokio::test]
async fn a_request_whose_client_left_during_a_stall_is_never_stored() {
    let (server, mut client) = started(FaultServer::builder()).await;
    server.stall();
    let body = put_body("s", RECORD).to_string();
    client.send("PutRecords", body.as_bytes()).await.unwrap();
    server.wait_for(|seen| seen.requests.in_flight() == 1).await;
    drop(client);
    server.wait_for(|seen| seen.requests.in_flight() == 0).await;
    server.resume();
    assert_eq!(server.stored(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_reading_lets_the_socket_fill_up() {
    let (server, mut client) = started(FaultServer::builder()).await;
    server.stall_reading();
    {
        // More than the buffers of a loopback connection hold.
        let body = vec![b' '; 16 * 1024 * 1024];
        let mut sending = std::pin::pin!(client.send("PutRecords", &body));
        let sent = tokio::time::timeout(HOUR, &mut sending).await;
        assert!(sent.is_err(), "the socket took everything");
        // Another connection is accepted meanwhile.
        let _other = self::client(&server).await;
        server.wait_for(|_| server.connections_opened() == 2).await;
        server.resume();
        sending.await.unwrap();
    }
    let answer = client.receive().await.unwrap();
    assert_eq!(answer.code(), "SerializationException");
}

#[tokio::test]
async fn the_audit_tells_lost_doubled_and_reordered() {
    let (server, mut client) =
        started(FaultServer::builder().fault(Fault::answer_lost().at_request(1))).await;
    client.put("s", &[("a", "1"), ("b", "1")]).await.unwrap_err();
    let mut client = self::client(&server).await;
    client.put("s", &[("a", "1"), ("b", "1")]).await.unwrap();
    client.put("s", &[("a", "3"), ("a", "3"), ("a", "2"), ("b", "x"), ("c", "9")]).await.unwrap();
    let expected = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1)].map(|(key, seq)| tag(key, seq));
    let audit = server.ledger().audit_by(expected, read_tag);
    assert_eq!((audit.delivered, audit.untagged), (4, 1));
    assert_eq!(audit.lost, [tag("a", 4)]);
    assert_eq!((audit.doubled, &audit.doubled_without_cause[..]), (3, &[tag("a", 3)][..]));
    let late: Vec<(Tag, u64)> = audit.out_of_order.iter().map(|late| (late.tag, late.after)).collect();
    assert_eq!(late, [(tag("a", 2), 3)]);
    assert_eq!(audit.copies_out_of_order, []);
    assert_eq!(audit.unexpected, [tag("c", 9)]);
    let told = std::panic::catch_unwind(|| audit.assert_kept());
    assert!(told.is_err());
}

#[tokio::test]
async fn a_ledger_of_tags_alone_audits_the_same() {
    let (server, mut client) = started(FaultServer::builder().keep_tags(read_tag)).await;
    client.put("s", &[("a", "1"), ("a", "2"), ("b", "1")]).await.unwrap();
    let ledger = server.ledger();
    assert!(ledger.records()[0].kept().is_none());
    let audit = ledger.audit([tag("a", 1), tag("a", 2), tag("b", 1)]);
    assert_eq!(audit.delivered, 3);
    audit.assert_kept();
    let keep = Keep::TagAndEverything(std::sync::Arc::new(read_tag));
    let (server, mut client) = started(FaultServer::builder().keep(keep)).await;
    client.put("s", &[("a", "7")]).await.unwrap();
    let ledger = server.ledger();
    assert_eq!((ledger.records()[0].tag, ledger.texts()), (Some(tag("a", 7)), vec!["7".to_owned()]));
}

#[tokio::test]
async fn a_key_in_two_unanswered_requests_or_twice_in_one_is_counted() {
    let hang = Fault::hang_after_storing().at_request(1);
    let (server, mut one) = started(FaultServer::builder().watch_keys().fault(hang)).await;
    let overlaps = || server.requests().key_overlaps();
    let body = put_body("s", &[("a", "1"), ("b", "1")]).to_string();
    one.send("PutRecords", body.as_bytes()).await.unwrap();
    server.wait_for_stored(2).await;
    let mut two = client(&server).await;
    two.put("s", &[("c", "1")]).await.unwrap();
    assert_eq!(overlaps(), 0);
    two.put("s", &[("a", "2"), ("c", "2")]).await.unwrap();
    assert_eq!(overlaps(), 1, "a is in the first request still");
    drop(one);
    server.wait_for(|seen| seen.requests.in_flight() == 0).await;
    two.put("s", &[("a", "3")]).await.unwrap();
    assert_eq!(overlaps(), 1, "the first request is over");
    two.put("s", &[("d", "1"), ("d", "2")]).await.unwrap();
    assert_eq!(overlaps(), 2);
}

#[tokio::test]
async fn servers_live_side_by_side_and_free_their_port_when_shut_down() {
    let (one, mut to_one) = started(FaultServer::builder()).await;
    let (two, mut to_two) = started(FaultServer::builder()).await;
    assert_ne!(one.endpoint(), two.endpoint());
    to_one.put("s", RECORD).await.unwrap();
    let address = one.address();
    one.shutdown();
    to_one.put("s", RECORD).await.unwrap_err();
    tokio::time::timeout(HOUR, async {
        while RawClient::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(to_two.put("s", RECORD).await.unwrap().status, 200);
    assert_eq!(two.stored(), 1);
}

#[test]
fn a_server_on_its_own_thread_needs_no_runtime() {
    let server = FaultServer::builder().stream("s", 1).start_on_thread();
    let answer = server.block_on(async {
        let mut client = RawClient::connect(server.address()).await.unwrap();
        client.put("s", RECORD).await.unwrap()
    });
    assert_eq!(answer.status, 200);
    server.block_on(async {
        server.go_down().await;
        server.come_up();
        server.wait_for_stored(1).await;
    });
    let address = server.address();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn faults_come_and_go_in_mid_run() {
    let (server, mut client) = started(FaultServer::builder()).await;
    server.add_fault(Fault::status(503));
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 503);
    server.clear_faults();
    assert_eq!(client.put("s", RECORD).await.unwrap().status, 200);
    assert_eq!(server.fired("status"), 1);
}

/// `cargo test --test fault_server speed -- --ignored --nocapture`
#[test]
#[ignore = "measures the machine: 50,000 records/s in a debug build are enough for every scenario"]
#[allow(clippy::print_stderr, reason = "the measurement is the result")]
fn speed_is_enough_for_load_tests() {
    const REQUESTS: u32 = 400;
    let server = FaultServer::builder()
        .stream("s", 8)
        .keep_tags(|_, data| Some(Tag { key: data.len() as u64, seq: 0 }))
        .start_on_thread();
    let data = vec![b'x'; 930];
    let records: Vec<(String, &Vec<u8>)> = many(500).into_iter().map(|(key, _)| (key, &data)).collect();
    let body = put_body("s", &records).to_string();
    let address = server.address();
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = RawClient::connect(address).await.unwrap();
        for _ in 0..REQUESTS {
            client.send("PutRecords", body.as_bytes()).await.unwrap();
            assert_eq!(client.receive().await.unwrap().status, 200);
        }
    });
    let rate = f64::from(REQUESTS * 500) / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} records/s, one connection, one request at a time");
    assert!(rate > 50_000.0);
}
