//! Contexts: what the host hands a component when it builds it.
//! In: global options, the component's wrapper keys. Out: everything `build` may need, and nothing global.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use super::ComponentKey;
use crate::accounting::ComponentAccount;
use crate::config::{BufferConfig, GlobalOptions, ProxyConfig, SinkHealthcheckOptions};
use crate::shutdown::ShutdownSignal;
use crate::source_sender::SourceSender;

/// A typed map for what a host wants to hand its own components.
#[derive(Clone, Debug, Default)]
pub struct ExtraContext(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl ExtraContext {
    /// Adds a value of a type of its own.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// The value of type `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

/// What a source is built with.
pub struct SourceContext {
    /// The source's id.
    pub key: ComponentKey,
    /// Global options.
    pub globals: GlobalOptions,
    /// Resolves when the source should stop taking.
    pub shutdown: ShutdownSignal,
    /// Where events go.
    pub out: SourceSender,
    /// Proxies for outgoing connections.
    pub proxy: ProxyConfig,
    /// Whether the source should wait until its events are settled.
    pub acknowledgements: bool,
    /// What the host adds.
    pub extra_context: ExtraContext,
}

/// What a transform is built with.
#[derive(Clone, Debug, Default)]
pub struct TransformContext {
    /// The transform's id, if it runs in a pipeline.
    pub key: Option<ComponentKey>,
    /// Global options.
    pub globals: GlobalOptions,
    /// What the host adds.
    pub extra_context: ExtraContext,
}

impl TransformContext {
    /// A context with these global options.
    #[must_use]
    pub fn new_with_globals(globals: GlobalOptions) -> Self {
        Self { globals, ..Self::default() }
    }
}

/// What a sink is built with.
#[derive(Clone, Debug, Default)]
pub struct SinkContext {
    /// The sink's id.
    pub key: ComponentKey,
    /// How the health check is run.
    pub healthcheck: SinkHealthcheckOptions,
    /// Global options.
    pub globals: GlobalOptions,
    /// Proxies for outgoing connections.
    pub proxy: ProxyConfig,
    /// The sink's `buffer`, for a sink that keeps its own byte budget (`max_bytes`).
    pub buffer: BufferConfig,
    /// Where the sink counts what became of its events. A sink that does not touch it counts as one
    /// that delivers everything it takes.
    pub account: ComponentAccount,
    /// What the host adds.
    pub extra_context: ExtraContext,
}
