//! Model: a configuration whose parts fit together, ready to be built.
//! In: checked components with resolved inputs, from `builder.rs` and `graph.rs`. Out: what the topology wires.
//! Holds: components in the order of the files; every input names an output that exists; no cycles.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use indexmap::IndexMap;

use super::{BufferConfig, GlobalOptions, ProxyConfig, SinkHealthcheckOptions};
use crate::component::{ComponentKey, OutputId, SinkConfig, SourceConfig, TransformConfig};

/// Where the API listens by default, as in Vector.
pub const DEFAULT_API_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8686);

/// A whole pipeline, checked. Maps keep the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Options that components are handed. `proxy` already includes what the environment says.
    pub global: GlobalOptions,
    /// Whether health checks run, and whether a failed one stops the start.
    pub healthchecks: HealthcheckOptions,
    /// The host's own HTTP server.
    pub api: ApiOptions,
    /// Sources by id.
    pub sources: IndexMap<ComponentKey, SourceOuter>,
    /// Transforms by id.
    pub transforms: IndexMap<ComponentKey, TransformOuter>,
    /// Sinks by id.
    pub sinks: IndexMap<ComponentKey, SinkOuter>,
}

/// `healthchecks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthcheckOptions {
    /// Whether any health check runs at start.
    pub enabled: bool,
    /// Whether a failed health check keeps the pipeline from starting.
    pub require_healthy: bool,
}

impl Default for HealthcheckOptions {
    fn default() -> Self {
        Self { enabled: true, require_healthy: false }
    }
}

/// `api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiOptions {
    /// Whether the API is served.
    pub enabled: bool,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self { enabled: false, address: DEFAULT_API_ADDRESS }
    }
}

/// A source and the keys around its own options.
#[derive(Clone, Debug)]
pub struct SourceOuter {
    /// The source's own options.
    pub inner: Box<dyn SourceConfig>,
    /// Proxies in force: the source's, else the global ones, else the environment's.
    pub proxy: ProxyConfig,
}

/// A transform and the keys around its own options.
#[derive(Clone, Debug)]
pub struct TransformOuter {
    /// The transform's own options.
    pub inner: Box<dyn TransformConfig>,
    /// The outputs it reads, each once; wildcards are resolved.
    pub inputs: Vec<OutputId>,
}

/// A sink and the keys around its own options.
#[derive(Clone, Debug)]
pub struct SinkOuter {
    /// The sink's own options.
    pub inner: Box<dyn SinkConfig>,
    /// The outputs it reads, each once; wildcards are resolved.
    pub inputs: Vec<OutputId>,
    /// The queue in front of it.
    pub buffer: BufferConfig,
    /// How its health check is run.
    pub healthcheck: SinkHealthcheckOptions,
    /// Proxies in force: the sink's, else the global ones, else the environment's.
    pub proxy: ProxyConfig,
}

impl Config {
    /// Whether sources should wait for this sink: what it says, else what the global setting says, else yes.
    #[must_use]
    pub fn sink_acknowledges(&self, sink: &SinkOuter) -> bool {
        sink.inner.acknowledgements().merge_default(&self.global.acknowledgements).enabled()
    }

    /// The sources that should wait for their events to be settled: those upstream of at least one sink that
    /// acknowledges. Once a source waits, it waits for every sink that gets a copy. Whether a source is able to is
    /// not asked here; see `SourceConfig::can_acknowledge`.
    #[must_use]
    pub fn acknowledging_sources(&self) -> BTreeSet<ComponentKey> {
        self.sources_upstream_of(self.sinks.values().filter(|sink| self.sink_acknowledges(sink)))
    }

    /// The sources whose events can reach one of `sinks`.
    pub(crate) fn sources_upstream_of<'a>(
        &'a self,
        sinks: impl Iterator<Item = &'a SinkOuter>,
    ) -> BTreeSet<ComponentKey> {
        let mut sources = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut next: Vec<&OutputId> = sinks.flat_map(|sink| &sink.inputs).collect();
        while let Some(output) = next.pop() {
            if !seen.insert(&output.component) {
                continue;
            }
            if self.sources.contains_key(&output.component) {
                sources.insert(output.component.clone());
            } else if let Some(transform) = self.transforms.get(&output.component) {
                next.extend(&transform.inputs);
            }
        }
        sources
    }
}
