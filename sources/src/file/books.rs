//! Books: what the source knows of each file, shared by the thread that reads and the task that settles.
//! In: files that were opened, renamed, closed; fates. Out: where to begin a file; a list for the disk.
//! Holds: an open handle a file until it is settled, to checksum what stands before its position.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::checkpoints::Checkpoint;
use super::fingerprint::{Inode, tail};
use super::positions::{FileId, Positions};

/// How long the position of a file that is gone is remembered; chosen: longer than a weekend with a disk unmounted.
const RETIRED_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A file as it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) path: Arc<str>,
    pub(crate) inode: Inode,
    pub(crate) head: u64,
    pub(crate) file: Arc<File>,
}

#[derive(Debug)]
struct Tracked {
    opened: Opened,
    last: Option<Checkpoint>,
    state: State,
}

/// What may still happen to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is read.
    Open,
    /// Nothing more is read from it; its position is kept.
    Closed,
    /// Its content is gone, unless a copy is found. It is not in the list for the disk.
    Truncated,
    /// It is gone; only the fates of what was read are waited for.
    Gone,
}

/// What is known of all files of one source.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) positions: Positions,
    files: HashMap<FileId, Tracked>,
    /// Files that are not open: of earlier runs, or read to their end.
    retired: Vec<Checkpoint>,
    next: u64,
    dirty: bool,
}

impl Books {
    /// Books that begin with the checkpoints of an earlier run.
    pub(crate) fn new(checkpoints: Vec<Checkpoint>) -> Self {
        Self { retired: checkpoints, ..Default::default() }
    }

    /// Begins a file; its position is known from before or `otherwise`.
    pub(crate) fn open(&mut self, opened: Opened, otherwise: u64) -> (FileId, u64) {
        let position = self.known(&opened).unwrap_or(otherwise);
        let id = FileId(self.next);
        self.next += 1;
        self.positions.open(id, position);
        self.files.insert(id, Tracked { opened, last: None, state: State::Open });
        (id, position)
    }

    /// Takes the position of an earlier run that fits the file: same beginning, same text before the position;
    /// the same inode rather than the same path rather than any.
    fn known(&mut self, opened: &Opened) -> Option<u64> {
        let by_inode = opened.head == 0;
        let size = opened.file.metadata().ok()?.len();
        let fits = |checkpoint: &Checkpoint| {
            checkpoint.head == opened.head
                && (!by_inode || checkpoint.inode == opened.inode)
                && checkpoint.position <= size
                && tail(&opened.file, checkpoint.position).is_ok_and(|tail| tail == checkpoint.tail)
        };
        let rank = |checkpoint: &Checkpoint| {
            (checkpoint.inode != opened.inode, checkpoint.path != *opened.path, u64::MAX - checkpoint.moved)
        };
        let candidates = self.retired.iter().enumerate().filter(|(_, checkpoint)| fits(checkpoint));
        let (index, _) = candidates.min_by_key(|(_, checkpoint)| rank(checkpoint))?;
        Some(self.retired.swap_remove(index).position)
    }

    /// Notes the name a file has now.
    pub(crate) fn rename(&mut self, id: FileId, path: Arc<str>) {
        if let Some(tracked) = self.files.get_mut(&id) {
            tracked.opened.path = path;
            tracked.last = None;
            self.dirty = true;
        }
    }

    /// Notes that nothing more is read from a file that stays where it is.
    pub(crate) fn close(&mut self, id: FileId) {
        self.set(id, State::Closed);
    }

    /// Notes that a file is gone for good; what was read of it is still on its way.
    pub(crate) fn forget_when_settled(&mut self, id: FileId) {
        self.set(id, State::Gone);
    }

    /// Notes that a file's content is gone; its inode goes on as another file.
    pub(crate) fn truncate(&mut self, id: FileId) {
        self.set(id, State::Truncated);
    }

    fn set(&mut self, id: FileId, state: State) {
        if let Some(tracked) = self.files.get_mut(&id) {
            tracked.state = state;
            self.dirty = true;
        }
    }

    /// The name of a file.
    pub(crate) fn path(&self, id: FileId) -> Option<&str> {
        Some(&self.files.get(&id)?.opened.path)
    }

    /// Notes that the content of a truncated file was found again.
    pub(crate) fn found_again(&mut self, id: FileId, opened: Opened) {
        if let Some(tracked) = self.files.get_mut(&id) {
            *tracked = Tracked { opened, last: None, state: State::Open };
            self.dirty = true;
        }
    }

    /// The list for the disk, if it has changed since the last call.
    pub(crate) fn snapshot(&mut self, now: SystemTime) -> Option<Vec<Checkpoint>> {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let moved = seconds(now);
        let mut settled = Vec::new();
        for (id, tracked) in &mut self.files {
            let listed = matches!(tracked.state, State::Open | State::Closed);
            if listed && (self.positions.take_moved(*id) || tracked.last.is_none()) {
                self.dirty = true;
                let position = self.positions.position(*id).unwrap_or(0);
                let Opened { path, inode, head, file } = &tracked.opened;
                // A file that cannot be read now keeps its older, lower position.
                if let Ok(tail) = tail(file, position) {
                    let (path, inode, head) = (path.to_string(), *inode, *head);
                    tracked.last = Some(Checkpoint { path, inode, head, tail, position, moved });
                }
            }
            if matches!(tracked.state, State::Closed | State::Gone) && self.positions.is_settled(*id) {
                settled.push(*id);
            }
        }
        for id in settled {
            self.positions.close(id);
            let tracked = self.files.remove(&id).filter(|tracked| tracked.state == State::Closed);
            self.retired.extend(tracked.and_then(|tracked| tracked.last));
        }
        let kept = seconds(now.checked_sub(RETIRED_KEPT).unwrap_or(SystemTime::UNIX_EPOCH));
        let before = self.retired.len();
        self.retired.retain(|checkpoint| checkpoint.moved >= kept);
        if !std::mem::take(&mut self.dirty) && before == self.retired.len() {
            return None;
        }
        let listed = |tracked: &&Tracked| matches!(tracked.state, State::Open | State::Closed);
        let open = self.files.values().filter(listed);
        let open = open.filter_map(|tracked| tracked.last.as_ref());
        let mut all: Vec<_> = open.chain(&self.retired).cloned().collect();
        all.sort_by(|a, b| (&a.path, a.inode).cmp(&(&b.path, b.inode)));
        Some(all)
    }

    /// Notes that the last list did not reach the disk.
    pub(crate) fn not_written(&mut self) {
        self.dirty = true;
    }
}
