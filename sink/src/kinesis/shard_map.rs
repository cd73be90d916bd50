//! Shard map: which shard will a key land on?
//! In: where records landed (each success says so), or the service's own list. Out: a guess for the next key.
//! Holds: one interval of key hashes a shard, as wide as was seen. It shapes pace and batches, never correctness.
//! Never: trusted for order or delivery; see `gate.rs`.
//!
//! A shard owns a contiguous range of 128-bit key hashes. A newer shard seen inside an older one's interval means that the
//! older was split or merged away. An older one seen there again, in the answer to a request sent after the newer was known,
//! cannot happen on a stream that looks at keys: enough of that and the stream's distribution is `AUTO`.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use md5::{Digest, Md5};

use super::record::Moment;

/// A shard, numbered in the order in which this sink heard of it.
pub type ShardIndex = u16;

/// Contradictions after which a stream is taken to ignore keys. A split makes none; chosen.
const AUTO_CONTRADICTIONS: u32 = 20;
/// Most shards that are remembered; beyond it prediction is off.
const SHARDS_MAX: usize = 10_000;

/// The 128-bit number that decides on a key's shard.
#[must_use]
pub fn key_hash(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    low: u128,
    high: u128,
    shard: ShardIndex,
    known_since: Moment,
}

/// What is known of the stream's shards.
#[derive(Debug, Default)]
pub struct ShardMap {
    names: HashMap<Box<str>, ShardIndex, RandomState>,
    numbers: Vec<u64>,
    intervals: Vec<Interval>,
    contradictions: u32,
    agreements: u32,
    auto: bool,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing that matters.
    Nothing,
    /// These shards are gone or grew: records queued by the old map should be placed anew.
    Moved,
    /// The stream ignores keys: prediction is off from now on.
    Auto,
}

impl ShardMap {
    /// The number of the shard called `name`.
    pub fn shard(&mut self, name: &str) -> Option<ShardIndex> {
        if let Some(shard) = self.names.get(name) {
            return Some(*shard);
        }
        if self.numbers.len() >= SHARDS_MAX {
            return None;
        }
        let shard = self.numbers.len() as ShardIndex;
        let digits = name.rfind(|c: char| !c.is_ascii_digit()).map_or(name, |at| &name[at + 1..]);
        self.numbers.push(digits.parse().unwrap_or(0));
        self.names.insert(name.into(), shard);
        Some(shard)
    }

