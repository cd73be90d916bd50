//! Files: the files that are open for appending.
//! In: a path and bytes. Out: all of them at the end of that file, handed to the operating system; or none.
//! Holds: at most [`OPEN_FILES_MAX`] files; the one not written to for longest is closed for a new one.
//! Never: reads the clock, buffers, writes into a file that was moved or deleted under its path.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Most files open at a time. Chosen, not measured: an eighth of the usual limit of 1,024 file descriptors a
/// process, so that several sinks, sockets and sources have room.
pub(super) const OPEN_FILES_MAX: usize = 128;

struct OpenFile {
    file: File,
    written_at: Instant,
}

/// The open files of one sink.
pub(super) struct Files {
    open: HashMap<PathBuf, OpenFile>,
    open_max: usize,
}

impl Files {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open: HashMap::new(), open_max }
    }

    /// Appends all of `bytes` to the file at `path`, which is made with its directories where it is missing. When
    /// this returns, the operating system has them; a crash of the machine can still lose them.
    ///
    /// # Errors
    /// Of opening or writing. What a broken write left behind is taken back where nobody else appended.
    pub(super) fn append(&mut self, path: &Path, bytes: &[u8], now: Instant) -> io::Result<()> {
        if let Some(open) = self.open.get_mut(path) {
            if is_at(&open.file, path) {
                open.written_at = now;
                return append_whole(&mut open.file, bytes);
            }
            // Rotated or deleted: what comes now belongs to a new file.
            self.open.remove(path);
        }
        if self.open.len() >= self.open_max
            && let Some(oldest) = self.oldest().map(|(path, _)| path.clone())
        {
            self.open.remove(&oldest);
        }
        let mut file = open(path)?;
        let result = append_whole(&mut file, bytes);
        self.open.insert(path.to_owned(), OpenFile { file, written_at: now });
        result
    }

    /// When the file that was not written to for longest was last written to.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.oldest().map(|(_, file)| file.written_at)
    }

    fn oldest(&self) -> Option<(&PathBuf, &OpenFile)> {
        self.open.iter().min_by_key(|(_, file)| file.written_at)
    }

    /// Closes the files that were not written to for `idle`, their bytes on the disk; returns those where that failed.
    pub(super) fn close_idle(&mut self, now: Instant, idle: Duration) -> Vec<(PathBuf, io::Error)> {
        let closing = self.open.extract_if(|_, file| now.saturating_duration_since(file.written_at) >= idle);
        close(closing)
    }

    /// Closes all files, as [`Self::close_idle`].
    pub(super) fn close_all(&mut self) -> Vec<(PathBuf, io::Error)> {
        close(self.open.drain())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

fn close(files: impl Iterator<Item = (PathBuf, OpenFile)>) -> Vec<(PathBuf, io::Error)> {
    files
        .filter(|(_, open)| open.file.metadata().is_ok_and(|metadata| metadata.is_file()))
        .filter_map(|(path, open)| open.file.sync_data().err().map(|error| (path, error)))
        .collect()
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            options.open(path)
        }
        other => other,
    }
}

/// Whether `path` still names `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(named)) => own.ino() == named.ino() && own.dev() == named.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

fn append_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err(take_back(file, written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(take_back(file, written, error)),
        }
    }
    Ok(())
}

/// Takes the last `written` bytes off the file again, if they are its last: half a line would spoil the next one.
/// What cannot be taken back stays; the write failed in any case.
fn take_back(file: &mut File, written: usize, error: io::Error) -> io::Error {
    if written > 0
        && let (Ok(end), Ok(metadata)) = (file.stream_position(), file.metadata())
        && metadata.is_file()
        && metadata.len() == end
    {
        let _ = file.set_len(end.saturating_sub(written as u64));
    }
    error
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn bytes_are_appended_and_directories_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.log");
        let now = Instant::now();
        let mut files = Files::new(2);
        files.append(&path, b"one\n", now).unwrap();
        assert_eq!(read(&path), "one\n", "before anything is closed");
        files.append(&path, b"two\n", now).unwrap();
        drop(files);
        Files::new(2).append(&path, b"three\n", now).unwrap();
        assert_eq!(read(&path), "one\ntwo\nthree\n");
    }

    #[test]
    fn no_more_files_are_open_than_allowed_and_nothing_is_lost_by_it() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut files = Files::new(3);
        for round in 0..3_u64 {
            for name in 0..7_u64 {
                let path = dir.path().join(name.to_string());
                files.append(&path, b"x", start + Duration::from_millis(10 * round + name)).unwrap();
                assert!(files.len() <= 3);
            }
        }
        for name in 0..7 {
            assert_eq!(read(&dir.path().join(name.to_string())), "xxx");
        }
        assert!(files.open.contains_key(&dir.path().join("6")), "the newest stay");
    }

    #[test]
    fn idle_files_are_closed_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut files = Files::new(9);
        files.append(&dir.path().join("old"), b"x", start).unwrap();
        files.append(&dir.path().join("new"), b"x", start + 5 * second).unwrap();
        assert_eq!(files.idle_since(), Some(start));
        assert!(files.close_idle(start + 9 * second, 10 * second).is_empty());
        assert_eq!(files.len(), 2);
        assert!(files.close_idle(start + 10 * second, 10 * second).is_empty());
        assert_eq!(files.idle_since(), Some(start + 5 * second));
        assert!(files.close_all().is_empty());
        assert_eq!(files.idle_since(), None);
    }

    #[test]
    fn a_file_that_was_moved_or_deleted_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("x.log"), dir.path().join("x.log.1"));
        let now = Instant::now();
        let mut files = Files::new(2);
        files.append(&path, b"one\n", now).unwrap();
        std::fs::rename(&path, &rotated).unwrap();
        files.append(&path, b"two\n", now).unwrap();
        assert_eq!((read(&rotated).as_str(), read(&path).as_str()), ("one\n", "two\n"));
        std::fs::remove_file(&path).unwrap();
        files.append(&path, b"three\n", now).unwrap();
        assert_eq!(read(&path), "three\n");
    }

    #[test]
    fn half_a_write_is_taken_back_unless_someone_else_has_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, "whole\n").unwrap();
        let mut file = open(&path).unwrap();
        file.write_all(b"ha").unwrap();
        let error = take_back(&mut file, 2, io::ErrorKind::StorageFull.into());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(read(&path), "whole\n");
        file.write_all(b"ha").unwrap();
        open(&path).unwrap().write_all(b"other\n").unwrap();
        take_back(&mut file, 2, io::ErrorKind::StorageFull.into());
        assert_eq!(read(&path), "whole\nhaother\n");
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_and_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("blocked");
        std::fs::write(&blocked, "a file, not a directory").unwrap();
        let path = blocked.join("x.log");
        let mut files = Files::new(2);
        assert!(files.append(&path, b"one\n", Instant::now()).is_err());
        assert_eq!(files.len(), 0);
        std::fs::remove_file(&blocked).unwrap();
        files.append(&path, b"two\n", Instant::now()).unwrap();
        assert_eq!(read(&path), "two\n");
    }
}
