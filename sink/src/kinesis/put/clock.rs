//! Clock: time as the service sees it.
//! In: this machine's clock and, after a refusal for skew, the service's time. Out: the time to sign with.
//! Never: changes this machine's clock; learns from an answer that did not complain.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};

/// How far this machine's clock is from the service's, in whole seconds. Positive: this machine is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Service's time minus this machine's.
    pub seconds: i64,
}

impl fmt::Display for Skew {
    /// `10 minutes behind the service's`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, side) =
            (self.seconds.unsigned_abs(), if self.seconds < 0 { "ahead of" } else { "behind" });
        match seconds {
            0..120 => write!(f, "{seconds} seconds"),
            120..172_800 => write!(f, "{} minutes", seconds / 60),
            _ => write!(f, "{} days", seconds / 86_400),
        }?;
        write!(f, " {side} the service's")
    }
}

/// A clock that can be corrected. Clones share the correction.
#[derive(Clone, Debug)]
pub(in crate::kinesis) struct ServiceClock {
    machine: SharedTimeSource,
    /// Service's time minus this machine's, in milliseconds.
    offset_millis: Arc<AtomicI64>,
}

impl ServiceClock {
    pub(in crate::kinesis) fn new(machine: SharedTimeSource) -> Self {
        Self { machine, offset_millis: Arc::new(AtomicI64::new(0)) }
    }

    /// Takes the service's time as the truth from now on. Returns what was so far, and what is.
    pub(in crate::kinesis) fn learn(&self, service: SystemTime) -> (Skew, Skew) {
        let offset = millis_between(self.machine.now(), service);
        let before = self.offset_millis.swap(offset, Ordering::Relaxed);
        (Skew { seconds: before / 1000 }, Skew { seconds: offset / 1000 })
    }

    /// What was learned, if anything.
    pub(in crate::kinesis) fn skew(&self) -> Option<Skew> {
        match self.offset_millis.load(Ordering::Relaxed) / 1000 {
            0 => None,
            seconds => Some(Skew { seconds }),
        }
    }
}

impl TimeSource for ServiceClock {
    fn now(&self) -> SystemTime {
        let now = self.machine.now();
        let offset = self.offset_millis.load(Ordering::Relaxed);
        let span = Duration::from_millis(offset.unsigned_abs());
        let shifted = if offset < 0 { now.checked_sub(span) } else { now.checked_add(span) };
        shifted.unwrap_or(now)
    }
}

/// Whole seconds from `earlier` to `later`; negative if it is the other way round.
pub(super) fn seconds_between(earlier: SystemTime, later: SystemTime) -> i64 {
    millis_between(earlier, later) / 1000
}

fn millis_between(earlier: SystemTime, later: SystemTime) -> i64 {
    let clamp = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match later.duration_since(earlier) {
        Ok(span) => clamp(span),
        Err(error) => -clamp(error.duration()),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_async::time::StaticTimeSource;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_slow_clock_is_corrected_forward_and_a_fast_one_back() {
        let clock = ServiceClock::new(StaticTimeSource::new(at(10_000)).into());
        assert_eq!(clock.now(), at(10_000));
        assert_eq!(clock.skew(), None);
        assert_eq!(clock.learn(at(10_600)), (Skew { seconds: 0 }, Skew { seconds: 600 }));
        assert_eq!(clock.now(), at(10_600));
        assert_eq!(clock.clone().learn(at(9_000)), (Skew { seconds: 600 }, Skew { seconds: -1_000 }));
        assert_eq!(clock.now(), at(9_000), "clones share what was learned");
    }
}
