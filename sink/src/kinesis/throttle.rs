//! Throttle: may this shard's lane send now?
//! In: what the service stored and refused of one shard, and the time. Out: tokens for records and bytes, and when there will be some.
//! Holds: additive-increase/multiplicative-decrease of one number, the rate as a multiple of what a shard takes by the book.
//! Never: holds records (see `lane.rs`), sleeps, reads a clock.
//!
//! A lane is paced only after its shard refused something, and no longer than it has to be. The rate falls to what the
//! shard was just seen to take, so it settles within a second; it then creeps up, slowly at first and ever faster, until
//! the next refusal. What the shard did not use while we were below its rate stays in its own bucket and is used while we
//! are above, so the average is the shard's full rate with few refusals.

use std::time::Duration;

use super::limits::{SHARD_BYTES_PER_SEC, SHARD_RECORDS_PER_SEC};
use super::record::Moment;

/// Slots of the meter and their length: together one second, the period of the service's own limits.
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(100);

/// A lane gives a request tokens worth this long at least, so that pacing does not make tiny requests.
const QUANTUM: Duration = Duration::from_millis(20);
/// Tokens that pile up at most while a lane waits for a send slot: two requests that are not full may be under way, so a long round trip makes
/// each lane wait half of it.
const DEPTH: Duration = Duration::from_millis(250);
/// After a refusal the rate is this much of what the shard was seen to take.
const AFTER_REFUSAL: f64 = 0.98;
/// One refusal never cuts the rate by more than this: a single bad moment is not the shard's rate.
const CUT_MAX: f64 = 0.5;
/// Growth a second right after a refusal, and how it rises with the square of the time since (1/s and 1/s³).
const GROWTH: f64 = 0.01;
const GROWTH_RISE: f64 = 0.0025;
/// Growth a second at most.
const GROWTH_MAX: f64 = 0.5;
/// The slowest rate: ten records a second find out whether the shard is back.
const RATE_MIN: f64 = 0.01;
/// A lane this fast is not limited by the shard's book rate; it needs no pacing.
const RATE_UNPACED: f64 = 4.0;
/// A shard that takes this much more than the book says, and refuses less than `NOISE_REFUSED_MAX` of it, refuses for another
/// reason than its rate (an endpoint that fails by chance): pacing would not help.
const NOISE_RATE_MIN: f64 = 1.5;
const NOISE_REFUSED_MAX: f64 = 0.35;
/// Nor does its rate explain it when a shard that takes less than this share of the book's refuses less than that of a second's attempts.
/// A shard that is really this slow refuses more than that at first, and again whenever its lane has grown past it.
const FAR_BELOW_RATE: f64 = 0.5;
const FAR_BELOW_REFUSED_MAX: f64 = 0.04;
/// A lane without refusals for this long and without a backlog is not paced any more.
const CALM: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    stored_records: u32,
    stored_bytes: u64,
    refused_records: u32,
}

/// What one shard stored and refused during the last second.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    slots: [Slot; SLOTS],
    newest: u64,
}

impl Meter {
    fn slot(&mut self, now: Moment) -> &mut Slot {
        let index = (now.as_millis() / SLOT.as_millis()) as u64;
        let stale = index.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 0..stale {
            self.slots[((index - step) % SLOTS as u64) as usize] = Slot::default();
        }
        self.newest = self.newest.max(index);
        &mut self.slots[(self.newest % SLOTS as u64) as usize]
    }

    /// The shard stored `records` records of `bytes` bytes together.
    pub fn stored(&mut self, now: Moment, records: u32, bytes: u64) {
        let slot = self.slot(now);
        slot.stored_records += records;
        slot.stored_bytes += bytes;
    }

    /// The shard refused `records` records for rate.
    pub fn refused(&mut self, now: Moment, records: u32) {
        self.slot(now).refused_records += records;
    }

    /// What the shard took during the last second, as a multiple of the book rate.
    pub fn rate(&mut self, now: Moment) -> f64 {
        self.slot(now);
        let records: u32 = self.slots.iter().map(|slot| slot.stored_records).sum();
        let bytes: u64 = self.slots.iter().map(|slot| slot.stored_bytes).sum();
        (f64::from(records) / SHARD_RECORDS_PER_SEC).max(bytes as f64 / SHARD_BYTES_PER_SEC)
    }

