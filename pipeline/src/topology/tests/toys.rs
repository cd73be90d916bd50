//! Toys: a source, a transform and a sink whose behaviour is their configuration, and a board they write on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::accounting::{Balance, ComponentAccount, Ledger};
use crate::component::{
    ComponentKey, DataType, ExtraContext, Input, OutputId, SinkConfig, SinkContext, Source, SourceConfig,
    SourceContext, SourceOutput, TransformConfig, TransformContext, TransformOutput,
};
use crate::config::{
    AcknowledgementsConfig, BufferConfig, Config, ProxyConfig, SinkHealthcheckOptions, SinkOuter,
    SourceOuter, TransformOuter,
};
use crate::event::{
    BatchNotifier, BatchStatus, BatchStatusReceiver, Event, EventArray, EventContainer, EventFinalizers,
    EventMetadata, EventStatus, Finalizable, LogEvent, UnorderedFinalizer,
};
use crate::sink::{Healthcheck, StreamSink, VectorSink};
use crate::topology::{Outcome, Stop, Topology};
use crate::transform::{
    EventStream, FunctionTransform, OutputBuffer, SyncTransform, TaskTransform, Transform,
    TransformOutputsBuf,
};

/// What the toys saw.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<Notes>>);

#[derive(Default)]
pub(super) struct Notes {
    /// Messages that each sink took.
    pub(super) taken: HashMap<String, Vec<String>>,
    /// What each source heard of its batches.
    pub(super) heard: HashMap<String, Vec<BatchStatus>>,
    /// How many events each source could hand over.
    pub(super) sent: HashMap<String, usize>,
}

impl Board {
    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    pub(super) fn taken(&self, sink: &str) -> Vec<String> {
        self.notes().taken.get(sink).cloned().unwrap_or_default()
    }

    pub(super) fn heard(&self, source: &str) -> Vec<BatchStatus> {
        self.notes().heard.get(source).cloned().unwrap_or_default()
    }

    pub(super) fn sent(&self, source: &str) -> usize {
        self.notes().sent.get(source).copied().unwrap_or_default()
    }
}

/// Sends `arrays` of so many events, then ends, or stays until it is told to stop.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ToySource {
    pub(super) arrays: Vec<usize>,
    /// Repeats `arrays` until it is told to stop.
    pub(super) endless: bool,
    /// Stays when `arrays` are sent.
    pub(super) stays: bool,
    /// Never looks at the shutdown signal.
    pub(super) deaf: bool,
    pub(super) no_acks: bool,
    pub(super) fails: bool,
    pub(super) no_build: bool,
}

#[async_trait]
#[typetag::serde(name = "toy_source")]
impl SourceConfig for ToySource {
    async fn build(&self, context: SourceContext) -> crate::Result<Source> {
        if self.no_build {
            return Err("the toy is broken".into());
        }
        Ok(Box::pin(self.clone().run(context)))
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        !self.no_acks
    }
}

impl ToySource {
    async fn run(self, mut context: SourceContext) -> Result<(), ()> {
        let board = context.extra_context.get::<Board>().cloned().unwrap_or_default();
        let id = context.key.id().to_owned();
        let (pending, mut heard) = UnorderedFinalizer::new_unordered(None);
        let hearing = tokio::spawn({
            let (board, id) = (board.clone(), id.clone());
            async move {
                while let Some((status, ())) = heard.next().await {
                    board.notes().heard.entry(id.clone()).or_default().push(status);
                }
            }
        });
        let mut number = 0;
        'sending: loop {
            for size in &self.arrays {
                let (notifier, receiver) = BatchNotifier::maybe_new_with_receiver(context.acknowledgements);
                let array = numbered(&id, &mut number, *size, notifier);
                if let Some(receiver) = receiver {
                    pending.add((), receiver);
                }
                let mut shutdown = context.shutdown.clone();
                tokio::select! {
                    biased;
                    () = &mut shutdown, if !self.deaf => break 'sending,
                    sent = context.out.send_event(array) => sent.map_err(|_| ())?,
                }
                *board.notes().sent.entry(id.clone()).or_default() += size;
                // As real sources do, it gives others a turn.
                tokio::task::yield_now().await;
            }
            if !self.endless {
                break;
            }
        }
        if self.fails {
            return Err(());
        }
        if self.deaf {
            std::future::pending::<()>().await;
        }
        if self.stays {
            context.shutdown.clone().await;
        }
        drop(pending);
        let _ = hearing.await;
        Ok(())
    }
}

