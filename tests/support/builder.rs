//! Builder: what a test says before the server starts.
//! In: streams, rates, faults, switches.  Out: a running [`FaultServer`].
//! Never: starts anything before `start`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;

use super::auth::{AccessKey, Doorkeeper};
use super::bucket::{Rate, TokenBucket};
use super::ledger::{Keep, Ledger, Tag};
use super::limits::Limits;
use super::requests::Requests;
use super::script::{Fault, Script};
use super::server::{FaultServer, Observed};
use super::service::Operation;
use super::state::{Clock, Shared, State, Streams};
use super::stream::StreamSpec;
use super::wire::Valve;

/// What the endpoint makes of `DryRun` in PutRecords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// Answers 400 `DryRunOperationException` after all checks, stores nothing.
    Known,
    /// Ignores the field: a request that passes the checks is stored.
    Unknown,
}

/// How a message names the guilty record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `records.1.member.data` is the first: as in the reports from the service.
    FromOne,
    /// `records.0.member.data` is the first.
    FromZero,
    /// No path, but the constraint (and so the limit).
    Unnamed,
    /// Neither path nor limit.
    Silent,
}

/// What a write to a stream that is not ACTIVE is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotActive {
    /// `ResourceInUseException` that tells the status.
    InUse,
    /// `ResourceNotFoundException`.
    NotFound,
}

/// Wording of messages: none of it is a contract.
#[derive(Debug, Clone)]
pub struct Wording {
    pub naming: Naming,
    /// Validation messages repeat the value, as some of the service's do: a client must not log them blindly.
    pub echo_values: bool,
    /// Throttle messages name the shard.
    pub throttles_name_shard: bool,
}

impl Default for Wording {
    fn default() -> Self {
        Self { naming: Naming::FromOne, echo_values: false, throttles_name_shard: true }
    }
}

/// Made by [`FaultServer::builder`].
#[derive(Default)]
pub struct FaultServerBuilder {
    streams: Vec<StreamSpec>,
    rate: Option<Rate>,
    seed: u64,
    faults: Vec<Fault>,
    keep: Keep,
    limits: Limits,
    wording: Wording,
    dry_run: Option<DryRun>,
    not_active: Option<NotActive>,
    round_trip: Duration,
    region: Option<String>,
    region_required: bool,
    clock_checked: bool,
    clock_skew_secs: i64,
    keys: HashMap<String, AccessKey>,
    strangers: Option<AccessKey>,
    denied: HashSet<Operation>,
    call_limits: bool,
    shuffle: bool,
    watch_keys: bool,
}

impl FaultServerBuilder {
    /// An ACTIVE stream of `shards` equal shards with the default limits.
    pub fn stream(self, name: &str, shards: u32) -> Self {
        self.stream_spec(StreamSpec::new(name, shards))
    }

    pub fn stream_spec(mut self, spec: StreamSpec) -> Self {
        self.streams.push(spec);
        self
    }

    /// Whether shards are limited to the documented rates. Off by default, but for streams with a rate of their own.
    pub fn rate_limits(mut self, on: bool) -> Self {
        self.rate = on.then(Rate::default);
        self
    }

    /// Limits every shard of every stream to this rate.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Seed of all chances. 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a line to the script.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Keeps only what `tagger` reads from each record: for long runs.
    pub fn keep_tags(self, tagger: impl Fn(&str, &[u8]) -> Option<Tag> + Send + Sync + 'static) -> Self {
        self.keep(Keep::TagOnly(Arc::new(tagger)))
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Data and keys in one request: 10 MiB by default, 5 MiB for an old endpoint.
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.request_bytes_max = bytes;
        self
    }

