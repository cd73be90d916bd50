//! Throttle: may this shard's lane send now?
//! In: what the service stored and refused of one shard, or of several that share a lane, and the time. Out: tokens for
//! records and bytes, and when there will be some.
//! Holds: additive-increase/multiplicative-decrease of one number, the rate as a multiple of what its shards take by the book.
//! Never: holds records (see `lane.rs`), sleeps, reads a clock.
//!
//! A lane is paced only after its shard refused something, and no longer than it has to be. The rate falls to what the
//! shard was just seen to take, so it settles within a second; it then creeps up, slowly at first and ever faster, until
//! the next refusal. What the shard did not use while we were below its rate stays in its own bucket and is used while we
//! are above, so the average is the shard's full rate with few refusals.

use std::time::Duration;

use super::meter::{Book, Meter, SLOT, TEST};
use super::record::Moment;

/// A lane gives a request tokens worth this long at least, so that pacing does not make tiny requests.
const QUANTUM: Duration = Duration::from_millis(20);
/// Tokens that pile up at most while a lane waits for a send slot: two requests that are not full may be under way, so a long round trip makes
/// each lane wait half of it.
const DEPTH: Duration = Duration::from_millis(250);
/// After a refusal the rate is this much of what the shard was seen to take.
const AFTER_REFUSAL: f64 = 0.98;
/// The same for shards that share a lane. Chance decides how much of it each gets, and the one that got most refuses first: it has to find
/// its way back from there. Chosen in virtual time, where 0.98 made refusals last long enough to look like chance.
const AFTER_REFUSAL_SHARED: f64 = 0.95;
/// One refusal never cuts the rate by more than this: a single bad moment is not the shard's rate.
const CUT_MAX: f64 = 0.5;
/// Growth a second right after a refusal, and how it rises with the square of the time since (1/s and 1/s³).
const GROWTH: f64 = 0.01;
const GROWTH_RISE: f64 = 0.0025;
/// Growth a second at most.
const GROWTH_MAX: f64 = 0.5;
/// Growth a second up to the book rate while it is unknown what the shard takes.
const GROWTH_BLIND: f64 = 1.0;
/// The slowest rate: ten records a second find out whether the shard is back.
const RATE_MIN: f64 = 0.01;
/// A lane this fast is not limited by the shard's book rate; it needs no pacing.
const RATE_UNPACED: f64 = 4.0;
/// A lane without refusals for this long and without a backlog is not paced any more.
const CALM: Duration = Duration::from_secs(10);

/// The pace of one shard's lane.
#[derive(Clone, Debug)]
pub struct Pace {
    book: Book,
    rate: f64,
    records: f64,
    bytes: f64,
    refilled: Moment,
    last_cut: Moment,
    last_refusal: Moment,
    /// A test for chance: when it ends, and the rate before.
    test: Option<(Moment, f64)>,
    /// What the shard takes is unknown: it took nothing before the last cut, or has company that is new.
    blind: bool,
}

impl Pace {
    /// A pace that starts now, because the shard has just refused something. The shard's bucket is empty, so is ours.
    pub fn start(now: Moment, meter: &mut Meter) -> Self {
        let seen = meter.seen(now);
        // What was seen just now may hold a burst; the book rate cannot be exceeded for long.
        let rate = if seen > 0.0 { seen.clamp(CUT_MAX, 1.0) } else { 1.0 };
        Self {
            book: meter.book,
            rate,
            records: 0.0,
            bytes: 0.0,
            refilled: now,
            last_cut: now,
            last_refusal: now,
            test: None,
            // Which of them were asked, and for how long, is not known.
            blind: meter.book.is_shared(),
        }
    }

    /// The shard refused records of a request that was sent at `sent`. Only a request sent after the last cut says something new.
    pub fn refused(&mut self, now: Moment, sent: Moment, meter: &mut Meter) {
        self.last_refusal = now;
        if meter.learned.is_some_and(|at| at > self.last_cut) {
            // The cuts were for nothing.
            let before = self.test.take().map_or(self.rate, |(_, before)| before);
            (self.rate, self.last_cut) = (before.max(1.0), now);
        }
        if sent <= self.last_cut + SLOT || meter.refusals_are_noise(now, self.last_cut) {
            return;
        }
        let after = if self.book.is_shared() { AFTER_REFUSAL_SHARED } else { AFTER_REFUSAL };
        let seen = meter.seen(now) * after;
        self.blind = seen <= 0.0;
        self.rate = seen.clamp(self.rate * CUT_MAX, self.rate * after).max(RATE_MIN);
        if meter.suspects_chance() {
            self.test = Some((now + TEST, self.rate));
            self.rate *= CUT_MAX;
        }
        self.last_cut = now;
        self.records = self.records.min(0.0);
    }

    /// The lane's shards are more or fewer than was known. It goes on as fast as it was; if there is `news`, shards that were never counted,
    /// they have room that nobody has tried.
    pub(super) fn counted(&mut self, book: Book, news: bool) {
        let part = self.book.records() / book.records();
        self.rate *= part;
        self.test = self.test.map(|(end, before)| (end, before * part));
        self.blind |= news;
        self.book = book;
    }

