//! Pluggable: a source, a transform and a sink that the host has never heard of, run from a configuration file.
//! They are defined here, outside all crates, register themselves by being linked, and share nothing with the host
//! but the traits.

use std::path::PathBuf;
use std::sync::Mutex;

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::{
    ComponentDescription, ComponentKind, DataType, ExtraContext, Input, SinkConfig, SinkContext, Source,
    SourceConfig, SourceContext, SourceOutput, TransformConfig, TransformContext, TransformOutput,
};
use afluente::pipeline::config::{AcknowledgementsConfig, ConfigPath, load};
use afluente::pipeline::event::{Event, EventArray, EventStatus, Finalizable, LogEvent};
use afluente::pipeline::inventory;
use afluente::pipeline::sink::{Healthcheck, StreamSink, VectorSink};
use afluente::pipeline::topology::{Outcome, Topology};
use afluente::pipeline::transform::{FunctionTransform, OutputBuffer, Transform};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sends numbers as text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Numbers {
    up_to: u32,
}

#[async_trait]
#[typetag::serde(name = "test_numbers")]
impl SourceConfig for Numbers {
    async fn build(&self, context: SourceContext) -> afluente::pipeline::Result<Source> {
        let (mut out, up_to) = (context.out, self.up_to);
        Ok(Box::pin(async move {
            for number in 0..up_to {
                out.send_event(LogEvent::from_str_legacy(number.to_string())).await.map_err(|_| ())?;
            }
            Ok(())
        }))
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        false
    }
}

/// Lets the even ones through.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Even {}

#[async_trait]
#[typetag::serde(name = "test_even")]
impl TransformConfig for Even {
    async fn build(&self, _context: &TransformContext) -> afluente::pipeline::Result<Transform> {
        Ok(Transform::function(self.clone()))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn outputs(&self, _context: &TransformContext) -> Vec<TransformOutput> {
        vec![TransformOutput::new(DataType::Log)]
    }
}

impl FunctionTransform for Even {
    fn transform(&mut self, output: &mut OutputBuffer, event: Event) {
        if text(event.as_log()).parse::<u32>().unwrap() % 2 == 0 {
            output.push(event);
        }
    }
}

fn text(event: &LogEvent) -> String {
    String::from_utf8(event.get_message_bytes().unwrap().into_owned()).unwrap()
}

static COLLECTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what arrives.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Collect {
    prefix: String,
    #[serde(default)]
    acknowledgements: AcknowledgementsConfig,
}

#[async_trait]
#[typetag::serde(name = "test_collect")]
impl SinkConfig for Collect {
    async fn build(&self, _context: SinkContext) -> afluente::pipeline::Result<(VectorSink, Healthcheck)> {
        Ok((VectorSink::from_event_streamsink(self.clone()), Box::pin(async { Ok(()) })))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }
}

#[async_trait]
impl StreamSink<EventArray> for Collect {
    async fn run(self: Box<Self>, mut input: BoxStream<'_, EventArray>) -> Result<(), ()> {
        while let Some(events) = input.next().await {
            for mut event in events.into_logs() {
                let finalizers = event.take_finalizers();
                COLLECTED.lock().unwrap().push(format!("{}{}", self.prefix, text(&event)));
                finalizers.update_status(EventStatus::Delivered);
            }
        }
        Ok(())
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: "test_numbers",
        summary: "Numbers.",
        schema: |generator| generator.subschema_for::<Numbers>(),
    }
}
inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Transform,
        name: "test_even",
        summary: "Even numbers.",
        schema: |generator| generator.subschema_for::<Even>(),
    }
}
inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Sink,
        name: "test_collect",
        summary: "Keeps what arrives.",
        schema: |generator| generator.subschema_for::<Collect>(),
    }
}

#[tokio::test]
async fn components_defined_outside_run_from_a_configuration_file() {
    afluente::link();
    let folder = tempfile::TempDir::new().unwrap();
    let path: PathBuf = folder.path().join("pipeline.toml");
    std::fs::write(
        &path,
        r#"
[sources.numbers]
type = "test_numbers"
up_to = 10

[transforms.even]
type = "test_even"
inputs = ["num*"]

[sinks.collect]
type = "test_collect"
inputs = ["even"]
prefix = "no. "
"#,
    )
    .unwrap();
    let loaded = load(&[ConfigPath::File { path, format: None }], &|_| None).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let ledger = Ledger::default();
    let topology = Topology::build(&loaded.config, ExtraContext::default(), ledger.clone()).await.unwrap();
    let running = topology.start().await.unwrap();
    let outcome = running.run(futures::stream::pending(), None).await;
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(*COLLECTED.lock().unwrap(), ["no. 0", "no. 2", "no. 4", "no. 6", "no. 8"]);
    let balance = ledger.balance();
    assert_eq!((balance.received, balance.delivered, balance.dropped, balance.held), (10, 5, 5, 0));
}
