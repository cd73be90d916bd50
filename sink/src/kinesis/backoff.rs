//! Backoff: how long to wait before the next try.
//! In: how many tries in a row went wrong, and randomness. Out: a wait.
//! Vector's rule and options: Fibonacci waits from `retry_initial_backoff_secs`, at most `retry_max_duration_secs` each, with
//! full jitter so that many senders do not come back at once.

use std::time::Duration;

use rand::Rng;

/// The shortest wait: a retry never spins.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// The waits of one kind of trouble.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Whether a wait is drawn between 1 ms and its length (full jitter).
    pub jitter: bool,
}

impl Backoff {
    /// The wait after `setbacks` (from 1) tries in a row that went wrong.
    pub fn wait(&self, setbacks: u32, rng: &mut impl Rng) -> Duration {
        let (mut wait, mut next) = (self.initial, self.initial * 2);
        for _ in 1..setbacks.max(1) {
            if wait >= self.max {
                break;
            }
            (wait, next) = (next, wait + next);
        }
        let wait = wait.min(self.max).max(WAIT_MIN);
        if self.jitter { rng.random_range(WAIT_MIN..=wait) } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn waits_are_fibonacci_up_to_the_longest_and_jitter_stays_below_them() {
        let secs = Duration::from_secs;
        let plain = Backoff { initial: secs(1), max: secs(30), jitter: false };
        let mut rng = SmallRng::seed_from_u64(1);
        let waits: Vec<_> = (1..=10).map(|n| plain.wait(n, &mut rng).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 5, 8, 13, 21, 30, 30, 30]);
        let full = Backoff { jitter: true, ..plain };
        assert!((1..2000).all(|n| full.wait(n, &mut rng) <= plain.wait(n, &mut rng)));
    }
}
