//! Stream: shards, hash ranges, splits and merges, and the sequence numbers that rise through all of them.
//! In: a key's hash and a time.  Out: the open shard that owns it, and whether its buckets have room.
//! Holds: the open shards cover 0 … 2^128−1 without gap or overlap.
//! Never: stores data (see `ledger`), reads a clock.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};

use super::bucket::{Rate, ShardBuckets};
use super::limits::{ACCOUNT, RECORD_BYTES_MAX};

/// How a stream spreads records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// By the key's MD5: the documented way.
    ByKey,
    /// `AUTO`: the service ignores keys and takes the shards in turn.
    AutoRoundRobin,
    /// `AUTO`: the service ignores keys and draws a shard (seeded).
    AutoRandom,
}

/// `StreamStatus` of the API. Records enter while `Active` or `Updating`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    Active,
    Updating,
    Creating,
    Deleting,
}

impl StreamStatus {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Creating => "CREATING",
            Self::Deleting => "DELETING",
        }
    }

    pub(super) fn takes_records(self) -> bool {
        matches!(self, Self::Active | Self::Updating)
    }
}

/// What can be wrong with a stream's KMS key: each is a whole-request 400 on writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kms {
    AccessDenied,
    Disabled,
    InvalidState,
    NotFound,
    OptInRequired,
    Throttling,
}

impl Kms {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "KMSAccessDeniedException",
            Self::Disabled => "KMSDisabledException",
            Self::InvalidState => "KMSInvalidStateException",
            Self::NotFound => "KMSNotFoundException",
            Self::OptInRequired => "KMSOptInRequired",
            Self::Throttling => "KMSThrottlingException",
        }
    }

    pub(super) fn message(self, region: &str) -> String {
        let key = format!("arn:aws:kms:{region}:{ACCOUNT}:key/0a1b2c3d-0000-4000-8000-0123456789ab");
        match self {
            Self::AccessDenied => format!(
                "User: arn:aws:iam::{ACCOUNT}:user/writer is not authorized to perform: kms:GenerateDataKey on resource: {key}"
            ),
            Self::Disabled => format!("{key} is disabled."),
            Self::InvalidState => format!("{key} is pending deletion."),
            Self::NotFound => format!("Invalid arn {key}"),
            Self::OptInRequired => "The AWS Access Key Id needs a subscription for the service".to_owned(),
            Self::Throttling => {
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
                    .to_owned()
            }
        }
    }
}

/// What a test says about a stream before the start.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    pub(super) name: String,
    pub(super) shards: u32,
    pub(super) record_bytes_max: usize,
    pub(super) distribution: Distribution,
    pub(super) status: StreamStatus,
    pub(super) kms: Option<Kms>,
    pub(super) rate: Option<Rate>,
    pub(super) shard_rates: Vec<(u32, Rate)>,
}

impl StreamSpec {
    pub fn new(name: &str, shards: u32) -> Self {
        assert!(shards > 0, "a stream has at least one shard");
        Self {
            name: name.to_owned(),
            shards,
            record_bytes_max: RECORD_BYTES_MAX,
            distribution: Distribution::ByKey,
            status: StreamStatus::Active,
            kms: None,
            rate: None,
            shard_rates: Vec::new(),
        }
    }

    /// Data and key of one record, in bytes.
    pub fn record_bytes_max(mut self, bytes: usize) -> Self {
        self.record_bytes_max = bytes;
        self
    }

    pub fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = distribution;
        self
    }

    pub fn status(mut self, status: StreamStatus) -> Self {
        self.status = status;
        self
    }

    pub fn kms(mut self, state: Kms) -> Self {
        self.kms = Some(state);
        self
    }

    /// Rate of each shard, children of splits included. Turns the limits on for this stream.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Rate of the shard with this number. Turns the limits on for this shard; children get the stream's rate.
    pub fn shard_rate(mut self, shard: u32, rate: Rate) -> Self {
        self.shard_rates.push((shard, rate));
        self
    }
}

/// One shard; closed ones stay for `ListShards` and `GetRecords`.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub(super) number: u32,
    pub(super) first_hash: u128,
    pub(super) last_hash: u128,
    pub(super) parent: Option<u32>,
    pub(super) adjacent_parent: Option<u32>,
    /// Every record of the shard has a higher number.
    pub(super) starting_sequence: u64,
    /// Set when the shard is closed.
    pub(super) ending_sequence: Option<u64>,
    buckets: Option<ShardBuckets>,
}

/// A stream while the server runs. A shard's number is its index in `shards`.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Arc<str>,
    /// Position in the server's list of streams: how the ledger names it.
    pub(super) index: u16,
    pub(super) status: StreamStatus,
    pub(super) kms: Option<Kms>,
    pub(super) distribution: Distribution,
    pub(super) record_bytes_max: usize,
    pub(super) shards: Vec<Shard>,
    rate: Option<Rate>,
    /// Open shards by first hash.
    open: Vec<u32>,
    turn: u64,
}

