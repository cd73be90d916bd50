//! Events: what flows between components, in vector-core's names and shapes.
//! In: logs from sources. Out: arrays of them to transforms and sinks.
//! Never: knows a component, a file format or a service. Metrics and traces are not carried (see README, *Not supported*).

mod finalization;
mod finalizer;
mod log_event;
mod lost;
mod metadata;
mod size;

pub use finalization::{
    AddBatchNotifier, BatchNotifier, BatchStatus, BatchStatusReceiver, EventFinalizer, EventFinalizers,
    EventStatus, Finalizable,
};
pub use finalizer::{OrderedFinalizer, UnorderedFinalizer};
pub use log_event::{LogEvent, MESSAGE_KEY, Raw, SOURCE_TYPE_KEY, TIMESTAMP_KEY};
pub use lost::{LostUnlessDone, LostUnlessTaken, lose};
pub(crate) use lost::{LostUnlessDrained, losing};
pub use metadata::{EventMetadata, SourceMetadata};
pub use size::{ByteSizeOf, EstimatedJsonEncodedSizeOf, estimate_json_size};
pub use vrl::value::{KeyString, ObjectMap, Value};

/// One event. Only logs are carried; the enum leaves room for what Vector also has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A log event.
    Log(LogEvent),
}

impl Event {
    /// The log event.
    #[must_use]
    pub fn as_log(&self) -> &LogEvent {
        match self {
            Self::Log(log) => log,
        }
    }

    /// The log event, to change it.
    pub fn as_mut_log(&mut self) -> &mut LogEvent {
        match self {
            Self::Log(log) => log,
        }
    }

    /// The log event.
    #[must_use]
    pub fn into_log(self) -> LogEvent {
        match self {
            Self::Log(log) => log,
        }
    }

    /// The log event if it is one.
    #[must_use]
    pub fn try_into_log(self) -> Option<LogEvent> {
        match self {
            Self::Log(log) => Some(log),
        }
    }

    /// The log event if it is one.
    #[must_use]
    pub fn maybe_as_log(&self) -> Option<&LogEvent> {
        match self {
            Self::Log(log) => Some(log),
        }
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &EventMetadata {
        self.as_log().metadata()
    }

    /// The metadata, to change it.
    pub fn metadata_mut(&mut self) -> &mut EventMetadata {
        self.as_mut_log().metadata_mut()
    }

    /// Takes the metadata.
    #[must_use]
    pub fn into_metadata(self) -> EventMetadata {
        self.into_log().into_metadata()
    }

    /// The event with a finalizer that reports to `notifier`.
    #[must_use]
    pub fn with_batch_notifier(mut self, notifier: &BatchNotifier) -> Self {
        self.add_batch_notifier(notifier.clone());
        self
    }

    /// As [`Self::with_batch_notifier`] if there is one.
    #[must_use]
    pub fn with_batch_notifier_option(self, notifier: Option<&BatchNotifier>) -> Self {
        match notifier {
            Some(notifier) => self.with_batch_notifier(notifier),
            None => self,
        }
    }
}

impl From<LogEvent> for Event {
    fn from(log: LogEvent) -> Self {
        Self::Log(log)
    }
}

impl Finalizable for Event {
    fn take_finalizers(&mut self) -> EventFinalizers {
        self.as_mut_log().take_finalizers()
    }
}

impl AddBatchNotifier for Event {
    fn add_batch_notifier(&mut self, notifier: BatchNotifier) {
        self.metadata_mut().add_batch_notifier(notifier);
    }
}

/// Events of one kind, as they travel: one channel message, one array.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventArray {
    /// Log events.
    Logs(Vec<LogEvent>),
}

impl Default for EventArray {
    fn default() -> Self {
        Self::Logs(Vec::new())
    }
}

impl EventArray {
    /// The log events.
    #[must_use]
    pub fn into_logs(self) -> Vec<LogEvent> {
        match self {
            Self::Logs(logs) => logs,
        }
    }

    /// The log events.
    #[must_use]
    pub fn as_logs(&self) -> &[LogEvent] {
        match self {
            Self::Logs(logs) => logs,
        }
    }

    /// Each log event, to change it.
    pub fn iter_logs_mut(&mut self) -> impl Iterator<Item = &mut LogEvent> {
        match self {
            Self::Logs(logs) => logs.iter_mut(),
        }
    }

    /// Each event's metadata, to change it.
    pub fn for_each_metadata_mut(&mut self, mut update: impl FnMut(&mut EventMetadata)) {
        self.iter_logs_mut().for_each(|log| update(log.metadata_mut()));
    }
}

/// What one event and an array of events have in common.
pub trait EventContainer: ByteSizeOf + EstimatedJsonEncodedSizeOf {
    /// Iterator over the events.
    type IntoIter: Iterator<Item = Event>;

    /// How many events.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events.
    fn into_events(self) -> Self::IntoIter;
}

impl EventContainer for Event {
    type IntoIter = std::iter::Once<Event>;

    fn len(&self) -> usize {
        1
    }

    fn into_events(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

impl EventContainer for EventArray {
    type IntoIter = std::iter::Map<std::vec::IntoIter<LogEvent>, fn(LogEvent) -> Event>;

    fn len(&self) -> usize {
        self.as_logs().len()
    }

    fn into_events(self) -> Self::IntoIter {
        self.into_logs().into_iter().map(Event::Log)
    }
}

impl ByteSizeOf for Event {
    fn allocated_bytes(&self) -> usize {
        self.as_log().allocated_bytes()
    }
}

impl EstimatedJsonEncodedSizeOf for Event {
    fn estimated_json_encoded_size_of(&self) -> usize {
        self.as_log().estimated_json_encoded_size_of()
    }
}

impl ByteSizeOf for EventArray {
    fn allocated_bytes(&self) -> usize {
        self.as_logs().iter().map(ByteSizeOf::size_of).sum()
    }
}

impl EstimatedJsonEncodedSizeOf for EventArray {
    fn estimated_json_encoded_size_of(&self) -> usize {
        self.as_logs().iter().map(EstimatedJsonEncodedSizeOf::estimated_json_encoded_size_of).sum()
    }
}

impl From<Event> for EventArray {
    fn from(event: Event) -> Self {
        Self::Logs(vec![event.into_log()])
    }
}

impl From<LogEvent> for EventArray {
    fn from(log: LogEvent) -> Self {
        Self::Logs(vec![log])
    }
}

impl From<Vec<LogEvent>> for EventArray {
    fn from(logs: Vec<LogEvent>) -> Self {
        Self::Logs(logs)
    }
}

/// Packs events into arrays of at most `max_size` (default: unbounded).
pub fn events_into_arrays(
    events: impl IntoIterator<Item = Event>,
    max_size: Option<usize>,
) -> impl Iterator<Item = EventArray> {
    let max_size = max_size.unwrap_or(usize::MAX).max(1);
    let mut events = events.into_iter().map(Event::into_log);
    std::iter::from_fn(move || {
        let logs: Vec<_> = events.by_ref().take(max_size).collect();
        (!logs.is_empty()).then_some(EventArray::Logs(logs))
    })
}
