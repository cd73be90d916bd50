//! Meter: what did a shard take lately, and how much of what it refuses is chance?
//! In: what the service stored and refused of one shard, or of several that share a lane, and the time. Out: its rate; whether
//! refusals say something about it.
//! Holds: one second, and the window that is being judged. Never: slows anything down (see `throttle.rs`), reads a clock.
//!
//! Some refusals have nothing to do with rate. A full shard refuses less when its lane slows down, and nothing at all below its
//! rate; what comes by chance stays the same share at any pace. So a share that has outlived cuts is chance, and from then on only what
//! clearly exceeds it is a reason to cut.

use std::time::Duration;

use super::limits::{SHARD_BYTES_PER_SEC, SHARD_RECORDS_PER_SEC};
use super::record::Moment;

/// Slots of the meter and their length: together one second, the period of the service's own limits.
const SLOTS: usize = 10;
pub(super) const SLOT: Duration = Duration::from_millis(100);
/// A shard that takes this much more than the book says, and refuses less than `NOISE_REFUSED_MAX` of it, refuses for another
/// reason than its rate (an endpoint that fails by chance): pacing would not help.
const NOISE_RATE_MIN: f64 = 1.5;
const NOISE_REFUSED_MAX: f64 = 0.35;
/// Nor does its rate explain it when a shard that takes less than this share of the book's refuses less than that of a second's attempts.
/// A shard that is really this slow refuses more than that at first, and again whenever its lane has grown past it.
const FAR_BELOW_RATE: f64 = 0.5;
const FAR_BELOW_REFUSED_MAX: f64 = 0.04;
/// A judgement on chance is made from this many attempts at least, and this long, so that each sees the effect of the one before.
const WINDOW_ATTEMPTS_MIN: f64 = 100.0;
const WINDOW: Duration = Duration::from_secs(1);
/// Where attempts are too few for that, a cut is not held back for longer.
const WINDOW_MAX: Duration = Duration::from_secs(2);
/// Refusals that stay the same through so many windows, though the lane slowed down a little, are put to the test: it slows down by half
/// for a window. When they stay the same in that one too, they are chance.
const ALIKE_MIN: u32 = 3;
/// Refusals that a test needs to prove anything, and the longest it may take: others that write to the shard use what it leaves free.
const EVIDENCE_MIN: f64 = 6.0;
pub(super) const TEST: Duration = Duration::from_secs(3);
/// The share stays when it does not fall below this much of what it was. A full shard's falls to nothing.
const ALIKE: f64 = 0.5;
/// How fast the share that is chance follows a window that it explains, and one that shows clearly less.
const LEARN: f64 = 0.1;
const LEARN_LESS: f64 = 0.5;
/// A larger share is never chance.
const CHANCE_MAX: f64 = 0.4;
/// More than this of at least so many attempts just now is a full shard, however much is chance.
const FULL_REFUSED_MIN: f64 = 0.5;
const FULL_ATTEMPTS_MIN: u32 = 20;
/// A smaller chance is none.
const CHANCE_MIN: f64 = 0.002;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    stored_records: u32,
    stored_bytes: u64,
    refused_records: u32,
}

/// Attempts that are judged together.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    opened: Moment,
    attempts: u32,
    refused: u32,
}

impl Window {
    fn share(&self) -> f64 {
        f64::from(self.refused) / f64::from(self.attempts.max(1))
    }

    /// How far its refusals are from what `chance` explains, in attempts: within two standard deviations it is zero.
    fn excess(&self, chance: f64) -> f64 {
        let expected = f64::from(self.attempts) * chance;
        let (off, usual) = (f64::from(self.refused) - expected, 2.0 * (expected * (1.0 - chance)).sqrt());
        off - off.clamp(-usual, usual)
    }
}

/// What a lane's shards take in a second by the book, together: the unit of its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Book {
    shards: usize,
}

impl Book {
    /// Of so many shards; of one at least.
    pub(super) fn of(shards: usize) -> Self {
        Self { shards: shards.max(1) }
    }

    pub(super) fn is_shared(self) -> bool {
        self.shards > 1
    }

    pub(super) fn records(self) -> f64 {
        self.shards as f64 * SHARD_RECORDS_PER_SEC
    }

    pub(super) fn bytes(self) -> f64 {
        self.shards as f64 * SHARD_BYTES_PER_SEC
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::of(1)
    }
}

