//! One watched file: where it is read, and whether it is still what it was.
//! In: an open file and a position. Out: chunks of whole lines; that it is at its end, or was truncated.
//! Never: waits, looks at another file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::books::Opened;
use super::fingerprint::{Inode, TAIL_BYTES};
use super::positions::FileId;
use crate::lines::{Chunk, LineBuffer, LineRules, READ_BYTES, ReadBuffers};

/// Up to here the beginning of a line is moved out of the read buffer after each read.
const LONG_PART_BYTES: usize = READ_BYTES / 4;

/// What one read gave.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes, and whole lines if they made any.
    Read(Option<Chunk>),
    /// Nothing more for now.
    End,
    /// Other content than before: it is shorter, or what was read last has changed.
    Truncated,
}

/// A file that is read.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) id: FileId,
    pub(crate) opened: Opened,
    /// When it was made, or changed where that is not known.
    pub(crate) age: SystemTime,
    /// Whether the last search has found it.
    pub(crate) found: bool,
    pub(crate) last_read: Instant,
    /// The last look found nothing.
    at_end: bool,
    /// A read error was told.
    pub(crate) told: bool,
    lines: LineBuffer,
    /// The last bytes that were read.
    tail: Vec<u8>,
}

impl Watched {
    pub(crate) fn new(id: FileId, opened: Opened, position: u64, rules: LineRules, age: SystemTime) -> Self {
        Self {
            id,
            opened,
            age,
            found: true,
            last_read: Instant::now(),
            at_end: false,
            told: false,
            lines: LineBuffer::new(rules, position),
            tail: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.opened.path
    }

    pub(crate) fn inode(&self) -> Inode {
        self.opened.inode
    }

    /// The position after the last byte that was read.
    pub(crate) fn end(&self) -> u64 {
        self.lines.end()
    }

    /// Whether bytes were read that are no whole line yet.
    pub(crate) fn has_part(&self) -> bool {
        self.lines.start() < self.lines.end()
    }

    /// Whether the file has no name any more.
    pub(crate) fn is_deleted(&self) -> bool {
        self.opened.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Reads once, into one of `buffers`.
    pub(crate) fn step(&mut self, buffers: &mut ReadBuffers) -> io::Result<Step> {
        let step = self.read(buffers);
        let at_end = matches!(step, Ok(Step::End));
        // The beginning of a long line stays where it was read while more of it comes.
        if self.lines.bytes().len() < LONG_PART_BYTES || (at_end && self.at_end) {
            self.lines.leave(buffers);
        }
        self.at_end = at_end;
        step
    }

    fn read(&mut self, buffers: &mut ReadBuffers) -> io::Result<Step> {
        let position = self.lines.end();
        let space = self.lines.space(buffers);
        let before = space.len();
        let room = rustix::buffer::spare_capacity(space);
        let read = match rustix::io::pread(&*self.opened.file, room, position) {
            Err(rustix::io::Errno::INTR) => return Ok(Step::Read(None)),
            read => read?,
        };
        if read == 0 {
            let size = self.opened.file.metadata()?.len();
            return Ok(if size < position { Step::Truncated } else { Step::End });
        }
        // The file may have been truncated and written anew, past where we were. Looked at after the read, so that
        // what was read is known to follow; costs one small read for each large one.
        if !tail_is_at(&self.opened.file, &self.tail, position) {
            self.lines.cut(before);
            return Ok(Step::Truncated);
        }
        self.last_read = Instant::now();
        let new = &self.lines.bytes()[before..];
        if new.len() >= TAIL_BYTES {
            self.tail.clear();
        }
        self.tail.extend_from_slice(&new[new.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        Ok(Step::Read(self.lines.take(buffers)))
    }

    /// What is left at the end of a file that gets no more: the last line.
    pub(crate) fn take_last(&mut self) -> Option<Chunk> {
        self.lines.take_last()
    }

    /// What is left of a truncated file.
    pub(crate) fn into_orphan(self) -> Orphan {
        Orphan { id: self.id, opened: self.opened, lines: self.lines, tail: self.tail, searches: 0 }
    }
}

fn tail_is_at(file: &File, tail: &[u8], position: u64) -> bool {
    let Some(start) = position.checked_sub(tail.len() as u64) else { return false };
    let mut there = [0; TAIL_BYTES];
    let there = &mut there[..tail.len()];
    file.read_exact_at(there, start).is_ok() && there == tail
}

/// What a truncated file was; its content may stand in a copy (logs rotated by copying).
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) id: FileId,
    pub(crate) opened: Opened,
    lines: LineBuffer,
    tail: Vec<u8>,
    /// Searches since then that did not find it.
    pub(crate) searches: u32,
}

impl Orphan {
    /// Whether `opened` holds what was read of the truncated file.
    pub(crate) fn is_in(&self, opened: &Opened) -> bool {
        self.opened.head == opened.head
            && opened.head != 0
            && !self.tail.is_empty()
            && tail_is_at(&opened.file, &self.tail, self.lines.end())
    }

    /// Where its first line begins that was not given out.
    pub(crate) fn position(&self) -> u64 {
        self.lines.start()
    }

    /// The line whose end is gone.
    pub(crate) fn take_last(&mut self) -> Option<Chunk> {
        self.lines.take_last()
    }
}
