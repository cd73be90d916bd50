//! Bucket: may this shard take another record at `now`?
//! In: an amount and the time since the server's start.  Out: yes (and it is taken) or no (and nothing is).
//! Never: reads a clock, sleeps, lets half a record in.

use std::time::Duration;

/// How fast a shard takes records: 1 MB/s and 1,000 records/s as the service documents it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Data and keys, refilled evenly.
    pub bytes_per_s: f64,
    /// Records, refilled evenly.
    pub records_per_s: f64,
    /// What an idle shard takes at once. A larger record enters a full bucket and leaves a debt.
    pub burst_bytes: f64,
    /// The same in records.
    pub burst_records: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            bytes_per_s: 1_000_000.0,
            records_per_s: 1_000.0,
            burst_bytes: 1_048_576.0,
            burst_records: 1_000.0,
        }
    }
}

impl Rate {
    /// The default rate times `factor`: rates and bursts alike.
    pub fn scaled(factor: f64) -> Self {
        Self::default().times(factor)
    }

    /// This rate times `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self {
            bytes_per_s: self.bytes_per_s * factor,
            records_per_s: self.records_per_s * factor,
            burst_bytes: self.burst_bytes * factor,
            burst_records: self.burst_records * factor,
        }
    }

    /// Seconds of the rate that an idle shard takes at once.
    pub fn burst_secs(mut self, seconds: f64) -> Self {
        self.burst_bytes = self.bytes_per_s * seconds;
        self.burst_records = self.records_per_s * seconds;
        self
    }
}

/// One bucket: starts full, never holds more than its capacity, may go below zero for one oversized amount.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    capacity: f64,
    per_s: f64,
    level: f64,
    filled_at: Duration,
}

impl TokenBucket {
    pub fn new(per_s: f64, capacity: f64, now: Duration) -> Self {
        Self { capacity, per_s, level: capacity, filled_at: now }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.level = (self.level + passed * self.per_s).min(self.capacity);
        self.filled_at = self.filled_at.max(now);
    }

    /// An amount over the capacity fits when the bucket is full, and leaves a debt.
    fn has(&self, amount: f64) -> bool {
        // A hundredth of a token hides the rounding of many small refills.
        self.level + 0.01 >= amount.min(self.capacity)
    }

    /// Takes `amount` at `now` or leaves the bucket as it is.
    pub fn take(&mut self, amount: f64, now: Duration) -> bool {
        self.fill(now);
        let fits = self.has(amount);
        if fits {
            self.level -= amount;
        }
        fits
    }
}

/// The two buckets of a shard: a record enters only if both have room.
#[derive(Debug, Clone)]
pub(super) struct ShardBuckets {
    bytes: TokenBucket,
    records: TokenBucket,
}

impl ShardBuckets {
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self {
            bytes: TokenBucket::new(rate.bytes_per_s, rate.burst_bytes, now),
            records: TokenBucket::new(rate.records_per_s, rate.burst_records, now),
        }
    }

    pub(super) fn take(&mut self, bytes: usize, now: Duration) -> bool {
        let bytes = bytes as f64;
        self.bytes.fill(now);
        self.records.fill(now);
        let fits = self.bytes.has(bytes) && self.records.has(1.0);
        if fits {
            self.bytes.level -= bytes;
            self.records.level -= 1.0;
        }
        fits
    }
}
