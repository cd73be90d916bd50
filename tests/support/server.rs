//! Server: the handle that a test holds.
//! In: calls from the test: faults, splits, outages, credentials.  Out: the ledger, the requests, a way to wait for either.
//! Holds: the port until it is shut down or dropped.
//! Never: answers a request itself (see `service`).

use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::auth::AccessKey;
use super::bucket::Rate;
use super::builder::FaultServerBuilder;
use super::ledger::Ledger;
use super::requests::Requests;
use super::script::Fault;
use super::service::{Operation, handle};
use super::state::{Shared, State};
use super::stream::{Distribution, Kms, StreamSpec, StreamStatus};
use super::wire::{Handler, Site};

/// What the server has seen.
#[derive(Debug, Clone)]
pub struct Observed {
    pub ledger: Ledger,
    pub requests: Requests,
}

/// A wait that takes longer than this has failed. Chosen: ten times the slowest scenario.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A small Kinesis data plane on a loopback port.
pub struct FaultServer {
    shared: Arc<Shared>,
    site: Arc<Site>,
    thread: Option<(CancellationToken, JoinHandle<()>)>,
}

impl FaultServer {
    pub fn builder() -> FaultServerBuilder {
        FaultServerBuilder::default()
    }

    pub(super) fn open(shared: Arc<Shared>) -> Self {
        let site = Arc::new(open_site(&shared));
        Self { shared, site, thread: None }
    }

    /// `shared` is made on the thread, so that its clock is that runtime's.
    pub(super) fn open_on_thread(shared: impl FnOnce() -> Arc<Shared> + Send + 'static) -> Self {
        let (opened, opening) = std::sync::mpsc::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("fault-server".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let shared = shared();
                    let site = Arc::new(open_site(&shared));
                    opened.send((shared, site)).unwrap();
                    stopped.cancelled().await;
                });
            })
            .unwrap();
        let (shared, site) = opening.recv().unwrap();
        Self { shared, site, thread: Some((stop, thread)) }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.site.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.site.address()
    }

    /// Since the server's start, by its own clock.
    pub fn elapsed(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    /// Runs a future on the server's runtime from a thread that has none.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.site.runtime().block_on(future)
    }

    /// Ends every connection and frees the port, at once.
    pub fn shutdown(self) {}

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.shared.tell();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

fn open_site(shared: &Arc<Shared>) -> Site {
    let changed = Arc::clone(&shared.changed);
    let shared = Arc::clone(shared);
    let handler: Handler = Arc::new(move |request| Box::pin(handle(Arc::clone(&shared), request)));
    Site::open(handler, changed).unwrap()
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.site.close();
        if let Some((stop, thread)) = self.thread.take() {
            stop.cancel();
            let _ = thread.join();
        }
    }
}

/// What the test sees.
impl FaultServer {
    /// A copy of the ledger as it is now.
    pub fn ledger(&self) -> Ledger {
        self.lock().observed.ledger.clone()
    }

    /// A copy of all request logs as they are now.
    pub fn requests(&self) -> Requests {
        self.lock().observed.requests.clone()
    }

    /// Looks without copying. The server stands still meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(&self.lock().observed)
    }

    /// Copies of stored records, doubled ones counted.
    pub fn stored(&self) -> usize {
        self.look(|seen| seen.ledger.len())
    }

    /// How often faults of this name (by default the constructor's) struck.
    pub fn fired(&self, name: &str) -> u64 {
        self.lock().script.fired(name)
    }

    /// Connections accepted so far.
    pub fn connections_opened(&self) -> u64 {
        self.site.connections_opened()
    }

    /// Numbers of the open shards, by hash range.
    pub fn open_shards(&self, stream: &str) -> Vec<u32> {
        self.lock().streams.get(stream).map(|stream| stream.open_shards().to_vec()).unwrap_or_default()
    }

    /// Waits until `condition` holds; it is asked again at every change: keep it cheap. Panics after two minutes, saying
    /// what was seen; with paused time these pass as soon as nothing else can happen.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Observed) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let holds = async {
            while !self.look(&mut condition) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(WAIT_MAX, holds).await.is_err() {
            panic!(
                "waited {WAIT_MAX:?} in vain; stored {}, writes {}, in flight {}",
                self.stored(),
                self.look(|seen| seen.requests.writes().count()),
                self.look(|seen| seen.requests.in_flight()),
            );
        }
    }

    /// Waits until this many records are stored, copies counted.
    pub async fn wait_for_stored(&self, records: usize) {
        self.wait_for(|seen| seen.ledger.len() >= records).await;
    }
}

