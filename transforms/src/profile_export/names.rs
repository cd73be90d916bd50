//! Names: finds equal names fast, both those known from the configuration and those met in a record.
//! In: decoded names.  Out: numbers. Few names are compared one by one, many through a hash.
//! Never: lets a record choose how long a search takes (hashes of record content are seeded at random).

use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;

use super::text::{Text, same, signature};

/// Names fixed by the configuration, each with a number. Open addressing, at most a quarter full.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameTable {
    /// Index into `names` plus one; 0 is empty. The length is a power of two.
    buckets: Box<[u32]>,
    names: Vec<(Box<[u8]>, u32)>,
    /// Spreads signatures over the buckets; chosen so that as few names as possible meet in one.
    factor: u32,
    shift: u32,
    /// Bit n: there is a name of length n, modulo 64.
    lengths: u64,
    /// The names are too much alike for signatures: a real hash finds the bucket.
    alike: bool,
}

impl NameTable {
    pub(crate) fn new(names: impl IntoIterator<Item = (Vec<u8>, u32)>) -> Self {
        const TRIES: u32 = 64;
        let names: Vec<_> =
            names.into_iter().map(|(name, number)| (name.into_boxed_slice(), number)).collect();
        if names.is_empty() {
            return Self::default();
        }
        let size = (names.len() * 4).next_power_of_two();
        let lengths = names.iter().fold(0, |lengths, (name, _)| lengths | 1 << (name.len() % 64));
        let mut table = Self { names, lengths, shift: 32 - size.trailing_zeros(), ..Self::default() };
        let tries = (0..TRIES).map(|n| n.wrapping_mul(0x85eb_ca6a).wrapping_add(0x9e37_79b9) | 1);
        let best = tries.min_by_key(|factor| table.fill(*factor, size, false)).unwrap_or(1);
        const FEW_STEPS: usize = 2;
        if table.fill(best, size, false) > FEW_STEPS {
            table.fill(best, size, true);
        }
        table
    }

    /// Fills the buckets; gives the most steps that finding a name then takes beyond the first.
    fn fill(&mut self, factor: u32, size: usize, alike: bool) -> usize {
        (self.factor, self.alike) = (factor, alike);
        self.buckets = vec![0; size].into();
        let mut most = 0;
        for (name, number) in self.names.iter().zip(1..) {
            let mut at = self.bucket(&name.0, signature(&name.0));
            let mut steps = 0;
            while self.buckets[at] != 0 {
                at = (at + 1) % size;
                steps += 1;
            }
            self.buckets[at] = number;
            most = most.max(steps);
        }
        most
    }

    #[inline(always)]
    fn bucket(&self, name: &[u8], signature: u32) -> usize {
        if self.alike {
            return self.bucket_by_hash(name);
        }
        (signature.wrapping_mul(self.factor) >> self.shift) as usize
    }

    #[inline(never)]
    fn bucket_by_hash(&self, name: &[u8]) -> usize {
        let hash = FixedState::with_seed(u64::from(self.factor)).hash_one(name);
        (hash >> 32 >> self.shift) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    #[inline(always)]
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        self.find_signed(name, signature(name))
    }