/// What one shard stored and refused during the last second, and how much of what it refuses is chance.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// More than one shard's, for the shards of a stream that ignores keys.
    pub(super) book: Book,
    /// When it last stored something.
    pub(super) stored_at: Moment,
    slots: [Slot; SLOTS],
    newest: u64,
    window: Window,
    /// The windows that refused more than chance explains, one after the other and alike; together and how many.
    run: Window,
    alike: u32,
    /// The share that is refused whatever the rate.
    chance: f64,
    /// When that was found to be more than was known.
    pub(super) learned: Option<Moment>,
    /// The last window refused nothing.
    clean: bool,
    /// When a window last refused more than chance explains.
    exceeded: Option<Moment>,
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
        self.stored_at = now;
        self.count(now, records, 0);
    }

    /// The shard refused `records` records for rate.
    pub fn refused(&mut self, now: Moment, records: u32) {
        self.slot(now).refused_records += records;
        self.count(now, records, records);
    }

    fn count(&mut self, now: Moment, attempts: u32, refused: u32) {
        if self.window.attempts == 0 {
            self.window.opened = now;
        }
        self.window.attempts += attempts;
        self.window.refused += refused;
        let lasted = now.saturating_sub(self.window.opened);
        let enough = match self.suspects_chance() {
            true => EVIDENCE_MIN / self.run.share(),
            false => WINDOW_ATTEMPTS_MIN,
        };
        if lasted >= WINDOW && f64::from(self.window.attempts) >= enough {
            let window = std::mem::take(&mut self.window);
            self.judge(now, window);
        } else if lasted >= TEST && self.suspects_chance() {
            self.alike = 0;
        }
    }

    /// Whether refusals stayed the same for so long that the lane should slow down to see if they still do.
    pub(super) fn suspects_chance(&self) -> bool {
        self.alike >= ALIKE_MIN && f64::from(self.run.refused) >= EVIDENCE_MIN
    }

    /// Learns from a window how much is chance.
    fn judge(&mut self, now: Moment, window: Window) {
        let excess = window.excess(self.chance);
        self.clean = window.refused == 0;
        if excess <= 0.0 {
            self.alike = 0;
            let news = if excess < 0.0 || self.clean { LEARN_LESS } else { LEARN };
            self.chance += news * (window.share() - self.chance);
            self.chance = if self.chance < CHANCE_MIN { 0.0 } else { self.chance };
            return;
        }
        self.exceeded = Some(now);
        let share = window.share();
        if share > CHANCE_MAX {
            self.alike = 0;
            return;
        }
        let tested = self.suspects_chance();
        if self.alike == 0 || share < self.run.share() * ALIKE {
            (self.run, self.alike) = (window, 1);
            return;
        }
        self.run.attempts += window.attempts;
        self.run.refused += window.refused;
        self.alike += 1;
        if tested {
            (self.chance, self.alike) = (self.run.share(), 0);
            self.learned = Some(now);
        }
    }

    /// What the shard could take, as far as was seen: also what it refused by chance.
    pub(super) fn seen(&mut self, now: Moment) -> f64 {
        self.rate(now) / (1.0 - self.chance)
    }

    /// Whether refusals of what was sent after the last cut, at `since`, are more than chance. While that is in doubt, one window shows what
    /// one cut does.
    fn exceeds_chance(&mut self, now: Moment, since: Moment) -> bool {
        let (attempts, share) = self.refused_share(now, 2);
        let doubt_is_over = self.clean || now.saturating_sub(since) >= WINDOW_MAX;
        (self.chance == 0.0 && doubt_is_over)
            || (attempts >= FULL_ATTEMPTS_MIN && share > FULL_REFUSED_MIN)
            || self.exceeded.is_some_and(|at| at > since)
    }

    /// What the shard took during the last second, as a multiple of the book rate.
    pub fn rate(&mut self, now: Moment) -> f64 {
        self.slot(now);
        let records: u32 = self.slots.iter().map(|slot| slot.stored_records).sum();
        let bytes: u64 = self.slots.iter().map(|slot| slot.stored_bytes).sum();
        (f64::from(records) / self.book.records()).max(bytes as f64 / self.book.bytes())
    }

    /// The attempts during the newest `slots` and the share of them that was refused.
    fn refused_share(&mut self, now: Moment, slots: usize) -> (u32, f64) {
        self.slot(now);
        let newest = self.newest as usize;
        let (mut stored, mut refused) = (0, 0);
        for slot in (0..slots).map(|back| self.slots[(newest + SLOTS - back) % SLOTS]) {
            stored += slot.stored_records;
            refused += slot.refused_records;
        }
        (stored + refused, f64::from(refused) / f64::from((stored + refused).max(1)))
    }

    /// Whether refusals of what was sent after `since` are noise.
    pub(super) fn refusals_are_noise(&mut self, now: Moment, since: Moment) -> bool {
        self.is_beside_the_point(now) || !self.exceeds_chance(now, since)
    }

    /// Whether the shard takes far more or far less than the book rate and refuses little of it.
    fn is_beside_the_point(&mut self, now: Moment) -> bool {
        let rate = self.rate(now);
        (rate > NOISE_RATE_MIN && self.refused_share(now, 2).1 < NOISE_REFUSED_MAX)
            || (rate < FAR_BELOW_RATE && self.refused_share(now, SLOTS).1 < FAR_BELOW_REFUSED_MAX)
    }

    /// Whether the refusals of a lane that is not paced are noise.
    pub fn unpaced_refusals_are_noise(&mut self, now: Moment) -> bool {
        self.is_beside_the_point(now)
            || (self.chance > 0.0 && !self.exceeds_chance(now, now.saturating_sub(WINDOW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_that_ends_is_forgotten() {
        let mut meter = Meter { chance: 0.2, ..Meter::default() };
        for tick in 0..100 {
            meter.stored(Duration::from_millis(tick * 100), 100, 0);
        }
        assert_eq!(meter.chance, 0.0);
    }

    #[test]
    fn refusals_by_chance_on_a_fast_endpoint_are_noise() {
        let mut meter = Meter::default();
        for tick in 0..20 {
            let now = Duration::from_millis(tick * 50);
            meter.stored(now, 196, 196_000);
            meter.refused(now, 4);
        }
        assert!(meter.unpaced_refusals_are_noise(Duration::from_millis(960)));
        let later = Duration::from_secs(9);
        meter.refused(later, 1);
        assert!(!meter.unpaced_refusals_are_noise(later));
    }

    #[test]
    fn few_refusals_far_below_the_book_rate_are_noise_and_many_are_a_slow_shard() {
        for (stored, refused, noise) in [(300, 3, true), (300, 20, false), (2, 1, false), (900, 9, false)] {
            let mut meter = Meter::default();
            meter.stored(Duration::ZERO, stored, 0);
            meter.refused(Duration::ZERO, refused);
            assert_eq!(meter.unpaced_refusals_are_noise(Duration::ZERO), noise, "{refused} of {stored}");
        }
    }
}
