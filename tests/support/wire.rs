//! Wire: the loopback socket of a stand-in, and what can go wrong on it.
//! In: connections on a port that the system chose.  Out: whole HTTP requests to a handler, its answers back.
//! Holds: the port, also while the site is down (nobody else gets it), so that it comes up at the same address.
//! Never: looks into a request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::AnswerBody;

/// The handler wants the connection reset in place of an answer.
#[derive(Debug)]
pub(super) struct ResetConnection;

impl std::fmt::Display for ResetConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl std::error::Error for ResetConnection {}

pub(super) type Handled = BoxFuture<'static, Result<Response<AnswerBody>, ResetConnection>>;
pub(super) type Handler = Arc<dyn Fn(Request<Incoming>) -> Handled + Send + Sync>;

/// Something that flows or does not: whoever waits at a closed valve goes on when it opens.
#[derive(Debug, Default)]
pub(super) struct Valve {
    closed: Mutex<(bool, Vec<Waker>)>,
}

impl Valve {
    pub(super) fn close(&self) {
        self.closed.lock().unwrap().0 = true;
    }

    pub(super) fn open(&self) {
        let waiting = {
            let mut closed = self.closed.lock().unwrap();
            closed.0 = false;
            std::mem::take(&mut closed.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll_pass(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut closed = self.closed.lock().unwrap();
        if !closed.0 {
            return Poll::Ready(());
        }
        if !closed.1.iter().any(|waker| waker.will_wake(context.waker())) {
            closed.1.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Ready when the valve is open.
    pub(super) async fn pass(&self) {
        std::future::poll_fn(|context| self.poll_pass(context)).await;
    }
}

/// The server's side of one connection.
struct Wire {
    stream: TcpStream,
    reading: Arc<Valve>,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Closing with zero linger sends RST in place of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.reading.poll_pass(context));
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

enum Port {
    /// Accepting; cancel the token to end the task and every connection.
    Up {
        token: CancellationToken,
        accepting: JoinHandle<()>,
        connections: TaskTracker,
    },
    /// Bound, not listening: connections are refused.
    Down(TcpSocket),
    /// Between the two.
    Moving,
    Closed,
}

/// A handler behind a port.
pub(super) struct Site {
    address: SocketAddr,
    runtime: Handle,
    handler: Handler,
    port: Mutex<Port>,
    /// Closed: sockets are accepted and not read.
    pub(super) reading: Arc<Valve>,
    connections_opened: Arc<AtomicU64>,
    changed: Arc<watch::Sender<()>>,
}

impl Site {
    /// Opens a port of the system's choice on loopback and serves on the current runtime.
    /// `changed` is told of each connection.
    pub(super) fn open(handler: Handler, changed: Arc<watch::Sender<()>>) -> io::Result<Self> {
        let socket = socket(0)?;
        let address = socket.local_addr()?;
        let site = Self {
            address,
            runtime: Handle::current(),
            handler,
            port: Mutex::new(Port::Moving),
            reading: Arc::default(),
            connections_opened: Arc::default(),
            changed,
        };
        let port = site.listen(socket)?;
        *site.port.lock().unwrap() = port;
        Ok(site)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn connections_opened(&self) -> u64 {
        self.connections_opened.load(Ordering::Relaxed)
    }

    fn listen(&self, socket: TcpSocket) -> io::Result<Port> {
        let _inside = self.runtime.enter();
        let listener = socket.listen(1024)?;
        let token = CancellationToken::new();
        let connections = TaskTracker::new();
        let acceptor = Acceptor {
            listener,
            handler: Arc::clone(&self.handler),
            reading: Arc::clone(&self.reading),
            opened: Arc::clone(&self.connections_opened),
            changed: Arc::clone(&self.changed),
            token: token.clone(),
            connections: connections.clone(),
        };
        let accepting = self.runtime.spawn(acceptor.run());
        Ok(Port::Up { token, accepting, connections })
    }

    /// Resets every connection and refuses new ones until [`Site::come_up`].
    pub(super) async fn go_down(&self) {
        let port = std::mem::replace(&mut *self.port.lock().unwrap(), Port::Moving);
        let port = match port {
            Port::Up { token, accepting, connections } => {
                // Bound before the listener is closed: the port comes from the range of outgoing connections, and one of
                // another test would take it while nobody holds it. Bound and not listening, it refuses.
                let held = socket(self.address.port()).unwrap();
                token.cancel();
                accepting.await.unwrap();
                connections.close();
                connections.wait().await;
                Port::Down(held)
            }
            other => other,
        };
        *self.port.lock().unwrap() = port;
    }

    /// Serves again at the same address. Nothing happens when it is up.
    pub(super) fn come_up(&self) {
        let mut port = self.port.lock().unwrap();
        *port = match std::mem::replace(&mut *port, Port::Moving) {
            Port::Down(socket) => self.listen(socket).unwrap(),
            other => other,
        };
    }

    /// Ends everything at once.
    pub(super) fn close(&self) {
        let port = std::mem::replace(&mut *self.port.lock().unwrap(), Port::Closed);
        if let Port::Up { token, .. } = port {
            token.cancel();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.close();
    }
}

fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // For the socket that holds the port while the server is down.
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// The accept loop of one time up.
struct Acceptor {
    listener: TcpListener,
    handler: Handler,
    reading: Arc<Valve>,
    opened: Arc<AtomicU64>,
    changed: Arc<watch::Sender<()>>,
    token: CancellationToken,
    connections: TaskTracker,
}

impl Acceptor {
    async fn run(self) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.token.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            // A connection that died in the backlog is the client's business.
            let Ok((stream, _)) = accepted else { continue };
            self.opened.fetch_add(1, Ordering::Relaxed);
            self.changed.send_replace(());
            let _ = stream.set_nodelay(true);
            self.connections.spawn(serve(
                stream,
                Arc::clone(&self.handler),
                Arc::clone(&self.reading),
                self.token.clone(),
            ));
        }
    }
}

async fn serve(stream: TcpStream, handler: Handler, reading: Arc<Valve>, token: CancellationToken) {
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, reading, reset: Arc::clone(&reset) };
    let service = service_fn(|request| {
        let handled = handler(request);
        let reset = Arc::clone(&reset);
        async move {
            let handled = handled.await;
            if handled.is_err() {
                reset.store(true, Ordering::Relaxed);
            }
            handled
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
    tokio::select! {
        biased;
        () = token.cancelled() => reset.store(true, Ordering::Relaxed),
        // An error is a fault of ours on purpose, or a client that left.
        _ = connection => {}
    }
}
