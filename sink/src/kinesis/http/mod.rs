//! HTTP: one pooled client for Kinesis and for the services that hand out credentials.
//! In: a request with its body in one piece. Out: the whole answer, or a `SendError` that says whether the
//! service may have seen the request.
//! Never: retries (but for a pooled connection that died before a byte was written), copies a body, signs.
//! For addresses and signatures see `put`; for proxies, TLS and sockets the files beside this one.

mod connect;
#[cfg(test)]
pub(super) mod loopback;
mod proxy;
mod sdk;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    convert::Infallible,
    error::Error,
    fmt::Write as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use afluente_pipeline::config::ProxyConfig;
use bytes::Bytes;
use http::{Request, Response, header::PROXY_AUTHORIZATION, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

use self::{
    connect::{ConnectError, Connector, find},
    proxy::Proxy,
};
pub use self::{
    proxy::ProxyError,
    tls::{TlsConfig, TlsError},
};

/// Longest time from name lookup to a finished TLS handshake. Chosen, not measured: a TCP retransmit takes 1 to 3 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept. Chosen, not measured: short of the minute after which many balancers hang up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Largest answer that is read, in bytes. 500 failed entries with kilobytes of text each fit; an endless body does not.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a client is built from.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The `tls` options.
    pub tls: TlsConfig,
    /// The `proxy` options, merged with the global ones and the environment.
    pub proxy: ProxyConfig,
    /// Longest time to open a connection; see [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { tls: TlsConfig::default(), proxy: ProxyConfig::default(), connect_timeout: CONNECT_TIMEOUT }
    }
}

/// Why a client cannot be built. The user must change an option.
#[derive(Debug, thiserror::Error)]
pub enum HttpBuildError {
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// See [`ProxyError`].
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// What kind of trouble kept an answer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No answer in time.
    Timeout,
    /// The endpoint's name has no address.
    Dns,
    /// No TCP connection.
    Connect,
    /// The proxy refused or broke the tunnel.
    Proxy,
    /// The handshake failed, or a certificate was refused.
    Tls,
    /// The connection ended before the answer was complete.
    Reset,
    /// What came back is not an HTTP answer that can be read.
    Protocol,
    /// There were no credentials to sign with.
    Credentials,
    /// The request could not be signed.
    Signing,
}

impl FailureKind {
    /// A short name, for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Credentials => "credentials",
            Self::Signing => "signing",
        }
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) kind: FailureKind,
    /// True if some of the body was handed to a connection: the service may have it.
    pub(super) sent: bool,
    /// One line, no secrets, nothing of the request.
    pub(super) message: String,
}

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client<Connector, OneFrame>,
    connector: Connector,
    proxy: Arc<Proxy>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// Reads certificates; opens nothing yet. Blocking, for start-up.
    pub(super) fn new(options: &HttpOptions) -> Result<Self, HttpBuildError> {
        let tls = Arc::new(options.tls.build()?);
        let proxy = Arc::new(Proxy::new(&options.proxy)?);
        let connector = Connector::new(tls, Arc::clone(&proxy), options.connect_timeout);
        Ok(Self { client: Self::pool(connector.clone()), connector, proxy })
    }

    /// The same, with a pool of its own that opens a connection within `limit`.
    fn connecting_within(&self, limit: Duration) -> Self {
        let connector = self.connector.clone().within(limit);
        Self { client: Self::pool(connector.clone()), connector, proxy: Arc::clone(&self.proxy) }
    }

    fn pool(connector: Connector) -> Client<Connector, OneFrame> {
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .retry_canceled_requests(true)
            // Large bodies are queued as they are; flattening would copy each once more.
            .http1_writev(true)
            .build(connector)
    }

    /// Sends one request and reads the whole answer. Dropping the future closes the connection.
    pub(super) async fn send(
        &self,
        mut head: Parts,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response<Bytes>, SendError> {
        let taken = Arc::new(AtomicBool::new(false));
        if head.uri.scheme_str() == Some("http")
            && let Some(via) = self.proxy.intercept(&head.uri)
            && let Some(auth) = via.basic_auth()
        {
            head.headers.insert(PROXY_AUTHORIZATION, auth.clone());
        }
        let request = Request::from_parts(head, OneFrame::new(body, Arc::clone(&taken)));
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| classify(&error))?;
            let (head, body) = answer.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| unreadable(&*error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let (kind, message) = match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => (FailureKind::Timeout, format!("no answer within {timeout:?}")),
        };
        Err(SendError { kind, sent: taken.load(Ordering::Acquire), message })
    }
}

fn unreadable(error: &(dyn Error + Send + Sync + 'static)) -> (FailureKind, String) {
    if error.is::<LengthLimitError>() {
        return (FailureKind::Protocol, format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
    }
    classify(error)
}

fn classify(error: &(dyn Error + 'static)) -> (FailureKind, String) {
    if let Some(error) = find::<ConnectError>(error) {
        let kind = match error {
            ConnectError::NoHost(_) | ConnectError::Tcp(..) => FailureKind::Connect,
            ConnectError::Dns(_) => FailureKind::Dns,
            ConnectError::Timeout { .. } => FailureKind::Timeout,
            ConnectError::Proxy { .. } => FailureKind::Proxy,
            ConnectError::Tls { .. } => FailureKind::Tls,
        };
        return (kind, chain(error));
    }
    // TLS 1.3 reports a refused client certificate only after the handshake.
    if let Some(error) = find::<io::Error>(error)
        && let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return (FailureKind::Tls, format!("the TLS connection failed: {tls}"));
    }
    match find::<hyper::Error>(error) {
        Some(inner) if inner.is_parse() => (
            FailureKind::Protocol,
            format!("what came back is not HTTP (is the endpoint's scheme and port right?): {inner}"),
        ),
        Some(inner) if inner.is_timeout() => (FailureKind::Timeout, chain(inner)),
        _ => (FailureKind::Reset, format!("the connection ended before the answer: {}", chain(error))),
    }
}

/// An error and its causes on one line, each said once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            let _ = write!(text, ": {part}");
        }
        next = cause.source();
    }
    text
}

/// A body in one piece, that remembers whether a connection has taken it.
#[derive(Debug)]
struct OneFrame {
    bytes: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl OneFrame {
    fn new(bytes: Bytes, taken: Arc<AtomicBool>) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), taken }
    }
}

impl Body for OneFrame {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.bytes.take();
        if frame.is_some() {
            self.taken.store(true, Ordering::Release);
        }
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
