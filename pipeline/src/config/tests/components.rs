//! Toy components: enough options to be configured wrongly in every way.

use std::net::SocketAddr;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::AcknowledgementsConfig;
use crate::component::{
    ComponentDescription, ComponentKind, DataType, Input, Resource, SinkConfig, SinkContext, Source,
    SourceConfig, SourceContext, SourceOutput, TransformConfig, TransformContext, TransformOutput,
};
use crate::sink::{Healthcheck, VectorSink};
use crate::transform::Transform;

/// Swallows unknown keys, as Vector's `http_server` does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct CfgSource {
    #[serde(alias = "listen")]
    address: Option<SocketAddr>,
    #[serde(default)]
    deaf: bool,
}

#[async_trait]
#[typetag::serde(name = "cfg_source")]
impl SourceConfig for CfgSource {
    async fn build(&self, _: SourceContext) -> crate::Result<Source> {
        Err("not built in these tests".into())
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        !self.deaf
    }

    fn resources(&self) -> Vec<Resource> {
        self.address.map(Resource::tcp).into_iter().collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CfgPass {}

#[async_trait]
#[typetag::serde(name = "cfg_pass")]
impl TransformConfig for CfgPass {
    async fn build(&self, _: &TransformContext) -> crate::Result<Transform> {
        Err("not built in these tests".into())
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn outputs(&self, _: &TransformContext) -> Vec<TransformOutput> {
        vec![TransformOutput::new(DataType::Log)]
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CfgRoute {
    ports: Vec<String>,
}

#[async_trait]
#[typetag::serde(name = "cfg_route")]
impl TransformConfig for CfgRoute {
    async fn build(&self, _: &TransformContext) -> crate::Result<Transform> {
        Err("not built in these tests".into())
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn outputs(&self, _: &TransformContext) -> Vec<TransformOutput> {
        self.ports.iter().map(|port| TransformOutput::new(DataType::Log).with_port(port)).collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CfgSink {
    name: String,
    encoding: CfgEncoding,
    #[serde(default)]
    batch: CfgBatch,
    limit: Option<u32>,
    ratio: Option<f64>,
    on: Option<bool>,
    mode: Option<CfgMode>,
    concurrency: Option<CfgConcurrency>,
    region: Option<String>,
    address: Option<SocketAddr>,
    auth: Option<CfgAuth>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    acknowledgements: AcknowledgementsConfig,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct CfgEncoding {
    codec: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct CfgBatch {
    max_events: Option<u16>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum CfgMode {
    Fast,
    Slow,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum CfgConcurrency {
    Fixed(u32),
    Named(CfgMode),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum CfgAuth {
    Keys { access_key_id: String, secret_access_key: String },
    Role { assume_role: String },
}

#[async_trait]
#[typetag::serde(name = "cfg_sink")]
impl SinkConfig for CfgSink {
    async fn build(&self, _: SinkContext) -> crate::Result<(VectorSink, Healthcheck)> {
        Err("not built in these tests".into())
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }

    fn resources(&self) -> Vec<Resource> {
        self.address.map(Resource::tcp).into_iter().collect()
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        if let Some(limit) = self.limit.filter(|limit| *limit > 10) {
            mistakes.push(format!("`limit` is {limit}; at most 10"));
        }
        if self.name.starts_with('!') {
            mistakes.push(format!("name {:?} starts with !", self.name));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn notes(&self) -> Vec<String> {
        self.partial.then(|| "`partial` is always on".to_owned()).into_iter().collect()
    }
}

macro_rules! describe {
    ($($kind:ident $name:literal $config:ty),* $(,)?) => {$(
        inventory::submit! {
            ComponentDescription {
                kind: ComponentKind::$kind,
                name: $name,
                summary: "For tests.",
                schema: |generator| generator.subschema_for::<$config>(),
            }
        }
    )*};
}
describe! {
    Source "cfg_source" CfgSource,
    Transform "cfg_pass" CfgPass,
    Transform "cfg_route" CfgRoute,
    Sink "cfg_sink" CfgSink,
}