    /// The share of attempts that were refused during the newest `slots`.
    fn refused_share(&mut self, now: Moment, slots: usize) -> f64 {
        self.slot(now);
        let newest = self.newest as usize;
        let (mut stored, mut refused) = (0, 0);
        for slot in (0..slots).map(|back| self.slots[(newest + SLOTS - back) % SLOTS]) {
            stored += slot.stored_records;
            refused += slot.refused_records;
        }
        f64::from(refused) / f64::from((stored + refused).max(1))
    }

    /// Whether refusals now are noise: the shard takes far more or far less than the book rate and refuses little of it.
    pub fn refusals_are_noise(&mut self, now: Moment) -> bool {
        let rate = self.rate(now);
        (rate > NOISE_RATE_MIN && self.refused_share(now, 2) < NOISE_REFUSED_MAX)
            || (rate < FAR_BELOW_RATE && self.refused_share(now, SLOTS) < FAR_BELOW_REFUSED_MAX)
    }
}

/// The pace of one shard's lane.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: f64,
    records: f64,
    bytes: f64,
    refilled: Moment,
    last_cut: Moment,
    last_refusal: Moment,
}

impl Pace {
    /// A pace that starts now, because the shard has just refused something. The shard's bucket is empty, so is ours.
    pub fn start(now: Moment, meter: &mut Meter) -> Self {
        let seen = meter.rate(now);
        // What was seen just now may hold a burst; the book rate cannot be exceeded for long.
        let rate = if seen > 0.0 { seen.clamp(CUT_MAX, 1.0) } else { 1.0 };
        Self { rate, records: 0.0, bytes: 0.0, refilled: now, last_cut: now, last_refusal: now }
    }

    /// The shard refused records of a request that was sent at `sent`. Only a request sent after the last cut says something new.
    pub fn refused(&mut self, now: Moment, sent: Moment, meter: &mut Meter) {
        self.last_refusal = now;
        if sent <= self.last_cut || meter.refusals_are_noise(now) {
            return;
        }
        let seen = meter.rate(now) * AFTER_REFUSAL;
        self.rate = seen.clamp(self.rate * CUT_MAX, self.rate * AFTER_REFUSAL).max(RATE_MIN);
        self.last_cut = now;
        self.records = self.records.min(0.0);
    }

    /// Adds the tokens of the time that has passed, and lets the rate grow.
    pub fn refill(&mut self, now: Moment) {
        let passed = now.saturating_sub(self.refilled).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        self.refilled = now;
        let calm = now.saturating_sub(self.last_cut).as_secs_f64();
        let growth = (GROWTH + GROWTH_RISE * calm * calm).min(GROWTH_MAX);
        self.rate *= 1.0 + growth * passed.min(1.0);
        let depth = DEPTH.as_secs_f64();
        let (records, bytes) = (self.rate * SHARD_RECORDS_PER_SEC, self.rate * SHARD_BYTES_PER_SEC);
        self.records = (self.records + records * passed).min((records * depth).max(1.0));
        self.bytes = (self.bytes + bytes * passed).min((bytes * depth).max(1.0));
    }

    /// Takes the tokens of one record. A record larger than the tokens at hand leaves a debt, so that the largest can go at all.
    pub fn take(&mut self, bytes: usize) -> bool {
        if self.records < 1.0 || self.bytes <= 0.0 {
            return false;
        }
        self.records -= 1.0;
        self.bytes -= bytes as f64;
        true
    }

