//! Telemetry of the topology: Vector's component, buffer and utilization metrics.
//! In: what arrays weigh, how long a component waits for input. Out: metrics, registered once a component and
//! incremented once an array; gauges every few seconds.
//! Never: looks at an event. Needs a `metrics` recorder that was installed before the topology was built.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use tokio::time::Instant;

use crate::buffers::{BufferLevel, QueueLimits, QueueMetrics, Weight};
use crate::component::ComponentKind;

/// How often gauges are set; Vector's period for `utilization`.
pub(crate) const GAUGE_PERIOD: Duration = Duration::from_secs(5);

/// Weight of the newest period in `utilization`, as in Vector.
const UTILIZATION_ALPHA: f64 = 0.9;

/// The labels that every metric of a component carries.
#[derive(Clone, Debug)]
pub struct ComponentLabels(Vec<Label>);

impl ComponentLabels {
    /// `component_id`, `component_kind` and `component_type`.
    #[must_use]
    pub fn new(kind: ComponentKind, component_type: &str, component_id: &str) -> Self {
        Self(vec![
            Label::new("component_id", component_id.to_owned()),
            Label::new("component_kind", kind.as_str()),
            Label::new("component_type", component_type.to_owned()),
        ])
    }

    fn with(&self, more: &[(&'static str, String)]) -> Vec<Label> {
        let mut labels = self.0.clone();
        labels.extend(more.iter().map(|(name, value)| Label::new(*name, value.clone())));
        labels
    }

    /// `component_discarded_events_total`.
    pub fn discarded(&self, intentional: bool) -> Counter {
        counter!("component_discarded_events_total", self.with(&[("intentional", intentional.to_string())]))
    }

    /// `component_errors_total`; `error_type` and `stage` are words of Vector's instrumentation specification.
    pub fn errors(&self, error_type: &'static str, stage: &'static str) -> Counter {
        let labels = self.with(&[("error_type", error_type.to_owned()), ("stage", stage.to_owned())]);
        counter!("component_errors_total", labels)
    }

    /// The metrics of the queue in front of a sink. Sets the gauges that never change.
    pub(crate) fn queue(&self, component_id: &str, limits: QueueLimits) -> QueueMetrics {
        let labels = self.with(&[
            ("buffer_id", component_id.to_owned()),
            ("buffer_type", "memory".to_owned()),
            ("stage", "0".to_owned()),
        ]);
        gauge!("buffer_max_size_events", labels.clone()).set(limits.max_events as f64);
        gauge!("buffer_max_size_bytes", labels.clone()).set(limits.max_bytes as f64);
        let mut discard_labels = labels.clone();
        discard_labels.push(Label::new("intentional", "true"));
        QueueMetrics {
            received_events: counter!("buffer_received_events_total", labels.clone()),
            received_bytes: counter!("buffer_received_bytes_total", labels.clone()),
            sent_events: counter!("buffer_sent_events_total", labels.clone()),
            sent_bytes: counter!("buffer_sent_bytes_total", labels.clone()),
            discarded_events: counter!("buffer_discarded_events_total", discard_labels.clone()),
            discarded_bytes: counter!("buffer_discarded_bytes_total", discard_labels),
            send_seconds: histogram!("buffer_send_duration_seconds", labels.clone()),
            size_events: gauge!("buffer_size_events", labels.clone()),
            size_bytes: gauge!("buffer_size_bytes", labels),
        }
    }

    /// The `utilization` of a transform or sink that starts now.
    pub(crate) fn utilization(&self) -> Arc<Utilization> {
        Arc::new(Utilization {
            gauge: gauge!("utilization", self.0.clone()),
            started: Instant::now(),
            waited_nanos: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
        })
    }
}

/// `component_received_*`.
#[derive(Clone)]
pub(crate) struct Received {
    events: Counter,
    bytes: Counter,
    count: Histogram,
}

impl Received {
    pub(crate) fn new(labels: &ComponentLabels) -> Self {
        Self {
            events: counter!("component_received_events_total", labels.0.clone()),
            bytes: counter!("component_received_event_bytes_total", labels.0.clone()),
            count: histogram!("component_received_events_count", labels.0.clone()),
        }
    }

    /// Counts an array.
    pub(crate) fn count(&self, weight: Weight) {
        self.events.increment(weight.events as u64);
        self.bytes.increment(weight.json_bytes as u64);
        self.count.record(weight.events as f64);
    }
}

/// `component_sent_*` of one output of a source or transform.
#[derive(Clone)]
pub(crate) struct Sent {
    events: Counter,
    bytes: Counter,
}

impl Sent {
    pub(crate) fn new(labels: &ComponentLabels, port: Option<&str>) -> Self {
        let labels = labels.with(&[("output", port.unwrap_or("_default").to_owned())]);
        Self {
            events: counter!("component_sent_events_total", labels.clone()),
            bytes: counter!("component_sent_event_bytes_total", labels),
        }
    }

    /// Counts an array.
    pub(crate) fn count(&self, weight: Weight) {
        self.events.increment(weight.events as u64);
        self.bytes.increment(weight.json_bytes as u64);
    }
}

/// How much of its time a component does not wait for input.
pub(crate) struct Utilization {
    gauge: Gauge,
    started: Instant,
    waited_nanos: AtomicU64,
    /// Nanoseconds after `started` at which the present wait began, plus one; zero while busy.
    waiting_since: AtomicU64,
}

impl Utilization {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The component found no input. Again and again is once.
    pub(crate) fn wait(&self) {
        if self.waiting_since.load(Ordering::Relaxed) == 0 {
            self.waiting_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// The component got input (or its end).
    pub(crate) fn work(&self) {
        let since = self.waiting_since.swap(0, Ordering::Relaxed);
        if since > 0 {
            self.waited_nanos.fetch_add(self.now().saturating_sub(since - 1), Ordering::Relaxed);
        }
    }

    /// Nanoseconds since the start, and how many of them were spent waiting.
    fn read(&self) -> (u64, u64) {
        let now = self.now();
        let since = self.waiting_since.load(Ordering::Relaxed);
        let waiting = if since > 0 { now.saturating_sub(since - 1) } else { 0 };
        (now, self.waited_nanos.load(Ordering::Relaxed) + waiting)
    }
}

/// What is looked at every few seconds.
#[derive(Default)]
pub(crate) struct Gauges {
    levels: Vec<BufferLevel>,
    utilizations: Vec<UtilizationMean>,
}

struct UtilizationMean {
    source: Arc<Utilization>,
    at: u64,
    waited: u64,
    mean: Option<f64>,
}

impl Gauges {
    pub(crate) fn add_level(&mut self, level: BufferLevel) {
        self.levels.push(level);
    }

    pub(crate) fn add_utilization(&mut self, source: Arc<Utilization>) {
        self.utilizations.push(UtilizationMean { source, at: 0, waited: 0, mean: None });
    }

    /// Sets all gauges.
    pub(crate) fn report(&mut self) {
        self.levels.iter().for_each(BufferLevel::report);
        for utilization in &mut self.utilizations {
            if let Some(mean) = utilization.advance() {
                utilization.source.gauge.set(mean);
            }
        }
    }
}

impl UtilizationMean {
    /// The mean after the time that has passed since the last call; nothing if no time has passed.
    fn advance(&mut self) -> Option<f64> {
        let (now, waited) = self.source.read();
        let passed = now.saturating_sub(self.at);
        if passed == 0 {
            return None;
        }
        let waiting = waited.saturating_sub(self.waited) as f64 / passed as f64;
        let busy = (1.0 - waiting).clamp(0.0, 1.0);
        (self.at, self.waited) = (now, waited);
        let mean = self.mean.map_or(busy, |mean| UTILIZATION_ALPHA * busy + (1.0 - UTILIZATION_ALPHA) * mean);
        self.mean = Some(mean);
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn utilization_is_the_share_of_time_not_spent_waiting() {
        let labels = ComponentLabels::new(ComponentKind::Sink, "test", "out");
        let source = labels.utilization();
        let mut gauges = Gauges::default();
        gauges.add_utilization(Arc::clone(&source));
        let mean = &mut gauges.utilizations[0];
        source.wait();
        tokio::time::advance(Duration::from_secs(3)).await;
        source.work();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(mean.advance(), Some(0.25));
        source.wait();
        source.wait();
        tokio::time::advance(Duration::from_secs(5)).await;
        let idle = mean.advance().expect("time has passed");
        assert!((idle - 0.025).abs() < 1e-9, "{idle}");
        assert_eq!(mean.advance(), None, "no time has passed");
    }
}
