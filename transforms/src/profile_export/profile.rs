//! Profile: one pass over a record that finds the profile, its two sections and its mapped attributes.
//! In: a reader and the plan.  Out: a filled `Event`, or why the record cannot be read.
//! Everything outside the plan is checked and skipped. Where a key comes twice, the later value overwrites what the earlier
//! one left (specification, 5.1 and 5.2), so one pass is enough.
//! Never: recurses; decides about export.

use super::copy::Copied;
use super::event::{
    Event, Identity, IdentityNamespace, Membership, MembershipNamespace, NOT_MAPPED, Slot, Status,
};
use super::names::NameTable;
use super::outcome::IgnoreReason;
use super::plan::{IDENTITY_MAP, Plan, ROOT, SEGMENT_MEMBERSHIP, field_name};
use super::reader::{Raw, Read, Reader, decode};
use super::text::{Rank, Text};
use super::time::{self, ReadTime, Timestamp};

/// Reads one record.
pub(crate) struct Profile<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) reader: Reader<'a>,
    pub(crate) event: &'a mut Event,
    pub(crate) now: Timestamp,
}

/// A field of which only strings matter.
#[derive(Clone, Copy)]
struct Field {
    rank: Rank,
    kind: Kind,
    text: Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Absent,
    Text,
    Other,
}

const NO_FIELD: Field = Field { rank: Rank::Unseen, kind: Kind::Absent, text: Text::NONE };

