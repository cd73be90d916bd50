//! Promise 4: memory does not grow with an outage, and everything arrives after it.

use std::io::Write;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, event, tagger, tags};
use super::support::FaultServer;

const BUDGET: u64 = 16 * 1024 * 1024;

#[test]
fn a_stalled_endpoint_stops_the_source_and_memory_stays_at_the_budget() {
    let kinesis = FaultServer::builder().stream("profiles", 4).keep_tags(tagger).start_on_thread();
    kinesis.stall();
    let pipeline = Pipeline::stdin(&kinesis, &format!("    buffer: {{max_bytes: {BUDGET}}}"));
    let mut running = pipeline.start(&[]);
    let mut stdin = running.stdin();
    let (sender, written) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        // Far more than fits; the pipe is what stops the writer.
        let filler = "f".repeat(900);
        for n in 0..200_000_u64 {
            let line = event(n % 5000, n / 5000).replace("P", &filler);
            if stdin.write_all(format!("{line}\n").as_bytes()).is_err() {
                return n;
            }
            let _ = sender.send(n);
        }
        200_000
    });
    // The source has stopped when nothing more is taken for a second.
    let mut last = 0;
    while let Ok(n) = written.recv_timeout(Duration::from_secs(1)) {
        last = n;
    }
    assert!(last < 150_000, "the source was not stopped: {last} events taken");
    let resident = running.resident_bytes();
    assert!(resident <= BUDGET + 64 * 1024 * 1024, "{resident} bytes resident");
    kinesis.resume();
    let count = writer.join().unwrap();
    running.wait().assert_delivered(count);
    let audit = kinesis.ledger().audit(tags(count, 5000));
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty(), "{audit}");
}

#[test]
fn an_outage_ends_within_seconds_of_the_service_being_back() {
    let kinesis = FaultServer::builder().stream("profiles", 4).keep_tags(tagger).start_on_thread();
    kinesis.block_on(kinesis.go_down());
    let pipeline = Pipeline::stdin(&kinesis, "");
    let mut running = pipeline.start(&[]);
    running.feed(super::pipeline::events(3000, 300));
    // Nothing can be observed of a service that is down but the time that passes.
    let (_hold, wait) = std::sync::mpsc::channel::<()>();
    let _ = wait.recv_timeout(Duration::from_secs(4));
    kinesis.come_up();
    let back = Instant::now();
    kinesis.block_on(kinesis.wait_for_stored(1));
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    running.wait().assert_delivered(3000);
    kinesis.ledger().audit(tags(3000, 300)).assert_kept();
}