fn numbered(id: &str, number: &mut usize, size: usize, notifier: Option<BatchNotifier>) -> EventArray {
    let finalizers = notifier.map(EventFinalizers::from_notifier).unwrap_or_default();
    let logs = (0..size).map(|_| {
        *number += 1;
        let metadata = EventMetadata::default().with_finalizers(finalizers.clone());
        LogEvent::from_message_bytes(format!("{id}-{number}").into(), metadata)
    });
    EventArray::Logs(logs.collect())
}

/// An event whose finalizer reports to the returned receiver.
pub(super) fn watched_event() -> (EventArray, BatchStatusReceiver) {
    let (notifier, receiver) = BatchNotifier::new_with_receiver();
    (numbered("watched", &mut 0, 1, Some(notifier)), receiver)
}

/// What a toy transform does with each event, by its number.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) enum Does {
    #[default]
    Passes,
    /// Drops every third one.
    Drops,
    /// Gives two for one.
    Doubles,
    /// Gives every second one to the port `odd`.
    Splits,
    /// Gives each to both outputs.
    Copies,
    /// Skips every second one.
    Skips,
    /// Drops every third and doubles the others.
    DropsAndDoubles,
    /// Panics at the tenth.
    Panics,
}

/// How a toy transform runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    #[default]
    Synchronous,
    SideBySide,
    Function,
    Task,
    /// A task that ends before its input.
    EarlyTask,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ToyTransform {
    pub(super) does: Does,
    pub(super) form: Form,
    pub(super) no_build: bool,
}

