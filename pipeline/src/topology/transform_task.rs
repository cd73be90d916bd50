//! Transform task: one transform at work between its queue and its outputs.
//! In: arrays from the queue. Out: what the transform makes of them, in the order of the input, to each port's
//! consumers. Books: taken = given + skipped + dropped, once an array.
//! Side by side: at most one array a worker thread, each on a clone; clones go back to a pool.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::{FuturesOrdered, Stream};
use metrics::Counter;
use tokio_util::task::AbortOnDropHandle;

use super::fanout::Fanout;
use super::running::Failure;
use super::telemetry::{ComponentLabels, Received, Sent, Utilization};
use crate::accounting::Ledger;
use crate::buffers::{BufferReceiver, Weighed};
use crate::event::{EventArray, EventContainer, LostUnlessDone, LostUnlessTaken};
use crate::transform::{SyncTransform, TaskTransform, Transform, TransformOutputsBuf};

/// Arrays smaller than this are worked on in place while nothing else is in flight: handing one to another
/// thread costs about as much as transforming a few events. Chosen, not measured.
const SPAWN_EVENTS_MIN: usize = 32;

/// The queue in front of a transform, with what is measured about it.
pub(crate) struct Inlet {
    receiver: BufferReceiver,
    received: Received,
    utilization: Arc<Utilization>,
}

