//! Transforms at run time: from events to events, possibly by several ports.
//! In: an array. Out: arrays for the primary output and for named ones.
//! Never: waits on I/O in a function or synchronous transform.

use std::collections::HashMap;
use std::pin::Pin;

use dyn_clone::DynClone;
use futures::Stream;

use crate::event::{Event, EventArray, EventContainer, LogEvent};

/// A stream of event containers, as task transforms take and give it.
pub type EventStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// A transform, in one of three forms.
pub enum Transform {
    /// One event in, any number out, one output.
    Function(Box<dyn FunctionTransform>),
    /// One event in, any number out, several outputs.
    Synchronous(Box<dyn SyncTransform>),
    /// A stream in, a stream out: may hold events back and look at the clock.
    Task(Box<dyn TaskTransform<EventArray>>),
}

impl Transform {
    /// A function transform.
    pub fn function(transform: impl FunctionTransform + 'static) -> Self {
        Self::Function(Box::new(transform))
    }

    /// A synchronous transform.
    pub fn synchronous(transform: impl SyncTransform + 'static) -> Self {
        Self::Synchronous(Box::new(transform))
    }

    /// A task transform.
    pub fn task(transform: impl TaskTransform<EventArray> + 'static) -> Self {
        Self::Task(Box::new(transform))
    }
}

/// One event in, any number out, by the one output.
pub trait FunctionTransform: Send + Sync + DynClone {
    /// Pushes what becomes of `event` into `output`. An event that is not pushed is dropped on purpose.
    fn transform(&mut self, output: &mut OutputBuffer, event: Event);
}

dyn_clone::clone_trait_object!(FunctionTransform);

/// One event in, any number out, by several outputs.
pub trait SyncTransform: Send + Sync + DynClone {
    /// Pushes what becomes of `event` into `output`.
    fn transform(&mut self, event: Event, output: &mut TransformOutputsBuf);

    /// The same for an array; override it when work can be shared by its events.
    fn transform_all(&mut self, events: EventArray, output: &mut TransformOutputsBuf) {
        for event in events.into_events() {
            self.transform(event, output);
        }
    }
}

dyn_clone::clone_trait_object!(SyncTransform);

impl<T: FunctionTransform> SyncTransform for T {
    fn transform(&mut self, event: Event, output: &mut TransformOutputsBuf) {
        FunctionTransform::transform(self, output.primary_mut(), event);
    }
}

impl SyncTransform for Box<dyn FunctionTransform> {
    fn transform(&mut self, event: Event, output: &mut TransformOutputsBuf) {
        FunctionTransform::transform(self.as_mut(), output.primary_mut(), event);
    }
}

/// A stream in, a stream out.
pub trait TaskTransform<T: EventContainer>: Send + 'static {
    /// Runs until the input ends; the output must then end too.
    fn transform(self: Box<Self>, input: EventStream<T>) -> EventStream<T>;
}

/// Events pushed by a transform, packed into one array.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    logs: Vec<LogEvent>,
}

impl OutputBuffer {
    /// Room for `capacity` events.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { logs: Vec::with_capacity(capacity) }
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        self.logs.push(event.into_log());
    }

    /// Adds a log event.
    pub fn push_log(&mut self, log: LogEvent) {
        self.logs.push(log);
    }

    /// Makes room for `additional` more events.
    pub fn reserve(&mut self, additional: usize) {
        self.logs.reserve(additional);
    }

    /// Moves all events of `events` over.
    pub fn append(&mut self, events: &mut Vec<Event>) {
        self.logs.extend(events.drain(..).map(Event::into_log));
    }

    /// Takes all events.
    pub fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.logs.drain(..).map(Event::Log)
    }

    /// Takes all events as one array; nothing if there are none.
    pub fn take_array(&mut self) -> Option<EventArray> {
        (!self.logs.is_empty()).then(|| EventArray::Logs(std::mem::take(&mut self.logs)))
    }

    /// The first event.
    #[must_use]
    pub fn first(&self) -> Option<&LogEvent> {
        self.logs.first()
    }

    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The events.
    pub fn into_events(self) -> impl Iterator<Item = Event> {
        self.logs.into_iter().map(Event::Log)
    }
}

impl Extend<Event> for OutputBuffer {
    fn extend<T: IntoIterator<Item = Event>>(&mut self, events: T) {
        self.logs.extend(events.into_iter().map(Event::into_log));
    }
}

/// The outputs of a synchronous transform: the primary one and the named ones it declared.
#[derive(Debug, Default)]
pub struct TransformOutputsBuf {
    primary: OutputBuffer,
    named: HashMap<String, OutputBuffer>,
    skipped: u64,
}

impl TransformOutputsBuf {
    /// Buffers for the named outputs `ports` and the primary one.
    #[must_use]
    pub fn new(ports: impl IntoIterator<Item = String>) -> Self {
        let named = ports.into_iter().map(|port| (port, OutputBuffer::default())).collect();
        Self { primary: OutputBuffer::default(), named, skipped: 0 }
    }

    /// Adds an event to the output `port` (`None`: the primary one). An event for a port that was not
    /// declared is dropped: a bug in the transform, shown in debug builds.
    pub fn push(&mut self, port: Option<&str>, event: Event) {
        match port {
            None => self.primary.push(event),
            Some(port) => match self.named.get_mut(port) {
                Some(buffer) => buffer.push(event),
                None => debug_assert!(false, "transform pushed to undeclared output {port:?}"),
            },
        }
    }

    /// Counts events that are fine but call for no output; the host's accounting lists them as skipped.
    pub fn count_skipped(&mut self, events: u64) {
        self.skipped += events;
    }

    /// Takes the count of skipped events.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// The primary output.
    pub fn primary_mut(&mut self) -> &mut OutputBuffer {
        &mut self.primary
    }

    /// Takes all events of the primary output.
    pub fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.primary.drain()
    }

    /// Takes all events of a named output.
    pub fn drain_named(&mut self, port: &str) -> impl Iterator<Item = Event> + '_ {
        self.named.get_mut(port).into_iter().flat_map(OutputBuffer::drain)
    }

    /// Takes the primary output.
    pub fn take_primary(&mut self) -> OutputBuffer {
        std::mem::take(&mut self.primary)
    }

    /// Takes the named outputs that hold events; the empty ones stay.
    pub fn take_all_named(&mut self) -> HashMap<String, OutputBuffer> {
        self.named
            .iter_mut()
            .filter(|(_, buffer)| !buffer.is_empty())
            .map(|(port, buffer)| (port.clone(), std::mem::take(buffer)))
            .collect()
    }
}
