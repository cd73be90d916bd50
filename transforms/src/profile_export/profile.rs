//! Profile: one pass over a record that finds the profile, its two sections and its mapped attributes.
//! In: a reader and the plan.  Out: a filled `Event`, or why the record cannot be read.
//! Everything outside the plan is checked and skipped. Where a key comes twice, the later value overwrites what the earlier
//! one left (specification, 5.1 and 5.2), so one pass is enough.
//! The cursor goes by value, so that each function holds it in registers (see `reader.rs`).
//! Never: recurses; decides about export.

use super::copy::Copied;
use super::event::{
    Event, Identity, IdentityNamespace, Membership, MembershipNamespace, NOT_MAPPED, Slot, Status,
};
use super::outcome::IgnoreReason;
use super::plan::{IDENTITY_MAP, Plan, ROOT, SEGMENT_MEMBERSHIP, field_name};
use super::reader::{Cursor, Raw, Read, Reader, decode};
use super::text::{Rank, Text};
use super::time::{self, ReadTime, Timestamp};

/// Reads one record.
pub(crate) struct Profile<'a, 'e> {
    pub(crate) plan: &'a Plan,
    pub(crate) reader: Reader<'a>,
    pub(crate) event: &'e mut Event,
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

impl<'a> Profile<'a, '_> {
    /// Reads the whole document. Tells whether it is an object.
    pub(crate) fn document(&mut self) -> Read<bool> {
        let reader = self.reader;
        let mut at = reader.start();
        let object = at.peek() == b'{';
        if !object {
            reader.skip(&mut at, 0)?;
        } else if self.plan.envelope.is_empty() {
            at = self.profile(at, 0)?;
        } else {
            at = self.envelope(at)?;
        }
        reader.end(at)?;
        Ok(object)
    }

    /// Follows `input_root`. The last value under each step counts, so each new one starts afresh.
    fn envelope(&mut self, mut at: Cursor) -> Read<Cursor> {
        let reader = self.reader;
        let (mut level, mut depth) = (0, 1);
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        loop {
            let Some(raw) = key.found() else {
                if level == 0 {
                    return Ok(at);
                }
                level -= 1;
                depth -= 1;
                key = reader.next_key(&mut at)?;
                continue;
            };
            let name = self.text(raw);
            if self.bytes(name) != self.plan.envelope[level] {
                reader.skip(&mut at, depth)?;
            } else {
                self.event.forget_profile();
                if at.peek() != b'{' {
                    reader.skip(&mut at, depth)?;
                } else if level + 1 == self.plan.envelope.len() {
                    at = self.profile(at, depth)?;
                } else {
                    level += 1;
                    depth += 1;
                    reader.open(&mut at, depth)?;
                    key = reader.first_key(&mut at)?;
                    continue;
                }
            }
            key = reader.next_key(&mut at)?;
        }
    }

    /// Reads the profile: an object is next. `depth`, here and below, is that of the container around what is read.
    fn profile(&mut self, mut at: Cursor, mut depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        self.event.found = true;
        depth += 1;
        let outside = self.event.open.len();
        let mut node = ROOT;
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        loop {
            let Some(raw) = key.found() else {
                if self.event.open.len() == outside {
                    return Ok(at);
                }
                node = self.event.open.pop().unwrap_or(ROOT);
                depth -= 1;
                key = reader.next_key(&mut at)?;
                continue;
            };
            let (target, rank) = self.target(node, raw);
            match target {
                None => reader.skip(&mut at, depth)?,
                Some(SEGMENT_MEMBERSHIP) => at = self.membership_section(at, rank, depth)?,
                Some(IDENTITY_MAP) => at = self.identity_section(at, rank, depth)?,
                Some(child) => {
                    let enter;
                    (at, enter) = self.attribute(at, child, rank, depth)?;
                    if enter {
                        self.event.open.push(node);
                        node = child;
                        depth += 1;
                        reader.open(&mut at, depth)?;
                        key = reader.first_key(&mut at)?;
                        continue;
                    }
                }
            }
            key = reader.next_key(&mut at)?;
        }
    }