impl Profile<'_> {
    /// Reads the whole document. Tells whether it is an object.
    pub(crate) fn document(&mut self) -> Read<bool> {
        self.reader.space();
        let object = self.reader.peek() == b'{';
        if !object {
            self.reader.skip()?;
        } else if self.plan.envelope.is_empty() {
            self.profile()?;
        } else {
            self.envelope()?;
        }
        self.reader.end()?;
        Ok(object)
    }

    /// Follows `input_root`. The last value under each step counts, so each new one starts afresh.
    fn envelope(&mut self) -> Read<()> {
        let mut level = 0;
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        loop {
            let Some(raw) = key else {
                if level == 0 {
                    return Ok(());
                }
                level -= 1;
                key = self.reader.next_key()?;
                continue;
            };
            let name = self.text(raw);
            if self.bytes(name) != self.plan.envelope[level] {
                self.reader.skip()?;
            } else {
                self.event.forget_profile();
                if self.reader.peek() != b'{' {
                    self.reader.skip()?;
                } else if level + 1 == self.plan.envelope.len() {
                    self.profile()?;
                } else {
                    level += 1;
                    self.reader.open()?;
                    key = self.reader.first_key()?;
                    continue;
                }
            }
            key = self.reader.next_key()?;
        }
    }

    /// Reads the profile: an object is next.
    fn profile(&mut self) -> Read<()> {
        self.event.found = true;
        let outside = self.event.open.len();
        let mut node = ROOT;
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        loop {
            let Some(raw) = key else {
                if self.event.open.len() == outside {
                    return Ok(());
                }
                node = self.event.open.pop().unwrap_or(ROOT);
                key = self.reader.next_key()?;
                continue;
            };
            let (target, rank) = self.target(node, raw);
            match target {
                None => self.reader.skip()?,
                Some(SEGMENT_MEMBERSHIP) => self.membership_section(rank)?,
                Some(IDENTITY_MAP) => self.identity_section(rank)?,
                Some(child) => {
                    if self.attribute(child, rank)? {
                        self.event.open.push(node);
                        node = child;
                        self.reader.open()?;
                        key = self.reader.first_key()?;
                        continue;
                    }
                }
            }
            key = self.reader.next_key()?;
        }
    }

    #[inline(always)]
    fn target(&mut self, node: u32, raw: Raw) -> (Option<u32>, Rank) {
        let plan = self.plan;
        let by_name: &NameTable = &plan.nodes[node as usize].by_name;
        if !raw.escaped {
            let (name, rank) = field_name(&self.reader.record()[raw.start..raw.end], plan.spelling);
            return (by_name.find(name), rank);
        }
        let text = self.text(raw);
        let (name, rank) = field_name(text.of(self.reader.record(), &self.event.arena), plan.spelling);
        (by_name.find(name), rank)
    }

    /// Reads the value of a node of the plan, unless the node's object is to be entered: then tells so.
    fn attribute(&mut self, node: u32, rank: Rank) -> Read<bool> {
        let plan = self.plan;
        let known = &plan.nodes[node as usize];
        let slot = &mut self.event.slots[node as usize];
        if rank < slot.rank {
            self.reader.skip()?;
            return Ok(false);
        }
        if slot.rank != Rank::Unseen {
            self.event.slots[node as usize..known.end as usize].fill(Slot::default());
        }
        self.event.slots[node as usize].rank = rank;
        let enter = self.reader.peek() == b'{' && !known.by_name.is_empty();
        if known.attribute.is_some() {
            let place = self.reader.place();
            self.event.slots[node as usize].value = self.value()?;
            if enter {
                self.reader.rewind(place);
            }
        } else if !enter {
            self.reader.skip()?;
        }
        Ok(enter)
    }

    /// Reads a value in its exported form; `None` if it does not exist.
    #[inline(always)]
    fn value(&mut self) -> Read<Option<Copied>> {
        let start = self.reader.at();
        match self.reader.peek() {
            b'n' => {
                self.reader.scalar()?;
                return Ok(None);
            }
            b'"' => {
                let raw = self.reader.string()?;
                if raw.escaped {
                    return Ok(Some(self.event.copier.string(self.reader.record(), raw)));
                }
            }
            b'[' if self.plan.spelling.omit_arrays => {
                self.reader.skip()?;
                return Ok(None);
            }
            b'{' | b'[' => {
                let Event { copier, names, arena, .. } = &mut *self.event;
                return copier.container(&mut self.reader, names, arena, self.plan.spelling).map(Some);
            }
            _ => self.reader.scalar()?,
        }
        Ok(Some(Copied::InRecord { start, end: self.reader.at() }))
    }

    /// A string's characters, decoded if need be.
    #[inline(always)]
    fn text(&mut self, raw: Raw) -> Text {
        if raw.escaped { self.decoded(raw) } else { Text::in_record(raw.start, raw.end) }
    }

    #[inline(never)]
    fn decoded(&mut self, raw: Raw) -> Text {
        let start = self.event.arena.len();
        decode(self.reader.record(), raw, &mut self.event.arena);
        Text::in_arena(start, self.event.arena.len())
    }

    #[inline(always)]
    fn bytes(&self, text: Text) -> &[u8] {
        text.of(self.reader.record(), &self.event.arena)
    }

    fn membership_section(&mut self, rank: Rank) -> Read<()> {
        let section = &mut self.event.memberships;
        if rank < section.rank {
            return self.reader.skip();
        }
        section.clear();
        section.rank = rank;
        match self.reader.peek() {
            b'{' => self.membership_namespaces(),
            byte => {
                section.bad = byte != b'n';
                self.reader.skip()
            }
        }
    }

    fn membership_namespaces(&mut self) -> Read<()> {
        let frame = self.event.names.enter();
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        while let Some(raw) = key {
            let name = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, self.reader.record(), arena);
            let start = self.event.memberships.items.len() as u32;
            let malformed = self.reader.peek() != b'{';
            if malformed {
                self.reader.skip()?;
            } else {
                self.memberships(name)?;
            }
            let end = self.event.memberships.items.len() as u32;
            let namespace = MembershipNamespace { name, start, end, malformed };
            let namespaces = &mut self.event.memberships.namespaces;
            if new {
                namespaces.push(namespace);
            } else {
                namespaces[place] = namespace;
            }
            key = self.reader.next_key()?;
        }
        self.event.names.leave(frame);
        Ok(())
    }

    /// Reads the memberships of one namespace: an object is next.
    fn memberships(&mut self, namespace: Text) -> Read<()> {
        let plan = self.plan;
        let record = self.reader.record();
        let mapped_ids = if plan.segment_namespaces.is_empty() {
            None
        } else {
            let Event { lower, arena, .. } = &mut *self.event;
            lower.clear();
            lower.extend(namespace.of(record, arena).iter().map(u8::to_ascii_lowercase));
            plan.segment_namespaces.find(lower).map(|i| &plan.segment_ids[i as usize])
        };
        let frame = self.event.names.enter();
        let first = self.event.memberships.items.len();
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        while let Some(raw) = key {
            let id = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, id, record, arena);
            let mapped = mapped_ids.and_then(|ids| ids.find(id.of(record, arena))).unwrap_or(NOT_MAPPED);
            let membership = if self.reader.peek() == b'{' {
                self.membership(id, mapped)?
            } else {
                self.reader.skip()?;
                Membership::ignored(id, IgnoreReason::Malformed)
            };
            let items = &mut self.event.memberships.items;
            if new {
                items.push(membership);
            } else {
                items[first + place] = membership;
            }
            key = self.reader.next_key()?;
        }
        self.event.names.leave(frame);
        Ok(())
    }

    fn membership(&mut self, id: Text, mapped: u32) -> Read<Membership> {
        let plan = self.plan;
        let [mut status, mut time, mut old_time, mut until] = [NO_FIELD; 4];
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        while let Some(raw) = key {
            let (field, rank) = {
                let text = self.text(raw);
                let (name, rank) = field_name(self.bytes(text), plan.spelling);
                let field = match name {
                    b"status" => Some(&mut status),
                    b"lastQualificationTime" => Some(&mut time),
                    b"timestamp" => Some(&mut old_time),
                    b"validUntil" if plan.omit_expired => Some(&mut until),
                    _ => None,
                };
                (field, rank)
            };
            match field {
                Some(field) if rank >= field.rank => *field = self.field(rank)?,
                _ => self.reader.skip()?,
            }
            key = self.reader.next_key()?;
        }
        let ignored = |reason| Ok(Membership::ignored(id, reason));
        let status = match status.kind {
            Kind::Absent => Status::Realized,
            Kind::Other => return ignored(IgnoreReason::Malformed),
            Kind::Text => match self.bytes(status.text) {
                b"realized" => Status::Realized,
                b"existing" => Status::Existing,
                b"exited" => Status::Exited,
                _ if plan.keep_unknown_status => Status::Other(status.text),
                _ => return ignored(IgnoreReason::UnknownStatus),
            },
        };
        let time = [time, old_time].into_iter().find(|field| field.kind == Kind::Text);
        let time = time.map_or(Text::NONE, |field| field.text);
        let member = matches!(status, Status::Realized | Status::Existing);
        if member
            && until.kind == Kind::Text
            && self.read_time(until.text).is_some_and(|t| t.has_come(self.now))
        {
            return ignored(IgnoreReason::Expired);
        }
        if status == Status::Exited && plan.exited_retention_days > 0 && !time.is_none() {
            let limit = self.now.minus_days(plan.exited_retention_days);
            if self.read_time(time).is_some_and(|time| time.is_before(limit)) {
                return ignored(IgnoreReason::OldExit);
            }
        }
        Ok(Membership { id, time, status, mapped, ignored: None })
    }

    fn read_time(&self, text: Text) -> Option<ReadTime> {
        time::read(self.bytes(text))
    }

    /// Reads a value of which only a string matters. Null is as good as absent.
    #[inline(always)]
    fn field(&mut self, rank: Rank) -> Read<Field> {
        let (kind, text) = match self.reader.peek() {
            b'"' => {
                let raw = self.reader.string()?;
                (Kind::Text, self.text(raw))
            }
            byte => {
                self.reader.skip()?;
                (if byte == b'n' { Kind::Absent } else { Kind::Other }, Text::NONE)
            }
        };
        Ok(Field { rank, kind, text })
    }

    fn identity_section(&mut self, rank: Rank) -> Read<()> {
        let section = &mut self.event.identities;
        if rank < section.rank {
            return self.reader.skip();
        }
        section.clear();
        section.rank = rank;
        match self.reader.peek() {
            b'{' => self.identity_namespaces(),
            byte => {
                section.bad = byte != b'n';
                self.reader.skip()
            }
        }
    }

    fn identity_namespaces(&mut self) -> Read<()> {
        let frame = self.event.names.enter();
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        while let Some(raw) = key {
            let name = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, self.reader.record(), arena);
            let start = self.event.identities.items.len() as u32;
            let malformed = self.reader.peek() != b'[';
            let unusable = if malformed {
                self.reader.skip()?;
                0
            } else {
                self.identity_items()?
            };
            let section = &mut self.event.identities;
            let end = section.items.len() as u32;
            let namespace = IdentityNamespace { name, start, end, malformed, unusable };
            if new {
                section.namespaces.push(namespace);
            } else {
                section.namespaces[place] = namespace;
            }
            key = self.reader.next_key()?;
        }
        self.event.names.leave(frame);
        Ok(())
    }

    /// Reads the items of one namespace: an array is next. Gives the number of unusable ones.
    fn identity_items(&mut self) -> Read<u32> {
        let frame = self.event.names.enter();
        let first = self.event.identities.items.len();
        let mut unusable = 0;
        self.reader.open()?;
        let mut more = self.reader.first_element()?;
        while more {
            let usable = if self.reader.peek() == b'{' {
                self.identity()?
            } else {
                self.reader.skip()?;
                None
            };
            match usable {
                None => unusable += 1,
                Some(identity) => {
                    let Event { names, arena, identities, .. } = &mut *self.event;
                    let (place, new) = names.note(frame, identity.id, self.reader.record(), arena);
                    if new {
                        identities.items.push(identity);
                    } else {
                        identities.items[first + place].primary |= identity.primary;
                    }
                }
            }
            more = self.reader.next_element()?;
        }
        self.event.names.leave(frame);
        Ok(unusable)
    }

    fn identity(&mut self) -> Read<Option<Identity>> {
        let spelling = self.plan.spelling;
        let mut id = NO_FIELD;
        let (mut primary, mut primary_rank) = (false, Rank::Unseen);
        self.reader.open()?;
        let mut key = self.reader.first_key()?;
        while let Some(raw) = key {
            let text = self.text(raw);
            match field_name(self.bytes(text), spelling) {
                (b"id", rank) if rank >= id.rank => id = self.field(rank)?,
                (b"primary", rank) if rank >= primary_rank => {
                    primary = self.reader.peek() == b't';
                    primary_rank = rank;
                    self.reader.skip()?;
                }
                _ => self.reader.skip()?,
            }
            key = self.reader.next_key()?;
        }
        let usable = id.kind == Kind::Text && !self.bytes(id.text).is_empty();
        Ok(usable.then_some(Identity { id: id.text, primary, repeated: false }))
    }
}
