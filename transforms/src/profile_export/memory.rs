//! Memory: what `trigger: change` remembers of each profile, and whom it forgets first (specification, 8.3).
//! In: fingerprints.  Out: the remembered ones.
//! Holds: 72 bytes a profile and some 10 for the index; with more than 32 mapped segments 2 bits more for each; without
//! mapped segments 16 bytes for each membership. At most `most` profiles; the one seen least recently goes first, exactly.
//! Never: holds profile content, reads a clock.

use hashbrown::HashTable;

/// What is remembered of one profile, or was found in one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) identities: u128,
    pub(crate) attributes: u128,
    pub(crate) classes: Classes,
}

/// The class of each segment in M.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// With mapped segments: 2 bits each, in the order of the configuration.
    pub(crate) mapped: Vec<u64>,
    /// Without: fingerprint of the segment in the upper bits, class in the lower 2; sorted, each segment once.
    pub(crate) all: Vec<u128>,
}

/// A class as two bits; 0 is absent.
pub(crate) const MEMBER: u64 = 1;
pub(crate) const EXITED: u64 = 2;
/// Segments in one word of [`Classes::mapped`].
pub(crate) const SEGMENTS_PER_WORD: usize = 32;

const NOBODY: u32 = u32::MAX;

/// One remembered profile: a cache line, since each look at one is a miss.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    key: u128,
    identities: u128,
    attributes: u128,
    /// The first word of classes.
    classes: u64,
}

/// The neighbours of a profile in the order of sight. Apart from the entries, because moving a profile touches those of
/// three: eight bytes a profile stay in a cache that 64 would not fit into.
#[derive(Clone, Copy, Debug)]
struct Link {
    newer: u32,
    older: u32,
}

#[derive(Debug)]
pub(crate) struct Memory {
    most: u32,
    /// Words of classes per profile beyond the one in the entry.
    more_words: usize,
    index: HashTable<u32>,
    entries: Vec<Entry>,
    links: Vec<Link>,
    more_classes: Vec<u64>,
    /// Without mapped segments.
    sets: Vec<Box<[u128]>>,
    newest: u32,
    oldest: u32,
}

/// A profile in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Memory {
    pub(crate) fn new(most: u32, mapped_segments: usize) -> Self {
        Self {
            most,
            more_words: mapped_segments.div_ceil(SEGMENTS_PER_WORD).saturating_sub(1),
            index: HashTable::new(),
            entries: Vec::new(),
            links: Vec::new(),
            more_classes: Vec::new(),
            sets: Vec::new(),
            newest: NOBODY,
            oldest: NOBODY,
        }
    }

    /// Profiles remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held for them, spare room included.
    pub(crate) fn held_bytes(&self) -> usize {
        self.index.allocation_size()
            + self.entries.capacity() * size_of::<Entry>()
            + self.links.capacity() * size_of::<Link>()
            + self.more_classes.capacity() * size_of::<u64>()
            + self.sets.capacity() * size_of::<Box<[u128]>>()
            + self.sets.iter().map(|set| size_of_val::<[u128]>(set)).sum::<usize>()
    }

    pub(crate) fn find(&self, key: u128) -> Option<Slot> {
        let entries = &self.entries;
        self.index.find(key as u64, |i| entries[*i as usize].key == key).map(|i| Slot(*i))
    }

    /// Whether identities or attributes differ from the remembered ones.
    pub(crate) fn identities_differ(&self, slot: Slot, now: &Known) -> bool {
        self.entries[slot.0 as usize].identities != now.identities
    }

    pub(crate) fn attributes_differ(&self, slot: Slot, now: &Known) -> bool {
        self.entries[slot.0 as usize].attributes != now.attributes
    }

    /// Whether a segment is member or exited now and was remembered as something else.
    pub(crate) fn has_transition(&self, slot: Slot, now: &Classes) -> bool {
        let at = slot.0 as usize;
        let changed = |(now, before): (u64, u64)| {
            const LOW: u64 = 0x5555_5555_5555_5555;
            let differs = now ^ before;
            (differs | differs >> 1) & (now | now >> 1) & LOW != 0
        };
        if let Some(set) = self.sets.get(at) {
            let mut before = set.iter().peekable();
            return now.all.iter().any(|segment| {
                while before.next_if(|other| *other < segment).is_some() {}
                before.peek() != Some(&segment)
            });
        }
        let more = &self.more_classes[at * self.more_words..(at + 1) * self.more_words];
        let before = std::iter::once(self.entries[at].classes).chain(more.iter().copied());
        now.mapped.iter().copied().zip(before).any(changed)
    }

    /// Remembers a profile that is not known, in the place of the one seen least recently if there is no room.
    pub(crate) fn add(&mut self, key: u128, known: &Known) {
        let slot = if self.entries.len() < self.most as usize {
            let slot = self.entries.len() as u32;
            self.entries.push(Entry { key, identities: 0, attributes: 0, classes: 0 });
            self.links.push(Link { newer: NOBODY, older: NOBODY });
            self.more_classes.resize(self.entries.len() * self.more_words, 0);
            slot
        } else {
            let slot = self.oldest;
            let old = self.entries[slot as usize].key;
            if let Ok(found) = self.index.find_entry(old as u64, |i| *i == slot) {
                found.remove();
            }
            self.unlink(slot);
            self.entries[slot as usize].key = key;
            slot
        };
        let entries = &self.entries;
        self.index.insert_unique(key as u64, slot, |i| entries[*i as usize].key as u64);
        self.link(slot);
        self.write(slot, known);
    }

    /// Replaces what is remembered of a known profile, which has just been seen.
    pub(crate) fn replace(&mut self, Slot(slot): Slot, known: &Known) {
        if self.newest != slot {
            self.unlink(slot);
            self.link(slot);
        }
        self.write(slot, known);
    }

    fn write(&mut self, slot: u32, known: &Known) {
        let at = slot as usize;
        let entry = &mut self.entries[at];
        entry.identities = known.identities;
        entry.attributes = known.attributes;
        let Some((first, more)) = known.classes.mapped.split_first() else {
            if self.sets.len() <= at {
                self.sets.resize_with(at + 1, Box::default);
            }
            if *self.sets[at] != *known.classes.all {
                self.sets[at] = known.classes.all.as_slice().into();
            }
            return;
        };
        entry.classes = *first;
        self.more_classes[at * self.more_words..(at + 1) * self.more_words].copy_from_slice(more);
    }

    /// Takes a profile out of the order of sight.
    fn unlink(&mut self, slot: u32) {
        let Link { newer, older } = self.links[slot as usize];
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Puts a profile at the newest end.
    fn link(&mut self, slot: u32) {
        self.links[slot as usize] = Link { newer: NOBODY, older: self.newest };
        match self.links.get_mut(self.newest as usize) {
            Some(link) => link.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }
}
