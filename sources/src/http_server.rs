//! `http_server`: events by HTTP; the answer tells what became of them.
//! In: POSTs with a JSON object, an array, or a record a line. Out: arrays of events; 200 once they are settled.
//! Holds: at most `max_in_flight_bytes` of bodies in at most `max_in_flight_requests` requests; beyond that 503.
//! Never: takes a part of a request.
//!
//! `handler` one request, `body` what it carries, `auth` who may, `tls` and `listener` the connections.

mod auth;
mod body;
mod handler;
mod listener;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afluente_pipeline::codecs::decoding::{DecodingConfig, Framing, FramingConfig};
use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Resource, Source, SourceConfig, SourceContext, SourceOutput,
};
use afluente_pipeline::event::KeyString;
use afluente_pipeline::inventory;
use afluente_pipeline::shutdown::ShutdownSignal;
use async_trait::async_trait;
use axum::Router;
use axum::serve::{IncomingStream, Listener};
use glob::Pattern;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use auth::{AuthConfig, Secret};
pub use tls::{PemSource, TlsConfig};

use crate::faults::{Faults, labels, received_bytes};
use crate::intake::{Stamp, check_field_name, field_name};
use body::{BodyFraming, Records};
use handler::{Names, Server};
use listener::{Peer, Plain, Tls};

const NAME: &str = "http_server";

/// How long connections may take to end once all their requests are answered; chosen.
const GOODBYE: Duration = Duration::from_secs(5);

/// Which requests are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum HttpMethod {
    #[default]
    Post,
    Put,
    Patch,
    Get,
    Head,
    Delete,
    Options,
}

impl HttpMethod {
    fn method(self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
            Self::Delete => Method::DELETE,
            Self::Options => Method::OPTIONS,
        }
    }
}

/// `keepalive`: how long a connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeepaliveConfig {
    /// Seconds after which an HTTP/1 connection is closed with the next answer, so that load spreads again.
    /// `null`: never.
    pub max_connection_age_secs: Option<u64>,
    /// By which share that age differs from source to source, 0 to 1, so that not all connections end at once.
    pub max_connection_age_jitter_factor: f64,
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self { max_connection_age_secs: Some(300), max_connection_age_jitter_factor: 0.1 }
    }
}

/// Options of `http_server`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpServerConfig {
    /// Where to listen, e.g. `0.0.0.0:8080`.
    pub address: SocketAddr,
    /// The path of requests.
    #[serde(default = "root")]
    pub path: String,
    /// Whether the path must be just that; else it is how paths begin.
    #[serde(default = "yes")]
    pub strict_path: bool,
    /// The method of requests.
    #[serde(default)]
    pub method: HttpMethod,
    /// The answer when all went well.
    #[serde(default = "ok")]
    pub response_code: u16,
    /// The field for the request's path, in events made of plain bytes. Default `path`; empty: none.
    #[serde(default)]
    pub path_key: Option<String>,
    /// The field for the sender's address, in events made of plain bytes. Default: none.
    #[serde(default)]
    pub host_key: Option<String>,
    /// Headers that become fields of events made of plain bytes, in lower case; `*` stands for any text.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Query parameters that become fields of events made of plain bytes; `*` stands for any text.
    #[serde(default)]
    pub query_parameters: Vec<String>,
    /// Who may post. Unset: everyone who reaches the address.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// How connections are encrypted. Unset: not at all.
    #[serde(default)]
    pub tls: TlsConfig,
    /// How records are found in a body. Unset: with `json` one document or one a line (an array is a record an
    /// element); with `bytes` a record a line, and a body that is called JSON is an array's elements or one document.
    #[serde(default)]
    pub framing: Option<FramingConfig>,
    /// How records are read: `bytes` (default) or `json`.
    #[serde(default)]
    pub decoding: DecodingConfig,
    /// How long a connection is used.
    #[serde(default)]
    pub keepalive: KeepaliveConfig,
    /// The longest body in bytes, as it comes and again when decompressed; longer ones are answered 413.
    /// Default 10 MiB.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: usize,
    /// Bytes of bodies that may be held until their events are settled; beyond that requests are answered 503.
    /// Default 32 MiB: it adds to what the sinks hold. More of it helps many senders with slow sinks.
    #[serde(default = "max_in_flight_bytes")]
    pub max_in_flight_bytes: usize,
    /// Requests that may wait for their answer; beyond that they are answered 503. Default 1024.
    #[serde(default = "max_in_flight_requests")]
    pub max_in_flight_requests: usize,
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

