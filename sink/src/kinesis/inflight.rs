//! In-flight: how many requests may be unanswered at once.
//! In: each request sent and how it ended. Out: whether one more may go.
//! Holds: a limit that doubles each round trip while it is the bottleneck, then creeps; push-back from the service cuts it.
//! It sits inside the retry layer: it sees every attempt. Throttled shards do not count here; see `throttle.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use super::record::Moment;

/// Push-back cuts the limit to this share.
const CUT: f64 = 0.7;
/// The limit does not grow while the round trip is this much longer than its best: more requests would only queue.
const QUEUEING: f64 = 4.0;
/// Round trips differ by this much without meaning anything.
const NOISE: Duration = Duration::from_millis(20);
/// The best round trip is forgotten after this long: routes change.
const BEST_LIFE: Duration = Duration::from_secs(60);

/// Requests made ready beyond a fixed limit at most: more would only grow old, and those that are ready go even if a storm begins.
const SPARE_MAX: usize = 8;
/// Probes that may hang side by side: one each few seconds until the first times out.
const PROBES_MAX: usize = 8;

/// How one request ended, as far as concurrency is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The service answered in good order.
    Well,
    /// The service is overloaded or unreachable: 5xx, timeout, connection lost, refused for rate as a whole.
    PushedBack,
    /// It says nothing about load (a refused record, a denied right).
    Neutral,
}

/// The limit and what is under way.
#[derive(Debug)]
pub struct InFlight {
    limit: f64,
    max: f64,
    fixed: bool,
    /// Requests that may be made ready beyond the limit.
    spare: usize,
    /// When each request that has not ended was sent, oldest first.
    under_way: VecDeque<Moment>,
    /// Requests sent before this do not count: they met an outage that is over, and may hang until they time out.
    outage: Moment,
    last_full: Option<Moment>,
    slow_start: bool,
    last_cut: Option<Moment>,
    best: Option<(Duration, Moment)>,
    smoothed: Duration,
}

impl InFlight {
    /// A limit that stays. Half as many again, at most [`SPARE_MAX`], are made ready while all slots are taken, so that no slot is idle while a body is written
    /// and signed, also when several answers come at once; whoever sends keeps them back until a slot is free.
    #[must_use]
    pub fn fixed(limit: usize) -> Self {
        Self { fixed: true, spare: limit.div_ceil(2).min(SPARE_MAX), ..Self::adaptive(limit, limit) }
    }

    /// A limit that adapts, from `start` to at most `max`.
    #[must_use]
    pub fn adaptive(start: usize, max: usize) -> Self {
        Self {
            limit: start.clamp(1, max.max(1)) as f64,
            max: max.max(1) as f64,
            fixed: false,
            spare: 0,
            under_way: VecDeque::new(),
            outage: Duration::ZERO,
            last_full: None,
            slow_start: true,
            last_cut: None,
            best: None,
            smoothed: Duration::ZERO,
        }
    }

