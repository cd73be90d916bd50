//! Soak: all promises at once, for as long as the user likes: a million events in ten minutes through every fault there is.
//! It takes its time, so it is not part of a plain run:
//! `cargo test --test promises -- --ignored --nocapture soak`; `AFLUENTE_SOAK_MINUTES` is 10 unless set.

#![allow(clippy::print_stderr, reason = "what was measured is what this is for")]

use std::io::Write;
use std::time::{Duration, Instant};

use super::books::{Books, Metrics};
use super::pipeline::{Pipeline, Running, event, metrics, tagger, tags};
use super::support::{AnswerShape, Fault, FaultServer, Operation, Rate, StreamSpec};

const A_MINUTE: u64 = 100_000;
const KEYS: u64 = 20_000;
/// One event in so many is too large for the stream, and ends in the dead letter file.
const POISON_EVERY: u64 = 10_000;
const RECORD_BYTES_MAX: usize = 40_000;
const BUDGET: u64 = 16 * 1024 * 1024;
/// What may come on top of the byte budget.
const BESIDE: u64 = 64 * 1024 * 1024;
/// How much more memory the end may take than the end of the warm-up: allocators keep some slack.
const FLAT: u64 = 12 * 1024 * 1024;
/// How often memory and books are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn minutes() -> u64 {
    std::env::var("AFLUENTE_SOAK_MINUTES").map_or(10, |text| text.parse().unwrap())
}

/// Faults that strike all the while.
fn service() -> FaultServer {
    FaultServer::builder()
        .stream_spec(StreamSpec::new("profiles", 8).record_bytes_max(RECORD_BYTES_MAX))
        .rate_limits(true)
        .round_trip(Duration::from_millis(15))
        .seed(11)
        .keep_tags(tagger)
        .shuffle_within_requests()
        .watch_keys()
        .fault(Fault::record_failure().chance(0.02))
        .fault(Fault::record_code("OfALaterDayException", "New.").chance(0.001))
        .fault(Fault::status(500).chance(0.03))
        .fault(Fault::throttle().chance(0.01))
        .fault(Fault::reset().chance(0.01))
        .fault(Fault::answer_lost().chance(0.03))
        .fault(Fault::hang_after_storing().chance(0.001))
        .fault(Fault::answer(AnswerShape::TooFew).chance(0.003))
        .fault(Fault::answer(AnswerShape::Garbage).chance(0.003))
        .fault(Fault::expired_token().chance(0.002))
        .start_on_thread()
}

/// What happens to the service, when and for how long, both as shares of the time.
const EVENTFUL: &[(f64, f64, What)] = &[
    // First the memory is filled to its budget: the end is compared with that.
    (0.03, 0.06, What::Stalled),
    (0.12, 0.03, What::Throttling),
    (0.20, 0.00, What::Split),
    (0.30, 0.05, What::Down),
    (0.45, 0.05, What::OneSlowShard),
    (0.60, 0.03, What::Denied),
    (0.70, 0.00, What::Merge),
    (0.80, 0.05, What::Stalled),
];

#[derive(Clone, Copy, Debug)]
enum What {
    Stalled,
    /// Refusals for rate that no rate explains.
    Throttling,
    Split,
    Down,
    OneSlowShard,
    Denied,
    Merge,
}

fn begins(kinesis: &FaultServer, what: What, lasts: Duration) {
    match what {
        What::Stalled => kinesis.stall(),
        What::Throttling => {
            let now = kinesis.elapsed();
            kinesis.add_fault(Fault::record_throttle().chance(0.1).between(now, now + lasts));
        }
        What::Split => kinesis.split_all("profiles"),
        What::Merge => kinesis.merge_all("profiles"),
        What::Down => kinesis.block_on(kinesis.go_down()),
        What::Denied => kinesis.deny(Operation::PutRecords),
        What::OneSlowShard => {
            let shard = kinesis.open_shards("profiles")[0];
            kinesis.set_shard_rate("profiles", shard, Some(Rate::scaled(0.02)));
        }
    }
}

fn ends(kinesis: &FaultServer, what: What) {
    match what {
        What::Stalled => kinesis.resume(),
        What::Down => kinesis.come_up(),
        What::Denied => kinesis.allow(Operation::PutRecords),
        What::OneSlowShard => {
            for shard in kinesis.open_shards("profiles") {
                kinesis.set_shard_rate("profiles", shard, Some(Rate::default()));
            }
        }
        What::Throttling | What::Split | What::Merge => {}
    }
}

