//! Sink-hole: a Kinesis that swallows, a process of its own, so that its work is not the pipeline's.
//! In: HTTP/1.1 on a loopback port. Out: correct answers; on standard output its address, then what it has taken, a JSON object a line.
//! Holds: nothing of what it gets. It ends when its standard input does, so that it does not outlive who started it.
//! Never: decodes a record, unless it has to know the shard of its key (`keyed`).
//!
//! `connection` reads requests, `count` counts records in them, `answer` has the answer ready before it is asked for.

mod answer;
mod connection;
mod count;
mod keyed;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use self::connection::Connection;
use self::keyed::Shards;
use crate::exit::{Exit, say, tell};

/// How often it tells what it has taken.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Most shards; the account limit of large regions is 20,000.
const SHARDS_MAX: u32 = 20_000;
/// The longest round trip, in milliseconds.
const ROUND_TRIP_MS_MAX: f64 = 60_000.0;

/// What the service is like.
#[derive(Args, Clone, Debug)]
pub(crate) struct SinkHoleArgs {
    /// How long the service takes for an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    pub(super) round_trip: f64,
    /// Shards of the stream. With more than one, or with limits, the service looks up the shard of each key.
    #[arg(long, default_value = "1", value_parser = shards)]
    pub(super) shards: NonZeroU32,
    /// Each shard takes 1,000 records and 1 MiB a second, as in Kinesis.
    #[arg(long)]
    pub(super) rate_limits: bool,
}

impl SinkHoleArgs {
    /// The same as arguments of the process.
    pub(super) fn as_args(&self) -> Vec<String> {
        let mut args = vec![format!("--round-trip={}", self.round_trip), format!("--shards={}", self.shards)];
        if self.rate_limits {
            args.push("--rate-limits".to_owned());
        }
        args
    }

    /// What the service is like, in words.
    pub(super) fn name(&self) -> String {
        let (plural, limits) = match (self.shards.get(), self.rate_limits) {
            (1, false) => ("", ""),
            (1, true) => ("", " with rate limits"),
            (_, false) => ("s", ""),
            (_, true) => ("s", " with rate limits"),
        };
        format!("{} ms round trip, {} shard{plural}{limits}", self.round_trip, self.shards)
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=ROUND_TRIP_MS_MAX).contains(&number) => Ok(number),
        _ => Err(format!("a round trip is a number of milliseconds from 0 to {ROUND_TRIP_MS_MAX}")),
    }
}

fn shards(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<NonZeroU32>() {
        Ok(shards) if shards.get() <= SHARDS_MAX => Ok(shards),
        _ => Err(format!("a number of shards is from 1 to {SHARDS_MAX}")),
    }
}

/// The first line: where it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
}

/// What it has taken since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// PutRecords requests answered.
    pub(super) requests: u64,
    /// Records that were given a sequence number.
    pub(super) records: u64,
    /// Records that were refused for their shard's rate.
    pub(super) throttled: u64,
    /// Bytes of the requests' bodies.
    pub(super) body_bytes: u64,
    /// From the first answer with a stored record to the last, in nanoseconds.
    pub(super) span_nanos: u64,
}

/// What all connections share.
pub(super) struct Service {
    round_trip: Duration,
    shards: Shards,
    /// Whether a record's shard has to be looked up. If not, all go to the one shard, unseen.
    keyed: bool,
    started: Instant,
    blocks: AtomicU64,
    requests: AtomicU64,
    records: AtomicU64,
    throttled: AtomicU64,
    body_bytes: AtomicU64,
    first_nanos: AtomicU64,
    last_nanos: AtomicU64,
    wake: mpsc::Sender<Wake>,
}

enum Wake {
    First,
    End,
}

impl Service {
    fn new(args: &SinkHoleArgs, wake: mpsc::Sender<Wake>) -> Self {
        Self {
            round_trip: Duration::from_secs_f64(args.round_trip / 1000.0),
            shards: Shards::new(args.shards, args.rate_limits),
            keyed: args.shards.get() > 1 || args.rate_limits,
            started: Instant::now(),
            blocks: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            records: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            first_nanos: AtomicU64::new(u64::MAX),
            last_nanos: AtomicU64::new(0),
            wake,
        }
    }

    /// A number for the sequence numbers of one answer; each is higher than those before.
    fn next_block(&self) -> u64 {
        self.blocks.fetch_add(1, Relaxed)
    }

    /// A PutRecords request was answered.
    fn took(&self, records: u64, throttled: u64, body_bytes: u64) {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Relaxed);
        self.throttled.fetch_add(throttled, Relaxed);
        self.body_bytes.fetch_add(body_bytes, Relaxed);
        if records > 0 {
            self.last_nanos.fetch_max(now, Relaxed);
            if self.records.fetch_add(records, Relaxed) == 0 {
                self.first_nanos.store(now, Relaxed);
                let _ = self.wake.send(Wake::First);
            }
        }
    }

    fn taken(&self) -> Taken {
        Taken {
            requests: self.requests.load(Relaxed),
            records: self.records.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
            span_nanos: self.last_nanos.load(Relaxed).saturating_sub(self.first_nanos.load(Relaxed)),
        }
    }
}

/// Serves until standard input ends.
pub(crate) fn sink_hole(args: &SinkHoleArgs) -> Exit {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(listener) => listener,
        Err(error) => {
            tell(format_args!("x the sink-hole cannot listen on a loopback port: {error}"));
            return Exit::Failed;
        }
    };
    let Ok(address) = listener.local_addr() else { return Exit::Failed };
    let (wake, woken) = mpsc::channel();
    let service = Arc::new(Service::new(args, wake.clone()));
    line(&Listening { address });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
        let _ = wake.send(Wake::End);
    });
    let shared = Arc::clone(&service);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let service = Arc::clone(&shared);
            std::thread::spawn(move || Connection::new(socket, service).serve());
        }
    });
    report(&service, &woken);
    Exit::Done
}

fn report(service: &Service, woken: &mpsc::Receiver<Wake>) {
    let mut told = Taken::default();
    loop {
        let woken = woken.recv_timeout(TELL_EVERY);
        let taken = service.taken();
        if taken != told {
            line(&taken);
            told = taken;
        }
        match woken {
            Ok(Wake::First) | Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(Wake::End) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn line(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        say(text);
    }
    let _ = std::io::stdout().flush();
}
