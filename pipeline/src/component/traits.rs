//! The three component traits, in Vector's names and shapes.
//! In: a deserialized configuration. Out: a source, a transform or a sink, built for a context.
//! `validate_structure` and `outputs` are pure; only `build` may touch the world.

use std::path::PathBuf;

use async_trait::async_trait;
use dyn_clone::DynClone;
use futures::future::BoxFuture;

use super::{Input, Resource, SinkContext, SourceContext, SourceOutput, TransformContext, TransformOutput};
use crate::Result;
use crate::config::AcknowledgementsConfig;
use crate::sink::{Healthcheck, VectorSink};
use crate::transform::Transform;

/// A running source; resolves when it has nothing more to give and everything it waits for is settled.
pub type Source = BoxFuture<'static, std::result::Result<(), ()>>;

/// A component that knows the name it has in configuration files.
pub trait NamedComponent {
    /// The name, as in `type: …`.
    fn get_component_name(&self) -> &'static str;
}

/// Every typetag configuration knows its name.
macro_rules! named {
    ($($trait:ident),*) => {$(
        impl NamedComponent for dyn $trait {
            fn get_component_name(&self) -> &'static str {
                self.typetag_name()
            }
        }
    )*};
}
named!(SourceConfig, TransformConfig, SinkConfig);

/// The configuration of a source.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait SourceConfig: DynClone + std::fmt::Debug + Send + Sync {
    /// Builds the source. It must stop taking when `context.shutdown` resolves.
    ///
    /// # Errors
    /// What is wrong with the configuration or the environment, in one sentence.
    async fn build(&self, context: SourceContext) -> Result<Source>;

    /// The outputs.
    fn outputs(&self) -> Vec<SourceOutput>;

    /// Whether this source can wait for its events to be settled.
    fn can_acknowledge(&self) -> bool;

    /// What only this source may own.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// What is wrong inside the configuration, each in one sentence. Pure: no file, no network.
    ///
    /// # Errors
    /// All mistakes found.
    fn validate_structure(&self) -> std::result::Result<(), Vec<String>> {
        Ok(())
    }
}

dyn_clone::clone_trait_object!(SourceConfig);

/// The configuration of a transform.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait TransformConfig: DynClone + std::fmt::Debug + Send + Sync {
    /// Builds the transform.
    ///
    /// # Errors
    /// What is wrong with the configuration or the environment, in one sentence.
    async fn build(&self, context: &TransformContext) -> Result<Transform>;

    /// What it takes.
    fn input(&self) -> Input;

    /// The outputs.
    fn outputs(&self, context: &TransformContext) -> Vec<TransformOutput>;

    /// What is wrong inside the configuration, each in one sentence. Pure: no file, no network.
    ///
    /// # Errors
    /// All mistakes found.
    fn validate_structure(&self) -> std::result::Result<(), Vec<String>> {
        Ok(())
    }

    /// Whether arrays may be worked on side by side by clones (their order is kept).
    /// Only for transforms without memory.
    fn enable_concurrency(&self) -> bool {
        false
    }

    /// Files whose change should reload the transform.
    fn files_to_watch(&self) -> Vec<&PathBuf> {
        Vec::new()
    }

    /// The verb `map` runs this transform on records by itself if it is one.
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }
}

dyn_clone::clone_trait_object!(TransformConfig);

/// The configuration of a sink.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait SinkConfig: DynClone + std::fmt::Debug + Send + Sync {
    /// Builds the sink and its health check.
    ///
    /// # Errors
    /// What is wrong with the configuration or the environment, in one sentence.
    async fn build(&self, context: SinkContext) -> Result<(VectorSink, Healthcheck)>;

    /// What it takes.
    fn input(&self) -> Input;

    /// Whether sources should wait for this sink.
    fn acknowledgements(&self) -> &AcknowledgementsConfig;

    /// What only this sink may own.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// What is wrong inside the configuration, each in one sentence. Pure: no file, no network.
    ///
    /// # Errors
    /// All mistakes found.
    fn validate_structure(&self) -> std::result::Result<(), Vec<String>> {
        Ok(())
    }

    /// Notes for the user that are no errors (an option that is always on, one that is not needed here).
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Files whose change should reload the sink.
    fn files_to_watch(&self) -> Vec<&PathBuf> {
        Vec::new()
    }

    /// For verbs that know one sink by type (`check --iam-policy`, `redrive`).
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }
}

dyn_clone::clone_trait_object!(SinkConfig);