    /// Whether the stream was found to ignore keys.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        self.auto
    }

    /// The service's own list said that `shard` owns `low..=high`.
    ///
    /// The list may be older than what answers have said since it was asked for: a newer shard stays.
    pub fn listed(&mut self, shard: ShardIndex, low: u128, high: u128, now: Moment) {
        let overlaps = |other: &Interval| other.high >= low && other.low <= high;
        if self.auto
            || self.intervals.iter().any(|other| overlaps(other) && self.is_newer(other.shard, shard))
        {
            return;
        }
        self.intervals.retain(|interval| interval.high < low || interval.low > high);
        self.insert(Interval { low, high, shard, known_since: now });
    }

    fn insert(&mut self, interval: Interval) {
        let at = self.intervals.partition_point(|other| other.low < interval.low);
        self.intervals.insert(at, interval);
    }

    fn is_newer(&self, a: ShardIndex, b: ShardIndex) -> bool {
        (self.numbers[a as usize], a) > (self.numbers[b as usize], b)
    }

    /// A record whose key hashes to `hash`, in a request sent at `sent`, landed on `shard`.
    pub fn observed(&mut self, hash: u128, shard: ShardIndex, sent: Moment, now: Moment) -> Learned {
        if self.auto {
            return Learned::Nothing;
        }
        if let Some(at) = self.position(hash) {
            let there = self.intervals[at];
            if there.shard == shard {
                self.agreements = self.agreements.saturating_add(1);
                if self.agreements.is_multiple_of(1000) {
                    self.contradictions = self.contradictions.saturating_sub(1);
                }
                return Learned::Nothing;
            }
            if !self.is_newer(shard, there.shard) {
                // An answer that was on its way while the stream changed, or a stream that ignores keys.
                if sent > there.known_since {
                    self.contradictions += 1;
                }
                if self.contradictions >= AUTO_CONTRADICTIONS {
                    self.auto = true;
                    self.intervals.clear();
                    return Learned::Auto;
                }
                return Learned::Nothing;
            }
            self.intervals.remove(at);
            self.grow(hash, shard, now);
            return Learned::Moved;
        }
        self.grow(hash, shard, now)
    }

    /// Widens the shard's interval to hold `hash`, or starts one. Intervals of older shards in between are gone.
    fn grow(&mut self, hash: u128, shard: ShardIndex, now: Moment) -> Learned {
        let own = self.intervals.iter().position(|interval| interval.shard == shard);
        let (low, high, since) = match own {
            None => (hash, hash, now),
            Some(at) => {
                let own = self.intervals.remove(at);
                (own.low.min(hash), own.high.max(hash), own.known_since)
            }
        };
        let before = self.intervals.len();
        let newer_between = self
            .intervals
            .iter()
            .any(|other| other.low <= high && other.high >= low && !self.is_newer(shard, other.shard));
        if newer_between {
            // This shard cannot reach across a newer one: the newer knowledge stands.
            if hash > low || hash < high {
                self.insert(Interval { low: hash, high: hash, shard, known_since: since });
            }
            return Learned::Nothing;
        }
        self.intervals.retain(|other| other.high < low || other.low > high);
        let moved = self.intervals.len() != before;
        self.insert(Interval { low, high, shard, known_since: since });
        if moved { Learned::Moved } else { Learned::Nothing }
    }

    fn position(&self, hash: u128) -> Option<usize> {
        let at = self.intervals.partition_point(|interval| interval.low <= hash).checked_sub(1)?;
        (self.intervals[at].high >= hash).then_some(at)
    }

    /// The shard that a key with this hash will land on, as far as can be told: in a gap between two intervals the nearer one.
    #[must_use]
    pub fn predict(&self, hash: u128) -> Option<ShardIndex> {
        let after = self.intervals.partition_point(|interval| interval.low <= hash);
        let before = after.checked_sub(1).map(|at| self.intervals[at]);
        match (before, self.intervals.get(after)) {
            (Some(before), _) if before.high >= hash => Some(before.shard),
            (Some(before), Some(after)) => {
                let nearer_before = hash - before.high <= after.low - hash;
                Some(if nearer_before { before.shard } else { after.shard })
            }
            (Some(only), None) => Some(only.shard),
            (None, Some(only)) => Some(only.shard),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Moment {
        Duration::from_secs(secs)
    }

    fn hash(n: u64) -> u128 {
        key_hash(&n.to_le_bytes())
    }

    fn real_shard(hash: u128, shards: u128) -> u128 {
        hash / (u128::MAX / shards + 1)
    }

    #[test]
    fn a_few_thousand_answers_are_enough_to_predict_nearly_every_key() {
        let mut map = ShardMap::default();
        let shards: Vec<_> = (0..8).filter_map(|n| map.shard(&format!("shardId-{n:012}"))).collect();
        for n in 0..4000 {
            let hash = hash(n);
            assert_eq!(
                map.observed(hash, shards[real_shard(hash, 8) as usize], at(0), at(0)),
                Learned::Nothing
            );
        }
        let right = (10_000..20_000)
            .filter(|n| map.predict(hash(*n)) == Some(shards[real_shard(hash(*n), 8) as usize]))
            .count();
        assert!(right > 9_980, "{right} of 10000");
    }

    #[test]
    fn a_split_replaces_the_parent_and_late_answers_change_nothing() {
        let mut map = ShardMap::default();
        let parent = map.shard("shardId-000000000000").unwrap_or_default();
        for n in 0..100 {
            map.observed(hash(n), parent, at(0), at(0));
        }
        let children =
            ["shardId-000000000001", "shardId-000000000002"].map(|name| map.shard(name).unwrap_or_default());
        let child = |hash: u128| children[real_shard(hash, 2) as usize];
        assert_eq!(map.observed(hash(200), child(hash(200)), at(1), at(2)), Learned::Moved);
        for n in 0..100 {
            map.observed(hash(n), parent, at(0), at(3));
        }
        for n in 300..1300 {
            map.observed(hash(n), child(hash(n)), at(4), at(5));
        }
        assert!(!map.is_auto());
        let right = (2000..3000).filter(|n| map.predict(hash(*n)) == Some(child(hash(*n)))).count();
        assert!(right > 990, "{right} of 1000");
    }

    #[test]
    fn a_stream_that_ignores_keys_is_found_out() {
        let mut map = ShardMap::default();
        let shards: Vec<_> = (0..4).filter_map(|n| map.shard(&format!("shardId-{n:012}"))).collect();
        let mut learned = Vec::new();
        for n in 0..2000_u64 {
            learned.push(map.observed(hash(n), shards[(n % 4) as usize], at(n), at(n)));
        }
        assert!(map.is_auto());
        assert_eq!(learned.iter().filter(|learned| **learned == Learned::Auto).count(), 1);
        assert_eq!(map.predict(hash(1)), None);
    }
}