    /// Like `find`, for a name whose signature is known.
    #[inline(always)]
    pub(crate) fn find_signed(&self, name: &[u8], signature: u32) -> Option<u32> {
        if self.lengths >> (name.len() % 64) & 1 == 0 {
            return None;
        }
        let mut at = self.bucket(name, signature);
        loop {
            let place = *self.buckets.get(at)?;
            let (known, number) = self.names.get((place as usize).checked_sub(1)?)?;
            if same(known, name) {
                return Some(*number);
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }
}

/// Up to this many names of one object are compared one by one.
const FEW: usize = 16;

/// The names met so far in the objects that are open, innermost last: a stack of frames.
#[derive(Debug, Default)]
pub(crate) struct Names {
    met: Vec<Met>,
    /// Seeded hashes of the names that are in the table, at the place of the name in `met`; 0 for names that are not.
    hashes: Vec<u64>,
    /// Entries of long frames: those in which [`FEW`] names were met, and another looked for.
    table: HashTable<u32>,
    seeds: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Met {
    signature: u32,
    text: Text,
}

/// Where a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(u32);

impl Frame {
    fn start(self) -> usize {
        self.0 as usize
    }
}

impl Names {
    pub(crate) fn clear(&mut self) {
        if !self.table.is_empty() {
            self.table.clear();
        }
        self.hashes.clear();
        self.met.clear();
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        self.clear();
        self.met.shrink_to(most / size_of::<Met>());
        self.hashes.shrink_to(most / size_of::<u64>());
        if self.table.capacity() > most / size_of::<u32>() {
            self.table = HashTable::new();
        }
    }

    /// Opens a frame inside the innermost one.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Frame {
        Frame(self.met.len() as u32)
    }

    /// Finds a name in the innermost frame, or adds it. Gives its place in the frame (from 0) and whether it is new.
    pub(crate) fn note(&mut self, frame: Frame, text: Text, record: &[u8], arena: &[u8]) -> (usize, bool) {
        self.note_signed(frame, text, signature(text.of(record, arena)), record, arena)
    }

    /// Like `note`, for a name whose signature is known.
    #[inline(always)]
    pub(crate) fn note_signed(
        &mut self,
        frame: Frame,
        text: Text,
        signature: u32,
        record: &[u8],
        arena: &[u8],
    ) -> (usize, bool) {
        let met = &self.met[frame.start()..];
        let place = met.len();
        // Without a branch a name: few are compared faster than one jump is guessed wrong.
        let alike = |met: &[Met]| met.iter().fold(false, |alike, met| alike | (met.signature == signature));
        if place >= FEW || alike(met) {
            return self.note_carefully(frame, Met { signature, text }, record, arena);
        }
        self.met.push(Met { signature, text });
        (place, true)
    }

    #[inline(never)]
    fn note_carefully(&mut self, frame: Frame, new: Met, record: &[u8], arena: &[u8]) -> (usize, bool) {
        let place = self.met.len() - frame.start();
        let name = new.text.of(record, arena);
        let found = if place < FEW {
            // From the end, so that an entry added by `supersede` is found before the one it replaces.
            let like = |met: &Met| met.signature == new.signature && same(met.text.of(record, arena), name);
            self.met[frame.start()..].iter().rposition(like)
        } else {
            self.index(frame, record, arena);
            let met = &self.met;
            let like = |i: &u32| *i >= frame.0 && same(met[*i as usize].text.of(record, arena), name);
            self.table.find(self.hash(frame, name), like).map(|i| *i as usize - frame.start())
        };
        match found {
            Some(found) => (found, false),
            None => {
                self.met.push(new);
                (place, true)
            }
        }
    }

    /// Adds a name again, at a new place; from now on `note` finds this one.
    pub(crate) fn supersede(&mut self, frame: Frame, text: Text, record: &[u8], arena: &[u8]) -> usize {
        let place = self.met.len() - frame.start();
        self.met.push(Met { signature: signature(text.of(record, arena)), text });
        place
    }

    /// Closes the innermost frame.
    #[inline(always)]
    pub(crate) fn leave(&mut self, frame: Frame) {
        if self.met.len() - frame.start() >= FEW {
            self.forget_indexed(frame);
        }
        self.met.truncate(frame.start());
    }

    #[cold]
    fn forget_indexed(&mut self, frame: Frame) {
        for i in frame.start()..self.hashes.len() {
            if let Ok(entry) = self.table.find_entry(self.hashes[i], |n| *n as usize == i) {
                entry.remove();
            }
        }
        self.hashes.truncate(frame.start());
        // And the gap that `index` left.
        while self.hashes.last() == Some(&0) {
            self.hashes.pop();
        }
    }

    /// Never 0.
    fn hash(&self, frame: Frame, name: &[u8]) -> u64 {
        self.seeds.hash_one((frame.0, name)) | 1
    }

    /// Puts the names of the innermost frame into the table that are not there yet, each in the place of an older entry
    /// of the same name.
    fn index(&mut self, frame: Frame, record: &[u8], arena: &[u8]) {
        // Names of the frames around this one that are not in the table leave a gap.
        let from = self.hashes.len().max(frame.start());
        self.hashes.resize(from, 0);
        for i in from..self.met.len() {
            let name = self.met[i].text.of(record, arena);
            let hash = self.hash(frame, name);
            self.hashes.push(hash);
            let (met, hashes) = (&self.met, &self.hashes);
            let like = |n: &u32| *n >= frame.0 && same(met[*n as usize].text.of(record, arena), name);
            match self.table.find_mut(hash, like) {
                Some(older) => *older = i as u32,
                None => {
                    self.table.insert_unique(hash, i as u32, |n| hashes[*n as usize]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