/// What the test does.
impl FaultServer {
    /// Adds a line to the script; request numbers and times count from the server's start.
    pub fn add_fault(&self, fault: Fault) {
        self.change(|state| state.script.add(fault));
    }

    /// Ends every fault of the script.
    pub fn clear_faults(&self) {
        self.change(|state| state.script.clear());
    }

    /// Resets every connection; new ones are refused until [`FaultServer::come_up`].
    pub async fn go_down(&self) {
        self.site.go_down().await;
    }

    /// Serves again at the same address.
    pub fn come_up(&self) {
        self.site.come_up();
    }

    /// Requests are accepted and read, but neither handled nor answered until [`FaultServer::resume`].
    /// One whose client left meanwhile is never handled.
    pub fn stall(&self) {
        self.shared.answering.close();
    }

    /// Nothing more is read from any connection until [`FaultServer::resume`]; sockets fill up.
    pub fn stall_reading(&self) {
        self.site.reading.close();
    }

    pub fn resume(&self) {
        self.site.reading.open();
        self.shared.answering.open();
    }

    pub fn set_round_trip(&self, round_trip: Duration) {
        self.change(|state| state.round_trip = round_trip);
    }

    pub fn set_clock_skew_secs(&self, seconds: i64) {
        self.change(|state| state.skew = TimeDelta::seconds(seconds));
    }

    pub fn set_access_key(&self, access_key: &str, key: AccessKey) {
        self.change(|state| state.doorkeeper.keys.insert(access_key.to_owned(), key));
    }

    /// The caller has no right to this operation any more.
    pub fn deny(&self, operation: Operation) {
        self.change(|state| state.doorkeeper.denied.insert(operation));
    }

    pub fn allow(&self, operation: Operation) {
        self.change(|state| state.doorkeeper.denied.remove(&operation));
    }

    /// Panics when there is a stream of this name.
    pub fn create_stream(&self, spec: &StreamSpec) {
        let now = self.elapsed();
        let created = self.change(|state| {
            let sequence = state.observed.ledger.sequence();
            state.streams.create(spec, sequence, now)
        });
        assert!(created, "there is a stream {}", spec.name);
    }

    /// The stream is not found any more; what it stored stays in the ledger.
    pub fn delete_stream(&self, stream: &str) {
        let deleted = self.change(|state| state.streams.delete(stream));
        assert!(deleted, "no stream {stream}");
    }

    fn change_stream<T>(
        &self,
        stream: &str,
        change: impl FnOnce(&mut super::stream::Stream, u64, Duration) -> T,
    ) -> T {
        let now = self.elapsed();
        self.change(|state| {
            let sequence = state.observed.ledger.sequence();
            match state.streams.get(stream) {
                Some(stream) => change(stream, sequence, now),
                None => panic!("no stream {stream}"),
            }
        })
    }

    pub fn set_status(&self, stream: &str, status: StreamStatus) {
        self.change_stream(stream, |stream, _, _| stream.status = status);
    }

    pub fn set_kms(&self, stream: &str, kms: Option<Kms>) {
        self.change_stream(stream, |stream, _, _| stream.kms = kms);
    }

    pub fn set_distribution(&self, stream: &str, distribution: Distribution) {
        self.change_stream(stream, |stream, _, _| stream.distribution = distribution);
    }

    pub fn set_record_bytes_max(&self, stream: &str, bytes: usize) {
        self.change_stream(stream, |stream, _, _| stream.record_bytes_max = bytes);
    }

    /// `None`: this shard is not limited.
    pub fn set_shard_rate(&self, stream: &str, shard: u32, rate: Option<Rate>) {
        self.change_stream(stream, |stream, _, now| stream.set_rate(shard, rate, now));
    }

    /// Splits one open shard in the middle; panics when it is not open.
    pub fn split(&self, stream: &str, shard: u32) {
        let split = self.change_stream(stream, |stream, sequence, now| stream.split(shard, sequence, now));
        assert!(split, "shard {shard} of {stream} is not open");
    }

    pub fn split_all(&self, stream: &str) {
        self.change_stream(stream, |stream, sequence, now| {
            stream.split_all(sequence, now);
        });
    }

    /// Merges an open shard with the open one above it; panics when there is no such pair.
    pub fn merge(&self, stream: &str, shard: u32) {
        let merged = self.change_stream(stream, |stream, sequence, now| stream.merge(shard, sequence, now));
        assert!(merged, "shard {shard} of {stream} has no open neighbour above");
    }

    pub fn merge_all(&self, stream: &str) {
        self.change_stream(stream, |stream, sequence, now| {
            stream.merge_all(sequence, now);
        });
    }
}
