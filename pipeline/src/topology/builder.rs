//! Builder: from a checked configuration to components joined by queues.
//! In: a [`Config`]. Out: a [`Topology`] that is ready to start, or every component's error at once, in Vector's words.
//! Wires from the sinks up: queues first, then what writes into them.

use std::collections::{BTreeSet, HashMap};

use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, error_span};

use super::fanout::Fanout;
use super::health::{HealthReport, PendingCheck, run_checks, sentence};
use super::running::{Failure, RunningTopology};
use super::sink_task::SinkTask;
use super::telemetry::{ComponentLabels, Gauges};
use super::transform_task::{self, Inlet, Outlets};
use crate::accounting::Ledger;
use crate::buffers::{
    BufferReceiver, BufferSender, DEFAULT_QUEUE_BYTES, QueueLimits, queue, queue_with_metrics,
};
use crate::component::{
    ComponentKey, ComponentKind, ExtraContext, NamedComponent, OutputId, SinkContext, Source, SourceContext,
    TransformContext,
};
use crate::config::{BufferConfig, Config, SinkOuter, SourceOuter, TransformOuter};
use crate::shutdown::ShutdownTrigger;
use crate::source_sender::SourceSender;
use crate::transform::Transform;

/// Every component built, joined by queues, and not yet running. Dropping it drops them.
pub struct Topology {
    sources: Vec<Built<Source>>,
    transforms: Vec<Built<(Transform, Inlet, Outlets)>>,
    sinks: Vec<Built<SinkTask>>,
    checks: Vec<PendingCheck>,
    unchecked: Vec<ComponentKey>,
    require_healthy: bool,
    /// Most arrays of one transform that are worked on at once.
    threads: usize,
    side_by_side: BTreeSet<ComponentKey>,
    trigger: ShutdownTrigger,
    ledger: Ledger,
    gauges: Gauges,
}

struct Built<T> {
    key: ComponentKey,
    span: Span,
    part: T,
}

/// Why a built topology did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `healthchecks.require_healthy` is set and a health check failed. A matter of configuration: exit code 78.
    #[error("{}", unhealthy(.0))]
    Unhealthy(Vec<HealthReport>),
}

fn unhealthy(reports: &[HealthReport]) -> String {
    let sentences = reports
        .iter()
        .filter_map(|report| Some(format!("Sink \"{}\": {}", report.sink, report.result.as_ref().err()?)))
        .collect::<Vec<_>>();
    format!("{} (`healthchecks.require_healthy` is set)", sentences.join("; "))
}

impl Topology {
    /// Builds every component of `config`. `extra` is handed to all of them; `ledger` keeps the books.
    ///
    /// # Errors
    /// One sentence for each component that could not be built: `Sink "out": …`.
    pub async fn build(config: &Config, extra: ExtraContext, ledger: Ledger) -> Result<Self, Vec<String>> {
        Builder::new(config, extra, ledger).build().await
    }

    /// The pipeline's books.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Runs the health checks that are enabled, all at once, and logs a line for each. They run once: a
    /// topology that is started afterwards does not repeat them.
    pub async fn check_health(&mut self) -> Vec<HealthReport> {
        for sink in std::mem::take(&mut self.unchecked) {
            tracing::info!(component_id = %sink, component_kind = "sink", "Healthcheck disabled.");
        }
        run_checks(std::mem::take(&mut self.checks)).await
    }

    /// Starts every component, sinks first. Health checks run beside the pipeline, or before it if
    /// `healthchecks.require_healthy` is set; the call may then take as long as the slowest of them.
    ///
    /// # Errors
    /// When health is required and a health check failed; nothing was started then.
    pub async fn start(mut self) -> Result<RunningTopology, StartError> {
        if self.require_healthy {
            let reports = self.check_health().await;
            if reports.iter().any(|report| report.result.is_err()) {
                return Err(StartError::Unhealthy(reports));
            }
        }
        let checks = std::mem::take(&mut self.checks);
        let mut running = RunningTopology::new(self.trigger, self.ledger, self.gauges);
        for sink in self.unchecked {
            tracing::info!(component_id = %sink, component_kind = "sink", "Healthcheck disabled.");
        }
        if !checks.is_empty() {
            running.keep_health_checks(AbortOnDropHandle::new(tokio::spawn(run_checks(checks))));
        }
        for Built { key, span, part } in self.sinks {
            running.spawn(ComponentKind::Sink, key, part.run().instrument(span));
        }
        for Built { key, span, part: (transform, inlet, outlets) } in self.transforms {
            let side_by_side = if self.side_by_side.contains(&key) { self.threads } else { 1 };
            let task = transform_task::run(transform, inlet, outlets, side_by_side).instrument(span);
            running.spawn(ComponentKind::Transform, key, task);
        }
        for Built { key, span, part: source } in self.sources {
            let task = async move { source.await.map_err(|()| Failure::Error) };
            running.spawn(ComponentKind::Source, key, task.instrument(span));
        }
        Ok(running)
    }
}

