//! Weather: is the service there at all?
//! In: requests that failed or went well as a whole. Out: whether anything may be sent now, and when to try again.
//! Holds: a streak of failures without a success in between. In a storm one probe at a time goes out, with growing jittered
//! waits; the first success ends it. Never: gives up; see `core.rs` for the user's own limit.

use std::time::Duration;

use rand::Rng;

use super::backoff::Backoff;
use super::record::Moment;
use super::verdict::Trouble;

/// Failures in a row, without a success in between, after which everything waits. Fewer are some requests' bad luck.
const STORM: u32 = 4;

/// How long a probe is the only one.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// What the sink thinks of the service.
#[derive(Debug, Default)]
pub struct Weather {
    streak: u32,
    waits: u32,
    until: Option<Moment>,
    last_round: Option<Moment>,
    /// When the request was sent that was answered last.
    well: Moment,
    trouble: Option<Trouble>,
}

impl Weather {
    /// Whether the service is well as far as is known.
    #[must_use]
    pub fn is_fair(&self) -> bool {
        self.until.is_none()
    }

    /// The trouble, while it lasts.
    #[cfg(test)]
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.filter(|_| !self.is_fair())
    }

    /// Whether a request may go now; `last_sent` is when the newest one went that is still unanswered.
    #[must_use]
    pub fn may_send(&self, now: Moment, last_sent: Option<Moment>) -> bool {
        self.until.is_none_or(|until| now >= Self::next_probe(until, last_sent))
    }

    /// When the next probe of a storm that lasts until `until` may go. A probe that hangs is not waited for until it times out: the
    /// service may be back long before.
    #[must_use]
    pub fn next_probe(until: Moment, last_sent: Option<Moment>) -> Moment {
        last_sent.map_or(until, |sent| until.max(sent + PROBE_PATIENCE))
    }

    /// When the next probe may go, in a storm.
    #[must_use]
    pub fn probe_at(&self) -> Option<Moment> {
        self.until
    }

    /// A request that was sent at `sent` was answered. Returns whether a storm ended.
    pub fn cleared(&mut self, sent: Moment) -> bool {
        let ended = self.until.is_some();
        *self = Self { well: self.well.max(sent), ..Self::default() };
        ended
    }

    /// A request that was sent at `sent` failed as a whole; the service asks for a wait of `least`, which the jittered wait is added to.
    /// Returns whether a storm begins.
    pub fn failed(
        &mut self,
        now: Moment,
        sent: Moment,
        trouble: Trouble,
        least: Duration,
        backoff: &Backoff,
        rng: &mut impl Rng,
    ) -> bool {
        if sent < self.well {
            // Old news: a later one was answered since.
            return false;
        }
        self.streak += 1;
        let begins = self.until.is_none();
        let global = trouble.stops_everything() || self.streak >= STORM;
        // Requests of one round fail together: they are one reason to wait, not many.
        let same_round = self.last_round.is_some_and(|round| sent <= round);
        if !global || (!begins && same_round) {
            return false;
        }
        self.waits += 1;
        self.last_round = Some(now);
        self.trouble = Some(trouble);
        self.until = Some(now + least + backoff.wait(self.waits, rng));
        begins
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_storm_lets_one_probe_out_at_a_time_and_ends_with_the_first_success() {
        let backoff =
            Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(3), jitter: false };
        let (mut weather, mut rng) = (Weather::default(), SmallRng::seed_from_u64(1));
        let (now, sent) = (Duration::from_secs(1), Duration::ZERO);
        for _ in 0..3 {
            assert!(!weather.failed(now, sent, Trouble::Transient, Duration::ZERO, &backoff, &mut rng));
        }
        assert!(weather.is_fair(), "three bad requests are bad luck");
        assert!(weather.failed(now, sent, Trouble::Transient, Duration::ZERO, &backoff, &mut rng));
        assert!(
            !weather.failed(now, sent, Trouble::Transient, Duration::ZERO, &backoff, &mut rng),
            "one storm begins once"
        );
        let probe = Duration::from_millis(1100);
        assert_eq!(weather.probe_at(), Some(probe), "requests of one round are one reason to wait");
        assert!(!weather.may_send(now, None));
        assert!(weather.may_send(probe, None) && !weather.may_send(probe, Some(probe)));
        assert!(
            weather.may_send(probe + PROBE_PATIENCE, Some(probe)),
            "a probe that hangs is not waited for"
        );
        weather.failed(
            Duration::from_millis(1200),
            probe,
            Trouble::Transient,
            Duration::ZERO,
            &backoff,
            &mut rng,
        );
        assert_eq!(weather.probe_at(), Some(Duration::from_millis(1400)));
        assert!(weather.cleared(probe));
        assert!(weather.is_fair() && weather.may_send(now, Some(now)));
        for _ in 0..10 {
            let late = Duration::from_secs(10);
            assert!(
                !weather.failed(late, sent, Trouble::Transient, Duration::ZERO, &backoff, &mut rng),
                "old news"
            );
        }
    }

    #[test]
    fn a_denied_right_stops_everything_at_once() {
        let backoff =
            Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(3), jitter: true };
        let mut rng = SmallRng::seed_from_u64(1);
        let mut weather = Weather::default();
        assert!(weather.failed(
            Duration::ZERO,
            Duration::ZERO,
            Trouble::Pause,
            Duration::ZERO,
            &backoff,
            &mut rng
        ));
        assert_eq!(weather.trouble(), Some(Trouble::Pause));
    }
}
