//! One request: checked, read, decoded, sent, and answered when its events are settled.
//! In: a request. Out: an answer; events that go on though the client is gone.
//! Order of the checks: path, method, shutdown, who asks, room, coding, body. Nothing of a refused request is taken.
//! Holds: permits for each byte of a body until its events are settled. Never: answers 200 for what is not settled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afluente_pipeline::SourceSender;
use afluente_pipeline::event::{
    BatchNotifier, BatchStatus, Event, EventFinalizers, KeyString, LogEvent, ObjectMap, Value,
};
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use glob::Pattern;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use metrics::{Counter, Label};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::auth::Guard;
use super::body::{self, Coding, Held, Records, Refusal};
use super::listener::Peer;
use crate::faults::Faults;
use crate::intake::Stamp;

/// Bodies up to this size are decompressed and decoded where they arrive; longer ones would keep other connections
/// waiting for more than some 100 µs.
const INLINE_BYTES: usize = 64 * 1024;

/// Names of headers or query parameters, some with `*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<Pattern>);

impl Names {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

/// What all requests share.
pub(crate) struct Server {
    pub(crate) path: String,
    pub(crate) strict_path: bool,
    pub(crate) method: Method,
    pub(crate) response_code: StatusCode,
    pub(crate) guard: Option<Guard>,
    pub(crate) records: Records,
    pub(crate) stamp: Stamp,
    pub(crate) path_key: Option<KeyString>,
    pub(crate) host_key: Option<KeyString>,
    pub(crate) headers: Names,
    pub(crate) query_parameters: Names,
    pub(crate) max_body_bytes: usize,
    pub(crate) connection_age: Option<Duration>,
    pub(crate) acknowledgements: bool,
    pub(crate) bytes: Arc<Semaphore>,
    pub(crate) requests: Arc<Semaphore>,
    /// Bodies that are decompressed at once: each may ask for a window of some MiB.
    pub(crate) decompressing: Semaphore,
    pub(crate) labels: Vec<Label>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) received_bytes: Counter,
    /// Requests whose events are on their way.
    pub(crate) pending: TaskTracker,
    pub(crate) stopping: AtomicBool,
    /// Taken away at the end, so that a connection that never ends does not keep the pipeline open.
    pub(crate) out: Mutex<Option<SourceSender>>,
}

/// The events of one request and what they hold.
struct Taken {
    events: Vec<LogEvent>,
    settled: Option<afluente_pipeline::event::BatchStatusReceiver>,
    _bytes: Held,
    _request: OwnedSemaphorePermit,
}