struct Builder<'a> {
    config: &'a Config,
    extra: ExtraContext,
    errors: Vec<String>,
    /// Who reads which output.
    consumers: HashMap<OutputId, Vec<(ComponentKey, BufferSender)>>,
    topology: Topology,
}

impl<'a> Builder<'a> {
    fn new(config: &'a Config, extra: ExtraContext, ledger: Ledger) -> Self {
        let topology = Topology {
            sources: Vec::new(),
            transforms: Vec::new(),
            sinks: Vec::new(),
            checks: Vec::new(),
            unchecked: Vec::new(),
            require_healthy: config.healthchecks.require_healthy,
            threads: tokio::runtime::Handle::current().metrics().num_workers(),
            side_by_side: BTreeSet::new(),
            trigger: ShutdownTrigger::new(),
            ledger,
            gauges: Gauges::default(),
        };
        Self { config, extra, errors: Vec::new(), consumers: HashMap::new(), topology }
    }

    async fn build(mut self) -> Result<Topology, Vec<String>> {
        let config = self.config;
        for (key, sink) in &config.sinks {
            self.sink(key, sink).await;
        }
        // A transform may feed another one: all queues exist before the first output is made.
        let mut queues = Vec::with_capacity(config.transforms.len());
        for (key, transform) in &config.transforms {
            let (sender, receiver) = queue(QueueLimits::default(), self.topology.ledger.clone());
            self.consume(key, &transform.inputs, &sender);
            queues.push(receiver);
        }
        for ((key, transform), receiver) in config.transforms.iter().zip(queues) {
            self.transform(key, transform, receiver).await;
        }
        for (key, source) in &config.sources {
            self.source(key, source).await;
        }
        let unknown = self.consumers.iter().flat_map(|(output, consumers)| {
            consumers.iter().map(move |(key, _)| {
                format!("Input \"{output}\" for \"{key}\" doesn't match any components.")
            })
        });
        // Unknown inputs are only told where nothing else is wrong: a component that failed has no outputs either.
        if self.errors.is_empty() {
            self.errors = unknown.collect();
        }
        if self.errors.is_empty() { Ok(self.topology) } else { Err(self.errors) }
    }

    fn consume(&mut self, key: &ComponentKey, inputs: &[OutputId], sender: &BufferSender) {
        for input in inputs {
            self.consumers.entry(input.clone()).or_default().push((key.clone(), sender.clone()));
        }
    }

    /// The fan-outs of a component's ports.
    fn fanouts(
        &mut self,
        key: &ComponentKey,
        ports: impl IntoIterator<Item = Option<String>>,
    ) -> HashMap<Option<String>, Fanout> {
        ports
            .into_iter()
            .map(|port| {
                let output = OutputId { component: key.clone(), port: port.clone() };
                let consumers = self.consumers.remove(&output).unwrap_or_default();
                (port, Fanout::new(consumers, self.topology.ledger.clone()))
            })
            .collect()
    }

    fn fail(&mut self, kind: &str, key: &ComponentKey, error: &crate::Error) {
        self.errors.push(format!("{kind} \"{key}\": {}", sentence(&**error)));
    }

