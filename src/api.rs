//! API: what a running pipeline serves over HTTP: `/health` and `/metrics`.
//! In: the address from the configuration. Out: Vector's health answers; metrics in Prometheus' text format.
//! Holds: the metrics recorder. It must be started before the topology is built, or the topology's metrics are lost.
//! Never: serves anything that changes the pipeline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use afluente::pipeline::accounting::Ledger;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// How often histograms are summed up, so that they do not grow between two readings.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// The running API. Dropping it closes the port.
pub(crate) struct Api {
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
    _upkeep: AbortOnDropHandle<()>,
}

struct Shared {
    recorder: PrometheusHandle,
    ledger: Ledger,
    started: Instant,
    stopping: AtomicBool,
}

impl Api {
    /// Installs the recorder and listens. `ledger` is the pipeline's, whose books are metrics too.
    ///
    /// # Errors
    /// One sentence: the port is taken, or metrics are already recorded elsewhere.
    pub(crate) async fn start(address: SocketAddr, ledger: Ledger) -> Result<Self, String> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("api.address: cannot listen on {address}: {error}"))?;
        let recorder = PrometheusBuilder::new()
            .set_buckets(&bounds())
            .map_err(|error| error.to_string())?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        let shared = Arc::new(Shared {
            recorder: handle,
            ledger,
            started: Instant::now(),
            stopping: AtomicBool::new(false),
        });
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "API server running: /health, /metrics.");
        }
        let app = axum::Router::new()
            .route("/health", get(health))
            .route("/metrics", get(render))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "The API server ended.");
            }
        });
        let upkeep = tokio::spawn(keep_up(Arc::clone(&shared)));
        Ok(Self { shared, _server: AbortOnDropHandle::new(server), _upkeep: AbortOnDropHandle::new(upkeep) })
    }

    /// From now on `/health` says that the pipeline does not serve any more.
    pub(crate) fn stopping(&self) {
        if !self.shared.stopping.swap(true, Ordering::Relaxed) {
            metrics::counter!("stopped_total").increment(1);
        }
    }
}

/// Vector's bounds of histograms: powers of two from 2^-12 to 2^12.
fn bounds() -> Vec<f64> {
    (-12..=12).map(|power| 2_f64.powi(power)).collect()
}

/// Metrics of the process, in Vector's names.
fn describe() {
    metrics::counter!("started_total").increment(1);
    metrics::gauge!(
        "build_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "rust_version" => env!("CARGO_PKG_RUST_VERSION"),
        "arch" => std::env::consts::ARCH,
        "debug" => if cfg!(debug_assertions) { "true" } else { "false" },
    )
    .set(1.0);
}

async fn keep_up(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        ticks.tick().await;
        shared.recorder.run_upkeep();
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let stopping = shared.stopping.load(Ordering::Relaxed);
    let (status, body) = if stopping {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"ok":false}"#)
    } else {
        (StatusCode::OK, r#"{"ok":true}"#)
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn render(State(shared): State<Arc<Shared>>) -> Response {
    metrics::gauge!("uptime_seconds").set(shared.started.elapsed().as_secs_f64());
    keep_books(&shared.ledger);
    keep_latencies(&shared.ledger);
    let text = shared.recorder.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The equation of promise 1: `received + copies` is the sum of the other fates and `pipeline_held_events`.
fn keep_books(ledger: &Ledger) {
    let balance = ledger.balance();
    let fates = [
        ("received", balance.received),
        ("copies", balance.copies),
        ("delivered", balance.delivered),
        ("rejected", balance.rejected),
        ("dead_lettered", balance.dead_lettered),
        ("dropped", balance.dropped),
        ("skipped", balance.skipped),
        ("discarded", balance.discarded),
    ];
    for (fate, events) in fates {
        metrics::counter!("pipeline_events_total", "fate" => fate).absolute(events);
    }
    metrics::gauge!("pipeline_held_events").set(balance.held as f64);
}

/// The histogram `pipeline_delivery_seconds`, written as the sums that Prometheus makes of one: it is counted in the books
/// already, and a second count would cost something per event.
fn keep_latencies(ledger: &Ledger) {
    let latencies = ledger.latencies();
    let bucket = |le: String, events| {
        metrics::counter!("pipeline_delivery_seconds_bucket", "le" => le).absolute(events);
    };
    for bound in bounds() {
        bucket(bound.to_string(), latencies.below(Duration::from_secs_f64(bound)));
    }
    bucket("+Inf".to_owned(), latencies.events());
    metrics::counter!("pipeline_delivery_seconds_count").absolute(latencies.events());
    metrics::gauge!("pipeline_delivery_seconds_sum").set(latencies.sum().as_secs_f64());
}
