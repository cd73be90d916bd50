//! `file`: lines of files, followed as they grow (`mode: tail`) or read once (`mode: once`).
//! In: globs; a thread reads. Out: arrays of events in the order of each file; positions on disk.
//! Holds: at most [`WAITING_READS`] reads that wait for the pipeline.
//! Never: moves a position past an event that is not settled, so that a kill loses nothing; cuts a line.
//!
//! `config` options, `reader` the thread, `watched` one file of it, `fingerprint` how a file is known again,
//! `positions` what is settled, `books` both sides' view of it, `checkpoints` the file on disk.

mod books;
mod checkpoints;
mod config;
mod fingerprint;
mod positions;
mod reader;
#[cfg(test)]
mod tests;
mod watched;

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Source, SourceConfig, SourceContext, SourceOutput,
};
use afluente_pipeline::event::{
    BatchNotifier, BatchStatus, EventFinalizers, EventMetadata, KeyString, ObjectMap, UnorderedFinalizer,
    Value,
};
use afluente_pipeline::shutdown::ShutdownSignal;
use afluente_pipeline::{SourceSender, inventory};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use metrics::Counter;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::faults::{Faults, received_bytes};
use crate::intake::{Intake, Place, Stamp, field_name, host};
use books::Books;
use checkpoints::CheckpointFile;
pub use config::{FileConfig, Mode, ReadFrom};
pub use fingerprint::FingerprintConfig;
use positions::{Settled, Ticket};
use reader::{Read, Reader, What, lock};

const NAME: &str = "file";

/// Reads that may wait for the pipeline: enough to read ahead while an array is handed over.
const WAITING_READS: usize = 2;
/// How often positions are written, and so how much is read again after a kill beyond what was not settled.
const WRITE_EVERY: Duration = Duration::from_secs(1);

#[async_trait]
#[typetag::serde(name = "file")]
impl SourceConfig for FileConfig {
    async fn build(&self, context: SourceContext) -> afluente_pipeline::Result<Source> {
        let settings = self.settings().map_err(|errors| errors.join("; "))?;
        let id = context.key.id();
        let data_dir = self.data_dir.clone().unwrap_or_else(|| context.globals.data_dir());
        let checkpoints = CheckpointFile::open(&data_dir, id)?;
        let known = checkpoints.load()?;
        let known = if self.ignore_checkpoints == Some(true) { Vec::new() } else { known };
        let books = Arc::new(Mutex::new(Books::new(known)));

        let (read, reads) = mpsc::channel(WAITING_READS);
        let (stop, stopped) = std::sync::mpsc::channel();
        let reader = Reader::new(settings.clone(), books.clone(), read, stopped);
        let (fates, settled) = UnorderedFinalizer::new_unordered(None);
        let host_key = field_name(self.host_key.as_deref(), Some("host"));
        let key =
            |option: &Option<String>, default| field_name(option.as_deref(), default).map(KeyString::from);
        let files = Files {
            intake: Intake::new(settings.rules, self.decoding.build(), Faults::new(NAME, id, &context.out)),
            stamp: Stamp::new(NAME, &context.key).with_field(host_key, host()),
            file_key: key(&self.file_key, Some("file")),
            offset_key: key(&self.offset_key, None),
            received_bytes: received_bytes(NAME, id, "file"),
            books: books.clone(),
            fates,
            acknowledgements: context.acknowledgements,
            out: context.out,
        };
        let shutdown = context.shutdown;
        Ok(Box::pin(async move {
            let thread = std::thread::Builder::new().name("file".to_owned());
            if let Err(error) = thread.spawn(move || reader.run()) {
                tracing::error!("Files cannot be read: no thread could be started: {error}.");
                return Err(());
            }
            // The second part ends when the first has ended and everything it sent is settled.
            tokio::join!(files.run(reads, stop, shutdown), keep_positions(books, checkpoints, settled));
            Ok(())
        }))
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        true
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        self.settings().map(drop)
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: NAME,
        summary: "Lines of files, followed or read once; positions move only past settled events.",
        schema: |generator| generator.subschema_for::<FileConfig>(),
    }
}

/// From reads to arrays.
struct Files {
    intake: Intake,
    stamp: Stamp,
    file_key: Option<KeyString>,
    offset_key: Option<KeyString>,
    received_bytes: Counter,
    books: Arc<Mutex<Books>>,
    /// Where arrays wait for their fate. Its other end goes on until this is dropped.
    fates: UnorderedFinalizer<Ticket>,
    /// Whether somebody tells their fate; else what was sent is settled.
    acknowledgements: bool,
    out: SourceSender,
}

