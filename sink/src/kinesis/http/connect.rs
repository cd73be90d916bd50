//! Connect: from an address to a byte stream, through a proxy and TLS where they apply.
//! In: a URI. Out: a connection for the pool in `mod.rs`, or a `ConnectError` that says which step failed.
//! Never: sends a byte of a request; prints a proxy's password.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Uri, uri::Scheme};
use hyper::rt::ReadBufCursor;
use hyper_util::{
    client::{
        legacy::connect::{
            Connected, Connection, HttpConnector,
            dns::{GaiAddrs, GaiResolver, Name},
            proxy::Tunnel,
        },
        proxy::matcher::Intercept,
    },
    rt::TokioIo,
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

use super::{proxy::Proxy, tls::TlsSettings};

/// A failure before any byte of a request was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the address {0} has no host")]
    NoHost(Uri),
    #[error("the name `{0}` could not be resolved")]
    Dns(String),
    #[error("no connection to {0}")]
    Tcp(String, #[source] Box<dyn Error + Send + Sync>),
    #[error("{step} took longer than {limit:?}")]
    Timeout { step: String, limit: Duration },
    #[error("the proxy {proxy} gave no tunnel to {host}")]
    Proxy {
        proxy: String,
        host: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the TLS handshake with {host} failed{hint}")]
    Tls {
        host: String,
        hint: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Opens connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Arc<TlsSettings>,
    proxy: Arc<Proxy>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(tls: Arc<TlsSettings>, proxy: Arc<Proxy>, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // A dead peer behind a silent firewall is found by the kernel, not only by the next request's timeout.
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self { tcp, tls, proxy, limit }
    }

    /// The same with another limit.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    async fn connect(mut self, uri: Uri) -> Result<Conn, ConnectError> {
        let deadline = Instant::now() + self.limit;
        let host = uri.host().ok_or_else(|| ConnectError::NoHost(uri.clone()))?.to_owned();
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let Some(via) = self.proxy.intercept(&uri) else {
            let stream = self.dial(&uri, deadline).await?;
            return if https {
                self.secure(stream, &host, true, deadline).await
            } else {
                Ok(Conn::plain(stream, false))
            };
        };
        let proxy_host = via.uri().host().unwrap_or_default().to_owned();
        let mut stream = self.dial(via.uri(), deadline).await?;
        if via.uri().scheme() == Some(&Scheme::HTTPS) {
            stream = self.secure(stream, &proxy_host, false, deadline).await?.into_stream();
        }
        if !https {
            // A plain request goes to the proxy in absolute form; `mod.rs` adds the proxy's credentials.
            return Ok(Conn::plain(stream, true));
        }
        let stream = self.tunnel(stream, &via, uri, deadline).await?;
        self.secure(stream, &host, true, deadline).await
    }

    async fn dial(&mut self, uri: &Uri, deadline: Instant) -> Result<BoxStream, ConnectError> {
        let to = uri.authority().map(ToString::to_string).unwrap_or_default();
        match timeout_at(deadline, self.tcp.call(uri.clone())).await {
            Err(_) => Err(ConnectError::Timeout { step: format!("connecting to {to}"), limit: self.limit }),
            Ok(Ok(stream)) => Ok(Box::new(stream.into_inner())),
            Ok(Err(error)) => match find::<Unresolved>(&error) {
                Some(Unresolved(name)) => Err(ConnectError::Dns(name.clone())),
                None => Err(ConnectError::Tcp(to, error.into())),
            },
        }
    }

    async fn tunnel(
        &self,
        stream: BoxStream,
        via: &Intercept,
        target: Uri,
        deadline: Instant,
    ) -> Result<BoxStream, ConnectError> {
        let host = target.host().unwrap_or_default().to_owned();
        let mut tunnel = Tunnel::new(via.uri().clone(), Opened(Some(stream)));
        if let Some(auth) = via.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        match timeout_at(deadline, tunnel.call(target)).await {
            Err(_) => Err(ConnectError::Timeout {
                step: format!("opening a tunnel through the proxy {}", via.uri()),
                limit: self.limit,
            }),
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(error)) => {
                Err(ConnectError::Proxy { proxy: via.uri().to_string(), host, source: error.into() })
            }
        }
    }

    async fn secure(
        &self,
        stream: BoxStream,
        host: &str,
        is_target: bool,
        deadline: Instant,
    ) -> Result<Conn, ConnectError> {
        let bad_name = |source| ConnectError::Tls { host: host.to_owned(), hint: "", source };
        let name = match &self.tls.server_name {
            Some(name) if is_target => name.clone(),
            // A URI writes an IPv6 address in brackets, a certificate does not.
            _ => ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|error| bad_name(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        };
        let handshake = TlsConnector::from(Arc::clone(&self.tls.client)).connect(name, stream);
        match timeout_at(deadline, handshake).await {
            Err(_) => Err(ConnectError::Timeout {
                step: format!("the TLS handshake with {host}"),
                limit: self.limit,
            }),
            Ok(Ok(stream)) => Ok(Conn::secure(stream)),
            Ok(Err(source)) => {
                let hint = if self.tls.no_roots {
                    " (no trusted root certificate was found on this machine: install ca-certificates or set tls.ca_file)"
                } else {
                    ""
                };
                Err(ConnectError::Tls { host: host.to_owned(), hint, source })
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Conn;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Conn, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// The first error of type `E` in `error`'s chain, itself included.
pub(super) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The system's resolver, with an error that can be told from a refused connection.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

#[derive(Debug, thiserror::Error)]
#[error("the name `{0}` could not be resolved")]
pub(super) struct Unresolved(String);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = Unresolved;
    type Future = BoxFuture<'static, Result<GaiAddrs, Unresolved>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let looking = self.0.call(name);
        Box::pin(async move { looking.await.map_err(|_| Unresolved(host)) })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type BoxStream = Box<dyn Stream>;

/// Hands `Tunnel` the stream that is already open.
struct Opened(Option<BoxStream>);

impl Service<Uri> for Opened {
    type Response = TokioIo<BoxStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<BoxStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().ok_or_else(|| io::Error::other("the stream is in use"));
        std::future::ready(stream.map(TokioIo::new))
    }
}

/// An open connection, as the pool keeps it.
pub(super) struct Conn {
    io: TokioIo<BoxStream>,
    to_proxy: bool,
    h2: bool,
}

impl Conn {
    fn plain(stream: BoxStream, to_proxy: bool) -> Self {
        Self { io: TokioIo::new(stream), to_proxy, h2: false }
    }

    fn secure(stream: TlsStream<BoxStream>) -> Self {
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { io: TokioIo::new(Box::new(stream)), to_proxy: false, h2 }
    }

    fn into_stream(self) -> BoxStream {
        self.io.into_inner()
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.to_proxy);
        if self.h2 { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