    /// Whether one more may be made ready.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.counted() < self.limit() + self.spare && self.now() < self.max as usize + self.spare
    }

    /// Whether one more may go to see if the service is back: also while some hang, though no more than the user allows.
    #[must_use]
    pub fn may_probe(&self) -> bool {
        if self.fixed {
            self.has_slot()
        } else {
            self.counted() < self.limit().max(PROBES_MAX).min(self.max as usize)
        }
    }

    /// Whether one more may go at once.
    #[must_use]
    pub fn has_slot(&self) -> bool {
        self.counted() < self.limit()
    }

    /// Requests under way that count: all of them where the user has fixed the number.
    fn counted(&self) -> usize {
        let left_out =
            if self.fixed { 0 } else { self.under_way.partition_point(|sent| *sent < self.outage) };
        self.under_way.len() - left_out
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Requests that are sent and not answered, or ready to be sent.
    #[must_use]
    pub fn now(&self) -> usize {
        self.under_way.len()
    }

    /// Requests that are sent and not answered.
    #[must_use]
    pub fn sent_now(&self) -> usize {
        if self.fixed { self.now().min(self.limit()) } else { self.now() }
    }

    /// When the newest request went, while any is unanswered.
    #[must_use]
    pub fn last_sent(&self) -> Option<Moment> {
        self.under_way.back().copied()
    }

    /// A request goes.
    pub fn sent(&mut self, now: Moment) {
        self.under_way.push_back(now);
        if !self.has_slot() {
            self.last_full = Some(now);
        }
    }

    /// An outage is over: a request that was sent at `sent` was answered. Those before it say nothing about the service any more.
    pub fn outage_ended(&mut self, sent: Moment) {
        self.outage = sent;
        self.slow_start = true;
    }

    /// A request that was sent at `sent` has ended.
    pub fn ended(&mut self, now: Moment, sent: Moment, how: Ended) {
        let place = self.under_way.partition_point(|other| *other < sent);
        debug_assert_eq!(self.under_way.get(place), Some(&sent), "a request ended that was not under way");
        self.under_way.remove(place);
        match how {
            Ended::Well => self.well(now, now.saturating_sub(sent)),
            Ended::PushedBack => {
                let news = sent >= self.outage && self.last_cut.is_none_or(|cut| sent > cut);
                if news && !self.fixed {
                    self.limit = (self.limit * CUT).max(1.0);
                    self.last_cut = Some(now);
                    self.slow_start = false;
                }
            }
            Ended::Neutral => {}
        }
    }

    fn well(&mut self, now: Moment, round_trip: Duration) {
        self.smoothed =
            if self.smoothed.is_zero() { round_trip } else { (self.smoothed * 7 + round_trip) / 8 };
        let best = match self.best {
            Some((best, since)) if best <= round_trip && now.saturating_sub(since) < BEST_LIFE => best,
            _ => {
                self.best = Some((round_trip, now));
                round_trip
            }
        };
        let queueing = self.smoothed > best.mul_f64(QUEUEING) + NOISE;
        // Only a limit that was the bottleneck within the last round trip has a reason to grow.
        let was_full = self.last_full.is_some_and(|full| now.saturating_sub(full) <= self.smoothed);
        if self.fixed || !was_full || queueing {
            self.slow_start &= !queueing;
            return;
        }
        let step = if self.slow_start { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as the limit allows for `secs`, one request taking `round_trip`; a request a millisecond at most.
    fn reached(limit: &mut InFlight, round_trip: u64, secs: u64) -> usize {
        let mut under_way = std::collections::VecDeque::new();
        for tick in 0..secs * 1000 {
            let now = Duration::from_millis(tick);
            while under_way.front().is_some_and(|sent| now - *sent >= Duration::from_millis(round_trip)) {
                if let Some(sent) = under_way.pop_front() {
                    limit.ended(now, sent, Ended::Well);
                }
            }
            if limit.has_room() {
                limit.sent(now);
                under_way.push_back(now);
            }
        }
        limit.limit()
    }

    #[test]
    fn the_limit_reaches_what_the_round_trip_needs_and_not_much_more() {
        for round_trip in [20, 100, 200] {
            let found = reached(&mut InFlight::adaptive(8, 1000), round_trip, 5);
            assert!(found >= round_trip as usize, "{found} in flight at {round_trip} ms");
            assert!(found <= round_trip as usize * 5 / 2, "{found} in flight at {round_trip} ms");
        }
        for round_trip in [0, 1] {
            let found = reached(&mut InFlight::adaptive(8, 200), round_trip, 5);
            assert_eq!(found, 8, "a short round trip needs no more");
        }
    }

    #[test]
    fn one_bad_moment_cuts_the_limit_once() {
        let mut limit = InFlight::adaptive(100, 200);
        for _ in 0..50 {
            limit.sent(Duration::ZERO);
        }
        for _ in 0..50 {
            limit.ended(Duration::from_secs(1), Duration::ZERO, Ended::PushedBack);
        }
        assert_eq!(limit.limit(), 70);
        assert_eq!(limit.now(), 0);
    }

    #[test]
    fn probes_that_hang_are_no_more_than_the_user_allows() {
        for (max, allowed) in [(3, 3), (200, PROBES_MAX)] {
            let mut limit = InFlight::adaptive(1, max);
            let probes =
                (0..100).take_while(|_| limit.may_probe().then(|| limit.sent(Duration::ZERO)).is_some());
            assert_eq!(probes.count(), allowed);
        }
    }

    #[test]
    fn a_fixed_limit_stays_and_half_as_many_again_are_made_ready() {
        let mut limit = InFlight::fixed(3);
        (0..5).for_each(|_| limit.sent(Duration::ZERO));
        assert!(!limit.has_room() && !limit.has_slot());
        assert_eq!(limit.sent_now(), 3);
        limit.ended(Duration::from_secs(1), Duration::ZERO, Ended::PushedBack);
        assert_eq!(limit.limit(), 3);
    }
}
