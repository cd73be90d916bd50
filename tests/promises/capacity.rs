//! Promise 5 over real sockets at full size: eight shards at the service's own rates, 15 ms away, more input than they take.
//! These measure the machine too, so they are not part of a plain run:
//! `cargo test --test promises -- --ignored --nocapture --test-threads=1 capacity`. The same in virtual time: `core/tests/overload.rs`.

#![allow(clippy::print_stderr, reason = "what was measured is what these are for")]

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, Running, event, tagger, tags};
use super::support::{FaultServer, FaultServerBuilder, Keep, StreamSpec};

const SHARDS: u32 = 8;
const BUDGET: u64 = 64 * 1024 * 1024;
/// Twice what eight shards take.
const A_SECOND: u64 = 16_000;
const KEYS: u64 = 50_000;
/// Pacing has settled; measured is from here for `MEASURED`.
const SETTLED: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(20);

fn service(stream: StreamSpec) -> FaultServerBuilder {
    FaultServer::builder()
        .stream_spec(stream)
        .rate_limits(true)
        .round_trip(Duration::from_millis(15))
        .keep(Keep::TagAndEverything(std::sync::Arc::new(tagger)))
}

/// Writes `A_SECOND` events a second for `span`, or as many as are taken; returns how many. `watch` is called each second.
fn feed(running: &mut Running, span: Duration, mut watch: impl FnMut(&Running)) -> u64 {
    let mut stdin = running.stdin();
    let writer = std::thread::spawn(move || {
        let (began, mut n, filler) = (Instant::now(), 0, "f".repeat(600));
        while began.elapsed() < span {
            if n >= (began.elapsed().as_secs_f64() * A_SECOND as f64) as u64 {
                std::thread::park_timeout(Duration::from_millis(1));
                continue;
            }
            // About 700 bytes as stored: the records limit binds before the bytes limit.
            let line = event(n % KEYS, n / KEYS).replace("\"seq", &format!("\"filler\":\"{filler}\",\"seq"));
            stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
            n += 1;
        }
        n
    });
    while !writer.is_finished() {
        watch(running);
        std::thread::park_timeout(Duration::from_secs(1));
    }
    writer.join().unwrap()
}

/// Records stored a second by each shard, and the share of attempts refused, in the window that counts.
fn measured(kinesis: &FaultServer) -> (HashMap<u32, f64>, f64) {
    let from = kinesis.requests().all()[0].arrived + SETTLED;
    let inside = |at: Duration| at >= from && at < from + MEASURED;
    let mut rates = HashMap::<u32, f64>::new();
    for record in kinesis.ledger().records().iter().filter(|record| inside(record.at())) {
        *rates.entry(record.shard).or_default() += 1.0 / MEASURED.as_secs_f64();
    }
    let requests = kinesis.requests();
    let window: Vec<_> = requests.writes().filter(|log| inside(log.arrived)).collect();
    let attempts: usize = window.iter().map(|log| log.records).sum();
    let throttled: usize = window.iter().map(|log| log.throttled).sum();
    (rates, throttled as f64 / attempts as f64)
}

#[test]
#[ignore = "measures the machine for a minute"]
fn twice_the_input_uses_eight_shards_and_memory_stays_flat() {
    let kinesis = service(StreamSpec::new("profiles", SHARDS)).start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, &format!("    buffer: {{max_bytes: {BUDGET}}}"));
    let mut running = pipeline.start(&[]);
    let mut resident = 0;
    let count =
        feed(&mut running, SETTLED + MEASURED, |running| resident = resident.max(running.resident_bytes()));
    running.wait().assert_delivered(count);
    let (rates, refused) = measured(&kinesis);
    let used = rates.values().sum::<f64>() / f64::from(SHARDS) / 1000.0;
    eprintln!(
        "{count} events; {:.2} % of the capacity used, {:.2} % of the attempts refused, {} MiB resident at most",
        used * 100.0,
        refused * 100.0,
        resident >> 20
    );
    kinesis.ledger().audit(tags(count, KEYS)).assert_kept();
    assert!(used >= 0.97 && refused <= 0.02, "{used} used, {refused} refused");
    assert!(resident <= BUDGET + 64 * 1024 * 1024, "{resident} bytes resident");
}

#[test]
#[ignore = "measures the machine for a minute or two"]
fn one_shard_at_a_tenth_leaves_the_others_within_three_percent() {
    let slow = super::support::Rate::scaled(0.1);
    let kinesis = service(StreamSpec::new("profiles", SHARDS).shard_rate(3, slow)).start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, &format!("    buffer: {{max_bytes: {BUDGET}}}"));
    let mut running = pipeline.start(&[]);
    let count = feed(&mut running, SETTLED + MEASURED, |_| {});
    // The slow shard's backlog takes ten times as long as the rest: give it its full speed to end.
    kinesis.set_shard_rate("profiles", 3, None);
    running.wait().assert_delivered(count);
    let (rates, _) = measured(&kinesis);
    eprintln!("{count} events; records a second by shard: {rates:.0?}");
    kinesis.ledger().audit(tags(count, KEYS)).assert_kept();
    for (shard, rate) in rates {
        let full = if shard == 3 { 100.0 } else { 1000.0 };
        assert!(rate >= full * 0.97, "shard {shard}: {rate} records a second");
    }
}

#[test]
#[ignore = "takes more than a minute"]
fn an_outage_of_a_minute_under_load_ends_within_five_seconds() {
    let kinesis = service(StreamSpec::new("profiles", SHARDS)).start_on_thread();
    let pipeline = Pipeline::stdin(&kinesis, "");
    let mut running = pipeline.start(&[]);
    let began = Instant::now();
    let (mut down, mut back) = (false, None);
    let mut stored_before = 0;
    let count = feed(&mut running, Duration::from_secs(80), |_| {
        let at = began.elapsed().as_secs();
        if !down && at >= 5 {
            down = true;
            kinesis.block_on(kinesis.go_down());
            stored_before = kinesis.stored();
        } else if down && back.is_none() && at >= 65 {
            kinesis.come_up();
            let up = Instant::now();
            kinesis.block_on(kinesis.wait_for_stored(stored_before + 1));
            back = Some(up.elapsed());
        }
    });
    running.wait().assert_delivered(count);
    let back = back.unwrap();
    eprintln!("{count} events; first delivery {back:?} after the service was back");
    kinesis.ledger().audit(tags(count, KEYS)).assert_kept();
    assert!(back <= Duration::from_secs(5), "{back:?}");
}