#[async_trait]
#[typetag::serde(name = "toy_transform")]
impl TransformConfig for ToyTransform {
    async fn build(&self, _context: &TransformContext) -> crate::Result<Transform> {
        if self.no_build {
            return Err("the toy is broken".into());
        }
        Ok(match self.form {
            Form::Synchronous | Form::SideBySide => Transform::synchronous(Toy(self.does)),
            Form::Function => Transform::function(FunctionToy(Toy(self.does))),
            Form::Task | Form::EarlyTask => Transform::task(self.clone()),
        })
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn outputs(&self, _context: &TransformContext) -> Vec<TransformOutput> {
        let mut outputs = vec![TransformOutput::new(DataType::Log)];
        if self.has_odd_port() {
            outputs.push(TransformOutput::new(DataType::Log).with_port("odd"));
        }
        outputs
    }

    fn enable_concurrency(&self) -> bool {
        self.form == Form::SideBySide
    }
}

impl ToyTransform {
    pub(super) fn has_odd_port(&self) -> bool {
        matches!(self.form, Form::Synchronous | Form::SideBySide)
            && matches!(self.does, Does::Splits | Does::Copies)
    }
}

fn message(log: &LogEvent) -> String {
    String::from_utf8(log.get_message_bytes().unwrap().into_owned()).unwrap()
}

fn number(event: &Event) -> usize {
    message(event.as_log()).rsplit('-').next().unwrap().parse().unwrap()
}

#[derive(Clone)]
struct Toy(Does);

impl SyncTransform for Toy {
    fn transform(&mut self, event: Event, output: &mut TransformOutputsBuf) {
        let number = number(&event);
        match self.0 {
            Does::Drops | Does::DropsAndDoubles if number.is_multiple_of(3) => {}
            Does::Doubles | Does::DropsAndDoubles => {
                output.push(None, event.clone());
                output.push(None, event);
            }
            Does::Splits if !number.is_multiple_of(2) => output.push(Some("odd"), event),
            Does::Copies => {
                output.push(Some("odd"), event.clone());
                output.push(None, event);
            }
            Does::Skips if number.is_multiple_of(2) => output.count_skipped(1),
            Does::Panics => {
                assert!(number < 10, "the toy breaks at ten");
                output.push(None, event);
            }
            _ => output.push(None, event),
        }
    }
}

#[derive(Clone)]
struct FunctionToy(Toy);

impl FunctionTransform for FunctionToy {
    fn transform(&mut self, output: &mut OutputBuffer, event: Event) {
        output.extend(self.0.apply(event));
    }
}

impl Toy {
    /// What becomes of `event` in a form that has one output and cannot skip.
    fn apply(&mut self, event: Event) -> Vec<Event> {
        let mut outputs = TransformOutputsBuf::new(["odd".to_owned()]);
        SyncTransform::transform(self, event, &mut outputs);
        let mut events: Vec<_> = outputs.drain().collect();
        events.extend(outputs.drain_named("odd"));
        events
    }
}

impl TaskTransform<EventArray> for ToyTransform {
    fn transform(self: Box<Self>, input: EventStream<EventArray>) -> EventStream<EventArray> {
        let mut toy = Toy(self.does);
        let arrays = if self.form == Form::EarlyTask { 1 } else { usize::MAX };
        Box::pin(input.take(arrays).map(move |array| {
            let events = array.into_events().flat_map(|event| toy.apply(event));
            EventArray::Logs(events.map(Event::into_log).collect())
        }))
    }
}

/// What a toy sink says of each array.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) enum Says {
    #[default]
    Delivered,
    Errored,
    Rejected,
    /// Settles nothing and takes nothing more.
    Nothing,
    /// Drops events without a word.
    Drops,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ToySink {
    pub(super) says: Says,
    /// Counts for itself, as a sink that knows the pipeline's books.
    pub(super) counts: bool,
    /// Time for each array.
    pub(super) millis_per_array: u64,
    /// Fails after this many arrays.
    pub(super) fails_after: Option<usize>,
    /// Ends well after this many arrays.
    pub(super) ends_after: Option<usize>,
    pub(super) sick: Option<String>,
    pub(super) no_build: bool,
    pub(super) acknowledgements: AcknowledgementsConfig,
}

#[async_trait]
#[typetag::serde(name = "toy_sink")]
impl SinkConfig for ToySink {
    async fn build(&self, context: SinkContext) -> crate::Result<(VectorSink, Healthcheck)> {
        if self.no_build {
            return Err("the toy is broken".into());
        }
        let sink = RunningSink {
            config: self.clone(),
            id: context.key.id().to_owned(),
            board: context.extra_context.get::<Board>().cloned().unwrap_or_default(),
            account: self.counts.then_some(context.account),
        };
        let sick = self.sick.clone();
        let check = Box::pin(async move { sick.map_or(Ok(()), |reason| Err(reason.into())) });
        Ok((VectorSink::from_event_streamsink(sink), check))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }
}

struct RunningSink {
    config: ToySink,
    id: String,
    board: Board,
    account: Option<ComponentAccount>,
}

#[async_trait]
impl StreamSink<EventArray> for RunningSink {
    async fn run(self: Box<Self>, mut input: BoxStream<'_, EventArray>) -> Result<(), ()> {
        let mut arrays = 0;
        while let Some(mut array) = input.next().await {
            if self.config.millis_per_array > 0 {
                tokio::time::sleep(Duration::from_millis(self.config.millis_per_array)).await;
            }
            arrays += 1;
            if self.config.fails_after.is_some_and(|limit| arrays > limit) {
                // As a sink that knows what it owes: the array it cannot settle is an error.
                array
                    .iter_logs_mut()
                    .for_each(|log| log.take_finalizers().update_status(EventStatus::Errored));
                return Err(());
            }
            let messages = array.as_logs().iter().map(message);
            self.board.notes().taken.entry(self.id.clone()).or_default().extend(messages);
            let events = array.len() as u64;
            let status = match self.config.says {
                Says::Delivered => EventStatus::Delivered,
                Says::Errored => EventStatus::Errored,
                Says::Rejected => EventStatus::Rejected,
                Says::Drops => continue,
                Says::Nothing => std::future::pending().await,
            };
            if let Some(account) = &self.account {
                match status {
                    EventStatus::Delivered => account.add_delivered(events),
                    _ => account.add_rejected(events),
                }
            }
            array.iter_logs_mut().for_each(|log| log.take_finalizers().update_status(status));
            if self.config.ends_after.is_some_and(|limit| arrays >= limit) {
                break;
            }
        }
        Ok(())
    }
}

/// A pipeline of toys.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) config: Config,
    pub(super) board: Board,
    pub(super) ledger: Ledger,
}

