//! Accounting: what came in and what became of it, so that the sum can be checked at any moment.
//! In: counts from sources, fan-outs, transforms, buffers and sinks, once an array. Out: one line that adds up.
//! Holds: plain atomics; no lock, nothing per event.
//!
//! `received + copies = delivered + rejected + dead_lettered + dropped + skipped + discarded + held`.
//! A copy is an event that a fan-out gave to one more consumer; each copy has a fate of its own.
//!
//! Beside the sum: how long events were on their way (`latency`), and what sinks hold at the moment.

mod latency;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;

use self::latency::Latencies;
pub use self::latency::LatencyCounts;
use crate::component::ComponentKey;

#[derive(Debug, Default)]
struct Totals {
    received: AtomicU64,
    copies: AtomicU64,
    delivered: AtomicU64,
    rejected: AtomicU64,
    dead_lettered: AtomicU64,
    dropped: AtomicU64,
    skipped: AtomicU64,
    discarded: AtomicU64,
    retried: AtomicU64,
    latencies: Latencies,
    held_bytes: AtomicU64,
    in_flight: AtomicU64,
}

/// The pipeline's books. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Totals>);

macro_rules! adders {
    ($($(#[$doc:meta])* $name:ident => $field:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(&self, events: u64) {
            self.0.$field.fetch_add(events, Ordering::Relaxed);
        }
    )*};
}

impl Ledger {
    adders! {
        /// Events that a source brought in.
        add_received => received,
        /// Events that a fan-out gave to one more consumer.
        add_copies => copies,
        /// Events that a transform dropped, or that no consumer was configured for.
        add_dropped => dropped,
        /// Events that are fine but call for no output.
        add_skipped => skipped,
        /// Events that a full `drop_newest` buffer let go.
        add_discarded => discarded,
    }

    /// Takes back copies that reached nobody because their sending was cancelled.
    pub(crate) fn take_back_copies(&self, events: u64) {
        self.0.copies.fetch_sub(events, Ordering::Relaxed);
    }

    /// Takes back events that a source asked to hand over and then kept.
    pub(crate) fn take_back_received(&self, events: u64) {
        self.0.received.fetch_sub(events, Ordering::Relaxed);
    }

    /// Books what a transform made of `taken` events: `given` came out and `skipped` called for no output.
    /// What is missing was dropped, what is too much are copies. Returns how many were dropped.
    pub(crate) fn add_transformed(&self, taken: u64, given: u64, skipped: u64) -> u64 {
        self.add_skipped(skipped);
        let gone = given + skipped;
        if gone > taken {
            self.add_copies(gone - taken);
        }
        let dropped = taken.saturating_sub(gone);
        self.add_dropped(dropped);
        dropped
    }

    /// The books of one sink, without metrics.
    #[must_use]
    pub fn account(&self) -> ComponentAccount {
        ComponentAccount { ledger: self.clone(), own: Arc::default() }
    }

    /// The books of the sink `key`, with Vector's metrics: what is delivered counts as
    /// `component_sent_events_total`, what is rejected or dead-lettered as `component_discarded_events_total`.
    #[must_use]
    pub fn account_for(&self, key: &ComponentKey, component_type: &'static str) -> ComponentAccount {
        let labels = [
            ("component_id", key.id().to_owned()),
            ("component_kind", "sink".to_owned()),
            ("component_type", component_type.to_owned()),
        ];
        let mut discard_labels = labels.to_vec();
        discard_labels.push(("intentional", "false".to_owned()));
        let own = Own {
            touched: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            sent_events: metrics::counter!("component_sent_events_total", &labels),
            sent_bytes: metrics::counter!("component_sent_event_bytes_total", &labels),
            discarded: metrics::counter!("component_discarded_events_total", &discard_labels),
        };
        ComponentAccount { ledger: self.clone(), own: Arc::new(own) }
    }

    /// How long delivered events were on their way, from their source's stamp to the destination's word. Of sinks that
    /// count it.
    #[must_use]
    pub fn latencies(&self) -> LatencyCounts {
        self.0.latencies.counts()
    }

    /// What all sinks hold at the moment, as far as they say.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            held_bytes: self.0.held_bytes.load(Ordering::Relaxed),
            in_flight: self.0.in_flight.load(Ordering::Relaxed),
        }
    }

    /// The sums as they stand now. While events flow, `held` may be off by what is just being counted.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let totals = &self.0;
        // What left is read first: so the sum never shows more out than in.
        let (delivered, rejected) = (read(&totals.delivered), read(&totals.rejected));
        let (dead_lettered, dropped) = (read(&totals.dead_lettered), read(&totals.dropped));
        let (skipped, discarded) = (read(&totals.skipped), read(&totals.discarded));
        let retried = read(&totals.retried);
        let (copies, received) = (read(&totals.copies), read(&totals.received));
        let out = delivered + rejected + dead_lettered + dropped + skipped + discarded;
        let held = (received + copies).saturating_sub(out);
        Balance {
            received,
            copies,
            delivered,
            rejected,
            dead_lettered,
            dropped,
            skipped,
            discarded,
            held,
            retried,
        }
    }
}

struct Own {
    touched: AtomicU64,
    held_bytes: AtomicU64,
    in_flight: AtomicU64,
    sent_events: Counter,
    sent_bytes: Counter,
    discarded: Counter,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            touched: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            sent_events: Counter::noop(),
            sent_bytes: Counter::noop(),
            discarded: Counter::noop(),
        }
    }
}