impl Inlet {
    pub(crate) fn new(
        receiver: BufferReceiver,
        labels: &ComponentLabels,
        utilization: Arc<Utilization>,
    ) -> Self {
        Self { receiver, received: Received::new(labels), utilization }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Weighed>> {
        let Poll::Ready(load) = self.receiver.poll_weighed(context) else {
            self.utilization.wait();
            return Poll::Pending;
        };
        self.utilization.work();
        if let Some(load) = &load {
            self.received.count(load.weight);
        }
        Poll::Ready(load)
    }

    async fn next(&mut self) -> Option<Weighed> {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

/// The outputs of a transform.
pub(crate) struct Outlets {
    primary: Option<Outlet>,
    named: HashMap<String, Outlet>,
    ledger: Ledger,
    /// Dropped by the transform itself.
    dropped: Counter,
    /// Given to a port that nobody reads.
    unread: Counter,
}

struct Outlet {
    fanout: Fanout,
    sent: Sent,
}

impl Outlets {
    pub(crate) fn new(
        fanouts: impl IntoIterator<Item = (Option<String>, Fanout)>,
        labels: &ComponentLabels,
        ledger: Ledger,
    ) -> Self {
        let (dropped, unread) = (labels.discarded(true), labels.discarded(false));
        let mut outlets = Self { primary: None, named: HashMap::new(), ledger, dropped, unread };
        for (port, fanout) in fanouts {
            let outlet = Outlet { fanout, sent: Sent::new(labels, port.as_deref()) };
            match port {
                None => outlets.primary = Some(outlet),
                Some(port) => {
                    outlets.named.insert(port, outlet);
                }
            }
        }
        outlets
    }

    fn buffers(&self) -> TransformOutputsBuf {
        TransformOutputsBuf::new(self.named.keys().cloned())
    }

    /// Books and sends what `taken` events became.
    async fn give(&self, taken: u64, buffers: &mut TransformOutputsBuf) {
        let skipped = buffers.take_skipped();
        let primary = buffers.primary_mut().take_array();
        let named = buffers.take_all_named();
        let given = primary.as_ref().map_or(0, EventContainer::len)
            + named.values().map(crate::transform::OutputBuffer::len).sum::<usize>();
        let dropped = self.ledger.add_transformed(taken, given as u64, skipped);
        self.dropped.increment(dropped);
        if let Some(array) = primary {
            self.send(self.primary.as_ref(), array).await;
        }
        for (port, mut buffer) in named {
            if let Some(array) = buffer.take_array() {
                self.send(self.named.get(&port), array).await;
            }
        }
    }

    /// Sends an array by one port. A consumer that has failed is no reason to stop: the others get their
    /// copies, and the topology sees the failure itself.
    async fn send(&self, outlet: Option<&Outlet>, array: EventArray) {
        let load = Weighed::from(array);
        let weight = load.weight;
        match outlet {
            Some(outlet) if !outlet.fanout.is_unconsumed() => {
                if outlet.fanout.send_weighed(load, &mut 0).await.is_ok() {
                    outlet.sent.count(weight);
                }
            }
            _ => {
                self.ledger.add_dropped(weight.events as u64);
                self.unread.increment(weight.events as u64);
            }
        }
    }
}

/// Runs a transform until its input ends.
pub(crate) async fn run(
    transform: Transform,
    inlet: Inlet,
    outlets: Outlets,
    side_by_side: usize,
) -> Result<(), Failure> {
    let transform: Box<dyn SyncTransform> = match transform {
        Transform::Function(function) => Box::new(function),
        Transform::Synchronous(synchronous) => synchronous,
        Transform::Task(task) => return run_stream(task, inlet, outlets).await,
    };
    if side_by_side > 1 {
        run_side_by_side(transform, inlet, outlets, side_by_side).await;
    } else {
        run_serial(transform, inlet, outlets).await;
    }
    Ok(())
}

async fn run_serial(mut transform: Box<dyn SyncTransform>, mut inlet: Inlet, outlets: Outlets) {
    let mut buffers = outlets.buffers();
    while let Some(load) = inlet.next().await {
        transform.transform_all(load.array, &mut buffers);
        outlets.give(load.weight.events as u64, &mut buffers).await;
    }
}

/// A clone of the transform and its outputs; used again and again.
struct Bench {
    transform: Box<dyn SyncTransform>,
    buffers: TransformOutputsBuf,
    taken: u64,
}

impl Bench {
    fn work(&mut self, load: Weighed) {
        self.taken = load.weight.events as u64;
        self.transform.transform_all(load.array, &mut self.buffers);
    }
}

async fn run_side_by_side(
    transform: Box<dyn SyncTransform>,
    mut inlet: Inlet,
    outlets: Outlets,
    side_by_side: usize,
) {
    let mut idle: Vec<Bench> = Vec::with_capacity(side_by_side);
    let mut in_flight = FuturesOrdered::new();
    let mut open = true;
    while open || !in_flight.is_empty() {
        tokio::select! {
            // Input first: it keeps the threads busy while the oldest array is still being worked on.
            biased;
            load = inlet.next(), if open && in_flight.len() < side_by_side => {
                let Some(load) = load else {
                    open = false;
                    continue;
                };
                let mut bench = idle.pop().unwrap_or_else(|| Bench {
                    transform: transform.clone(),
                    buffers: outlets.buffers(),
                    taken: 0,
                });
                if in_flight.is_empty() && load.weight.events < SPAWN_EVENTS_MIN {
                    bench.work(load);
                    outlets.give(bench.taken, &mut bench.buffers).await;
                    idle.push(bench);
                    continue;
                }
                // What a killed pipeline never takes out of the task is lost, not dropped on purpose.
                in_flight.push_back(AbortOnDropHandle::new(tokio::spawn(LostUnlessDone::new(async move {
                    bench.work(load);
                    LostUnlessTaken::new(bench)
                }))));
            }
            Some(done) = in_flight.next(), if !in_flight.is_empty() => {
                let mut done = match done {
                    Ok(done) => done,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // Only a runtime that shuts down cancels the task; it takes this one along.
                        Err(_) => return,
                    },
                };
                if let Some(mut bench) = done.take() {
                    outlets.give(bench.taken, &mut bench.buffers).await;
                    idle.push(bench);
                }
            }
        }
    }
}

/// How far the books of a task transform have come: it may hold events back, so only the end shows what it dropped.
#[derive(Default)]
struct Progress {
    taken: AtomicU64,
    input_ended: AtomicBool,
}

struct StreamInput {
    inlet: Inlet,
    progress: Arc<Progress>,
}

impl Stream for StreamInput {
    type Item = EventArray;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventArray>> {
        let load = std::task::ready!(self.inlet.poll(context));
        match &load {
            Some(load) => {
                self.progress.taken.fetch_add(load.weight.events as u64, Ordering::Relaxed);
            }
            None => self.progress.input_ended.store(true, Ordering::Relaxed),
        }
        Poll::Ready(load.map(|load| load.array))
    }
}

async fn run_stream(
    transform: Box<dyn TaskTransform<EventArray>>,
    inlet: Inlet,
    outlets: Outlets,
) -> Result<(), Failure> {
    let progress = Arc::new(Progress::default());
    let input = StreamInput { inlet, progress: Arc::clone(&progress) };
    let mut output = transform.transform(Box::pin(input));
    // Events given so far, and how many of them were booked as copies since nothing that came in explains them.
    let (mut given, mut copies) = (0u64, 0u64);
    while let Some(array) = output.next().await {
        given += array.len() as u64;
        let explained = progress.taken.load(Ordering::Relaxed) + copies;
        if given > explained {
            outlets.ledger.add_copies(given - explained);
            copies += given - explained;
        }
        outlets.send(outlets.primary.as_ref(), array).await;
    }
    drop(output);
    if !progress.input_ended.load(Ordering::Relaxed) {
        return Err(Failure::EndedEarly);
    }
    let dropped = progress.taken.load(Ordering::Relaxed) + copies - given;
    outlets.ledger.add_dropped(dropped);
    outlets.dropped.increment(dropped);
    Ok(())
}
