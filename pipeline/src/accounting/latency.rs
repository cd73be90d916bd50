//! Latency: how long events were on their way, from their source to where they were settled.
//! In: a span and how many events it was true of. Out: quantiles; the same as counts below bounds.
//! Holds: one atomic counter for each of a few hundred spans, eight to each doubling: a quantile is off by 6 % at most.
//! Never: locks, or costs anything per event: those that arrived and left together are one call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Ticks a second. A power of two, so that seconds, halves, quarters and so on are borders between spans.
const TICKS_A_SECOND: f64 = (1_u64 << 20) as f64;
/// Spans to each doubling.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// The last doubling ends at 2^36 ticks, more than 18 hours; whatever is longer is counted there.
const DOUBLINGS: usize = 36 - STEP_BITS as usize;
const SPANS: usize = STEPS * (DOUBLINGS + 1);

/// Which span a number of ticks is in.
fn span_of(ticks: u64) -> usize {
    if ticks < STEPS as u64 {
        return ticks as usize;
    }
    let doubling = ticks.ilog2() - STEP_BITS;
    let step = (ticks >> doubling) as usize - STEPS;
    ((doubling as usize + 1) * STEPS + step).min(SPANS - 1)
}

/// The first number of ticks in the span.
fn start_of(span: usize) -> u64 {
    if span < STEPS {
        return span as u64;
    }
    ((STEPS + span % STEPS) as u64) << (span / STEPS - 1)
}

fn seconds(ticks: f64) -> Duration {
    Duration::from_secs_f64(ticks / TICKS_A_SECOND)
}

/// Where spans are counted.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: [AtomicU64; SPANS],
    sum_nanos: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; SPANS], sum_nanos: AtomicU64::new(0) }
    }
}

impl Latencies {
    /// `events` were on their way for `latency`.
    pub(super) fn add(&self, latency: Duration, events: u64) {
        let span = span_of((latency.as_secs_f64() * TICKS_A_SECOND) as u64);
        self.counts[span].fetch_add(events, Ordering::Relaxed);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).saturating_mul(events);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> LatencyCounts {
        LatencyCounts {
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

/// How long events were on their way, as counted at one moment since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyCounts {
    counts: Vec<u64>,
    sum: Duration,
}

impl LatencyCounts {
    /// How many events were counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of their spans.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many were on their way for less than `bound`. Exact where `bound` is a power of two in seconds.
    #[must_use]
    pub fn below(&self, bound: Duration) -> u64 {
        let end = span_of((bound.as_secs_f64() * TICKS_A_SECOND) as u64);
        self.counts.iter().take(end).sum()
    }

    /// The span within which the share `quantile` (0 to 1) of events was settled; none without events.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = (self.events() as f64 * quantile.clamp(0.0, 1.0)).max(f64::MIN_POSITIVE);
        let mut before = 0.0;
        for (span, count) in self.counts.iter().map(|count| *count as f64).enumerate() {
            if count > 0.0 && before + count >= wanted {
                let (start, end) = (start_of(span) as f64, start_of(span + 1) as f64);
                return Some(seconds(start + (end - start) * (wanted - before) / count));
            }
            before += count;
        }
        None
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().chain(std::iter::repeat(&0));
        Self {
            counts: self.counts.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_span_starts_where_the_one_before_ends(ticks in 0_u64..1 << 36) {
            let span = span_of(ticks);
            prop_assert!(start_of(span) <= ticks && ticks < start_of(span + 1), "{}", span);
        }

        #[test]
        fn a_quantile_is_off_by_an_eighth_at_most(millis in prop::collection::vec(1_u64..100_000, 1..200), q in 0.0..=1.0_f64) {
            let latencies = Latencies::default();
            let mut sorted = millis;
            sorted.sort_unstable();
            for millis in &sorted {
                latencies.add(Duration::from_millis(*millis), 1);
            }
            let rank = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len());
            let exact = sorted[rank - 1] as f64;
            let found = latencies.counts().quantile(q).map_or(0.0, |found| found.as_secs_f64() * 1000.0);
            prop_assert!((found - exact).abs() <= exact / 8.0 + 0.001, "{} for {}", found, exact);
        }
    }

    #[test]
    fn what_was_counted_adds_up_and_can_be_told_from_what_was_before() {
        let latencies = Latencies::default();
        latencies.add(Duration::from_micros(900), 3);
        let earlier = latencies.counts();
        latencies.add(Duration::from_secs(2), 1);
        latencies.add(Duration::from_secs(86_400 * 365), 1);
        let now = latencies.counts();
        assert_eq!((now.events(), now.since(&earlier).events()), (5, 2));
        assert_eq!(now.below(Duration::from_secs(1)), 3);
        assert_eq!(now.below(Duration::from_secs(4)), 4);
        assert_eq!(earlier.sum(), Duration::from_micros(2700));
        assert_eq!(LatencyCounts::default().quantile(0.5), None);
    }
}