/// Where one sink counts what became of its events. Clones share it.
///
/// A sink that keeps a clone counts for itself; for one that does not, the topology reads the fates of its
/// events from their finalizers. The methods also count Vector's metrics: a sink must not count
/// `component_sent_events_total` or `component_discarded_events_total` a second time.
#[derive(Clone, Default)]
pub struct ComponentAccount {
    ledger: Ledger,
    own: Arc<Own>,
}

impl fmt::Debug for ComponentAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ComponentAccount")
            .field("accounted", &self.accounted())
            .finish_non_exhaustive()
    }
}

impl ComponentAccount {
    fn add(&self, total: &AtomicU64, events: u64) {
        total.fetch_add(events, Ordering::Relaxed);
        self.own.touched.fetch_add(events, Ordering::Relaxed);
    }

    /// Events that the destination has.
    pub fn add_delivered(&self, events: u64) {
        self.add(&self.ledger.0.delivered, events);
        self.own.sent_events.increment(events);
    }

    /// The estimated JSON size of events that the destination has; only a metric
    /// (`component_sent_event_bytes_total`).
    pub fn add_delivered_bytes(&self, json_bytes: u64) {
        self.own.sent_bytes.increment(json_bytes);
    }

    /// Events that failed for good.
    pub fn add_rejected(&self, events: u64) {
        self.add(&self.ledger.0.rejected, events);
        self.own.discarded.increment(events);
    }

    /// Events that failed for good and were kept in a dead letter file.
    pub fn add_dead_lettered(&self, events: u64) {
        self.add(&self.ledger.0.dead_lettered, events);
        self.own.discarded.increment(events);
    }

    /// Attempts beyond the first, for the live status.
    pub fn add_retried(&self, records: u64) {
        self.ledger.0.retried.fetch_add(records, Ordering::Relaxed);
    }

    /// `events` delivered events had been on their way for `latency`. Counts nothing else.
    pub fn add_latency(&self, latency: Duration, events: u64) {
        self.ledger.0.latencies.add(latency, events);
    }

    /// What this sink holds now.
    pub fn set_load(&self, load: Load) {
        let set = |own: &AtomicU64, all: &AtomicU64, now: u64| {
            let before = own.swap(now, Ordering::Relaxed);
            // Atomics wrap, so that less than before is taken away.
            all.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        };
        set(&self.own.held_bytes, &self.ledger.0.held_bytes, load.held_bytes);
        set(&self.own.in_flight, &self.ledger.0.in_flight, load.in_flight);
    }

    /// How many events this sink has accounted for.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.own.touched.load(Ordering::Relaxed)
    }

    /// Whether someone else holds a clone.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.own) > 1
    }
}

/// What is held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of events, with the bookkeeping and the requests made of them.
    pub held_bytes: u64,
    /// Requests that are sent and not answered.
    pub in_flight: u64,
}

/// The books at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Events that sources brought in.
    pub received: u64,
    /// Events that fan-outs gave to one more consumer.
    pub copies: u64,
    /// Events that their destination has.
    pub delivered: u64,
    /// Events that failed for good.
    pub rejected: u64,
    /// Events that failed for good and were kept in a dead letter file.
    pub dead_lettered: u64,
    /// Events that a transform dropped, or that no consumer was configured for.
    pub dropped: u64,
    /// Events that called for no output.
    pub skipped: u64,
    /// Events that a full `drop_newest` buffer let go.
    pub discarded: u64,
    /// Events that are still on their way.
    pub held: u64,
    /// Attempts beyond the first.
    pub retried: u64,
}

impl fmt::Display for Balance {
    /// `received 10 = delivered 9 + rejected 0 + dead-lettered 0 + dropped 1 + skipped 0`, with the rarer
    /// terms where they are not zero.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "received {}", self.received)?;
        if self.copies > 0 {
            write!(formatter, " + copies {}", self.copies)?;
        }
        write!(
            formatter,
            " = delivered {} + rejected {} + dead-lettered {} + dropped {} + skipped {}",
            self.delivered, self.rejected, self.dead_lettered, self.dropped, self.skipped
        )?;
        for (name, value) in [("discarded", self.discarded), ("not delivered", self.held)] {
            if value > 0 {
                write!(formatter, " + {name} {value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_sum_of_what_each_sink_holds_now() {
        let ledger = Ledger::default();
        let (one, other) = (ledger.account(), ledger.account());
        one.set_load(Load { held_bytes: 100, in_flight: 2 });
        other.set_load(Load { held_bytes: 10, in_flight: 1 });
        one.set_load(Load { held_bytes: 30, in_flight: 0 });
        assert_eq!(ledger.load(), Load { held_bytes: 40, in_flight: 1 });
    }

    #[test]
    fn the_line_adds_up() {
        let ledger = Ledger::default();
        let account = ledger.account();
        ledger.add_received(10);
        ledger.add_copies(2);
        account.add_delivered(7);
        account.add_rejected(1);
        ledger.add_skipped(1);
        let balance = ledger.balance();
        assert_eq!(balance.held, 3);
        assert_eq!(
            balance.to_string(),
            "received 10 + copies 2 = delivered 7 + rejected 1 + dead-lettered 0 + dropped 0 + skipped 1 + not delivered 3"
        );
    }
}
