//! Trigger: does this event call for an export (specification, section 8)?
//! In: a settled event, and the memory for `change`.  Out: export or a reason to skip.
//! Never: looks at `status_vocabulary` or `segment_scope`, which are about the output.

use super::config::Trigger;
use super::event::{Event, NOT_MAPPED, Status};
use super::fingerprint::Fingerprinter;
use super::identities;
use super::memory::{EXITED, Known, MEMBER, Memory, SEGMENTS_PER_WORD};
use super::outcome::{Outcome, SkipReason};
use super::plan::Plan;
use super::render::copied;

/// The state of one transform's trigger.
#[derive(Debug)]
pub(crate) struct Triggers {
    prints: Fingerprinter,
    memory: Memory,
    /// Scratch: what this event says.
    known: Known,
    set: Vec<u128>,
}

/// What the memberships in M say together.
#[derive(Clone, Copy, Debug, Default)]
struct Mapped {
    any: bool,
    transition: bool,
    member: bool,
}

impl Triggers {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            prints: Fingerprinter::new(),
            memory: Memory::new(plan.state_max_profiles, plan.mapped.len()),
            known: Known::default(),
            set: Vec::new(),
        }
    }

    /// Gives scratch back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        self.prints.shrink(most);
    }

    pub(crate) fn profiles_remembered(&self) -> usize {
        self.memory.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.memory.held_bytes()
    }

    /// Decides.
    #[inline]
    pub(crate) fn decide(&mut self, event: &Event, plan: &Plan, record: &[u8]) -> Outcome {
        match plan.trigger {
            Trigger::Every => Outcome::Export,
            Trigger::Relevant => relevant(event, plan),
            Trigger::Change => self.change(event, plan, record),
        }
    }

    fn change(&mut self, event: &Event, plan: &Plan, record: &[u8]) -> Outcome {
        let mapped = self.classify(event, plan, record);
        let key = identities::key(event, plan, record).map(|(namespace, identity)| {
            let arena = &event.arena;
            self.prints.pair(namespace.name.of(record, arena), identity.id.of(record, arena))
        });
        let slot = key.and_then(|key| self.memory.find(key));
        let Some(slot) = slot else {
            if plan.has_segments() && !mapped.any {
                return Outcome::Skipped(SkipReason::NoMappedSegment);
            }
            if let Some(key) = key {
                self.fingerprint(event, plan, record);
                self.memory.add(key, &self.known);
            }
            return if plan.backfill || mapped.transition {
                Outcome::Export
            } else {
                Outcome::Skipped(SkipReason::Historical)
            };
        };
        self.fingerprint(event, plan, record);
        let attributes_changed = if plan.attribute_write {
            event.has_attribute()
        } else {
            self.memory.attributes_differ(slot, &self.known)
        };
        let outcome = if self.memory.has_transition(slot, &self.known.classes) {
            Outcome::Export
        } else if attributes_changed || self.memory.identities_differ(slot, &self.known) {
            if mapped.member || !plan.has_segments() {
                Outcome::Export
            } else {
                Outcome::Skipped(SkipReason::NotAMember)
            }
        } else {
            Outcome::Skipped(SkipReason::NoRelevantChange)
        };
        self.memory.replace(slot, &self.known);
        outcome
    }

    /// Fills the classes of this event.
    fn classify(&mut self, event: &Event, plan: &Plan, record: &[u8]) -> Mapped {
        let classes = &mut self.known.classes;
        classes.mapped.clear();
        classes.mapped.resize(plan.mapped.len().div_ceil(SEGMENTS_PER_WORD), 0);
        classes.all.clear();
        let mut all = Mapped::default();
        for namespace in &event.memberships.namespaces {
            let name = namespace.name.of(record, &event.arena);
            for membership in &event.memberships.items[namespace.start as usize..namespace.end as usize] {
                if membership.ignored.is_some() || plan.has_segments() && membership.mapped == NOT_MAPPED {
                    continue;
                }
                let class = match membership.status {
                    Status::Realized | Status::Existing => MEMBER,
                    Status::Exited => EXITED,
                    Status::Other => continue,
                };
                all.any = true;
                all.transition |= membership.status != Status::Existing;
                all.member |= class == MEMBER;
                if plan.has_segments() {
                    let (word, shift) = (membership.mapped as usize / 32, membership.mapped % 32 * 2);
                    // One segment under two spellings of its namespace: member outweighs exited.
                    let word = &mut classes.mapped[word];
                    if class == MEMBER {
                        *word &= !(EXITED << shift);
                        *word |= MEMBER << shift;
                    } else if *word >> shift & MEMBER == 0 {
                        *word |= EXITED << shift;
                    }
                } else {
                    let print = self.prints.pair(name, membership.id.of(record, &event.arena));
                    classes.all.push(print & !3 | u128::from(class));
                }
            }
        }
        // Member sorts before exited, so that it is the one that stays.
        classes.all.sort_unstable();
        classes.all.dedup_by_key(|segment| *segment >> 2);
        all
    }

    /// Fills the fingerprints of this event.
    fn fingerprint(&mut self, event: &Event, plan: &Plan, record: &[u8]) {
        self.set.clear();
        for namespace in &event.identities.namespaces {
            let name = namespace.name.of(record, &event.arena);
            for identity in &event.identities.items[namespace.start as usize..namespace.end as usize] {
                let print = self.prints.pair(name, identity.id.of(record, &event.arena));
                self.set.push(print);
            }
        }
        // Identities that differ in the case of the namespace alone are one.
        self.set.sort_unstable();
        self.set.dedup();
        self.known.identities = self.set.iter().fold(0, |sum, print| sum.wrapping_add(*print));
        self.known.attributes = 0;
        if plan.attribute_write {
            return;
        }
        let attributes = plan
            .nodes
            .iter()
            .zip(&event.slots)
            .filter_map(|(node, slot)| Some((node.attribute?, copied(slot.value?, event, record))));
        self.known.attributes = self.prints.attributes(attributes);
    }
}

fn relevant(event: &Event, plan: &Plan) -> Outcome {
    let mut in_m = event.memberships.items_alive().filter(|membership| {
        membership.ignored.is_none()
            && !matches!(membership.status, Status::Other)
            && (!plan.has_segments() || membership.mapped != NOT_MAPPED)
    });
    let mut any = false;
    let transition = in_m.any(|membership| {
        any = true;
        membership.status != Status::Existing
    });
    if plan.has_segments() && !any {
        Outcome::Skipped(SkipReason::NoMappedSegment)
    } else if transition || event.has_attribute() {
        Outcome::Export
    } else {
        Outcome::Skipped(SkipReason::NoRelevantChange)
    }
}
