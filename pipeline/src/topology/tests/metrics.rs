//! The metrics that a pipeline of toys leaves behind, in Vector's names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::toys::{Does, Pipeline, Says, ToySink, ToySource, ToyTransform};
use crate::config::{BufferConfig, WhenFull};
use crate::topology::Outcome;

/// Keeps counters, and how often a histogram was told something.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Notes {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn read(&self, name: &str) -> Option<u64> {
        self.0.lock().unwrap().get(name).map(|cell| cell.load(Ordering::Relaxed))
    }
}

struct Times(Arc<AtomicU64>);

impl metrics::HistogramFn for Times {
    fn record(&self, _value: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Whole(Arc<AtomicU64>);

impl metrics::GaugeFn for Whole {
    fn increment(&self, _value: f64) {}

    fn decrement(&self, _value: f64) {}

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl Recorder for Notes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Whole(self.cell(key))))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Times(self.cell(key))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_counts_as_vector_does() {
    let notes = Notes::default();
    let _recording = metrics::set_default_local_recorder(&notes);
    let drops = ToyTransform { does: Does::Drops, ..ToyTransform::default() };
    let splits = ToyTransform { does: Does::Splits, ..ToyTransform::default() };
    let buffer = BufferConfig { max_events: 4, when_full: WhenFull::DropNewest, ..BufferConfig::default() };
    let rejects = ToySink { says: Says::Rejected, counts: true, ..ToySink::default() };
    let slow = ToySink { millis_per_array: 1000, ..ToySink::default() };
    let pipeline = Pipeline::default()
        .source("in", ToySource { arrays: vec![6, 6], ..ToySource::default() })
        .transform("drops", &["in"], drops)
        .transform("splits", &["in"], splits)
        .sink("out", &["drops"], ToySink::default())
        .sink("bad", &["splits.odd"], rejects)
        .sink_behind(buffer, "slow", &["in"], slow);
    assert_eq!(pipeline.run().await, Outcome::Finished);

    let source = "component_id=in,component_kind=source,component_type=toy_source";
    let drops = "component_id=drops,component_kind=transform,component_type=toy_transform";
    let splits = "component_id=splits,component_kind=transform,component_type=toy_transform";
    let out = "component_id=out,component_kind=sink,component_type=toy_sink";
    let bad = "component_id=bad,component_kind=sink,component_type=toy_sink";
    let slow = "component_id=slow,component_kind=sink,component_type=toy_sink";
    let buffer = |sink: &str, more: &str| {
        let id = sink.trim_start_matches("component_id=").split(',').next().unwrap();
        format!("{{buffer_id={id},buffer_type=memory,{sink},{more}stage=0}}")
    };
    for (name, labels, expected) in [
        ("component_received_events_total", format!("{{{source}}}"), 12),
        ("component_received_events_count", format!("{{{source}}}"), 2),
        ("component_sent_events_total", format!("{{{source},output=_default}}"), 12),
        ("component_received_events_total", format!("{{{drops}}}"), 12),
        ("component_discarded_events_total", format!("{{{drops},intentional=true}}"), 4),
        ("component_discarded_events_total", format!("{{{drops},intentional=false}}"), 0),
        ("component_sent_events_total", format!("{{{drops},output=_default}}"), 8),
        ("component_sent_events_total", format!("{{{splits},output=odd}}"), 6),
        ("component_sent_events_total", format!("{{{splits},output=_default}}"), 0),
        ("component_discarded_events_total", format!("{{{splits},intentional=false}}"), 6),
        ("component_received_events_total", format!("{{{out}}}"), 8),
        ("component_sent_events_total", format!("{{{out}}}"), 8),
        ("component_sent_events_total", format!("{{{bad}}}"), 0),
        ("component_discarded_events_total", format!("{{{bad},intentional=false}}"), 6),
        ("buffer_received_events_total", buffer(out, ""), 8),
        ("buffer_sent_events_total", buffer(out, ""), 8),
        ("buffer_send_duration_seconds", buffer(out, ""), 2),
        ("buffer_max_size_events", buffer(slow, ""), 4),
        ("buffer_max_size_events", buffer(out, ""), 500),
        ("buffer_size_events", buffer(slow, ""), 0),
    ] {
        assert_eq!(notes.read(&format!("{name}{labels}")), Some(expected), "{name}{labels}");
    }
    // The first array is in the sink or waits alone; the second may find the first one still waiting.
    let received = notes.read(&format!("buffer_received_events_total{}", buffer(slow, ""))).unwrap();
    let discarded = format!("buffer_discarded_events_total{}", buffer(slow, "intentional=true,"));
    assert_eq!(notes.read(&discarded), Some(12 - received));
    assert!(notes.read(&format!("component_sent_event_bytes_total{{{out}}}")).unwrap() > 0);
    assert!(notes.read(&format!("utilization{{{out}}}")).is_some());
}
