//! Status: one line on a terminal that says how a pipeline is doing.
//! In: the pipeline's books, twice a second. Out: a line that is drawn over itself; nothing if nobody looks.

use std::fmt::Write;
use std::time::{Duration, Instant};

use afluente::pipeline::accounting::{Balance, Ledger};
use tokio_util::task::AbortOnDropHandle;

use crate::terminal;

const PERIOD: Duration = Duration::from_millis(500);

/// Shows the status until the handle is dropped; nothing without a terminal.
pub(crate) fn show(ledger: Ledger) -> Option<AbortOnDropHandle<()>> {
    terminal::is_live().then(|| AbortOnDropHandle::new(tokio::spawn(draw(ledger))))
}

async fn draw(ledger: Ledger) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut before, mut at) = (Balance::default(), Instant::now());
    loop {
        ticks.tick().await;
        let (now, balance) = (Instant::now(), ledger.balance());
        terminal::set_status(&line(&before, &balance, now.duration_since(at)));
        (before, at) = (balance, now);
    }
}

fn line(before: &Balance, now: &Balance, passed: Duration) -> String {
    let rate = |before: u64, now: u64| {
        let rate = now.saturating_sub(before) as f64 / passed.as_secs_f64().max(0.001);
        grouped(rate as u64)
    };
    let mut line = format!(
        "in {} ({}/s)  delivered {} ({}/s)  held {}",
        grouped(now.received),
        rate(before.received, now.received),
        grouped(now.delivered),
        rate(before.delivered, now.delivered),
        grouped(now.held),
    );
    let rarer = [
        ("retried", now.retried),
        ("rejected", now.rejected),
        ("dead-lettered", now.dead_lettered),
        ("dropped", now.dropped),
        ("skipped", now.skipped),
        ("discarded", now.discarded),
    ];
    for (name, count) in rarer {
        if count > 0 {
            let _ = write!(line, "  {name} {}", grouped(count));
        }
    }
    line
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The books as the last line of a run: they add up, or it says by how much they do not.
pub(crate) fn accounting(balance: &Balance) -> String {
    let taken = balance.received + balance.copies;
    let known = balance.delivered
        + balance.rejected
        + balance.dead_lettered
        + balance.dropped
        + balance.skipped
        + balance.discarded
        + balance.held;
    if taken == known {
        format!("Accounting: {balance} (adds up)")
    } else {
        format!("Accounting: {balance} (does NOT add up: {} too many have a fate)", known - taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_line_has_rates_and_leaves_out_what_did_not_happen() {
        let before = Balance { received: 100, ..Balance::default() };
        let now = Balance { received: 600, delivered: 500, held: 100, retried: 3, ..Balance::default() };
        assert_eq!(
            line(&before, &now, Duration::from_millis(500)),
            "in 600 (1,000/s)  delivered 500 (1,000/s)  held 100  retried 3"
        );
    }

    #[test]
    fn the_accounting_line_says_whether_it_adds_up() {
        let good =
            Balance { received: 3, copies: 1, delivered: 2, skipped: 1, held: 1, ..Balance::default() };
        assert!(accounting(&good).ends_with("(adds up)"));
        let bad = Balance { received: 1, delivered: 2, ..Balance::default() };
        assert!(accounting(&bad).contains("does NOT add up: 1 too many"));
    }
}
