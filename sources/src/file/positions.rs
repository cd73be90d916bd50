//! Positions: how far each file is settled, so that a restart begins there.
//! In: arrays that were sent (file and end), their fates in any order. Out: positions that only move past what is
//! settled, in the order of the file.
//! A part that failed in a way that may go well another time holds its file's position for the rest of the run;
//! better news of later parts does not move it. Never: touches a file, reads a clock.

use std::collections::{HashMap, VecDeque};

use afluente_pipeline::event::BatchStatus;

/// One file, as long as its content is the same stream: a truncated file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u64);

/// One array of one file, between being sent and being settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) file: FileId,
    number: u64,
}

/// What a fate meant for its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The position may have moved.
    Fine,
    /// From here on the position is held; said once a file.
    Held {
        /// Where the first part begins that was not delivered.
        position: u64,
    },
}

#[derive(Debug, Default)]
struct Progress {
    position: u64,
    /// The number of the first entry of `pending`.
    first: u64,
    /// Ends of what was sent and is not behind the position yet, with their fates.
    pending: VecDeque<(u64, Option<BatchStatus>)>,
    held: bool,
    moved: bool,
}

/// The positions of all files of one source.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    files: HashMap<FileId, Progress>,
}

impl Positions {
    /// Begins to keep the position of `file`.
    pub(crate) fn open(&mut self, file: FileId, position: u64) {
        // A position is written also if it never moves: a file that was begun is known after a restart.
        self.files.insert(file, Progress { position, moved: true, ..Default::default() });
    }

    /// Notes that an array that ends at `end` is about to be sent.
    pub(crate) fn sent(&mut self, file: FileId, end: u64) -> Ticket {
        let Some(progress) = self.files.get_mut(&file) else { return Ticket { file, number: 0 } };
        let number = progress.first + progress.pending.len() as u64;
        if !progress.held {
            progress.pending.push_back((end, None));
        }
        Ticket { file, number }
    }

    /// Notes what became of an array.
    pub(crate) fn settle(&mut self, ticket: Ticket, status: BatchStatus) -> Settled {
        let Some(progress) = self.files.get_mut(&ticket.file) else { return Settled::Fine };
        let index = ticket.number.checked_sub(progress.first).map(|index| index as usize);
        if progress.held {
            return Settled::Fine;
        }
        if let Some(entry) = index.and_then(|index| progress.pending.get_mut(index)) {
            entry.1 = Some(status);
        }
        while let Some((end, Some(status))) = progress.pending.front().copied() {
            if status == BatchStatus::Errored {
                progress.held = true;
                progress.pending.clear();
                return Settled::Held { position: progress.position };
            }
            progress.position = end;
            progress.moved = true;
            progress.first += 1;
            progress.pending.pop_front();
        }
        Settled::Fine
    }

    /// Up to where `file` is settled.
    pub(crate) fn position(&self, file: FileId) -> Option<u64> {
        Some(self.files.get(&file)?.position)
    }

    /// Whether all that was sent of `file` is settled, or will not be settled in this run.
    pub(crate) fn is_settled(&self, file: FileId) -> bool {
        self.files.get(&file).is_none_or(|progress| progress.pending.is_empty())
    }

    /// Whether everything of `file` up to `end` is settled.
    pub(crate) fn is_done_to(&self, file: FileId, end: u64) -> bool {
        self.files.get(&file).is_some_and(|progress| progress.pending.is_empty() && progress.position == end)
    }

    /// Whether a position moved since the last call.
    pub(crate) fn take_moved(&mut self, file: FileId) -> bool {
        self.files.get_mut(&file).is_some_and(|progress| std::mem::take(&mut progress.moved))
    }

    /// Lets go of `file`; later fates of its arrays mean nothing.
    pub(crate) fn close(&mut self, file: FileId) {
        self.files.remove(&file);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use BatchStatus::{Delivered, Errored, Rejected};
    use proptest::prelude::*;

    use super::*;

    const FILE: FileId = FileId(1);

    fn sent(ends: &[u64]) -> (Positions, Vec<Ticket>) {
        let mut positions = Positions::default();
        positions.open(FILE, 0);
        let tickets = ends.iter().map(|end| positions.sent(FILE, *end)).collect();
        (positions, tickets)
    }

    #[test]
    fn the_position_moves_past_what_is_settled_in_order_only() {
        let (mut positions, tickets) = sent(&[10, 20, 30]);
        positions.settle(tickets[1], Delivered);
        assert_eq!(positions.position(FILE), Some(0), "the first is not settled yet");
        positions.settle(tickets[0], Rejected);
        assert_eq!(positions.position(FILE), Some(20), "what failed for good is not read again");
        positions.settle(tickets[2], Delivered);
        assert!(positions.is_done_to(FILE, 30));
    }

    #[test]
    fn a_failed_part_holds_the_position_whatever_comes_after_it() {
        let (mut positions, tickets) = sent(&[10, 20, 30]);
        assert_eq!(positions.settle(tickets[2], Delivered), Settled::Fine);
        assert_eq!(positions.settle(tickets[1], Errored), Settled::Fine);
        assert_eq!(positions.settle(tickets[0], Delivered), Settled::Held { position: 10 });
        let later = positions.sent(FILE, 40);
        assert_eq!(positions.settle(later, Errored), Settled::Fine, "said once");
        assert_eq!(positions.position(FILE), Some(10));
        assert!(positions.is_settled(FILE) && !positions.is_done_to(FILE, 40));
    }

    #[test]
    fn fates_of_a_file_that_was_let_go_mean_nothing() {
        let (mut positions, tickets) = sent(&[10]);
        positions.close(FILE);
        assert_eq!(positions.settle(tickets[0], Errored), Settled::Fine);
        assert_eq!(positions.position(FILE), None);
    }

    proptest! {
        #[test]
        fn nothing_before_the_position_is_unsettled_or_failed(
            fates in prop::collection::vec(prop::sample::select(vec![Delivered, Rejected, Errored]), 1..30),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let ends: Vec<_> = (1..=fates.len() as u64).map(|end| end * 10).collect();
            let (mut positions, tickets) = sent(&ends);
            let mut settled = vec![false; fates.len()];
            for index in order {
                let index = index.index(fates.len());
                if !std::mem::replace(&mut settled[index], true) {
                    positions.settle(tickets[index], fates[index]);
                }
                let fine = |index: &usize| settled[*index] && fates[*index] != Errored;
                let expected = (0..fates.len()).take_while(fine).count() as u64 * 10;
                prop_assert_eq!(positions.position(FILE), Some(expected));
            }
        }
    }
}
