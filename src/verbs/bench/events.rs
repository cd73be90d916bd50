//! Events: what the pipeline is fed with, as lines, as cheaply as can be.
//! In: a seed and a size, or a file of lines. Out: pieces of whole lines, without end.
//! Holds: a block of distinct events that is replayed; only when keys are many is every event made anew.

use std::path::Path;

use afluente::sources::{DemoProfiles, DemoProfilesOptions};

/// Distinct events that are made in advance. More keys than this and events are made while the pipeline runs, which
/// takes some of the machine.
const BLOCK_EVENTS: u32 = 16_384;
/// The largest file that is replayed: all of it is in memory, so that reading it costs nothing while it counts.
const REPLAY_BYTES_MAX: u64 = 1 << 30;
/// The size of a piece: what a pipe holds.
const PIECE_BYTES: usize = 1024 * 1024;

/// Lines without end.
pub(super) enum Events {
    /// A block, again and again.
    Replay(Block),
    /// Always new ones.
    Fresh(Box<DemoProfiles>, Vec<u8>),
}

/// Lines one after the other, each with its end.
#[derive(Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    next: usize,
}

/// Whole lines.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) events: u64,
}

impl Events {
    /// Made-up profiles.
    pub(super) fn generated(options: DemoProfilesOptions) -> Self {
        let mut generator = DemoProfiles::new(options);
        if options.profiles > BLOCK_EVENTS {
            return Self::Fresh(Box::new(generator), Vec::with_capacity(PIECE_BYTES + (1 << 16)));
        }
        let mut block = Block::default();
        for _ in 0..BLOCK_EVENTS {
            generator.write_event(&mut block.bytes);
            block.end_line();
        }
        Self::Replay(block)
    }

    /// The lines of a file; empty ones are left out.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn of_file(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{} cannot be replayed: {error}", path.display());
        let bytes = std::fs::metadata(path).map_err(|error| told(&error))?.len();
        if bytes > REPLAY_BYTES_MAX {
            let sentence = format!(
                "it has {bytes} bytes and at most {REPLAY_BYTES_MAX} are kept in memory: take a part of it"
            );
            return Err(told(&sentence));
        }
        let file = std::fs::read(path).map_err(|error| told(&error))?;
        let mut block = Block::default();
        block.bytes.reserve_exact(file.len() + 1);
        for line in file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            block.bytes.extend_from_slice(line);
            block.end_line();
        }
        if block.ends.is_empty() { Err(told(&"it has no lines")) } else { Ok(Self::Replay(block)) }
    }

    /// How many distinct events there are before they begin again; none if they never do.
    pub(super) fn distinct(&self) -> Option<u64> {
        match self {
            Self::Replay(block) => Some(block.ends.len() as u64),
            Self::Fresh(..) => None,
        }
    }

    /// The next events, at most `events_max` (1 or more) and about [`PIECE_BYTES`].
    pub(super) fn next(&mut self, events_max: u64) -> Piece<'_> {
        match self {
            Self::Replay(block) => block.next(events_max),
            Self::Fresh(generator, buffer) => {
                buffer.clear();
                let mut events = 0;
                while events < events_max && buffer.len() < PIECE_BYTES {
                    generator.write_event(buffer);
                    buffer.push(b'\n');
                    events += 1;
                }
                Piece { bytes: buffer, events }
            }
        }
    }
}

impl Block {
    fn end_line(&mut self) {
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    fn next(&mut self, events_max: u64) -> Piece<'_> {
        if self.next == self.ends.len() {
            self.next = 0;
        }
        let first = self.next;
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let fitting = self.ends[first..].partition_point(|end| end - start <= PIECE_BYTES).max(1);
        self.next = first + usize::try_from(events_max).unwrap_or(usize::MAX).clamp(1, fitting);
        Piece { bytes: &self.bytes[start..self.ends[self.next - 1]], events: (self.next - first) as u64 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all(events: &mut Events, count: u64, step: u64) -> Vec<u8> {
        let (mut bytes, mut left) = (Vec::new(), count);
        while left > 0 {
            let piece = events.next(left.min(step));
            assert!(piece.bytes.ends_with(b"\n"));
            left -= piece.events;
            bytes.extend_from_slice(piece.bytes);
        }
        bytes
    }

    #[test]
    fn a_file_is_replayed_line_by_line_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "one\n\n  \ntwo\nthree").unwrap();
        for step in [1, 2, 100] {
            let mut events = Events::of_file(&path).unwrap();
            assert_eq!(events.distinct(), Some(3));
            assert_eq!(all(&mut events, 5, step), b"one\ntwo\nthree\none\ntwo\n");
        }
        std::fs::write(&path, "\n\n").unwrap();
        assert!(Events::of_file(&path).is_err_and(|error| error.contains("no lines")));
        assert!(Events::of_file(&folder.path().join("none")).is_err());
    }

    #[test]
    fn more_keys_than_a_block_has_events_are_made_while_it_runs() {
        let options = DemoProfilesOptions { profiles: BLOCK_EVENTS + 1, ..DemoProfilesOptions::default() };
        let mut events = Events::generated(options);
        assert_eq!(events.distinct(), None);
        let bytes = all(&mut events, 2000, 1500);
        assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), 2000);
    }

    #[test]
    fn a_piece_is_about_a_pipe_full() {
        let mut events = Events::generated(DemoProfilesOptions { profiles: 10, ..Default::default() });
        let piece = events.next(u64::MAX);
        assert!((PIECE_BYTES - 2000..=PIECE_BYTES).contains(&piece.bytes.len()));
        assert_eq!(memchr::memchr_iter(b'\n', piece.bytes).count() as u64, piece.events);
    }
}
