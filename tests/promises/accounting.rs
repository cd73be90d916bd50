//! Promise 1: `received = delivered + rejected + dead-lettered + dropped + skipped + held`, at every moment and at the end.
//! The end is checked in every scenario of these tests, see `Running::wait`; here also what the metrics say meanwhile.

use std::io::Write;
use std::time::Duration;

use super::books::{Books, Metrics};
use super::pipeline::{Pipeline, event, events, metrics, tagger, tags};
use super::support::{Fault, FaultServer};

const EVENTS: u64 = 20_000;
const KEYS: u64 = 2000;

/// Asks until the metrics are as wanted; the equation must hold in each answer.
pub(super) fn ask_until(address: &str, wanted: impl Fn(&Metrics, &Books) -> bool) -> (Metrics, Books) {
    let (_hold, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..3000 {
        let metrics = metrics(address);
        let books = Books::of_metrics(&metrics);
        books.assert_add_up();
        if wanted(&metrics, &books) {
            return (metrics, books);
        }
        let _ = pause.recv_timeout(Duration::from_millis(20));
    }
    panic!("{}", metrics(address).0);
}

#[test]
fn the_metrics_add_up_at_every_moment_whatever_becomes_of_events() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 4)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(20))
        .fault(Fault::record_failure().chance(0.05))
        .fault(Fault::status(500).chance(0.1))
        .fault(Fault::answer_lost().chance(0.1))
        .start_on_thread();
    // Of every hundred events one is no JSON, one calls for no output and one is too large.
    let pipeline = Pipeline::stdin(&kinesis, "    record_max_bytes: 2048")
        .edit("attributes: [_test]", "attributes: [_test]\n    trigger: relevant")
        .api();
    let mut running = pipeline.start(&[]);
    let address = running.api_address();
    let mut stdin = running.stdin();
    let writer = std::thread::spawn(move || {
        let unqualified = r#"{"identityMap":{"CRMID":[{"id":"1"}]}}"#;
        let large = event(0, 0).replace("\"seq\":0", &format!("\"seq\":\"{}\"", "x".repeat(3000)));
        for (n, line) in events(EVENTS, KEYS).lines().enumerate() {
            writeln!(stdin, "{line}").unwrap();
            if n % 100 == 0 {
                writeln!(stdin, "no JSON\n{unqualified}\n{large}").unwrap();
            }
        }
        stdin
    });
    let others = EVENTS / 100;
    let received = EVENTS + 3 * others;
    let (metrics, books) = ask_until(&address, |_, books| {
        books.received == received && books.fates().iter().all(|(fate, _)| *fate != "held")
    });
    let fates = [("delivered", EVENTS), ("dropped", others), ("rejected", others), ("skipped", others)];
    assert_eq!(books.fates(), fates);
    // The same from counters that other code keeps.
    let by_id = |name: &str| metrics.by_label(name, "component_id");
    assert_eq!(by_id("component_received_events_total")["events"], received);
    assert_eq!(by_id("component_received_events_total")["kinesis"], EVENTS + others);
    assert_eq!(by_id("component_sent_events_total")["kinesis"], EVENTS);
    assert_eq!(by_id("component_discarded_events_total")["kinesis"], others);
    assert_eq!(metrics.by_label("kinesis_verdicts_total", "code")["stored"], EVENTS);
    assert_eq!(metrics.sum("kinesis_rejected_records_total"), others);
    assert!(metrics.sum("possible_duplicates_total") > 0, "answers were lost");
    assert_eq!(metrics.sum("order_violations_total"), 0);
    drop(writer.join().unwrap());
    running.wait().assert_books(received, &fates);
    kinesis.ledger().audit(tags(EVENTS, KEYS)).assert_kept();
}

#[test]
fn what_the_books_call_held_is_what_the_sink_holds() {
    let kinesis = FaultServer::builder().stream("profiles", 2).keep_tags(tagger).start_on_thread();
    kinesis.stall();
    let pipeline = Pipeline::stdin(&kinesis, "").api();
    let mut running = pipeline.start(&[]);
    let address = running.api_address();
    let mut stdin = running.stdin();
    stdin.write_all(events(3000, 300).as_bytes()).unwrap();
    let (metrics, books) = ask_until(&address, |metrics, _| metrics.sum("kinesis_held_records") == 3000);
    assert_eq!((books.received, books.fates()), (3000, vec![("held", 3000)]));
    assert_eq!(metrics.sum("component_sent_events_total{component_id=\"kinesis\""), 0);
    kinesis.resume();
    let (_, books) = ask_until(&address, |metrics, _| metrics.sum("kinesis_held_records") == 0);
    assert_eq!(books.fates(), [("delivered", 3000)]);
    drop(stdin);
    running.wait().assert_delivered(3000);
    kinesis.ledger().audit(tags(3000, 300)).assert_kept();
}

#[test]
fn events_that_a_newer_one_stands_for_are_delivered_with_it() {
    let kinesis = FaultServer::builder()
        .stream("profiles", 2)
        .keep_tags(tagger)
        .round_trip(Duration::from_millis(50))
        .start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, "    conflate: true").api();
    let mut running = pipeline.start(&[]);
    let address = running.api_address();
    let mut stdin = running.stdin();
    stdin.write_all(events(EVENTS, 20).as_bytes()).unwrap();
    let (metrics, _) = ask_until(&address, |_, books| books.fates() == [("delivered", EVENTS)]);
    let stored = kinesis.stored() as u64;
    assert!(stored < EVENTS / 10, "{stored} stored");
    assert_eq!(metrics.sum("conflated_total"), EVENTS - stored);
    drop(stdin);
    running.wait().assert_delivered(EVENTS);
    let audit = kinesis.ledger().audit(tags(EVENTS, 20));
    assert!(audit.out_of_order.is_empty(), "{audit}");
    let last = tags(EVENTS, 20).skip(EVENTS as usize - 20);
    assert!(kinesis.ledger().audit(last).lost.is_empty(), "the newest of each key arrives");
}
