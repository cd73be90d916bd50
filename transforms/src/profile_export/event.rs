//! Event: what one record says, as numbers and places; nothing is copied that can stay where it is.
//! In: filled by `profile.rs`.  Out: read by `identities.rs`, `trigger.rs` and `render.rs`.
//! Holds: scratch that is used again for the next record.

use super::copy::{Copied, Copier};
use super::names::Names;
use super::outcome::{Counters, IgnoreReason};
use super::text::{Rank, Text};

/// Sections that are kept track of in a record; there are two, unless names come twice.
const VISITS_MAX: usize = 8;

/// Everything found in one record.
#[derive(Debug, Default)]
pub(crate) struct Event {
    /// Decoded strings that had escapes.
    pub(crate) arena: Vec<u8>,
    /// `input_root` led to an object.
    pub(crate) found: bool,
    /// One per node of the plan.
    pub(crate) slots: Vec<Slot>,
    pub(crate) copier: Copier,
    pub(crate) names: Names,
    pub(crate) memberships: Section<MembershipNamespace, Membership>,
    pub(crate) identities: Section<IdentityNamespace, Identity>,
    /// The sections that were read, in order.
    pub(crate) visits: Vec<Visit>,
    /// Nodes of the plan whose objects are open.
    pub(crate) open: Vec<u32>,
    /// Scratch for a name in lower case.
    pub(crate) lower: Vec<u8>,
    /// With `identity_namespace_case: lower`, if namespaces become equal: all that are arrays as (the first that it is
    /// equal to, itself), in order. Else empty.
    pub(crate) joined: Vec<(u32, u32)>,
}

/// What was found at one node of the plan.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    /// Of the name under which it was found.
    pub(crate) rank: Rank,
    /// The exported value, if the attribute exists.
    pub(crate) value: Option<Copied>,
}

impl Slot {
    #[inline(always)]
    pub(crate) fn is_seen(&self) -> bool {
        self.rank != Rank::Unseen
    }
}

/// What a key at the top of the profile led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionKey {
    /// `SEGMENT_MEMBERSHIP` or `IDENTITY_MAP`.
    pub(crate) target: u32,
    pub(crate) rank: Rank,
    /// Of the container around the section.
    pub(crate) depth: u32,
}

/// Where the value of such a key was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) key: SectionKey,
    pub(crate) from: usize,
    pub(crate) after: usize,
}

/// `segmentMembership` or `identityMap`: namespaces, each with a range of items.
#[derive(Debug)]
pub(crate) struct Section<N, I> {
    pub(crate) rank: Rank,
    /// Neither an object nor null.
    pub(crate) bad: bool,
    pub(crate) namespaces: Vec<N>,
    pub(crate) items: Vec<I>,
}

impl<N, I> Default for Section<N, I> {
    fn default() -> Self {
        Self { rank: Rank::Unseen, bad: false, namespaces: Vec::new(), items: Vec::new() }
    }
}

impl<N, I> Section<N, I> {
    pub(crate) fn clear(&mut self) {
        self.rank = Rank::Unseen;
        self.bad = false;
        self.namespaces.clear();
        self.items.clear();
    }
}

impl Section<MembershipNamespace, Membership> {
    /// The memberships that count, those to be ignored included. `items` also holds what a repeated key replaced.
    pub(crate) fn items_alive(&self) -> impl Iterator<Item = &Membership> {
        self.namespaces
            .iter()
            .flat_map(|namespace| &self.items[namespace.start as usize..namespace.end as usize])
    }

    /// Counts the ignored ones.
    pub(crate) fn count_ignored(&self, counters: &mut Counters) {
        for namespace in &self.namespaces {
            if namespace.malformed {
                counters.memberships_ignored[IgnoreReason::Malformed as usize] += 1;
            }
        }
        for reason in self.items_alive().filter_map(|membership| membership.ignored) {
            counters.memberships_ignored[reason as usize] += 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MembershipNamespace {
    pub(crate) name: Text,
    /// Its memberships, as a range of `items`.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Not an object.
    pub(crate) malformed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Realized,
    Existing,
    Exited,
    /// Another word, kept as it is.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) id: Text,
    /// `NONE` if there is no time.
    pub(crate) time: Text,
    /// The status as it was written, if it is `Other`.
    pub(crate) word: Text,
    /// Entry of the plan's `mapped`, or `NOT_MAPPED`.
    pub(crate) mapped: u32,
    pub(crate) status: Status,
    /// From its id up to its status it is written as in the output.
    pub(crate) in_order: bool,
    pub(crate) ignored: Option<IgnoreReason>,
}

pub(crate) const NOT_MAPPED: u32 = u32::MAX;

impl Membership {
    /// Without anything but its id.
    pub(crate) fn new(id: Text) -> Self {
        Self {
            id,
            time: Text::NONE,
            word: Text::NONE,
            mapped: NOT_MAPPED,
            status: Status::Realized,
            in_order: false,
            ignored: None,
        }
    }

    pub(crate) fn ignored(id: Text, reason: IgnoreReason) -> Self {
        Self { ignored: Some(reason), ..Self::new(id) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentityNamespace {
    pub(crate) name: Text,
    /// Its distinct usable identities, as a range of `items`.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Not an array.
    pub(crate) malformed: bool,
    /// Items that are not usable.
    pub(crate) unusable: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) id: Text,
    pub(crate) primary: bool,
    /// An equal one comes earlier in a namespace that this one's was joined to.
    pub(crate) repeated: bool,
}

impl Event {
    /// Whether any mapped attribute exists.
    pub(crate) fn has_attribute(&self) -> bool {
        self.slots.iter().any(|slot| slot.value.is_some())
    }

    /// Forgets the last record.
    pub(crate) fn clear(&mut self, nodes: usize) {
        self.arena.clear();
        self.slots.resize(nodes, Slot::default());
        self.copier.clear();
        self.names.clear();
        self.open.clear();
        self.forget_profile();
    }

    /// Forgets the profile: another one may follow in the same record.
    pub(crate) fn forget_profile(&mut self) {
        self.found = false;
        self.slots.fill(Slot::default());
        self.visits.clear();
        self.memberships.clear();
        self.identities.clear();
        self.joined.clear();
    }

    /// A section was read.
    pub(crate) fn visited(&mut self, visit: Visit) {
        if !self.has_many_visits() {
            self.visits.push(visit);
        }
    }

    /// Whether there were more sections than are kept: then nobody knows where each was.
    pub(crate) fn has_many_visits(&self) -> bool {
        self.visits.len() == VISITS_MAX
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        if self.arena.capacity() > most {
            self.arena.clear();
            self.arena.shrink_to(most);
        }
        self.copier.shrink(most);
        self.memberships.items.clear();
        self.memberships.items.shrink_to(most / size_of::<Membership>());
        self.memberships.namespaces.clear();
        self.memberships.namespaces.shrink_to(most / size_of::<MembershipNamespace>());
        self.identities.items.clear();
        self.identities.items.shrink_to(most / size_of::<Identity>());
        self.identities.namespaces.clear();
        self.identities.namespaces.shrink_to(most / size_of::<IdentityNamespace>());
        self.names.shrink(most);
        self.visits.clear();
        self.visits.shrink_to(VISITS_MAX);
        self.lower.clear();
        self.lower.shrink_to(most);
        self.joined.clear();
        self.joined.shrink_to(most / size_of::<(u32, u32)>());
    }
}
