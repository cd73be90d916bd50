//! SourceSender: the door from a source into the pipeline.
//! In: arrays of events. Out: copies to every consumer of the output; waits while any of them is full.
//! Counts what is sent. Never: drops an event (a buffer that drops does that itself, and counts it).

use std::collections::HashMap;

use metrics::Counter;

use crate::accounting::Ledger;
use crate::event::{EstimatedJsonEncodedSizeOf, Event, EventArray, EventContainer, events_into_arrays};
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
    sent_events: Counter,
    sent_bytes: Counter,
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
        let mut sender = Self { primary: None, named: HashMap::new(), ledger };
        for (port, fanout) in outputs {
            let label = port.clone().unwrap_or_else(|| "_default".to_owned());
            let labels = [
                ("component_kind", "source".to_owned()),
                ("component_type", component_type.to_owned()),
                ("component_id", component_id.to_owned()),
                ("output", label),
            ];
            let output = Output {
                fanout,
                sent_events: metrics::counter!("component_sent_events_total", &labels),
                sent_bytes: metrics::counter!("component_sent_event_bytes_total", &labels),
            };
            match port {
                None => sender.primary = Some(output),
                Some(port) => {
                    sender.named.insert(port, output);
                }
            }
        }
        sender
    }

    /// Sends an array (or an event) by the primary output. Not cancel-safe: a cancelled call may
    /// have reached some consumers.
    ///
    /// # Errors
    /// `Closed` when the pipeline has ended.
    pub async fn send_event(&mut self, events: impl Into<EventArray>) -> Result<(), SendError> {
        Self::send(self.primary.as_mut(), &self.ledger, events.into()).await
    }

    /// Sends events by the primary output, packed into arrays.
    ///
    /// # Errors
    /// `Closed` when the pipeline has ended.
    pub async fn send_batch(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), SendError> {
        for array in events_into_arrays(events, Some(CHUNK_EVENTS)).collect::<Vec<_>>() {
            Self::send(self.primary.as_mut(), &self.ledger, array).await?;
        }
        Ok(())
    }

    /// Sends events by the output `port`, packed into arrays.
    ///
    /// # Errors
    /// `Closed` when the pipeline has ended or has no such port.
    pub async fn send_batch_named(
        &mut self,
        port: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), SendError> {
        for array in events_into_arrays(events, Some(CHUNK_EVENTS)).collect::<Vec<_>>() {
            Self::send(self.named.get_mut(port), &self.ledger, array).await?;
        }
        Ok(())
    }

    async fn send(output: Option<&mut Output>, ledger: &Ledger, events: EventArray) -> Result<(), SendError> {
        let output = output.ok_or(SendError::Closed)?;
        let count = events.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let bytes = events.estimated_json_encoded_size_of() as u64;
        ledger.add_received(count);
        output.fanout.send(events).await?;
        output.sent_events.increment(count);
        output.sent_bytes.increment(bytes);
        Ok(())
    }
}
