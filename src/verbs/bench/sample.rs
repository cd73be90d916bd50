//! Sample: what the measured process says of itself at one moment.
//! In: the pipeline's books; on Linux what the kernel counts for the process. Out: one JSON object.
//! Never: a clock of its own; who gets a sample knows when.

use std::time::Duration;

use afluente::pipeline::accounting::{LatencyCounts, Ledger};
use serde::{Deserialize, Serialize};

/// The kernel counts a process' time to user programs in these. `USER_HZ` of Linux on every platform we know.
const TICKS_A_SECOND: u64 = 100;

/// Sums since the start, and what is at the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) skipped: u64,
    pub(super) retried: u64,
    /// Rejected, dead-lettered, dropped, discarded.
    pub(super) failed: u64,
    pub(super) held: u64,
    pub(super) held_bytes: u64,
    pub(super) in_flight: u64,
    pub(super) latencies: LatencyCounts,
    /// None where the system does not say.
    pub(super) process: Option<Process>,
    /// The last one.
    pub(super) ended: bool,
}

/// What the process costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// User and system time of all threads.
    pub(super) cpu: Duration,
    pub(super) rss_bytes: u64,
    pub(super) rss_peak_bytes: u64,
}

impl Sample {
    /// Now.
    pub(super) fn take(ledger: &Ledger) -> Self {
        let (balance, load) = (ledger.balance(), ledger.load());
        Self {
            received: balance.received,
            delivered: balance.delivered,
            skipped: balance.skipped,
            retried: balance.retried,
            failed: balance.rejected + balance.dead_lettered + balance.dropped + balance.discarded,
            held: balance.held,
            held_bytes: load.held_bytes,
            in_flight: load.in_flight,
            latencies: ledger.latencies(),
            process: Process::read(),
            ended: false,
        }
    }
}

impl Process {
    /// Now.
    pub(super) fn read() -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self::parse(&read("stat")?, &read("status")?)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name of the program is in parentheses and may hold anything.
        let after_name = &stat[stat.rfind(')')? + 1..];
        // From the third field on: user and system time are the 14th and 15th. proc(5).
        let mut times = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
        let ticks = times.next()?.ok()? + times.next()?.ok()?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            cpu: Duration::from_nanos(ticks * (1_000_000_000 / TICKS_A_SECOND)),
            rss_bytes: kibibytes("VmRSS:")? * 1024,
            rss_peak_bytes: kibibytes("VmHWM:")? * 1024,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read_whatever_the_program_is_called() {
        let stat = "42 (a )( b) R 1 42 42 0 -1 4194304 1 2 3 4 250 50 7 8 20 0 5 0 999 1 2";
        let status = "Name:\ta\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let process = Process { cpu: Duration::from_secs(3), rss_bytes: 1 << 20, rss_peak_bytes: 1 << 21 };
        assert_eq!(Process::parse(stat, status), Some(process));
        assert_eq!(Process::parse("42 (a) R 1", status), None);
        assert_eq!(Process::parse(stat, ""), None);
    }
}