    /// Adds the tokens of the time that has passed, and lets the rate grow.
    pub fn refill(&mut self, now: Moment) {
        let passed = now.saturating_sub(self.refilled).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        self.refilled = now;
        let calm = now.saturating_sub(self.last_cut).as_secs_f64();
        if let Some((_, before)) = self.test.take_if(|(end, _)| *end <= now) {
            self.rate = self.rate.max(before);
        }
        let growth = match self.blind && self.rate < 1.0 {
            true => GROWTH_BLIND,
            false => (GROWTH + GROWTH_RISE * calm * calm).min(GROWTH_MAX),
        };
        self.rate *= 1.0 + growth * passed.min(1.0);
        let depth = DEPTH.as_secs_f64();
        let (records, bytes) = (self.rate * self.book.records(), self.rate * self.book.bytes());
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
        let quantum = self.rate * self.book.records() * QUANTUM.as_secs_f64();
        quantum.min(backlog as f64).max(1.0)
    }

    /// When `available` will say something, counted from the last refill; for a lane with `backlog` records.
    #[must_use]
    pub fn ready_at(&self, backlog: usize) -> Moment {
        let records = (self.worthwhile(backlog) - self.records) / (self.rate * self.book.records());
        let bytes = -self.bytes / (self.rate * self.book.bytes());
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
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

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

    /// Drives a lane with an endless backlog against a shard that takes `rate` records/s in each second, 15 ms away, and refuses also
    /// by `chance`; returns what was stored and refused in each second.
    fn driven(secs: u64, chance: f64, rate: impl Fn(u64) -> f64) -> Vec<(u32, u32)> {
        let (mut meter, mut pace) = (Meter::default(), None::<Pace>);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut bucket = Bucket { tokens: rate(0), rate: rate(0), at: Duration::ZERO };
        let mut answers = std::collections::VecDeque::new();
        let mut seconds = vec![(0, 0); secs as usize];
        for tick in 0..secs * 1000 {
            let now = Duration::from_millis(tick);
            bucket.rate = rate(tick / 1000);
            pace = pace.filter(|pace| !pace.is_over(now, false));
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
                let granted =
                    (0..count).filter(|_| bucket.take(now) && !rng.random_bool(chance)).count() as u32;
                let refused = count as u32 - granted;
                meter.stored(now, granted, u64::from(granted) * 500);
                if refused > 0 {
                    meter.refused(now, refused);
                    match &mut pace {
                        None if meter.unpaced_refusals_are_noise(now) => {}
                        None => pace = Some(Pace::start(now, &mut meter)),
                        Some(pace) => pace.refused(now, sent, &mut meter),
                    }
                }
                let second = &mut seconds[(tick / 1000) as usize];
                *second = (second.0 + granted, second.1 + refused);
            }
        }
        seconds
    }

    /// The mean of what was stored and refused a second.
    fn mean(seconds: &[(u32, u32)]) -> (f64, f64) {
        let (stored, refused) = seconds.iter().fold((0, 0), |(s, r), second| (s + second.0, r + second.1));
        (f64::from(stored) / seconds.len() as f64, f64::from(refused) / seconds.len() as f64)
    }

    #[test]
    fn a_lane_finds_its_shards_rate_and_is_refused_little() {
        for rate in [1000.0, 500.0, 100.0] {
            let (stored, refused) = mean(&driven(60, 0.0, |_| rate)[3..]);
            assert!(stored >= rate * 0.98, "{rate}: {stored}/s stored");
            assert!(refused <= rate * 0.02, "{rate}: {refused}/s refused");
        }
    }

    #[test]
    fn a_shard_that_becomes_slow_is_found_although_some_refusals_are_chance() {
        for chance in [0.02, 0.1, 0.2] {
            for slow in [500.0, 100.0] {
                let seconds = driven(40, chance, |second| if second < 20 { 1000.0 } else { slow });
                let (stored, refused) = mean(&seconds[25..]);
                assert!(stored >= slow * (1.0 - chance) * 0.9, "{chance}, {slow}: {stored}/s stored");
                let share = refused / (stored + refused);
                assert!(share <= chance + 0.05, "{chance}, {slow}: {share} refused");
            }
        }
    }

    #[test]
    fn a_shard_that_is_back_has_its_rate_soon() {
        let seconds = driven(60, 0.0, |second| if (1..41).contains(&second) { 0.0 } else { 1000.0 });
        let (stored, _) = mean(&seconds[48..]);
        assert!(stored >= 950.0, "{stored}/s from the 8th second on");
    }

    #[test]
    fn few_large_records_are_paced_as_well() {
        let seconds = driven(60, 0.0, |_| 5.0);
        let (stored, refused) = mean(&seconds[30..]);
        assert!(stored >= 4.5 && refused <= 8.0, "{stored}/s stored, {refused}/s refused");
    }

    #[test]
    fn only_shards_that_were_never_counted_are_tried_without_caution() {
        let mut pace = Pace::start(Duration::ZERO, &mut Meter::default());
        let rate = pace.rate;
        pace.counted(Book::of(2), false);
        assert!(!pace.blind && pace.rate == rate / 2.0, "as many records a second as before");
        pace.counted(Book::of(4), true);
        assert!(pace.blind && pace.rate == rate / 4.0);
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
