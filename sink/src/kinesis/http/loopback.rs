//! Loopback: a server on this machine whose answers a test plays. Real sockets, no Kinesis in it.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived, whole.
pub(in crate::kinesis) struct Asked {
    pub(in crate::kinesis) line: String,
    pub(in crate::kinesis) headers: HeaderMap,
    pub(in crate::kinesis) body: Bytes,
}

impl Asked {
    pub(in crate::kinesis) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What the server does about it.
pub(in crate::kinesis) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Hangs up.
    Reset,
    /// Says nothing.
    Silence,
}

impl Reply {
    pub(in crate::kinesis) fn ok(body: &str) -> Self {
        Self::Answer(200, Vec::new(), body.to_owned())
    }

    pub(in crate::kinesis) fn refuse(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"__type": code, "message": message}).to_string();
        Self::Answer(status, Vec::new(), body)
    }
}

type Play = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The running server. Everything that was asked is kept.
#[derive(Clone)]
pub(in crate::kinesis) struct Loopback {
    pub(in crate::kinesis) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Loopback {
    pub(in crate::kinesis) async fn start(play: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, Arc::new(play)).await
    }

    pub(in crate::kinesis) async fn start_tls(
        tls: rustls::ServerConfig,
        play: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(TlsAcceptor::from(Arc::new(tls))), Arc::new(play)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>, play: Play) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let running = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                running.connections.fetch_add(1, Ordering::SeqCst);
                let (running, play, tls) = (running.clone(), Arc::clone(&play), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => running.serve(stream, play).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                running.serve(stream, play).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, play: Play) {
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, play) = (self.clone(), Arc::clone(&play));
            async move { server.answer(request, &play).await }
        });
        let _ = http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>, play: &Play) -> Result<Response<Full<Bytes>>, Hangup> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
        let asked = Asked { line: format!("{} {}", head.method, head.uri), headers: head.headers, body };
        let reply = play(&asked);
        self.asked.lock().unwrap().push(asked);
        match reply {
            Reply::Reset => Err(Hangup),
            Reply::Silence => {
                std::future::pending::<Infallible>().await;
                Err(Hangup)
            }
            Reply::Answer(status, headers, body) => {
                let mut answer = Response::builder().status(status);
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                Ok(answer.body(Full::from(body)).unwrap())
            }
        }
    }

    pub(in crate::kinesis) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have arrived.
    pub(in crate::kinesis) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// How many connections were accepted.
    pub(in crate::kinesis) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Looks at everything that was asked.
    pub(in crate::kinesis) fn look<T>(&self, with: impl FnOnce(&[Asked]) -> T) -> T {
        with(&self.asked.lock().unwrap())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("hung up on purpose")]
struct Hangup;