    /// Bytes that a taken record may grow by.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes.max(0.0) as usize
    }

    /// A record that was taken grew by `bytes`.
    pub fn charge(&mut self, bytes: usize) {
        self.bytes -= bytes as f64;
    }

    /// How many of `backlog` records may go now; none until a quantum of tokens is there.
    #[must_use]
    pub fn available(&self, backlog: usize) -> usize {
        if backlog == 0 || self.bytes <= 0.0 || self.records < self.worthwhile(backlog) {
            return 0;
        }
        (self.records as usize).min(backlog)
    }

    fn worthwhile(&self, backlog: usize) -> f64 {
        let quantum = self.rate * SHARD_RECORDS_PER_SEC * QUANTUM.as_secs_f64();
        quantum.min(backlog as f64).max(1.0)
    }

    /// When `available` will say something, counted from the last refill; for a lane with `backlog` records.
    #[must_use]
    pub fn ready_at(&self, backlog: usize) -> Moment {
        let records = (self.worthwhile(backlog) - self.records) / (self.rate * SHARD_RECORDS_PER_SEC);
        let bytes = -self.bytes / (self.rate * SHARD_BYTES_PER_SEC);
        self.refilled + Duration::from_secs_f64(records.max(bytes).max(0.0)) + Duration::from_micros(100)
    }

    /// Whether the lane may go unpaced again; `empty`: it has no backlog.
    #[must_use]
    pub fn is_over(&self, now: Moment, empty: bool) -> bool {
        self.rate > RATE_UNPACED || (empty && now.saturating_sub(self.last_refusal) > CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard's token bucket, as the service has it.
    struct Bucket {
        tokens: f64,
        rate: f64,
        at: Moment,
    }

    impl Bucket {
        fn take(&mut self, now: Moment) -> bool {
            self.tokens = (self.tokens + self.rate * (now - self.at).as_secs_f64()).min(self.rate);
            self.at = now;
            let granted = self.tokens >= 1.0;
            if granted {
                self.tokens -= 1.0;
            }
            granted
        }
    }

    /// Drives a lane with an endless backlog for `secs` against a shard of `rate` records/s with a round trip of 15 ms; returns
    /// what was stored and refused after the first three seconds, per second.
    fn settled(rate: f64, secs: u64) -> (f64, f64) {
        let (mut meter, mut pace) = (Meter::default(), None::<Pace>);
        let mut bucket = Bucket { tokens: rate, rate, at: Duration::ZERO };
        let mut answers = std::collections::VecDeque::new();
        let (mut stored, mut refused) = (0.0, 0.0);
        for tick in 0..secs * 1000 {
            let now = Duration::from_millis(tick);
            let count = match &mut pace {
                None => 30,
                Some(pace) => {
                    pace.refill(now);
                    (0..pace.available(usize::MAX)).take_while(|_| pace.take(500)).count()
                }
            };
            if count > 0 {
                answers.push_back((now, count));
            }
            while answers.front().is_some_and(|(sent, _)| now - *sent >= Duration::from_millis(15)) {
                let Some((sent, count)) = answers.pop_front() else { break };
                let granted = (0..count).filter(|_| bucket.take(now)).count();
                meter.stored(now, granted as u32, granted as u64 * 500);
                if granted < count {
                    meter.refused(now, (count - granted) as u32);
                    match &mut pace {
                        None => pace = Some(Pace::start(now, &mut meter)),
                        Some(pace) => pace.refused(now, sent, &mut meter),
                    }
                }
                if now >= Duration::from_secs(3) {
                    stored += granted as f64;
                    refused += (count - granted) as f64;
                }
            }
        }
        let secs = (secs - 3) as f64;
        (stored / secs, refused / secs)
    }

    #[test]
    fn a_lane_finds_its_shards_rate_and_is_refused_little() {
        for rate in [1000.0, 500.0, 100.0] {
            let (stored, refused) = settled(rate, 60);
            assert!(stored >= rate * 0.98, "{rate}: {stored}/s stored");
            assert!(refused <= rate * 0.02, "{rate}: {refused}/s refused");
        }
    }

    #[test]
    fn refusals_by_chance_on_a_fast_endpoint_are_noise() {
        let mut meter = Meter::default();
        for tick in 0..20 {
            let now = Duration::from_millis(tick * 50);
            meter.stored(now, 196, 196_000);
            meter.refused(now, 4);
        }
        assert!(meter.refusals_are_noise(Duration::from_millis(960)));
        let later = Duration::from_secs(9);
        meter.refused(later, 1);
        assert!(!meter.refusals_are_noise(later));
    }

    #[test]
    fn few_refusals_far_below_the_book_rate_are_noise_and_many_are_a_slow_shard() {
        for (stored, refused, noise) in [(300, 3, true), (300, 20, false), (2, 1, false), (900, 9, false)] {
            let mut meter = Meter::default();
            meter.stored(Duration::ZERO, stored, 0);
            meter.refused(Duration::ZERO, refused);
            assert_eq!(meter.refusals_are_noise(Duration::ZERO), noise, "{refused} of {stored}");
        }
    }

    #[test]
    fn a_record_larger_than_the_tokens_at_hand_can_go_and_is_paid_for_later() {
        let mut pace = Pace::start(Duration::ZERO, &mut Meter::default());
        pace.refill(Duration::from_millis(50));
        assert!(pace.take(1_000_000));
        assert!(!pace.take(1));
        assert!(pace.ready_at(1) > Duration::from_millis(900), "{:?}", pace.ready_at(1));
    }
}