impl Files {
    /// Ends when the reader has ended, on shutdown, or when the pipeline is gone. Dropping `stop` ends the reader.
    async fn run(
        mut self,
        mut reads: mpsc::Receiver<Read>,
        stop: std::sync::mpsc::Sender<()>,
        mut shutdown: ShutdownSignal,
    ) {
        loop {
            let read = tokio::select! {
                // Shutdown first: there may always be more to read. What is not sent is read again next time.
                biased;
                () = &mut shutdown => break,
                read = reads.recv() => read,
            };
            let Some(read) = read else { break };
            if !self.send(read, &mut shutdown).await {
                break;
            }
        }
        drop(stop);
    }

    /// Sends the lines of one read; whether to go on.
    async fn send(&mut self, read: Read, shutdown: &mut ShutdownSignal) -> bool {
        let Read { file, path, what } = read;
        let mut chunk = match what {
            What::Lines(chunk) => chunk,
            What::Closed => {
                lock(&self.books).close(file);
                return true;
            }
            What::Gone => {
                lock(&self.books).forget_when_settled(file);
                return true;
            }
        };
        self.received_bytes.increment(chunk.len() as u64);
        loop {
            let (notifier, receiver) = BatchNotifier::maybe_new_with_receiver(self.acknowledgements);
            let finalizers = notifier.map_or(EventFinalizers::DEFAULT, EventFinalizers::from_notifier);
            let mut events = Vec::new();
            let more = {
                let mut fields = ObjectMap::new();
                if let Some(key) = &self.file_key {
                    fields.insert(key.clone(), Value::from(&*path));
                }
                let shared = self.stamp.with_fields(fields.clone(), finalizers.clone());
                let (stamp, offset_key) = (&self.stamp, &self.offset_key);
                let own = |offset: u64| -> EventMetadata {
                    let mut fields = fields.clone();
                    if let Some(key) = offset_key {
                        fields.insert(key.clone(), Value::from(offset as i64));
                    }
                    stamp.with_fields(fields, finalizers.clone())
                };
                self.intake.fill(&mut chunk, &mut events, Place::File(&path), |offset| {
                    if offset_key.is_some() { Cow::Owned(own(offset)) } else { Cow::Borrowed(&shared) }
                })
            };
            // From here on only the events hold their fate.
            drop(finalizers);
            let ticket = lock(&self.books).positions.sent(file, chunk.position());
            if let Some(receiver) = receiver {
                self.fates.add(ticket, receiver);
            }
            if !events.is_empty() {
                tokio::select! {
                    biased;
                    result = self.out.send_event(events) => if result.is_err() { return false },
                    // Cancelled: the events' fate says that they were not delivered, so the position stays.
                    () = &mut *shutdown => return false,
                }
            }
            if !self.acknowledgements {
                lock(&self.books).positions.settle(ticket, BatchStatus::Delivered);
            }
            if !more {
                return true;
            }
        }
    }
}

/// Moves positions as fates come in and writes them, until all fates are known.
async fn keep_positions(
    books: Arc<Mutex<Books>>,
    checkpoints: CheckpointFile,
    mut fates: BoxStream<'static, (BatchStatus, Ticket)>,
) {
    let mut next = Instant::now() + WRITE_EVERY;
    loop {
        tokio::select! {
            fate = fates.next() => {
                let Some((status, ticket)) = fate else { break };
                let mut books = lock(&books);
                if let Settled::Held { position } = books.positions.settle(ticket, status) {
                    let path = books.path(ticket.file).map_or_else(String::new, |path| path.to_string());
                    tracing::warn!(
                        "Events of {path} from byte {position} on were not delivered: its position stays there, \
                         and they are read again when the source starts next time."
                    );
                }
            }
            () = tokio::time::sleep_until(next) => {
                let started = Instant::now();
                write(&books, &checkpoints).await;
                // A long list is written less often: at most a twentieth of the time.
                next = Instant::now() + WRITE_EVERY.max(started.elapsed() * 20);
            }
        }
    }
    write(&books, &checkpoints).await;
}

async fn write(books: &Arc<Mutex<Books>>, checkpoints: &CheckpointFile) {
    let (books, checkpoints) = (books.clone(), checkpoints.clone());
    let work = move || {
        let Some(list) = lock(&books).snapshot(SystemTime::now()) else { return };
        if let Err(error) = checkpoints.write(list) {
            lock(&books).not_written();
            tracing::error!("Positions cannot be written: {error}. They are tried again.");
        }
    };
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("Positions were not written: the task was ended.");
    }
}