/// Writes `count` events evenly over `span`, or later where the program does not take them.
fn feed(running: &mut Running, count: u64, span: Duration) -> std::thread::JoinHandle<()> {
    let mut stdin = running.stdin();
    std::thread::spawn(move || {
        let began = Instant::now();
        let poison =
            event(0, 0).replace("\"seq\":0", &format!("\"seq\":\"{}\"", "x".repeat(2 * RECORD_BYTES_MAX)));
        let filler = "f".repeat(400);
        for n in 0..count {
            let due = span.mul_f64(n as f64 / count as f64);
            while began.elapsed() < due {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            let line = event(n % KEYS, n / KEYS).replace("\"seq", &format!("\"filler\":\"{filler}\",\"seq"));
            writeln!(stdin, "{line}").unwrap();
            if n % POISON_EVERY == 0 {
                writeln!(stdin, "{poison}").unwrap();
            }
        }
    })
}

struct Look {
    share: f64,
    resident: u64,
    metrics: Metrics,
}

#[test]
#[ignore = "takes ten minutes"]
fn ten_minutes_of_every_fault_break_no_promise() {
    let (minutes, letters) = (minutes(), tempfile::tempdir().unwrap());
    let (count, span) = (minutes * A_MINUTE, Duration::from_secs(minutes * 60));
    let kinesis = service();
    let options = format!(
        "    buffer: {{max_bytes: {BUDGET}}}\n    request: {{timeout_secs: 2}}\n    dead_letter: {{path: {}}}",
        letters.path().join("letters.ndjson").display()
    );
    let pipeline = Pipeline::stdin(&kinesis, &options).api();
    let mut running = pipeline.start(&[]);
    let address = running.api_address();
    let began = Instant::now();
    let writer = feed(&mut running, count, span);
    let mut looks: Vec<Look> = Vec::new();
    let mut coming = EVENTFUL.iter().copied().peekable();
    let mut lasting: Vec<(f64, What)> = Vec::new();
    while !writer.is_finished() {
        let share = began.elapsed().div_duration_f64(span);
        while let Some((_, part, what)) = coming.next_if(|(from, _, _)| *from <= share) {
            let secs = began.elapsed().as_secs();
            eprintln!("{secs:>4} s: {what:?} for {:.0} s", span.as_secs_f64() * part);
            begins(&kinesis, what, span.mul_f64(part));
            lasting.push((share + part, what));
        }
        for (_, what) in lasting.extract_if(.., |(until, _)| *until <= share) {
            ends(&kinesis, what);
        }
        looks.push(look(&running, &address, share));
        std::thread::park_timeout(LOOK_EVERY);
    }
    for (_, what) in lasting {
        ends(&kinesis, what);
    }
    writer.join().unwrap();
    let ended = running.wait();
    let took = began.elapsed();
    let poison = count.div_ceil(POISON_EVERY);
    report(&kinesis, &looks, count, took);
    ended.assert_books(count + poison, &[("dead-lettered", poison), ("delivered", count)]);
    kinesis.ledger().audit(tags(count, KEYS)).assert_kept();
    assert_eq!(kinesis.requests().key_overlaps(), 0);
    assert_eq!(looks.last().unwrap().metrics.sum("order_violations_total"), 0);
    let most = |from: f64, to: f64| {
        looks.iter().filter(|look| (from..to).contains(&look.share)).map(|look| look.resident).max().unwrap()
    };
    let (warm, end, ever) = (most(0.0, 0.2), most(0.8, f64::MAX), most(0.0, f64::MAX));
    assert!(end <= warm + FLAT, "memory grows: {warm} bytes after the warm-up, {end} at the end");
    assert!(ever <= BUDGET + BESIDE, "{ever} bytes resident");
}

/// Memory and books as they are now; the equation must hold.
fn look(running: &Running, address: &str, share: f64) -> Look {
    let metrics = metrics(address);
    Books::of_metrics(&metrics).assert_add_up();
    Look { share, resident: running.resident_bytes(), metrics }
}

fn report(kinesis: &FaultServer, looks: &[Look], count: u64, took: Duration) {
    let requests = kinesis.requests();
    eprintln!(
        "{count} events in {took:.1?}, {} requests, at most {} at once",
        requests.writes().count(),
        requests.in_flight_max()
    );
    eprintln!("{}", kinesis.ledger().audit(tags(count, KEYS)));
    for name in [
        "record_failure",
        "record_throttle",
        "record_code",
        "status",
        "throttle",
        "reset",
        "answer_lost",
        "hang_after_storing",
        "answer",
        "expired_token",
    ] {
        eprintln!("  {name}: {} times", kinesis.fired(name));
    }
    let last = &looks.last().unwrap().metrics;
    for name in [
        "kinesis_throttled_records_total",
        "kinesis_retried_records_total",
        "possible_duplicates_total",
        "order_violations_total",
    ] {
        eprintln!("  {name} {}", last.sum(name));
    }
    eprintln!("  share of the time, resident KiB:");
    for look in looks.iter().step_by(looks.len().div_ceil(24)) {
        eprintln!("  {:.2} {}", look.share, look.resident / 1024);
    }
}