    #[inline(always)]
    fn target(&mut self, node: u32, raw: Raw) -> (Option<u32>, Rank) {
        let plan = self.plan;
        let text = self.text(raw);
        let (name, rank) = field_name(self.bytes(text), plan.spelling);
        (plan.nodes[node as usize].by_name.find(name), rank)
    }

    /// Reads the value of a node of the plan, unless the node's object is to be entered: then tells so.
    #[inline(always)]
    fn attribute(&mut self, mut at: Cursor, node: u32, rank: Rank, depth: u32) -> Read<(Cursor, bool)> {
        let reader = self.reader;
        let known = &self.plan.nodes[node as usize];
        let slot = &mut self.event.slots[node as usize];
        if rank < slot.rank {
            reader.skip(&mut at, depth)?;
            return Ok((at, false));
        }
        if slot.rank != Rank::Unseen {
            self.event.slots[node as usize..known.end as usize].fill(Slot::default());
        }
        self.event.slots[node as usize].rank = rank;
        let enter = at.peek() == b'{' && !known.by_name.is_empty();
        if known.attribute.is_some() {
            let (after, value) = self.value(at, depth)?;
            self.event.slots[node as usize].value = value;
            if !enter {
                at = after;
            }
        } else if !enter {
            reader.skip(&mut at, depth)?;
        }
        Ok((at, enter))
    }

    /// Reads a value in its exported form; `None` if it does not exist.
    #[inline(always)]
    fn value(&mut self, mut at: Cursor, depth: u32) -> Read<(Cursor, Option<Copied>)> {
        let reader = self.reader;
        let start = at.at();
        match at.peek() {
            b'"' => {
                let raw = reader.string(&mut at)?;
                if raw.is_escaped() {
                    return Ok((at, Some(self.event.copier.string(self.reader.record(), raw))));
                }
            }
            b'n' => {
                reader.scalar(&mut at)?;
                return Ok((at, None));
            }
            b'[' if self.plan.spelling.omit_arrays => {
                reader.skip(&mut at, depth)?;
                return Ok((at, None));
            }
            b'{' | b'[' => {
                let Event { copier, names, arena, .. } = &mut *self.event;
                let (at, copied) = copier.container(&reader, at, depth, names, arena, self.plan.spelling)?;
                return Ok((at, Some(copied)));
            }
            _ => reader.scalar(&mut at)?,
        }
        Ok((at, Some(Copied::InRecord { start, end: at.at() })))
    }