    async fn sink(&mut self, key: &ComponentKey, outer: &SinkOuter) {
        let component_type = outer.inner.get_component_name();
        let span = error_span!("sink", component_id = %key, component_kind = "sink", component_type);
        let labels = ComponentLabels::new(ComponentKind::Sink, component_type, key.id());
        let limits = sink_queue_limits(&outer.buffer);
        let metrics = labels.queue(key.id(), limits);
        let (sender, receiver) = queue_with_metrics(limits, self.topology.ledger.clone(), metrics);
        self.consume(key, &outer.inputs, &sender);
        self.topology.gauges.add_level(sender.level());
        let account = self.topology.ledger.account_for(key, component_type);
        let context = SinkContext {
            key: key.clone(),
            healthcheck: outer.healthcheck.clone(),
            globals: self.config.global.clone(),
            proxy: outer.proxy.clone(),
            buffer: outer.buffer.clone(),
            account: account.clone(),
            extra_context: self.extra.clone(),
        };
        let (sink, check) = match outer.inner.build(context).instrument(span.clone()).await {
            Ok(built) => built,
            Err(error) => return self.fail("Sink", key, &error),
        };
        if self.config.healthchecks.enabled && outer.healthcheck.enabled {
            let timeout = outer.healthcheck.timeout;
            self.topology.checks.push(PendingCheck { sink: key.clone(), component_type, timeout, check });
        } else {
            self.topology.unchecked.push(key.clone());
        }
        let utilization = labels.utilization();
        self.topology.gauges.add_utilization(utilization.clone());
        let part = SinkTask::new(sink, receiver, account, &labels, utilization);
        self.topology.sinks.push(Built { key: key.clone(), span, part });
    }

    async fn transform(&mut self, key: &ComponentKey, outer: &TransformOuter, receiver: BufferReceiver) {
        let component_type = outer.inner.get_component_name();
        let span =
            error_span!("transform", component_id = %key, component_kind = "transform", component_type);
        let context = TransformContext {
            key: Some(key.clone()),
            globals: self.config.global.clone(),
            extra_context: self.extra.clone(),
        };
        let transform = match outer.inner.build(&context).instrument(span.clone()).await {
            Ok(transform) => transform,
            Err(error) => return self.fail("Transform", key, &error),
        };
        let labels = ComponentLabels::new(ComponentKind::Transform, component_type, key.id());
        let ports = outer.inner.outputs(&context).into_iter().map(|output| output.port);
        let fanouts = self.fanouts(key, ports);
        let outlets = Outlets::new(fanouts, &labels, self.topology.ledger.clone());
        let utilization = labels.utilization();
        self.topology.gauges.add_utilization(utilization.clone());
        let inlet = Inlet::new(receiver, &labels, utilization);
        if outer.inner.enable_concurrency() {
            self.topology.side_by_side.insert(key.clone());
        }
        self.topology.transforms.push(Built { key: key.clone(), span, part: (transform, inlet, outlets) });
    }

    async fn source(&mut self, key: &ComponentKey, outer: &SourceOuter) {
        let component_type = outer.inner.get_component_name();
        let span = error_span!("source", component_id = %key, component_kind = "source", component_type);
        let fanouts = self.fanouts(key, outer.inner.outputs().into_iter().map(|output| output.port));
        let out = SourceSender::new(component_type, key.id(), fanouts, self.topology.ledger.clone());
        let context = SourceContext {
            key: key.clone(),
            globals: self.config.global.clone(),
            shutdown: self.topology.trigger.signal(),
            out,
            proxy: outer.proxy.clone(),
            acknowledgements: self.acknowledges(key, outer),
            extra_context: self.extra.clone(),
        };
        match outer.inner.build(context).instrument(span.clone()).await {
            Ok(part) => self.topology.sources.push(Built { key: key.clone(), span, part }),
            Err(error) => self.fail("Source", key, &error),
        }
    }

    /// Whether a source waits until its events are settled; tells if it should and cannot.
    fn acknowledges(&self, key: &ComponentKey, outer: &SourceOuter) -> bool {
        if !self.config.acknowledging_sources().contains(key) {
            return false;
        }
        if outer.inner.can_acknowledge() {
            return true;
        }
        const MESSAGE: &str = "Acknowledgements are enabled by a sink, but are not supported by this source. \
                               Events that are on their way when the process is killed cannot be read again.";
        // On by default here, so it is only worth a warning to one who asked for it.
        let asked = self.config.sinks.values().filter(|sink| {
            sink.inner.acknowledgements().merge_default(&self.config.global.acknowledgements).get()
                == Some(true)
        });
        if self.config.sources_upstream_of(asked).contains(key) {
            tracing::warn!(component_id = %key, component_kind = "source", "{MESSAGE}");
        } else {
            tracing::info!(component_id = %key, component_kind = "source", "{MESSAGE}");
        }
        false
    }
}

/// The bounds of the queue in front of a sink: as configured, and never without a bound on bytes.
fn sink_queue_limits(buffer: &BufferConfig) -> QueueLimits {
    QueueLimits {
        max_events: buffer.max_events,
        max_bytes: buffer.max_size_bytes.unwrap_or(DEFAULT_QUEUE_BYTES),
        when_full: buffer.when_full,
    }
}