    /// HTTP body beyond which the answer is 413.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.body_bytes_max = bytes;
        self
    }

    pub fn wording(mut self, wording: Wording) -> Self {
        self.wording = wording;
        self
    }

    /// How validation messages name records.
    pub fn naming(mut self, naming: Naming) -> Self {
        self.wording.naming = naming;
        self
    }

    pub fn dry_run(mut self, dry_run: DryRun) -> Self {
        self.dry_run = Some(dry_run);
        self
    }

    pub fn not_active(mut self, answer: NotActive) -> Self {
        self.not_active = Some(answer);
        self
    }

    /// Time that every request and its answer travel together: half before, half after.
    pub fn round_trip(mut self, round_trip: Duration) -> Self {
        self.round_trip = round_trip;
        self
    }

    /// Region in ARNs; `us-east-1` by default. Signatures for any region are taken.
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Region in ARNs, and the only one that signatures may name.
    pub fn only_region(mut self, region: &str) -> Self {
        self.region_required = true;
        self.region(region)
    }

    /// Refuses signatures whose time is more than 5 minutes off the server's clock.
    pub fn check_clock(mut self) -> Self {
        self.clock_checked = true;
        self
    }

    /// The server's clock goes this much before (+) or behind (−) the machine's; its `Date` header tells.
    pub fn clock_skew_secs(mut self, seconds: i64) -> Self {
        self.clock_skew_secs = seconds;
        self
    }

    /// What the server thinks of this access key. Others are valid.
    pub fn access_key(mut self, access_key: &str, state: AccessKey) -> Self {
        self.keys.insert(access_key.to_owned(), state);
        self
    }

    /// This access key is valid, and those that no call names are `UnrecognizedClientException`.
    pub fn only_access_key(mut self, access_key: &str) -> Self {
        self.strangers = Some(AccessKey::Unknown);
        self.access_key(access_key, AccessKey::Valid)
    }

    /// The caller lacks the right to this operation.
    pub fn deny(mut self, operation: Operation) -> Self {
        self.denied.insert(operation);
        self
    }

    /// Limits ListStreams to 5, DescribeStream to 10 and DescribeStreamSummary to 20 calls a second.
    pub fn call_limits(mut self) -> Self {
        self.call_limits = true;
        self
    }

    /// Stores the records of a request in a drawn order: PutRecords promises none.
    pub fn shuffle_within_requests(mut self) -> Self {
        self.shuffle = true;
        self
    }

    /// Counts keys that are in two unanswered requests at once, or twice in one: [`Requests::key_overlaps`].
    pub fn watch_keys(mut self) -> Self {
        self.watch_keys = true;
        self
    }

    /// Starts on the current runtime: shares its threads and its clock (paused or not) with the test.
    pub async fn start(self) -> FaultServer {
        FaultServer::open(self.into_shared())
    }

    /// Starts on a thread with a runtime of its own: for tests without one, for child processes, and for load.
    pub fn start_on_thread(self) -> FaultServer {
        FaultServer::open_on_thread(move || self.into_shared())
    }

    fn into_shared(self) -> Arc<Shared> {
        let clock = Clock::start();
        let now = clock.elapsed();
        let mut streams = Streams::new(self.rate);
        for spec in &self.streams {
            assert!(streams.create(spec, 0, now), "two streams named {}", spec.name);
        }
        let mut call_limits = HashMap::new();
        if self.call_limits {
            for (operation, per_s) in [
                (Operation::ListStreams, 5.0),
                (Operation::DescribeStream, 10.0),
                (Operation::DescribeStreamSummary, 20.0),
            ] {
                call_limits.insert(operation, TokenBucket::new(per_s, per_s, now));
            }
        }
        let doorkeeper = Doorkeeper {
            keys: self.keys,
            strangers: self.strangers,
            expired: HashSet::new(),
            denied: self.denied,
            region_required: self.region_required,
            clock_checked: self.clock_checked,
        };
        Arc::new(Shared {
            clock,
            region: self.region.unwrap_or_else(|| "us-east-1".to_owned()),
            seed: self.seed,
            limits: self.limits,
            wording: self.wording,
            dry_run: self.dry_run.unwrap_or(DryRun::Known),
            not_active: self.not_active.unwrap_or(NotActive::InUse),
            shuffle: self.shuffle,
            answering: Valve::default(),
            changed: Arc::new(watch::Sender::new(())),
            state: Mutex::new(State {
                observed: Observed { ledger: Ledger::new(self.keep), requests: Requests::default() },
                streams,
                script: Script::new(self.seed, self.faults),
                doorkeeper,
                round_trip: self.round_trip,
                skew: TimeDelta::seconds(self.clock_skew_secs),
                held_keys: self.watch_keys.then(HashSet::new),
                call_limits,
            }),
        })
    }
}
