//! Tally: what the small sinks count and settle, once an array.
//! In: events that were written out, and what became of the write. Out: settled finalizers, books, Vector's metrics.
//! Holds: one finalizer set for each run of neighbours that share a fate; nothing else per event.
//! Never: says *delivered* of events it was not told of: those that are let go unsettled are `Errored`.

use afluente_pipeline::accounting::ComponentAccount;
use afluente_pipeline::component::SinkContext;
use afluente_pipeline::event::{
    EstimatedJsonEncodedSizeOf, EventFinalizers, EventStatus, Finalizable, LogEvent,
};
use metrics::{Counter, Label, counter};

/// Events whose bytes are on their way; only their finalizers and sums are kept.
#[derive(Debug, Default)]
pub(crate) struct Held {
    finalizers: Vec<EventFinalizers>,
    events: u64,
    json_bytes: u64,
}

impl Held {
    /// Takes over the fate of `event`.
    pub(crate) fn take(&mut self, event: &mut LogEvent) {
        self.events += 1;
        self.json_bytes += event.estimated_json_encoded_size_of() as u64;
        let finalizers = event.take_finalizers();
        if !finalizers.is_empty() && !self.finalizers.last().is_some_and(|last| last.same_fate(&finalizers)) {
            self.finalizers.push(finalizers);
        }
    }

    /// How many events.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Their estimated size as JSON.
    pub(crate) fn json_bytes(&self) -> u64 {
        self.json_bytes
    }

    fn settle(mut self, status: EventStatus) {
        for finalizers in std::mem::take(&mut self.finalizers) {
            finalizers.update_status(status);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for finalizers in &self.finalizers {
            finalizers.update_status(EventStatus::Errored);
        }
    }
}

/// Counts for one sink.
pub(crate) struct Tally {
    account: ComponentAccount,
    labels: Vec<Label>,
    sent_bytes: Counter,
    protocol: &'static str,
}

impl Tally {
    /// `protocol` is the label of `component_sent_bytes_total`.
    pub(crate) fn new(context: &SinkContext, component_type: &'static str, protocol: &'static str) -> Self {
        let labels = vec![
            Label::new("component_id", context.key.id().to_owned()),
            Label::new("component_kind", "sink"),
            Label::new("component_type", component_type),
        ];
        let mut sent_labels = labels.clone();
        sent_labels.push(Label::new("protocol", protocol));
        let sent_bytes = counter!("component_sent_bytes_total", sent_labels);
        Self { account: context.account.clone(), labels, sent_bytes, protocol }
    }

    /// The destination has the events, as `bytes` bytes before compression. The books count the events and their
    /// estimated JSON size themselves.
    pub(crate) fn delivered(&self, held: Held, bytes: usize) {
        self.sent_bytes.increment(bytes as u64);
        self.deliver(held);
    }

    /// As [`Self::delivered`], with the bytes counted under the label `file`.
    pub(crate) fn delivered_to_file(&self, held: Held, bytes: usize, file: &str) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("protocol", self.protocol));
        labels.push(Label::new("file", file.to_owned()));
        counter!("component_sent_bytes_total", labels).increment(bytes as u64);
        self.deliver(held);
    }

    fn deliver(&self, held: Held) {
        self.account.add_delivered(held.events);
        self.account.add_delivered_bytes(held.json_bytes);
        held.settle(EventStatus::Delivered);
    }

    /// One fault kept the events from their destination. The sink will not try them again, so the books call
    /// them rejected also when the source may (`Errored`).
    pub(crate) fn failed(&self, held: Held, status: EventStatus, error_type: &'static str) {
        self.fault(error_type);
        self.account.add_rejected(held.events);
        held.settle(status);
    }

    /// Counts a fault that cost no event.
    pub(crate) fn fault(&self, error_type: &'static str) {
        let mut labels = self.labels.clone();
        labels.push(Label::new("error_type", error_type));
        labels.push(Label::new("stage", "sending"));
        counter!("component_errors_total", labels).increment(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use afluente_pipeline::accounting::{Balance, Ledger};
    use afluente_pipeline::event::{
        AddBatchNotifier, BatchNotifier, BatchStatus, BatchStatusReceiver, EventArray,
    };

    use super::*;

    /// A context whose books can be read.
    pub(crate) fn context() -> (SinkContext, Ledger) {
        let ledger = Ledger::default();
        let context = SinkContext { key: "out".into(), account: ledger.account(), ..SinkContext::default() };
        (context, ledger)
    }

    /// `messages` as one array of one fate.
    pub(crate) fn messages(messages: &[&str]) -> (EventArray, BatchStatusReceiver) {
        of_one_fate(messages.iter().map(|message| LogEvent::from_str_legacy(*message)).collect())
    }

    /// `logs` as one array of one fate.
    pub(crate) fn of_one_fate(mut logs: Vec<LogEvent>) -> (EventArray, BatchStatusReceiver) {
        let (notifier, receiver) = BatchNotifier::new_with_receiver();
        let finalizers = EventFinalizers::from_notifier(notifier);
        for log in &mut logs {
            log.metadata_mut().merge_finalizers(finalizers.clone());
        }
        (logs.into(), receiver)
    }

    /// What the books say: delivered, rejected.
    pub(crate) fn books(ledger: &Ledger) -> (u64, u64) {
        let Balance { delivered, rejected, .. } = ledger.balance();
        (delivered, rejected)
    }

    #[test]
    fn events_let_go_unsettled_are_errored() {
        let (notifier, mut receiver) = BatchNotifier::new_with_receiver();
        let mut event = LogEvent::from_str_legacy("x");
        event.add_batch_notifier(notifier);
        let mut held = Held::default();
        held.take(&mut event);
        drop((held, event));
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Errored));
    }

    #[test]
    fn neighbours_of_one_fate_are_held_once_and_all_counted() {
        let (context, ledger) = context();
        let tally = Tally::new(&context, "test", "none");
        let (array, mut first) = messages(&["a", "b", "c"]);
        let (more, mut second) = messages(&["d"]);
        let mut held = Held::default();
        for mut event in array.into_logs().into_iter().chain(more.into_logs()) {
            held.take(&mut event);
        }
        assert_eq!((held.finalizers.len(), held.events()), (2, 4));
        tally.delivered(held, 4);
        assert_eq!(books(&ledger), (4, 0));
        assert_eq!(first.try_recv(), Ok(BatchStatus::Delivered));
        assert_eq!(second.try_recv(), Ok(BatchStatus::Delivered));
    }
}
