//! SourceSender: the door from a source into the pipeline.
//! In: arrays of events. Out: copies to every consumer of the output; waits while any of them is full.
//! Counts what is sent. Never: drops an event (a buffer that drops does that itself, and counts it).

use std::collections::HashMap;

use crate::accounting::Ledger;
use crate::buffers::{BufferReceiver, QueueLimits, Weighed, queue};
use crate::component::{ComponentKey, ComponentKind};
use crate::event::{Event, EventArray, LostUnlessDrained, LostUnlessTaken, events_into_arrays};
use crate::topology::telemetry::{ComponentLabels, Received, Sent};
use crate::topology::{Fanout, FanoutError};

/// Most events packed into one array when a source hands over single events.
pub const CHUNK_EVENTS: usize = 1000;

/// Why events could not be handed over.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SendError {
    /// The pipeline has ended.
    #[error("the pipeline behind this source has ended")]
    Closed,
}

impl From<FanoutError> for SendError {
    fn from(_: FanoutError) -> Self {
        Self::Closed
    }
}

/// Hands events to the pipeline. Clones share the outputs.
#[derive(Clone)]
pub struct SourceSender {
    primary: Option<Output>,
    named: HashMap<String, Output>,
    ledger: Ledger,
}

#[derive(Clone)]
struct Output {
    fanout: Fanout,
    received: Received,
    sent: Sent,
}

impl SourceSender {
    /// A sender for a source's outputs, by port (`None`: the primary one). `ledger` counts what comes in.
    #[must_use]
    pub fn new(
        component_type: &str,
        component_id: &str,
        outputs: HashMap<Option<String>, Fanout>,
        ledger: Ledger,
    ) -> Self {
        let labels = ComponentLabels::new(ComponentKind::Source, component_type, component_id);
        let received = Received::new(&labels);
        let mut sender = Self { primary: None, named: HashMap::new(), ledger };
        for (port, fanout) in outputs {
            let sent = Sent::new(&labels, port.as_deref());
            let output = Output { fanout, received: received.clone(), sent };
            match port {
                None => sender.primary = Some(output),
                Some(port) => {
                    sender.named.insert(port, output);
                }
            }
        }
        sender
    }

    /// A sender whose events arrive at the returned receiver; for tests of sources.
    #[must_use]
    pub fn new_test() -> (Self, BufferReceiver) {
        let ledger = Ledger::default();
        let (sender, receiver) = queue(QueueLimits::default(), ledger.clone());
        let fanout = Fanout::new(vec![(ComponentKey::from("test"), sender)], ledger.clone());
        (Self::new("test", "test", HashMap::from([(None, fanout)]), ledger), receiver)
    }

    /// The pipeline's books, for what a source took but could not make an event of.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Sends an array (or an event) by the primary output; waits while a consumer is full.
    ///
    /// The pipeline may stay full for as long as a destination is away, so a source that wants to stop soon
    /// races this call against its shutdown signal. A cancelled call has not handed over the events: a source that
    /// waits for acknowledgements hears `Errored`, so that it brings them again next time. Of several consumers,
    /// those that were faster may have got their copies; only then a replay doubles anything. That holds from the
    /// call on, also if the future is never polled. A source that cannot bring events again should let the call
    /// end: sinks go on while the pipeline stops, and the host's limit ends a wait that has no end.
    ///
    /// # Errors
    /// `Closed` when a consumer has ended; the events' finalizers then say `Errored`.
    pub fn send_event<E: Into<EventArray>>(
        &mut self,
        events: E,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<'_, E> {
        let events = LostUnlessTaken::new(events.into());
        Self::send(self.primary.as_ref(), &self.ledger, events)
    }

    /// Sends events by the primary output, packed into arrays. Cancelling it is as with [`Self::send_event`],
    /// from the array on that is being sent.
    ///
    /// # Errors
    /// `Closed` when a consumer has ended.
    pub fn send_batch<E: IntoIterator<Item = Event>>(
        &mut self,
        events: E,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<'_, E> {
        Self::send_all(self.primary.as_ref(), &self.ledger, pack(events))
    }

    /// Sends events by the output `port`, packed into arrays.
    ///
    /// # Errors
    /// `Closed` when a consumer has ended or the source has not declared this port.
    pub fn send_batch_named<E: IntoIterator<Item = Event>>(
        &mut self,
        port: &str,
        events: E,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<'_, E> {
        Self::send_all(self.named.get(port), &self.ledger, pack(events))
    }

    async fn send_all(
        output: Option<&Output>,
        ledger: &Ledger,
        arrays: LostUnlessDrained<std::vec::IntoIter<EventArray>>,
    ) -> Result<(), SendError> {
        for array in arrays {
            Self::send(output, ledger, LostUnlessTaken::new(array)).await?;
        }
        Ok(())
    }

    async fn send(
        output: Option<&Output>,
        ledger: &Ledger,
        mut events: LostUnlessTaken<EventArray>,
    ) -> Result<(), SendError> {
        let output = output.ok_or(SendError::Closed)?;
        let load = Weighed::from(events.take().unwrap_or_default());
        let weight = load.weight;
        if weight.events == 0 {
            return Ok(());
        }
        output.received.count(weight);
        // Booked before it is handed over, so that the books never show more out than in.
        ledger.add_received(weight.events as u64);
        let mut handing = HandingOver { ledger, events: weight.events as u64, reached: 0, ended: false };
        let result = output.fanout.send_weighed(load, &mut handing.reached).await;
        handing.ended = true;
        result?;
        output.sent.count(weight);
        Ok(())
    }
}

fn pack(events: impl IntoIterator<Item = Event>) -> LostUnlessDrained<std::vec::IntoIter<EventArray>> {
    let arrays: Vec<_> = events_into_arrays(events, Some(CHUNK_EVENTS)).collect();
    LostUnlessDrained::new(arrays.into_iter())
}

/// Takes the events out of the books when their sending is cancelled before anyone got them.
struct HandingOver<'a> {
    ledger: &'a Ledger,
    events: u64,
    reached: usize,
    ended: bool,
}

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        if !self.ended && self.reached == 0 {
            self.ledger.take_back_received(self.events);
        }
    }
}