/// Answers every request.
pub(crate) async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request<Body>,
) -> Response {
    if request.uri().path() == "/ping" && request.method() == Method::GET {
        return "pong".into_response();
    }
    let started = Instant::now();
    let http1 = request.version() < Version::HTTP_2;
    let mut labels = server.labels(request.method());
    metrics::counter!("http_server_requests_received_total", labels.clone()).increment(1);

    let mut response = match server.answer(peer, request).await {
        Ok(status) => status.into_response(),
        Err(refusal) => server.refuse(&refusal),
    };
    let old = server.connection_age.is_some_and(|age| peer.since.elapsed() >= age);
    if http1 && (old || server.is_stopping()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    labels.push(Label::new("status", response.status().as_u16().to_string()));
    metrics::counter!("http_server_responses_sent_total", labels.clone()).increment(1);
    metrics::histogram!("http_server_handler_duration_seconds", labels)
        .record(started.elapsed().as_secs_f64());
    response
}

impl Server {
    /// The labels of a request's metrics. What a client makes up (its path, its own methods) is none: each would
    /// be kept for ever.
    fn labels(&self, method: &Method) -> Vec<Label> {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        let method = if known.contains(method) { method.as_str().to_owned() } else { "other".to_owned() };
        let mut labels = self.labels.clone();
        labels.extend([Label::new("method", method), Label::new("path", self.path.clone())]);
        labels
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    async fn answer(self: &Arc<Self>, peer: Peer, request: Request<Body>) -> Result<StatusCode, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path != self.path && (self.strict_path || !path.starts_with(&self.path)) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
        }
        if parts.method != self.method {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "HTTP method not allowed"));
        }
        self.check_running()?;
        if self.guard.as_ref().is_some_and(|guard| !guard.admits(&parts.headers)) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "missing or wrong credentials"));
        }
        let request = self.requests.clone().try_acquire_owned().map_err(|_| Refusal::full())?;
        let codings = body::codings(&parts.headers)?;
        let mut bytes = Held::new(self.bytes.clone());
        let body = body::read(body, &parts.headers, self.max_body_bytes, &mut bytes).await?;
        if body.is_empty() {
            return Ok(self.response_code);
        }
        // The body may have taken its time.
        self.check_running()?;

        let large = body.len() > INLINE_BYTES;
        let (notifier, settled) = BatchNotifier::maybe_new_with_receiver(self.acknowledgements);
        let finalizers = notifier.map_or(EventFinalizers::DEFAULT, EventFinalizers::from_notifier);
        let fields = self.fields(peer, &parts.uri, &parts.headers);
        let _window = match codings.is_empty() {
            true => None,
            false => Some(self.decompressing.acquire().await.map_err(|_| Refusal::full())?),
        };
        let server = self.clone();
        let work = move || {
            let events = server.decode(body, &codings, &parts.headers, fields, finalizers, &mut bytes)?;
            Ok(Taken { events, settled, _bytes: bytes, _request: request })
        };
        let taken = match large {
            false => work()?,
            true => tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::failed())??,
        };
        drop(_window);
        self.deliver(taken).await
    }

    fn check_running(&self) -> Result<(), Refusal> {
        match self.is_stopping() {
            true => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting down")),
            false => Ok(()),
        }
    }

    fn decode(
        &self,
        mut body: Bytes,
        codings: &[Coding],
        headers: &HeaderMap,
        fields: ObjectMap,
        finalizers: EventFinalizers,
        held: &mut Held,
    ) -> Result<Vec<LogEvent>, Refusal> {
        for coding in codings {
            body = body::decompress(*coding, &body, self.max_body_bytes, held)?;
        }
        self.received_bytes.increment(body.len() as u64);
        let metadata = self.stamp.with_fields(fields, finalizers);
        self.records.decode(&body, headers, &metadata)
    }

    /// Fields for events made of plain bytes.
    fn fields(&self, peer: Peer, uri: &Uri, headers: &HeaderMap) -> ObjectMap {
        let mut fields = ObjectMap::new();
        for (name, value) in headers {
            if self.headers.has(name.as_str()) {
                fields.insert(name.as_str().into(), Value::from(Bytes::copy_from_slice(value.as_bytes())));
            }
        }
        if !self.query_parameters.0.is_empty() {
            for (name, value) in form(uri.query().unwrap_or("")) {
                if self.query_parameters.has(&name) {
                    fields.insert(name.into(), Value::from(value));
                }
            }
        }
        if let Some(key) = &self.path_key {
            fields.insert(key.clone(), Value::from(uri.path()));
        }
        if let Some(key) = &self.host_key {
            fields.insert(key.clone(), Value::from(peer.address.to_string()));
        }
        fields
    }

    /// Sends the events and waits for their fate, in a task of its own: what was taken goes on though the client
    /// hangs up.
    async fn deliver(&self, taken: Taken) -> Result<StatusCode, Refusal> {
        if taken.events.is_empty() {
            return Ok(self.response_code);
        }
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut out = out.ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting down"))?;
        let task = self.pending.spawn(async move {
            let Taken { events, settled, _bytes, _request } = taken;
            if out.send_batch(events.into_iter().map(Event::from)).await.is_err() {
                return BatchStatus::Errored;
            }
            match settled {
                Some(settled) => settled.await,
                None => BatchStatus::Delivered,
            }
        });
        match task.await {
            Ok(BatchStatus::Delivered) => Ok(self.response_code),
            Ok(BatchStatus::Errored) => Err(Refusal::failed()),
            Ok(BatchStatus::Rejected) => {
                Err(Refusal::new(StatusCode::BAD_REQUEST, "Contents failed to deliver to sink"))
            }
            Err(_) => Err(Refusal::failed()),
        }
    }

    /// The answer to a request that is not taken.
    fn refuse(&self, refusal: &Refusal) -> Response {
        let Refusal { status, message, names_record } = refusal;
        if *names_record {
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.refuse(message);
        }
        let body = serde_json::json!({"code": status.as_u16(), "message": message}).to_string();
        let mut response = (*status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        match *status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                if let Ok(method) = HeaderValue::from_str(self.method.as_str()) {
                    headers.insert(header::ALLOW, method);
                }
            }
            StatusCode::UNAUTHORIZED => {
                if let Some(guard) = &self.guard {
                    let challenge = HeaderValue::from_static(guard.challenge());
                    headers.insert(header::WWW_AUTHENTICATE, challenge);
                }
            }
            _ => {}
        }
        response
    }
}

/// The pairs of a query, decoded.
fn form(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            let hex = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
            rest = match (*first, tail) {
                (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                    bytes.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                    after
                }
                (b'+', _) => {
                    bytes.push(b' ');
                    tail
                }
                (byte, _) => {
                    bytes.push(byte);
                    tail
                }
            };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pairs: Vec<_> = form("a=1&b=x%20y+z&c&%zz=%4").collect();
        let expected = [("a", "1"), ("b", "x y z"), ("c", ""), ("%zz", "%4")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
