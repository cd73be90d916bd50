//! Feed: the thread that writes events to the pipeline's standard input.
//! In: events, how many or how long, how fast. Out: lines; how many so far.
//! It ends when it has fed all, when it is told to stop, or when nobody reads any more. The pipeline's input ends with it.

use std::io::Write;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::events::Events;

/// Events that are due together are written together; sleeping for less than this is not exact.
const PACE: Duration = Duration::from_millis(1);

/// How much is fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// At most so many events.
    pub(super) events: u64,
    /// At most so long.
    pub(super) time: Option<Duration>,
    /// Events a second; none: as fast as they are taken.
    pub(super) rate: Option<f64>,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Fed {
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// No more.
    pub(super) stop: AtomicBool,
}

/// Feeds `to`.
pub(super) fn feed(mut events: Events, plan: Plan, mut to: ChildStdin, fed: &Fed) {
    let started = Instant::now();
    let mut done = 0;
    while done < plan.events && !fed.stop.load(Relaxed) {
        let passed = started.elapsed();
        if plan.time.is_some_and(|time| passed >= time) {
            return;
        }
        let due = due(&plan, passed);
        if due <= done {
            #[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
            std::thread::sleep(until_next(&plan, done, passed));
            continue;
        }
        let piece = events.next(due - done);
        if to.write_all(piece.bytes).is_err() {
            return;
        }
        done += piece.events;
        fed.events.store(done, Relaxed);
        fed.bytes.fetch_add(piece.bytes.len() as u64, Relaxed);
    }
}

/// How many events should have been fed by now.
fn due(plan: &Plan, passed: Duration) -> u64 {
    match plan.rate {
        None => plan.events,
        // The first is due at once.
        Some(rate) => ((passed.as_secs_f64() * rate) as u64).saturating_add(1).min(plan.events),
    }
}

fn until_next(plan: &Plan, done: u64, passed: Duration) -> Duration {
    let next = plan.rate.map_or(0.0, |rate| done as f64 / rate);
    Duration::from_secs_f64((next - passed.as_secs_f64()).max(0.0)).clamp(PACE, Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spreads_events_evenly_over_time() {
        let plan = Plan { events: 1000, time: None, rate: Some(100.0) };
        let due = |millis| due(&plan, Duration::from_millis(millis));
        assert_eq!([due(0), due(9), due(10), due(1000), due(60_000)], [1, 1, 2, 101, 1000]);
        assert_eq!(until_next(&plan, 101, Duration::from_millis(1004)), Duration::from_millis(6));
        let fast = Plan { rate: None, ..plan };
        assert_eq!(super::due(&fast, Duration::ZERO), 1000);
    }
}
