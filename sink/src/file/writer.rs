//! Writer: the loop of the `file` sink and the work it hands to a thread that may block.
//! In: arrays, as many as are ready. Out: one write a path, then settled events; idle files closed.
//! Holds: the events of one turn; those of a turn that never ran are lost, not delivered.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use afluente_pipeline::codecs::compression::Compressor;
use afluente_pipeline::codecs::encoding::StreamEncoder;
use afluente_pipeline::event::{EventArray, EventStatus, LogEvent, LostUnlessTaken};
use afluente_pipeline::sink::StreamSink;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::files::Files;
use super::template::{PathError, PathTemplate};
use crate::tally::{Held, Tally};

/// Most arrays of one turn. More make fewer and larger writes, and hold more events. Chosen, not measured.
const TURN_ARRAYS_MAX: usize = 8;

/// What becomes of one path in one turn.
#[derive(Default)]
struct Load {
    frames: Vec<u8>,
    held: Held,
}

/// Everything that may block or takes long; moved to a blocking thread for each turn.
pub(super) struct Writer {
    pub(super) template: PathTemplate,
    pub(super) encoder: StreamEncoder,
    pub(super) compressor: Option<Compressor>,
    pub(super) files: Files,
    pub(super) idle_timeout: Duration,
    pub(super) tally: Tally,
    pub(super) include_file_tag: bool,
}

impl Writer {
    /// One turn: writes `arrays` and settles their events.
    pub(super) fn write(&mut self, arrays: Vec<EventArray>, now: DateTime<Utc>, at: Instant) {
        for (path, load) in self.sort(arrays, now) {
            self.write_load(&path, load, at);
        }
    }

    /// Encodes the events into one load a path, in the order of the paths' first events.
    fn sort(&self, arrays: Vec<EventArray>, now: DateTime<Utc>) -> Vec<(String, Load)> {
        let mut loads: Vec<(String, Load)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut last = None;
        let mut path = String::new();
        for mut event in arrays.into_iter().flat_map(EventArray::into_logs) {
            if let Err(error) = self.template.render(&event, now, &mut path) {
                let error_type = match error {
                    PathError::MissingField(_) => "template_failed",
                    PathError::Escapes(_) => "confinement_failed",
                };
                self.reject(&mut event, error_type, &error);
                continue;
            }
            // Neighbours mostly share a path.
            let place = match last.filter(|&place: &usize| loads[place].0 == path) {
                Some(place) => place,
                None => *places.entry(path.clone()).or_insert_with(|| {
                    loads.push((path.clone(), Load::default()));
                    loads.len() - 1
                }),
            };
            last = Some(place);
            let load = &mut loads[place].1;
            match self.encoder.encode_to(&event, &mut load.frames) {
                Ok(()) => load.held.take(&mut event),
                Err(error) => self.reject(&mut event, "encoder_failed", &error),
            }
        }
        loads
    }

    fn reject(&self, event: &mut LogEvent, error_type: &'static str, error: &dyn std::error::Error) {
        tracing::error!(%error, "Event rejected.");
        let mut held = Held::default();
        held.take(event);
        self.tally.failed(held, EventStatus::Rejected, error_type);
    }

    fn write_load(&mut self, path: &str, load: Load, at: Instant) {
        let Load { frames, held } = load;
        if held.events() == 0 {
            return;
        }
        match self.append(Path::new(path), &frames, at) {
            Ok(()) if self.include_file_tag => self.tally.delivered_to_file(held, frames.len(), path),
            Ok(()) => self.tally.delivered(held, frames.len()),
            Err(error) => {
                let status = if never_works(&error) { EventStatus::Rejected } else { EventStatus::Errored };
                tracing::error!(events = held.events(), "Cannot append to {path}: {error}.");
                self.tally.failed(held, status, "io_failed");
            }
        }
    }

    fn append(&mut self, path: &Path, frames: &[u8], at: Instant) -> io::Result<()> {
        let Some(compressor) = &mut self.compressor else {
            return self.files.append(path, frames, at);
        };
        let mut compressed = Vec::new();
        compressor.compress_to(frames, &mut compressed)?;
        self.files.append(path, &compressed, at)
    }

    pub(super) fn close_idle(&mut self, at: Instant) {
        let failed = self.files.close_idle(at, self.idle_timeout);
        self.tell_unsynced(failed);
    }

    fn close_all(&mut self) {
        let failed = self.files.close_all();
        self.tell_unsynced(failed);
    }

    /// Their events were settled when the operating system took them; only the operator can be told.
    fn tell_unsynced(&self, failed: Vec<(PathBuf, io::Error)>) {
        for (path, error) in failed {
            let path = path.display();
            tracing::error!("{path} is closed, but the disk may not have all of it: {error}.");
            self.tally.fault("io_failed");
        }
    }
}

/// Whether the path itself is what the operating system refuses, so that no second try can go well.
fn never_works(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput)
}

/// The sink: reads, and lends its writer to a blocking thread.
pub(super) struct FileSink {
    writer: Box<Writer>,
}

impl FileSink {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer: Box::new(writer) }
    }
}

#[async_trait]
impl StreamSink<EventArray> for FileSink {
    async fn run(self: Box<Self>, input: BoxStream<'_, EventArray>) -> Result<(), ()> {
        let mut input = input.ready_chunks(TURN_ARRAYS_MAX);
        let mut writer = self.writer;
        loop {
            let idle_at = writer.files.idle_since().map(|since| since + writer.idle_timeout);
            let arrays = tokio::select! {
                // Events first: a turn closes idle files, too.
                biased;
                arrays = input.next() => match arrays {
                    Some(arrays) => arrays,
                    None => break,
                },
                () = until(idle_at) => Vec::new(),
            };
            let mut arrays = LostUnlessTaken::new(arrays);
            writer = blocking(writer, move |writer| {
                let at = Instant::now();
                writer.write(arrays.take().unwrap_or_default(), Utc::now(), at);
                writer.close_idle(at);
            })
            .await?;
        }
        blocking(writer, Writer::close_all).await.map(drop)
    }
}

/// Resolves at `instant`; never without one.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Does `work` on a thread that may block. When the caller is dropped meanwhile, work that has begun is still done.
async fn blocking(
    mut writer: Box<Writer>,
    work: impl FnOnce(&mut Writer) + Send + 'static,
) -> Result<Box<Writer>, ()> {
    let done = tokio::task::spawn_blocking(move || {
        work(&mut writer);
        writer
    });
    done.await.map_err(|error| tracing::error!(%error, "The file sink has failed; this is a bug."))
}
