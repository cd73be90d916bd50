//! Summary: the run in numbers.
//! In: what was fed, the last sample, what the sink-hole took. Out: text for eyes, JSON for machines; both say the same.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};

use super::feed::Fed;
use super::{BenchArgs, Run};
use crate::status::grouped;

/// Everything that is reported.
pub(super) struct Summary {
    pipeline: String,
    service: String,
    fed_events: u64,
    fed_bytes: u64,
    received: u64,
    delivered: u64,
    skipped: u64,
    failed: u64,
    not_delivered: u64,
    retried: u64,
    seconds: f64,
    cpu: Option<Duration>,
    rss_peak_bytes: Option<u64>,
    requests: u64,
    records: u64,
    throttled: u64,
    body_bytes: u64,
    in_flight_mean: f64,
    in_flight_max: u64,
    latency_ms: Option<[f64; 3]>,
    start_ms: Option<f64>,
    /// The pipeline's last word was heard.
    ended: bool,
}

impl Summary {
    pub(super) fn new(args: &BenchArgs, fed: &Fed, run: &Run) -> Self {
        let (last, taken) = (&run.last, &run.taken);
        // One request has a beginning and no length: then the start counts too.
        let seconds = match taken.span_nanos {
            0 => run.series.points().last().map_or(0.0, |point| point.at.as_secs_f64()),
            nanos => nanos as f64 / 1e9,
        };
        let (sum, number, in_flight_max) = run.in_flight;
        let millis = |latency: Duration| latency.as_secs_f64() * 1000.0;
        let quantile = |q| last.latencies.quantile(q).map(millis);
        let quantiles = || Some([quantile(0.5)?, quantile(0.99)?, quantile(0.999)?]);
        Self {
            pipeline: args.pipeline.name(),
            service: args.service.name(),
            fed_events: fed.events.load(Relaxed),
            fed_bytes: fed.bytes.load(Relaxed),
            received: last.received,
            delivered: last.delivered,
            skipped: last.skipped,
            failed: last.failed,
            not_delivered: last.held,
            retried: last.retried,
            seconds,
            cpu: last.process.map(|process| process.cpu),
            rss_peak_bytes: last.process.map(|process| process.rss_peak_bytes),
            requests: taken.requests,
            records: taken.records,
            throttled: taken.throttled,
            body_bytes: taken.body_bytes,
            in_flight_mean: sum as f64 / number.max(1) as f64,
            in_flight_max,
            latency_ms: quantiles(),
            start_ms: run.first_record.map(millis),
            ended: last.ended,
        }
    }

    /// Whether all that was fed was taken in and has a fate.
    pub(super) fn adds_up(&self) -> bool {
        self.ended && self.fed_events == self.received && self.not_delivered == 0
    }

    /// What was measured.
    pub(super) fn title(&self) -> String {
        format!("{}; {}", self.pipeline, self.service)
    }

    fn events_per_second(&self) -> f64 {
        self.received as f64 / self.seconds.max(1e-6)
    }

    fn megabytes_per_second(&self) -> f64 {
        self.fed_bytes as f64 / 1e6 / self.seconds.max(1e-6)
    }

    fn cpu_nanos_per_event(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_nanos() as f64 / self.received.max(1) as f64)
    }

    fn a_request(&self, sum: u64) -> f64 {
        sum as f64 / self.requests.max(1) as f64
    }

    /// One object; the names carry the units.
    pub(super) fn json(&self) -> String {
        let tenth = |number: f64| (number * 10.0).round() / 10.0;
        let latency = |at: usize| self.latency_ms.map(|latency| (latency[at] * 1000.0).round() / 1000.0);
        let cpu = self.cpu.map(|cpu| cpu.as_secs_f64());
        let report: Value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pipeline": self.pipeline,
            "service": self.service,
            "events": self.fed_events,
            "event_bytes": tenth(self.fed_bytes as f64 / self.fed_events.max(1) as f64),
            "received": self.received,
            "delivered": self.delivered,
            "skipped": self.skipped,
            "failed": self.failed,
            "not_delivered": self.not_delivered,
            "retried": self.retried,
            "adds_up": self.adds_up(),
            "seconds": self.seconds,
            "events_per_second": tenth(self.events_per_second()),
            "megabytes_per_second": tenth(self.megabytes_per_second()),
            "cpu_seconds": cpu,
            "cpu_nanos_per_event": self.cpu_nanos_per_event().map(tenth),
            "requests": self.requests,
            "records": self.records,
            "throttled_records": self.throttled,
            "records_per_request": tenth(self.a_request(self.records)),
            "body_bytes_per_request": tenth(self.a_request(self.body_bytes)),
            "in_flight_mean": tenth(self.in_flight_mean),
            "in_flight_max": self.in_flight_max,
            "latency_p50_ms": latency(0),
            "latency_p99_ms": latency(1),
            "latency_p999_ms": latency(2),
            "rss_peak_bytes": self.rss_peak_bytes,
            "start_to_first_record_ms": self.start_ms.map(tenth),
        });
        report.to_string()
    }

    /// A table.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.pipeline, self.service);
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<10}{value}");
        };
        let unknown = || "not known on this system".to_owned();
        row(
            "events",
            format!(
                "{} of {} B in {:.2} s",
                grouped(self.fed_events),
                grouped(self.fed_bytes / self.fed_events.max(1)),
                self.seconds
            ),
        );
        row(
            "rate",
            format!(
                "{} events/s   {:.1} MB/s",
                grouped(self.events_per_second() as u64),
                self.megabytes_per_second()
            ),
        );
        let cpu = self.cpu_nanos_per_event();
        row("CPU", cpu.map_or_else(unknown, |nanos| format!("{} ns/event", grouped(nanos as u64))));
        row(
            "requests",
            format!(
                "{}   {:.1} records, {} B of body each   in flight {:.1} (at most {})",
                grouped(self.requests),
                self.a_request(self.records),
                grouped(self.a_request(self.body_bytes) as u64),
                self.in_flight_mean,
                self.in_flight_max
            ),
        );
        let latency = self.latency_ms.map_or_else(
            || "nothing delivered".to_owned(),
            |[p50, p99, p999]| format!("p50 {p50:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms"),
        );
        row("latency", latency);
        let memory = self.rss_peak_bytes;
        row("memory", memory.map_or_else(unknown, |bytes| format!("{:.1} MB at most", bytes as f64 / 1e6)));
        let start = self.start_ms.map_or_else(|| "no record".to_owned(), |ms| format!("{ms:.0} ms"));
        row("start", format!("{start} to the first delivered record"));
        row(
            "books",
            format!(
                "received {} = delivered {} + skipped {} + failed {} + not delivered {}   retried {}   throttled {}",
                grouped(self.received),
                grouped(self.delivered),
                grouped(self.skipped),
                grouped(self.failed),
                grouped(self.not_delivered),
                grouped(self.retried),
                grouped(self.throttled)
            ),
        );
        text.pop();
        text
    }
}
