//! Faults: what a source took in but could not make an event of.
//! In: counts and a place. Out: Vector's error and discard counters, the ledger (received and dropped, so that the
//! books add up), a line in the log: the first ones of a while in full, the rest as a number.
//! Never: logs the content of a record.

use std::time::{Duration, Instant};

use afluente_pipeline::SourceSender;
use afluente_pipeline::accounting::Ledger;
use metrics::Counter;

/// Faults told in full in one [`WINDOW`]; chosen to fit a screen.
const TOLD_MAX: u32 = 20;
/// Vector's window for repeated messages.
const WINDOW: Duration = Duration::from_secs(10);

/// What kind of fault, in the words of Vector's instrumentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record that its codec does not take.
    Undecodable,
    /// A line over the limit.
    TooLong,
}

/// Counts and tells the faults of one source.
pub(crate) struct Faults {
    component_id: String,
    undecodable: Counter,
    too_long: Counter,
    discarded: Counter,
    ledger: Ledger,
    window: Option<Instant>,
    told: u32,
    untold: u64,
}

/// The labels that all metrics of a source carry.
pub(crate) fn labels(component_type: &'static str, component_id: &str) -> Vec<metrics::Label> {
    vec![
        metrics::Label::new("component_id", component_id.to_owned()),
        metrics::Label::new("component_kind", "source"),
        metrics::Label::new("component_type", component_type),
    ]
}

/// Raw bytes a source took in, after decompression.
pub(crate) fn received_bytes(
    component_type: &'static str,
    component_id: &str,
    protocol: &'static str,
) -> Counter {
    let mut labels = labels(component_type, component_id);
    labels.push(metrics::Label::new("protocol", protocol));
    metrics::counter!("component_received_bytes_total", labels)
}

impl Faults {
    pub(crate) fn new(component_type: &'static str, component_id: &str, out: &SourceSender) -> Self {
        let with = |more: &[(&'static str, &'static str)]| {
            let mut labels = labels(component_type, component_id);
            labels.extend(more.iter().map(|(name, value)| metrics::Label::new(*name, *value)));
            labels
        };
        let errors = |error_type, stage| {
            let labels = with(&[("error_type", error_type), ("stage", stage)]);
            metrics::counter!("component_errors_total", labels)
        };
        Self {
            component_id: component_id.to_owned(),
            undecodable: errors("parser_failed", "processing"),
            too_long: errors("condition_failed", "receiving"),
            discarded: metrics::counter!(
                "component_discarded_events_total",
                with(&[("intentional", "false")])
            ),
            ledger: out.ledger().clone(),
            window: None,
            told: 0,
            untold: 0,
        }
    }

    /// Counts one record that is no event, and tells it by `place` (where it stands and what is wrong).
    pub(crate) fn add(&mut self, fault: Fault, place: impl FnOnce() -> String) {
        match fault {
            Fault::Undecodable => self.undecodable.increment(1),
            Fault::TooLong => self.too_long.increment(1),
        }
        self.discarded.increment(1);
        self.ledger.add_received(1);
        self.ledger.add_dropped(1);
        if self.may_tell() {
            let component_id = &self.component_id;
            tracing::error!(component_id, discarded = 1, "A record was dropped: {}.", place());
        }
    }

    /// Counts a request that was refused for a record; nothing of it was taken, so the books do not know it.
    pub(crate) fn refuse(&mut self, reason: &str) {
        self.undecodable.increment(1);
        if self.may_tell() {
            tracing::error!(component_id = self.component_id, "A request was refused: {reason}.");
        }
    }

    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        if self.window.is_none_or(|since| now - since >= WINDOW) {
            self.tell_rest();
            self.window = Some(now);
            self.told = 0;
        }
        let tell = self.told < TOLD_MAX;
        if tell {
            self.told += 1;
        } else {
            self.untold += 1;
        }
        tell
    }

    /// Tells how many faults were not told one by one.
    fn tell_rest(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if untold > 0 {
            let component_id = &self.component_id;
            tracing::error!(
                component_id,
                "{untold} further records were dropped or refused in the same way."
            );
        }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.tell_rest();
    }
}
