//! Sink task: one sink at work behind its queue.
//! In: arrays from the queue. Out: the sink's own business; here only counts and how it ended.
//! Books: a sink that keeps its `ComponentAccount` counts for itself; for any other, the finalizers of its
//! events are watched and tell their fates.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::Stream;

use super::running::Failure;
use super::telemetry::{ComponentLabels, Utilization};
use super::transform_task::Inlet;
use crate::accounting::ComponentAccount;
use crate::buffers::BufferReceiver;
use crate::event::{
    BatchNotifier, BatchStatus, EstimatedJsonEncodedSizeOf, EventArray, EventFinalizers, EventStatus,
    Finalizable, LogEvent, losing,
};
use crate::sink::VectorSink;

/// A sink that is ready to run.
pub(crate) struct SinkTask {
    sink: VectorSink,
    input: SinkInput,
}

/// The stream that the sink is handed.
struct SinkInput {
    inlet: Inlet,
    account: ComponentAccount,
    watch: bool,
    taken: u64,
    ended: bool,
}

impl SinkTask {
    /// `account` is the one that the sink was built with.
    pub(crate) fn new(
        sink: VectorSink,
        receiver: BufferReceiver,
        account: ComponentAccount,
        labels: &ComponentLabels,
        utilization: Arc<Utilization>,
    ) -> Self {
        let watch = !account.is_shared();
        let inlet = Inlet::new(receiver, labels, utilization);
        Self { sink, input: SinkInput { inlet, account, watch, taken: 0, ended: false } }
    }

    /// Runs the sink until its input ends.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        self.sink.run(&mut self.input).await.map_err(|()| Failure::Error)?;
        let input = self.input;
        if !input.ended {
            return Err(Failure::EndedEarly);
        }
        if !input.watch && input.account.accounted() == 0 {
            // It kept the account and never used it.
            input.account.add_delivered(input.taken);
        }
        Ok(())
    }
}

impl Stream for SinkInput {
    type Item = EventArray;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventArray>> {
        let Some(mut load) = std::task::ready!(self.inlet.poll(context)) else {
            self.ended = true;
            return Poll::Ready(None);
        };
        self.taken += load.weight.events as u64;
        if self.watch {
            watch(&mut load.array, &self.account);
        }
        Poll::Ready(Some(load.array))
    }
}

/// Puts a finalizer in place of those of each run of events that share a fate. When the sink is done with the run,
/// its fate is booked and passed on.
fn watch(array: &mut EventArray, account: &ComponentAccount) {
    let EventArray::Logs(logs) = array;
    let mut rest = logs.as_mut_slice();
    while let Some(first) = rest.first() {
        let fate = first.metadata().finalizers();
        let same = rest.iter().take_while(|log| log.metadata().finalizers().same_fate(fate)).count();
        let (run, others) = rest.split_at_mut(same);
        watch_run(run, account.clone());
        rest = others;
    }
}

fn watch_run(run: &mut [LogEvent], account: ComponentAccount) {
    let events = run.len() as u64;
    let json_bytes =
        run.iter().map(EstimatedJsonEncodedSizeOf::estimated_json_encoded_size_of).sum::<usize>();
    let original = run.first_mut().map(LogEvent::take_finalizers).unwrap_or_default();
    let watched = EventFinalizers::from_notifier(BatchNotifier::new_with_callback(move |status| {
        let status = match status {
            BatchStatus::Delivered => {
                account.add_delivered(events);
                account.add_delivered_bytes(json_bytes as u64);
                EventStatus::Delivered
            }
            BatchStatus::Errored => {
                // Lost with its killed sink: still in the books as not delivered.
                if !losing() {
                    account.add_rejected(events);
                }
                EventStatus::Errored
            }
            BatchStatus::Rejected => {
                account.add_rejected(events);
                EventStatus::Rejected
            }
        };
        original.update_status(status);
    }));
    for log in run {
        let metadata = log.metadata_mut();
        drop(metadata.take_finalizers());
        metadata.merge_finalizers(watched.clone());
    }
}