fn ok() -> u16 {
    200
}

fn max_body_bytes() -> usize {
    10 * 1024 * 1024
}

fn max_in_flight_bytes() -> usize {
    32 * 1024 * 1024
}

fn max_in_flight_requests() -> usize {
    1024
}

impl HttpServerConfig {
    fn framing(&self) -> Result<BodyFraming, String> {
        let Some(framing) = &self.framing else { return Ok(BodyFraming::Natural) };
        Ok(match framing.build()? {
            Framing::Lines { delimiter, max_length } => BodyFraming::Lines { delimiter, max_length },
            Framing::Whole => BodyFraming::Whole,
        })
    }

    fn connection_age(&self) -> Option<Duration> {
        let age = self.keepalive.max_connection_age_secs? as f64;
        let jitter = self.keepalive.max_connection_age_jitter_factor.clamp(0.0, 1.0);
        let share: f64 = rand::random_range(-1.0..=1.0);
        Duration::try_from_secs_f64(age * (1.0 + jitter * share)).ok()
    }

    fn server(&self, name: &'static str, context: SourceContext) -> Result<Server, String> {
        let id = context.key.id();
        let names = |names: &[String], lower: bool| {
            let pattern = |name: &String| {
                let name = if lower { name.to_ascii_lowercase() } else { name.clone() };
                Pattern::new(&name).map_err(|error| format!("{name:?} is no name or glob: {error}"))
            };
            names.iter().map(pattern).collect::<Result<_, _>>().map(Names)
        };
        let key =
            |option: &Option<String>, default| field_name(option.as_deref(), default).map(KeyString::from);
        Ok(Server {
            path: self.path.clone(),
            strict_path: self.strict_path,
            method: self.method.method(),
            response_code: StatusCode::from_u16(self.response_code).unwrap_or(StatusCode::OK),
            guard: self.auth.as_ref().map(auth::Guard::new),
            records: Records { decoder: self.decoding.build(), framing: self.framing()? },
            stamp: Stamp::new(name, &context.key),
            path_key: key(&self.path_key, Some("path")),
            host_key: key(&self.host_key, None),
            headers: names(&self.headers, true)?,
            query_parameters: names(&self.query_parameters, false)?,
            max_body_bytes: self.max_body_bytes,
            connection_age: self.connection_age(),
            acknowledgements: context.acknowledgements,
            bytes: Arc::new(Semaphore::new(self.max_in_flight_bytes)),
            requests: Arc::new(Semaphore::new(self.max_in_flight_requests)),
            decompressing: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
            labels: labels(name, id),
            faults: Mutex::new(Faults::new(name, id, &context.out)),
            received_bytes: received_bytes(name, id, if self.tls.enabled { "https" } else { "http" }),
            pending: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            out: Mutex::new(Some(context.out)),
        })
    }

    /// Builds the source on a socket that is bound already.
    fn build_on(
        &self,
        name: &'static str,
        listener: TcpListener,
        context: SourceContext,
    ) -> afluente_pipeline::Result<Source> {
        self.validate_structure().map_err(|errors| errors.join("; "))?;
        let tls = self.tls.build()?;
        let shutdown = context.shutdown.clone();
        let server = Arc::new(self.server(name, context)?);
        Ok(match tls {
            None => Box::pin(serve(server, Plain(listener), shutdown)),
            Some(tls) => Box::pin(serve(server, Tls::new(listener, tls), shutdown)),
        })
    }

    async fn build_as(
        &self,
        name: &'static str,
        context: SourceContext,
    ) -> afluente_pipeline::Result<Source> {
        let listener = TcpListener::bind(self.address).await.map_err(|error| {
            format!("cannot listen on {}: {error}; choose an address that is free and ours", self.address)
        })?;
        self.build_on(name, listener, context)
    }