    /// A string's characters, decoded if need be.
    #[inline(always)]
    fn text(&mut self, raw: Raw) -> Text {
        if raw.is_escaped() { self.decoded(raw) } else { Text::in_record(raw.start(), raw.end()) }
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

    fn membership_section(&mut self, mut at: Cursor, rank: Rank, depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        let section = &mut self.event.memberships;
        if rank >= section.rank {
            section.clear();
            section.rank = rank;
            match at.peek() {
                b'{' => return self.membership_namespaces(at, depth + 1),
                byte => section.bad = byte != b'n',
            }
        }
        reader.skip(&mut at, depth)?;
        Ok(at)
    }

    /// Reads the section: an object is next, which lies at `depth`; so for all that follow.
    fn membership_namespaces(&mut self, mut at: Cursor, depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        let frame = self.event.names.enter();
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let name = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, self.reader.record(), arena);
            let start = self.event.memberships.items.len() as u32;
            let malformed = at.peek() != b'{';
            if malformed {
                reader.skip(&mut at, depth)?;
            } else {
                at = self.memberships(at, name, depth + 1)?;
            }
            let end = self.event.memberships.items.len() as u32;
            let namespace = MembershipNamespace { name, start, end, malformed };
            let namespaces = &mut self.event.memberships.namespaces;
            if new {
                namespaces.push(namespace);
            } else {
                namespaces[place] = namespace;
            }
            key = reader.next_key(&mut at)?;
        }
        self.event.names.leave(frame);
        Ok(at)
    }

    /// Reads the memberships of one namespace: an object is next.
    fn memberships(&mut self, mut at: Cursor, namespace: Text, depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        let plan = self.plan;
        let mapped_ids = if plan.segment_namespaces.is_empty() {
            None
        } else {
            let Event { lower, arena, .. } = &mut *self.event;
            lower.clear();
            lower.extend(namespace.of(self.reader.record(), arena).iter().map(u8::to_ascii_lowercase));
            plan.segment_namespaces.find(lower).map(|i| &plan.segment_ids[i as usize])
        };
        let frame = self.event.names.enter();
        let first = self.event.memberships.items.len();
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let id = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, id, self.reader.record(), arena);
            let mapped =
                mapped_ids.and_then(|ids| ids.find(id.of(self.reader.record(), arena))).unwrap_or(NOT_MAPPED);
            let membership;
            if at.peek() == b'{' {
                (at, membership) = self.membership(at, id, mapped, depth + 1)?;
            } else {
                reader.skip(&mut at, depth)?;
                membership = Membership::ignored(id, IgnoreReason::Malformed);
            }
            let items = &mut self.event.memberships.items;
            if new {
                items.push(membership);
            } else {
                items[first + place] = membership;
            }
            key = reader.next_key(&mut at)?;
        }
        self.event.names.leave(frame);
        Ok(at)
    }

    #[inline(always)]
    fn membership(
        &mut self,
        mut at: Cursor,
        id: Text,
        mapped: u32,
        depth: u32,
    ) -> Read<(Cursor, Membership)> {
        let reader = self.reader;
        let plan = self.plan;
        let [mut status, mut time, mut old_time, mut until] = [NO_FIELD; 4];
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let text = self.text(raw);
            let (name, rank) = field_name(self.bytes(text), plan.spelling);
            let field = match name {
                b"status" => Some(&mut status),
                b"lastQualificationTime" => Some(&mut time),
                b"timestamp" => Some(&mut old_time),
                b"validUntil" if plan.omit_expired => Some(&mut until),
                _ => None,
            };
            match field {
                Some(field) if rank >= field.rank => (at, *field) = self.field(at, rank, depth)?,
                _ => reader.skip(&mut at, depth)?,
            }
            key = reader.next_key(&mut at)?;
        }
        Ok((at, self.judged(id, mapped, [status, time, old_time, until])))
    }

    /// What a membership with these fields comes to (specification, 5.4).
    #[inline(always)]
    fn judged(&self, id: Text, mapped: u32, [status, time, old_time, until]: [Field; 4]) -> Membership {
        let plan = self.plan;
        let status = match status.kind {
            Kind::Absent => Status::Realized,
            Kind::Other => return Membership::ignored(id, IgnoreReason::Malformed),
            Kind::Text => match self.bytes(status.text) {
                b"realized" => Status::Realized,
                b"existing" => Status::Existing,
                b"exited" => Status::Exited,
                _ if plan.keep_unknown_status => Status::Other(status.text),
                _ => return Membership::ignored(id, IgnoreReason::UnknownStatus),
            },
        };
        let time = [time, old_time].into_iter().find(|field| field.kind == Kind::Text);
        let time = time.map_or(Text::NONE, |field| field.text);
        let member = matches!(status, Status::Realized | Status::Existing);
        if member
            && until.kind == Kind::Text
            && self.read_time(until.text).is_some_and(|until| until.has_come(self.now))
        {
            return Membership::ignored(id, IgnoreReason::Expired);
        }
        if status == Status::Exited && plan.exited_retention_days > 0 && !time.is_none() {
            let limit = self.now.minus_days(plan.exited_retention_days);
            if self.read_time(time).is_some_and(|time| time.is_before(limit)) {
                return Membership::ignored(id, IgnoreReason::OldExit);
            }
        }
        Membership { id, time, status, mapped, ignored: None }
    }

    #[inline(never)]
    fn read_time(&self, text: Text) -> Option<ReadTime> {
        time::read(self.bytes(text))
    }

    /// Reads a value of which only a string matters. Null is as good as absent.
    #[inline(always)]
    fn field(&mut self, mut at: Cursor, rank: Rank, depth: u32) -> Read<(Cursor, Field)> {
        let reader = self.reader;
        let (kind, text) = match at.peek() {
            b'"' => {
                let raw = reader.string(&mut at)?;
                (Kind::Text, self.text(raw))
            }
            byte => {
                reader.skip(&mut at, depth)?;
                (if byte == b'n' { Kind::Absent } else { Kind::Other }, Text::NONE)
            }
        };
        Ok((at, Field { rank, kind, text }))
    }

    fn identity_section(&mut self, mut at: Cursor, rank: Rank, depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        let section = &mut self.event.identities;
        if rank >= section.rank {
            section.clear();
            section.rank = rank;
            match at.peek() {
                b'{' => return self.identity_namespaces(at, depth + 1),
                byte => section.bad = byte != b'n',
            }
        }
        reader.skip(&mut at, depth)?;
        Ok(at)
    }

    /// Reads the section: an object is next, which lies at `depth`; so for all that follow.
    fn identity_namespaces(&mut self, mut at: Cursor, depth: u32) -> Read<Cursor> {
        let reader = self.reader;
        let frame = self.event.names.enter();
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let name = self.text(raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, self.reader.record(), arena);
            let start = self.event.identities.items.len() as u32;
            let malformed = at.peek() != b'[';
            let mut unusable = 0;
            if malformed {
                reader.skip(&mut at, depth)?;
            } else {
                (at, unusable) = self.identity_items(at, depth + 1)?;
            }
            let section = &mut self.event.identities;
            let end = section.items.len() as u32;
            let namespace = IdentityNamespace { name, start, end, malformed, unusable };
            if new {
                section.namespaces.push(namespace);
            } else {
                section.namespaces[place] = namespace;
            }
            key = reader.next_key(&mut at)?;
        }
        self.event.names.leave(frame);
        Ok(at)
    }

    /// Reads the items of one namespace: an array is next. Gives the number of unusable ones.
    #[inline(always)]
    fn identity_items(&mut self, mut at: Cursor, depth: u32) -> Read<(Cursor, u32)> {
        let reader = self.reader;
        let frame = self.event.names.enter();
        let first = self.event.identities.items.len();
        let mut unusable = 0;
        reader.open(&mut at, depth)?;
        let mut more = reader.first_element(&mut at);
        while more {
            let mut usable = None;
            if at.peek() == b'{' {
                (at, usable) = self.identity(at, depth + 1)?;
            } else {
                reader.skip(&mut at, depth)?;
            }
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
            more = reader.next_element(&mut at)?;
        }
        self.event.names.leave(frame);
        Ok((at, unusable))
    }

    #[inline(always)]
    fn identity(&mut self, mut at: Cursor, depth: u32) -> Read<(Cursor, Option<Identity>)> {
        let reader = self.reader;
        let spelling = self.plan.spelling;
        let mut id = NO_FIELD;
        let (mut primary, mut primary_rank) = (false, Rank::Unseen);
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let text = self.text(raw);
            match field_name(self.bytes(text), spelling) {
                (b"id", rank) if rank >= id.rank => (at, id) = self.field(at, rank, depth)?,
                (b"primary", rank) if rank >= primary_rank => {
                    primary = at.peek() == b't';
                    primary_rank = rank;
                    reader.skip(&mut at, depth)?;
                }
                _ => reader.skip(&mut at, depth)?,
            }
            key = reader.next_key(&mut at)?;
        }
        let usable = id.kind == Kind::Text && !self.bytes(id.text).is_empty();
        Ok((at, usable.then_some(Identity { id: id.text, primary, repeated: false })))
    }
}