impl Stream {
    /// `default_rate` applies where the spec says nothing; `sequence` is the last number given so far.
    pub(super) fn new(
        spec: &StreamSpec,
        index: u16,
        default_rate: Option<Rate>,
        sequence: u64,
        now: Duration,
    ) -> Self {
        let rate = spec.rate.or(default_rate);
        let step = u128::MAX / u128::from(spec.shards);
        let mut stream = Self {
            name: spec.name.as_str().into(),
            index,
            status: spec.status,
            kms: spec.kms,
            distribution: spec.distribution,
            record_bytes_max: spec.record_bytes_max,
            shards: Vec::new(),
            rate,
            open: Vec::new(),
            turn: 0,
        };
        for number in 0..spec.shards {
            let first = step * u128::from(number) + u128::from(number.min(1));
            let last = if number + 1 == spec.shards { u128::MAX } else { step * u128::from(number + 1) };
            stream.add_shard(first, last, None, None, sequence, now);
        }
        for (number, rate) in &spec.shard_rates {
            stream.set_rate(*number, Some(*rate), now);
        }
        stream
    }

    fn add_shard(
        &mut self,
        first_hash: u128,
        last_hash: u128,
        parent: Option<u32>,
        adjacent_parent: Option<u32>,
        sequence: u64,
        now: Duration,
    ) {
        let number = u32::try_from(self.shards.len()).unwrap();
        self.shards.push(Shard {
            number,
            first_hash,
            last_hash,
            parent,
            adjacent_parent,
            starting_sequence: sequence,
            ending_sequence: None,
            buckets: self.rate.map(|rate| ShardBuckets::new(rate, now)),
        });
        let at = self.open.partition_point(|&open| self.shards[open as usize].first_hash < first_hash);
        self.open.insert(at, number);
    }

    fn close(&mut self, number: u32, sequence: u64) -> bool {
        let Some(shard) = self.shards.get_mut(number as usize) else {
            return false;
        };
        if shard.ending_sequence.is_some() {
            return false;
        }
        shard.ending_sequence = Some(sequence);
        self.open.retain(|&open| open != number);
        true
    }

    /// The shard that takes this record now. `None` hash: the key is missing (allowed on `AUTO` streams).
    pub(super) fn route(&mut self, hash: Option<u128>, chance: u64) -> u32 {
        let place = match (self.distribution, hash) {
            (Distribution::ByKey, Some(hash)) => {
                self.open.partition_point(|&open| self.shards[open as usize].first_hash <= hash) - 1
            }
            (Distribution::AutoRoundRobin, _) => {
                self.turn += 1;
                (self.turn % self.open.len() as u64) as usize
            }
            (Distribution::AutoRandom, _) | (Distribution::ByKey, None) => {
                (chance % self.open.len() as u64) as usize
            }
        };
        self.open[place]
    }

    /// Takes room for one record, or says that the shard is over its rate.
    pub(super) fn take(&mut self, shard: u32, bytes: usize, now: Duration) -> bool {
        match &mut self.shards[shard as usize].buckets {
            Some(buckets) => buckets.take(bytes, now),
            None => true,
        }
    }

    /// Full buckets of another rate, or none.
    pub(super) fn set_rate(&mut self, shard: u32, rate: Option<Rate>, now: Duration) {
        self.shards[shard as usize].buckets = rate.map(|rate| ShardBuckets::new(rate, now));
    }

    pub(super) fn open_shards(&self) -> &[u32] {
        &self.open
    }

    /// Splits an open shard in the middle of its range. `false`: no such open shard, or one hash wide.
    pub(super) fn split(&mut self, number: u32, sequence: u64, now: Duration) -> bool {
        let Some(shard) = self.shards.get(number as usize) else {
            return false;
        };
        let (first, last) = (shard.first_hash, shard.last_hash);
        if first == last || !self.close(number, sequence) {
            return false;
        }
        let middle = first + (last - first) / 2;
        self.add_shard(first, middle, Some(number), None, sequence, now);
        self.add_shard(middle + 1, last, Some(number), None, sequence, now);
        true
    }

    /// Splits each open shard.
    pub(super) fn split_all(&mut self, sequence: u64, now: Duration) {
        for number in self.open.clone() {
            self.split(number, sequence, now);
        }
    }

    /// Merges an open shard with the open one above it. `false`: no such pair.
    pub(super) fn merge(&mut self, number: u32, sequence: u64, now: Duration) -> bool {
        let Some(place) = self.open.iter().position(|&open| open == number) else {
            return false;
        };
        let Some(&above) = self.open.get(place + 1) else {
            return false;
        };
        let first = self.shards[number as usize].first_hash;
        let last = self.shards[above as usize].last_hash;
        self.close(number, sequence);
        self.close(above, sequence);
        self.add_shard(first, last, Some(number), Some(above), sequence, now);
        true
    }

    /// Merges the open shards pair by pair; an odd last one stays.
    pub(super) fn merge_all(&mut self, sequence: u64, now: Duration) {
        let pairs: Vec<u32> = self.open.chunks_exact(2).map(|pair| pair[0]).collect();
        for number in pairs {
            self.merge(number, sequence, now);
        }
    }
}

/// Where a key lands: its MD5 as a big-endian number.
pub(super) fn hash_of(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
}

/// `shardId-000000000003`.
pub(super) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The number in `shardId-000000000003`.
pub(super) fn shard_number(id: &str) -> Option<u32> {
    id.strip_prefix("shardId-")?.parse().ok()
}

/// 56 digits as the service gives them: longer than any machine integer, equal in length, so text order is number order.
pub(super) fn sequence_text(sequence: u64) -> String {
    format!("4966{sequence:052}")
}

/// The number in a sequence text of ours.
pub(super) fn sequence_number(text: &str) -> Option<u64> {
    text.strip_prefix("4966")?.parse().ok()
}

pub(super) fn stream_arn(region: &str, name: &str) -> String {
    format!("arn:aws:kinesis:{region}:{ACCOUNT}:stream/{name}")
}