    fn mistakes(&self) -> Vec<String> {
        let mut errors = Vec::new();
        errors.extend(self.framing().err());
        errors.extend(self.auth.as_ref().and_then(|auth| auth.check().err()));
        errors.extend(self.tls.check());
        for (option, name) in [("path_key", &self.path_key), ("host_key", &self.host_key)] {
            errors.extend(check_field_name(option, name.as_deref()).err());
        }
        if !self.path.starts_with('/') {
            errors.push(format!("`path` must begin with `/`, unlike {:?}", self.path));
        }
        if !(200..=299).contains(&self.response_code) {
            errors.push(format!("`response_code` must be from 200 to 299, not {}", self.response_code));
        }
        if self.max_body_bytes == 0 || self.max_in_flight_requests == 0 {
            errors.push("`max_body_bytes` and `max_in_flight_requests` must be greater than 0".to_owned());
        }
        if self.max_in_flight_requests > Semaphore::MAX_PERMITS
            || self.max_in_flight_bytes > u32::MAX as usize
        {
            errors.push(format!("`max_in_flight_bytes` must be at most {}", u32::MAX));
        }
        // A compressed body and what is made of it are held together.
        if self.max_in_flight_bytes < 2 * self.max_body_bytes {
            errors.push(format!(
                "`max_in_flight_bytes` must be at least twice `max_body_bytes` ({}), else a long body never fits",
                self.max_body_bytes
            ));
        }
        for name in self.headers.iter().chain(&self.query_parameters) {
            if let Err(error) = Pattern::new(name) {
                errors
                    .push(format!("{name:?} in `headers` or `query_parameters` is no name or glob: {error}"));
            }
        }
        errors
    }
}

#[async_trait]
#[typetag::serde(name = "http_server")]
impl SourceConfig for HttpServerConfig {
    async fn build(&self, context: SourceContext) -> afluente_pipeline::Result<Source> {
        self.build_as(NAME, context).await
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        true
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::tcp(self.address)]
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        let errors = self.mistakes();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// `http`: Vector's older name for [`HttpServerConfig`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HttpConfig(HttpServerConfig);

#[async_trait]
#[typetag::serde(name = "http")]
impl SourceConfig for HttpConfig {
    async fn build(&self, context: SourceContext) -> afluente_pipeline::Result<Source> {
        self.0.build_as("http", context).await
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        self.0.outputs()
    }

    fn can_acknowledge(&self) -> bool {
        self.0.can_acknowledge()
    }

    fn resources(&self) -> Vec<Resource> {
        self.0.resources()
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        self.0.validate_structure()
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: NAME,
        summary: "Events by HTTP; the answer tells what became of them.",
        schema: |generator| generator.subschema_for::<HttpServerConfig>(),
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: "http",
        summary: "The older name of http_server.",
        schema: |generator| generator.subschema_for::<HttpConfig>(),
    }
}

/// Serves until shutdown; then refuses new requests, waits for the answers that are owed, and ends.
async fn serve<L>(server: Arc<Server>, listener: L, shutdown: ShutdownSignal) -> Result<(), ()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> axum::extract::connect_info::Connected<IncomingStream<'a, L>>,
{
    let router = Router::new().fallback(handler::handle).with_state(server.clone());
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let service = router.into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async {
        let _ = closing.await;
    });
    let serving = AbortOnDropHandle::new(tokio::spawn(async move { serving.await }));
    let door = Door(server.clone());

    shutdown.await;
    server.stopping.store(true, Ordering::Release);
    server.pending.close();
    server.pending.wait().await;
    // Nothing is owed any more.
    drop(door);
    let _ = close.send(());
    if tokio::time::timeout(GOODBYE, serving).await.is_err() {
        tracing::debug!("Connections that did not end are left alone.");
    }
    Ok(())
}

/// The way into the pipeline. Dropping it shuts it, so that a connection that never ends does not keep the
/// pipeline open.
struct Door(Arc<Server>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.out.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
