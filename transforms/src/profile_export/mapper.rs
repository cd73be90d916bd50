//! Mapper: one record in, one outcome out (specification, section 7): the way through all the other files, in order.
//! In: bytes and the time.  Out: output bytes and the profile's key, appended to the caller's buffers; counters.
//! Never: allocates per event in the steady state (a lesson of `shape.rs` apart); reads a clock; logs.

use super::event::Event;
use super::identities;
use super::outcome::{Counters, DropReason, Outcome};
use super::plan::Plan;
use super::profile::Profile;
use super::reader::{Broken, Read, Reader};
use super::render::Render;
use super::shape::Shapes;
use super::text::LONGEST_RECORD_BYTES;
use super::time::Timestamp;
use super::trigger::Triggers;

/// Scratch larger than this is given back after the record that needed it: 1 MiB, the usual limit of a Kinesis record.
const KEPT_SCRATCH_BYTES: usize = 1 << 20;

/// Maps records, one after the other. One per instance of the transform: it owns the memory of `trigger: change`.
#[derive(Debug)]
pub struct Mapper {
    plan: Plan,
    shapes: Shapes,
    event: Event,
    render: Render,
    triggers: Triggers,
    counters: Counters,
}

impl Mapper {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            shapes: Shapes::default(),
            event: Event::default(),
            render: Render::default(),
            triggers: Triggers::new(&plan),
            counters: Counters::default(),
            plan,
        }
    }

    /// Maps one record. On [`Outcome::Export`], and only then, the output is appended to `out` and the profile's key
    /// (`<namespace in lower case>:<id>`, section 8.3) to `key`; an event without a key leaves `key` as it is.
    ///
    /// `now` matters only if [`Mapper::needs_clock`].
    pub fn map(&mut self, record: &[u8], now: Timestamp, out: &mut Vec<u8>, key: &mut Vec<u8>) -> Outcome {
        let outcome = self.run(record, now, out);
        self.counters.count(outcome);
        if outcome == Outcome::Export
            && let Some((namespace, identity)) = identities::key(&self.event, &self.plan, record)
        {
            let start = key.len();
            key.extend_from_slice(namespace.name.of(record, &self.event.arena));
            key[start..].make_ascii_lowercase();
            key.push(b':');
            key.extend_from_slice(identity.id.of(record, &self.event.arena));
        }
        if record.len() > KEPT_SCRATCH_BYTES {
            self.shrink();
        }
        outcome
    }

    fn run(&mut self, record: &[u8], now: Timestamp, out: &mut Vec<u8>) -> Outcome {
        match self.read(record, now) {
            Err(reason) => Outcome::Dropped(reason),
            Ok(()) => {
                let outcome = self.triggers.decide(&self.event, &self.plan, record);
                if outcome == Outcome::Export {
                    self.render.write(&self.event, &self.plan, record, out);
                }
                outcome
            }
        }
    }

    /// Steps 1 to 8.
    fn read(&mut self, record: &[u8], now: Timestamp) -> Result<(), DropReason> {
        if record.len() > LONGEST_RECORD_BYTES {
            return Err(DropReason::InvalidJson);
        }
        let reader = Reader::new(record, self.plan.max_depth);
        let known = self.follow(&reader, now);
        let object = if known == Ok(false) { self.read_with_care(&reader, now) } else { known };
        // Strings are all that may be other than ASCII.
        if (object.is_err() || !reader.is_ascii()) && simdutf8::basic::from_utf8(record).is_err() {
            return Err(DropReason::InvalidUtf8);
        }
        match object {
            Err(Broken::Json) => return Err(DropReason::InvalidJson),
            Err(Broken::TooDeep) => return Err(DropReason::TooDeep),
            Ok(false) => return Err(DropReason::NotAnObject),
            Ok(true) if known == Ok(false) => self.shapes.learn(&reader, &self.event),
            Ok(true) => {}
        }
        let event = &mut self.event;
        if !event.found {
            return Err(DropReason::NoProfile);
        }
        if event.memberships.bad {
            return Err(DropReason::BadSegmentMembership);
        }
        if event.identities.bad {
            return Err(DropReason::BadIdentityMap);
        }
        let identities = identities::settle(event, &self.plan, record);
        self.counters.identities_ignored += identities.ignored;
        if identities.usable == 0 && self.plan.drop_without_identity {
            return Err(DropReason::NoIdentity);
        }
        event.memberships.count_ignored(&mut self.counters);
        Ok(())
    }

    /// Fills the event if the record has a known shape. Tells whether it has.
    fn follow(&mut self, reader: &Reader<'_>, now: Timestamp) -> Read<bool> {
        self.event.clear(self.plan.nodes.len());
        let mut profile = Profile { plan: &self.plan, event: &mut self.event, now };
        self.shapes.follow(reader, &mut profile)
    }

    /// Fills the event from any record. Tells whether the document is an object.
    fn read_with_care(&mut self, reader: &Reader<'_>, now: Timestamp) -> Read<bool> {
        self.event.clear(self.plan.nodes.len());
        Profile { plan: &self.plan, event: &mut self.event, now }.document(reader)
    }

    fn shrink(&mut self) {
        self.event.shrink(KEPT_SCRATCH_BYTES);
        self.triggers.shrink(KEPT_SCRATCH_BYTES);
    }

    /// Whether `map` looks at `now`. If not, the caller need not ask the clock.
    pub fn needs_clock(&self) -> bool {
        self.plan.needs_clock()
    }

    /// Counts since the mapper was made, or since they were last taken.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes the counts and starts again at zero.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// How many profiles `trigger: change` remembers now.
    pub fn profiles_remembered(&self) -> usize {
        self.triggers.profiles_remembered()
    }

    /// Bytes held to remember them, spare room included.
    pub fn memory_held_bytes(&self) -> usize {
        self.triggers.held_bytes()
    }
}
