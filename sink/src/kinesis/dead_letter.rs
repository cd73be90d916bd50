//! Dead letter: a file that keeps rejected records.
//! In: rejections. Out: one JSON object a line, on disk (fsync) before this returns, so that a finalizer settles only then.
//! Holds: at most two files of `max_bytes` each: the current one and the one before (`<path>.1`).
//! Never: writes a log; an error is told to the caller, who tries again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
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
        let (file, size) = append(&config.path)?;
        Ok(Self { path: config.path.clone(), max_bytes: config.max_bytes, file, size })
    }

    /// Writes one line a rejection, then waits for the disk. `time_of` turns a moment of the sink into the time of day.
    ///
    /// # Errors
    /// When writing fails; nothing of it stays in the file as far as that can be helped, and all of it is written when the caller
    /// tries again.
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
                first_time: text(time_of(record.first_sent().unwrap_or(record.entered))),
                last_time: text(now),
            };
            serde_json::to_writer(&mut lines, &letter)?;
            lines.push(b'\n');
        }
        self.follow()?;
        if self.size > 0 && self.size + lines.len() as u64 > self.max_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&lines).and_then(|()| self.file.sync_data()) {
            // Half a line would swallow the next one.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    /// A file that was moved away (to be sent again) is the mover's; a new one begins.
    fn follow(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let there = std::fs::metadata(&self.path).ok();
        if there.is_none_or(|there| (there.dev(), there.ino()) != (ours.dev(), ours.ino())) {
            (self.file, self.size) = append(&self.path)?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.path, older)?;
        (self.file, self.size) = append(&self.path)?;
        Ok(())
    }
}

/// Opens the file at its end, which is the end of a line: what a kill left of one is closed off, and is no letter.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    let mut size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, size))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::core::Reason;
    use super::super::record::Record;
    use super::*;

    fn rejection(data: &'static [u8]) -> Rejection {
        let record = Record::new(Bytes::from_static(data), Bytes::from_static(b"k"), None, 0, Duration::ZERO);
        Rejection { record, reason: Reason::NoKey }
    }

    fn write(file: &mut DeadLetterFile, data: &'static [u8]) {
        file.write(&[rejection(data)], |_| DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH).unwrap();
    }

    fn open(folder: &tempfile::TempDir, max_bytes: u64) -> DeadLetterFile {
        DeadLetterFile::open(&DeadLetterConfig { path: folder.path().join("letters"), max_bytes }).unwrap()
    }

    fn records(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn text_is_kept_as_it_is_and_other_bytes_in_base64() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(&folder, 1 << 20);
        write(&mut file, b"text");
        write(&mut file, b"\xff\x00");
        let letters = records(&file.path);
        assert_eq!(letters[0]["record"], "text");
        assert_eq!(letters[0]["partition_key"], "k");
        assert_eq!(
            (&letters[1]["record"], &letters[1]["record_base64"]),
            (&serde_json::Value::Null, &"/wA=".into())
        );
    }

    #[test]
    fn what_a_kill_left_of_a_line_does_not_swallow_the_next_letter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("letters"), "{\"record\":\"half").unwrap();
        let mut file = open(&folder, 1 << 20);
        write(&mut file, b"whole");
        assert_eq!(records(&file.path).len(), 1);
        assert_eq!(records(&file.path)[0]["record"], "whole");
    }

    #[test]
    fn a_file_that_grew_too_large_is_put_aside_and_one_that_was_moved_away_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(&folder, 300);
        let older = folder.path().join("letters.1");
        for data in [b"1", b"2", b"3", b"4"] {
            write(&mut file, data);
        }
        assert!(older.exists() && file.size <= 300);
        let taken = folder.path().join("taken");
        std::fs::rename(&file.path, &taken).unwrap();
        let before = records(&taken).len();
        for data in [b"5", b"6", b"7", b"8"] {
            write(&mut file, data);
        }
        assert_eq!(records(&taken).len(), before, "what was moved away is not written to any more");
        assert_eq!(records(&file.path).last().unwrap()["record"], "8");
    }
}
