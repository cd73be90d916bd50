//! Dead letter: a file that keeps rejected records.
//! In: rejections. Out: one JSON object a line, on disk (fsync) before this returns, so that a finalizer settles only then.
//! Holds: at most two files of `max_bytes` each: the current one and the one before (`<path>.1`).
//! Never: writes a log, drops a record; an error is told to the caller, who tries again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64_simd::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::config::DeadLetterConfig;
use super::core::Rejection;

/// One line of the file.
#[derive(Debug, Serialize)]
struct Letter<'a> {
    /// The data if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    /// The data in base64 otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
    partition_key: std::borrow::Cow<'a, str>,
    reason: String,
    code: &'a str,
    attempts: u32,
    first_time: String,
    last_time: String,
}

/// The file, open.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
    max_bytes: u64,
    file: File,
    size: u64,
}

impl DeadLetterFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When it cannot be opened for appending.
    pub fn open(config: &DeadLetterConfig) -> io::Result<Self> {
        let file = append(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: config.path.clone(), max_bytes: config.max_bytes, file, size })
    }

    /// Writes one line a rejection, then waits for the disk. `time_of` turns a moment of the sink into the time of day.
    ///
    /// # Errors
    /// When writing fails; a part may be written, and is written again when the caller tries again.
    pub fn write(
        &mut self,
        rejections: &[Rejection],
        time_of: impl Fn(super::record::Moment) -> DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        for Rejection { record, reason } in rejections {
            let utf8 = std::str::from_utf8(&record.data).ok();
            let letter = Letter {
                record: utf8,
                record_base64: utf8.is_none().then(|| STANDARD.encode_to_string(&record.data)),
                partition_key: String::from_utf8_lossy(&record.key),
                reason: reason.to_string(),
                code: reason.code(),
                attempts: record.attempts,
                first_time: text(time_of(record.first_sent.unwrap_or(record.entered))),
                last_time: text(now),
            };
            serde_json::to_writer(&mut lines, &letter)?;
            lines.push(b'\n');
        }
        if self.size > 0 && self.size + lines.len() as u64 > self.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(&lines)?;
        self.file.sync_data()?;
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.path, older)?;
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