pub(super) fn output(name: &str) -> OutputId {
    match name.split_once('.') {
        Some((component, port)) => OutputId { component: component.into(), port: Some(port.to_owned()) },
        None => OutputId::primary(name.into()),
    }
}

impl Pipeline {
    pub(super) fn source(mut self, id: &str, inner: ToySource) -> Self {
        let outer = SourceOuter { inner: Box::new(inner), proxy: ProxyConfig::default() };
        self.config.sources.insert(id.into(), outer);
        self
    }

    pub(super) fn transform(mut self, id: &str, inputs: &[&str], inner: ToyTransform) -> Self {
        let inputs = inputs.iter().map(|name| output(name)).collect();
        self.config.transforms.insert(id.into(), TransformOuter { inner: Box::new(inner), inputs });
        self
    }

    pub(super) fn sink(self, id: &str, inputs: &[&str], inner: ToySink) -> Self {
        self.sink_behind(BufferConfig::default(), id, inputs, inner)
    }

    pub(super) fn sink_behind(
        mut self,
        buffer: BufferConfig,
        id: &str,
        inputs: &[&str],
        inner: ToySink,
    ) -> Self {
        let outer = SinkOuter {
            inner: Box::new(inner),
            inputs: inputs.iter().map(|name| output(name)).collect(),
            buffer,
            healthcheck: SinkHealthcheckOptions::default(),
            proxy: ProxyConfig::default(),
        };
        self.config.sinks.insert(ComponentKey::from(id), outer);
        self
    }

    pub(super) async fn build(&self) -> Result<Topology, Vec<String>> {
        let extra = ExtraContext::default().with(self.board.clone());
        Topology::build(&self.config, extra, self.ledger.clone()).await
    }

    /// Runs until it ends by itself.
    pub(super) async fn run(&self) -> Outcome {
        self.run_with(futures::stream::pending(), None).await
    }

    /// Runs with these requests to stop.
    pub(super) async fn run_with(
        &self,
        stops: impl futures::Stream<Item = Stop>,
        limit: Option<Duration>,
    ) -> Outcome {
        self.build().await.unwrap().start().await.unwrap().run(stops, limit).await
    }

    /// Starts it in the background; what is sent to the handle stops it.
    pub(super) async fn start(&self, limit: Option<Duration>) -> Started {
        let running = self.build().await.unwrap().start().await.unwrap();
        let (stops, mut requests) = mpsc::unbounded_channel();
        let stream = futures::stream::poll_fn(move |context| requests.poll_recv(context));
        Started { stops, outcome: tokio::spawn(running.run(stream, limit)) }
    }

    pub(super) fn balance(&self) -> Balance {
        self.ledger.balance()
    }

    /// Lets everything that can happen now happen.
    pub(super) async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        while !condition(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A pipeline that runs in the background.
pub(super) struct Started {
    pub(super) stops: mpsc::UnboundedSender<Stop>,
    pub(super) outcome: tokio::task::JoinHandle<Outcome>,
}

/// The equation of the books, with nothing held.
pub(super) fn assert_adds_up(balance: Balance) {
    let gone = balance.delivered
        + balance.rejected
        + balance.dead_lettered
        + balance.dropped
        + balance.skipped
        + balance.discarded;
    assert_eq!(balance.received + balance.copies, gone + balance.held, "{balance}");
}
