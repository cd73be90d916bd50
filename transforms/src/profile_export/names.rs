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
        let mut table = Self { names, shift: 32 - size.trailing_zeros(), ..Self::default() };
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
            let mut at = self.bucket(&name.0);
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
    fn bucket(&self, name: &[u8]) -> usize {
        if self.alike {
            return self.bucket_by_hash(name);
        }
        (signature(name).wrapping_mul(self.factor) >> self.shift) as usize
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
        if self.names.is_empty() {
            return None;
        }
        let mut at = self.bucket(name);
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
    /// Entries of frames with more than [`FEW`] names.
    table: HashTable<u32>,
    seeds: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Met {
    /// Signature in a short frame, seeded hash in a long one.
    hash: u64,
    text: Text,
}

/// Where a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(u32);

impl Names {
    pub(crate) fn clear(&mut self) {
        if !self.table.is_empty() {
            self.table.clear();
        }
        self.met.clear();
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        self.clear();
        self.met.shrink_to(most / size_of::<Met>());
        if self.table.capacity() > most / size_of::<u32>() {
            self.table = HashTable::new();
        }
    }

    /// Opens a frame inside the innermost one.
    pub(crate) fn enter(&self) -> Frame {
        Frame(self.met.len() as u32)
    }

    /// Finds a name in the innermost frame, or adds it. Gives its place in the frame (from 0) and whether it is new.
    #[inline]
    pub(crate) fn note(&mut self, frame: Frame, text: Text, record: &[u8], arena: &[u8]) -> (usize, bool) {
        let base = frame.0 as usize;
        if self.met.len() - base >= FEW {
            return self.note_among_many(frame, text, record, arena);
        }
        let name = text.of(record, arena);
        let hash = u64::from(signature(name));
        // From the end, so that an entry added by `supersede` is found before the one it replaces.
        for (i, met) in self.met[base..].iter().enumerate().rev() {
            if met.hash == hash && same(met.text.of(record, arena), name) {
                return (i, false);
            }
        }
        self.met.push(Met { hash, text });
        (self.met.len() - base - 1, true)
    }

    #[cold]
    fn note_among_many(&mut self, frame: Frame, text: Text, record: &[u8], arena: &[u8]) -> (usize, bool) {
        let base = frame.0 as usize;
        if self.met.len() - base == FEW {
            for i in base..self.met.len() {
                let hash = self.seeded(frame, self.met[i].text.of(record, arena));
                self.met[i].hash = hash;
                self.index(frame, i, record, arena);
            }
        }
        let name = text.of(record, arena);
        let hash = self.seeded(frame, name);
        let met = &self.met;
        let same = |i: &u32| *i >= frame.0 && met[*i as usize].text.of(record, arena) == name;
        if let Some(found) = self.table.find(hash, same) {
            return (*found as usize - base, false);
        }
        self.met.push(Met { hash, text });
        self.index(frame, self.met.len() - 1, record, arena);
        (self.met.len() - base - 1, true)
    }

    /// Adds a name again, at a new place; from now on `note` finds this one.
    pub(crate) fn supersede(&mut self, frame: Frame, text: Text, record: &[u8], arena: &[u8]) -> usize {
        let base = frame.0 as usize;
        let name = text.of(record, arena);
        let long = self.met.len() - base > FEW;
        let hash = if long { self.seeded(frame, name) } else { u64::from(signature(name)) };
        self.met.push(Met { hash, text });
        if long {
            self.index(frame, self.met.len() - 1, record, arena);
        } else if self.met.len() - base > FEW {
            for i in base..self.met.len() {
                let hash = self.seeded(frame, self.met[i].text.of(record, arena));
                self.met[i].hash = hash;
                self.index(frame, i, record, arena);
            }
        }
        self.met.len() - base - 1
    }

    /// Closes the innermost frame.
    #[inline]
    pub(crate) fn leave(&mut self, frame: Frame) {
        let base = frame.0 as usize;
        if self.met.len() - base >= FEW {
            for i in base..self.met.len() {
                if let Ok(entry) = self.table.find_entry(self.met[i].hash, |n| *n as usize == i) {
                    entry.remove();
                }
            }
        }
        self.met.truncate(base);
    }

    fn seeded(&self, frame: Frame, name: &[u8]) -> u64 {
        self.seeds.hash_one((frame.0, name))
    }

    /// Puts entry `i` into the table, in the place of an older entry of the same name.
    fn index(&mut self, frame: Frame, i: usize, record: &[u8], arena: &[u8]) {
        let met = &self.met;
        let (hash, name) = (met[i].hash, met[i].text.of(record, arena));
        let same = |n: &u32| *n >= frame.0 && met[*n as usize].text.of(record, arena) == name;
        match self.table.find_mut(hash, same) {
            Some(older) => *older = i as u32,
            None => {
                self.table.insert_unique(hash, i as u32, |n| met[*n as usize].hash);
            }
        }
    }
}
