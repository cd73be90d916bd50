//! Telemetry: the sink's metrics and its words for a user.
//! In: the core's sums, once a turn of the loop. Out: Vector's component metrics and the Kinesis ones; log lines without content.
//! Never: counts per event, prints a record, a key or a secret.

use afluente_pipeline::accounting::{ComponentAccount, Load};
use metrics::{Counter, Gauge, Histogram};
use tracing::{error, info, warn};

use super::core::{Core, Notice, Rejection, Stats};
use super::drought::{Drought, Word};
use super::record::Moment;
use super::verdict::Trouble;

/// The sink's handles, registered once.
pub struct Telemetry {
    stream: String,
    account: ComponentAccount,
    last: Stats,
    drought: Drought,
    codes: Vec<(Counter, u64)>,
    stored: Counter,
    labels: [(&'static str, String); 3],
    sent_bytes: Counter,
    requests: Counter,
    throttles: Counter,
    retries: Counter,
    failed_records: Counter,
    failed_requests: Counter,
    duplicates: Counter,
    violations: Counter,
    conflated: Counter,
    aggregates: Counter,
    aggregated: Counter,
    request_records: Histogram,
    request_bytes: Histogram,
    held_bytes: Gauge,
    held_records: Gauge,
    oldest_age: Gauge,
    in_flight: Gauge,
    in_flight_limit: Gauge,
    paced_shards: Gauge,
    auto_distribution: Gauge,
}

/// Attempts by what became of them: `stored`, or the service's code.
fn verdicts(labels: &[(&'static str, String); 3], code: &str) -> Counter {
    let [kind, component_type, id] = labels.clone();
    metrics::counter!("kinesis_verdicts_total", &[kind, component_type, id, ("code", code.to_owned())])
}

impl Telemetry {
    /// Registers everything for the sink `component_id`.
    #[must_use]
    pub fn new(component_id: &str, stream: &str, account: ComponentAccount) -> Self {
        let labels = [
            ("component_kind", "sink".to_owned()),
            ("component_type", "aws_kinesis_streams".to_owned()),
            ("component_id", component_id.to_owned()),
        ];
        let counter = |name: &'static str| metrics::counter!(name, &labels);
        let gauge = |name: &'static str| metrics::gauge!(name, &labels);
        let histogram = |name: &'static str| metrics::histogram!(name, &labels);
        Self {
            stream: stream.to_owned(),
            account,
            last: Stats::default(),
            drought: Drought::default(),
            codes: Vec::new(),
            stored: verdicts(&labels, "stored"),
            labels: labels.clone(),
            sent_bytes: counter("component_sent_bytes_total"),
            requests: counter("kinesis_requests_total"),
            throttles: counter("kinesis_throttled_records_total"),
            retries: counter("kinesis_retried_records_total"),
            failed_records: counter("kinesis_failed_records_total"),
            failed_requests: counter("kinesis_failed_requests_total"),
            duplicates: counter("possible_duplicates_total"),
            violations: counter("order_violations_total"),
            conflated: counter("conflated_total"),
            aggregates: counter("kinesis_aggregates_total"),
            aggregated: counter("kinesis_aggregated_records_total"),
            request_records: histogram("kinesis_request_records"),
            request_bytes: histogram("kinesis_request_bytes"),
            held_bytes: gauge("kinesis_held_bytes"),
            held_records: gauge("kinesis_held_records"),
            oldest_age: gauge("kinesis_oldest_held_seconds"),
            in_flight: gauge("kinesis_in_flight_requests"),
            in_flight_limit: gauge("kinesis_in_flight_limit"),
            paced_shards: gauge("kinesis_paced_shards"),
            auto_distribution: gauge("kinesis_auto_distribution"),
        }
    }

    /// A request of `records` records goes out with a body of `bytes`.
    pub fn request(&self, records: usize, bytes: usize) {
        self.request_records.record(records as f64);
        self.request_bytes.record(bytes as f64);
        self.sent_bytes.increment(bytes as u64);
    }

    /// Adds what has changed since the last turn.
    pub fn update(&mut self, core: &mut Core, body_bytes: usize) {
        for (latency, records) in core.take_latencies() {
            self.account.add_latency(latency, records);
        }
        let held_bytes = (core.held_bytes() + body_bytes) as u64;
        self.account.set_load(Load { held_bytes, in_flight: core.in_flight().0 as u64 });
        let now = *core.stats();
        let last = std::mem::replace(&mut self.last, now);
        if now == last {
            return;
        }
        let delivered = now.delivered - last.delivered;
        if delivered > 0 {
            self.account.add_delivered(delivered);
            self.stored.increment(now.stored - last.stored);
            self.account.add_delivered_bytes(now.delivered_bytes - last.delivered_bytes);
        }
        let retried = now.retried - last.retried;
        if retried > 0 {
            self.account.add_retried(retried);
            self.retries.increment(retried);
        }
        self.requests.increment(now.requests - last.requests);
        self.throttles.increment(now.throttled - last.throttled);
        self.failed_records.increment(now.failed - last.failed);
        self.failed_requests.increment(now.failed_requests - last.failed_requests);
        self.duplicates.increment(now.possible_duplicates - last.possible_duplicates);
        self.conflated.increment(now.conflated - last.conflated);
        self.aggregates.increment(now.aggregates - last.aggregates);
        self.aggregated.increment(now.aggregated - last.aggregated);
        for (at, (code, count)) in core.failures_by_code().iter().enumerate() {
            if at == self.codes.len() {
                self.codes.push((verdicts(&self.labels, code), 0));
            }
            let (counter, counted) = &mut self.codes[at];
            counter.increment(count - *counted);
            *counted = *count;
        }
        if now.order_violations > last.order_violations {
            self.violations.increment(now.order_violations - last.order_violations);
            error!(stream = %self.stream, "A record landed before an older one of its key.");
        }
    }

    /// Sets the gauges. Looks at every held record for the oldest: for each few seconds.
    pub fn gauges(&self, now: Moment, core: &Core, body_bytes: usize) {
        let (in_flight, limit) = core.in_flight();
        self.held_bytes.set((core.held_bytes() + body_bytes) as f64);
        self.held_records.set(core.held_records() as f64);
        self.oldest_age
            .set(core.oldest_entered().map_or(0.0, |entered| now.saturating_sub(entered).as_secs_f64()));
        self.in_flight.set(in_flight as f64);
        self.in_flight_limit.set(limit as f64);
        self.paced_shards.set(core.lanes().paced() as f64);
        self.auto_distribution.set(f64::from(u8::from(core.lanes().map().is_auto())));
    }

    /// Tells when a stream refuses everything for its rate, and when that is over: for each few seconds.
    pub fn drought(&mut self, now: Moment, core: &Core) {
        let stats = core.stats();
        let stream = self.stream.as_str();
        match self.drought.look(now, stats.throttled, stats.stored) {
            Some(Word::Lasts(lasted)) => warn!(
                stream,
                "For {} s the stream has refused every record for its rate and stored none. All are kept and tried again; give it more \
                 shards or on-demand capacity, or slow down its other writers.",
                lasted.as_secs()
            ),
            Some(Word::Over(lasted)) => {
                info!(stream, "The stream stores records again, after {} s.", lasted.as_secs());
            }
            None => {}
        }
    }

    /// Counts and tells rejected records.
    pub fn rejected(&self, rejections: &[Rejection], dead_lettered: bool) {
        let count = rejections.iter().map(|rejection| rejection.record.events()).sum();
        if dead_lettered {
            self.account.add_dead_lettered(count);
        } else {
            self.account.add_rejected(count);
        }
        for Rejection { reason, .. } in rejections {
            metrics::counter!(
                "kinesis_rejected_records_total", "stream" => self.stream.clone(), "code" => reason.code().to_owned()
            )
            .increment(1);
        }
        if let Some(Rejection { reason: first, .. }) = rejections.first() {
            let kept = if dead_lettered {
                "kept in the dead letter file"
            } else {
                "not kept (no `dead_letter` is set)"
            };
            error!(stream = %self.stream, count, code = first.code(), reason = %first, "Record rejected, {kept}.");
        }
    }

    /// Tells what a user should read.
    pub fn notice(&self, notice: &Notice) {
        let stream = self.stream.as_str();
        match notice {
            Notice::StormBegan { trouble, code, message } => {
                let advice = match trouble {
                    Trouble::Credentials => {
                        "new credentials are being fetched; if it goes on, check the `auth` and `region` options and the clock"
                    }
                    Trouble::Pause => {
                        "check the stream's name and region, the rights and the key; nothing is lost while this lasts"
                    }
                    _ => "the service does not take records; everything is kept and tried again",
                };
                warn!(stream, class = trouble.as_str(), code, message, "Sending is held up: {advice}.");
            }
            Notice::StormEnded => info!(stream, "The service takes records again."),
            Notice::RecordLimit { limit } => {
                warn!(
                    stream,
                    limit,
                    "The stream takes records of at most {limit} bytes; larger ones are rejected from now on."
                );
            }
            Notice::RequestLimit { limit } => {
                warn!(
                    stream,
                    limit,
                    "The endpoint finds requests too large; they carry at most {limit} bytes from now on."
                );
            }
            Notice::AutoDistribution => warn!(
                stream,
                "This stream spreads records without looking at their keys (record distribution AUTO): order per key cannot be kept \
                 by any producer, and shards are not predicted any more. Set the stream's distribution to use partition keys if order matters."
            ),
            Notice::BadAnswer { problem } => {
                warn!(
                    stream,
                    problem,
                    "An answer of the service could not be read; its records are sent again and may be doubled."
                );
            }
        }
    }
}
