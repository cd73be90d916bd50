//! Profile: one pass over a record that finds the profile, its two sections and its mapped attributes.
//! In: a reader and the plan.  Out: a filled `Event`, or why the record cannot be read.
//! Everything outside the plan is checked and skipped. Where a key comes twice, the later value overwrites what the earlier
//! one left (specification, 5.1 and 5.2), so one pass is enough.
//! The cursor goes by value, so that each function holds it in registers (see `reader.rs`).
//! Never: recurses; decides about export.

use super::copy::Copied;
use super::event::{
    Event, Identity, IdentityNamespace, Membership, MembershipNamespace, SectionKey, Slot, Status, Visit,
};
use super::outcome::IgnoreReason;
use super::plan::{IDENTITY_MAP, Plan, ROOT, SEGMENT_MEMBERSHIP, field_name};
use super::quick;
use super::reader::{Cursor, Raw, Read, Reader};
use super::text::{Rank, Text, decode, signature};
use super::time::{self, Timestamp};

/// Reads one record.
pub(crate) struct Profile<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) event: &'a mut Event,
    pub(crate) now: Timestamp,
}

/// A field of which only strings matter.
#[derive(Clone, Copy)]
struct Field {
    rank: Rank,
    value: Value,
}

#[derive(Clone, Copy)]
struct Value {
    kind: Kind,
    /// If the kind is `Text`.
    raw: Raw,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Null is as good as absent.
    Absent,
    Text,
    True,
    Other,
}

impl Field {
    const UNSEEN: Self = Self { rank: Rank::Unseen, value: Value { kind: Kind::Absent, raw: Raw::NONE } };

    /// The later value counts, but a plain name beats a renamed one.
    #[inline(always)]
    fn set(&mut self, rank: Rank, value: Value) {
        if rank >= self.rank {
            *self = Self { rank, value };
        }
    }

    #[inline(always)]
    fn is_text(self) -> bool {
        self.value.kind == Kind::Text
    }
}

impl Profile<'_> {
    /// Reads the whole document. Tells whether it is an object.
    pub(crate) fn document(&mut self, reader: &Reader<'_>) -> Read<bool> {
        let mut at = reader.start();
        let object = at.peek() == b'{';
        if !object {
            reader.skip(&mut at, 0)?;
        } else if self.plan.envelope.is_empty() {
            at = reader.cursor(self.profile(reader, at.at(), 0)?);
        } else {
            at = reader.cursor(self.envelope(reader, at.at())?);
        }
        reader.end(at)?;
        Ok(object)
    }

    /// Follows `input_root`. The last value under each step counts, so each new one starts afresh.
    fn envelope(&mut self, reader: &Reader<'_>, from: usize) -> Read<usize> {
        let mut at = reader.cursor(from);
        let (mut level, mut depth) = (0, 1);
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        loop {
            let Some(raw) = key.found() else {
                if level == 0 {
                    return Ok(at.at());
                }
                level -= 1;
                depth -= 1;
                key = reader.next_key(&mut at)?;
                continue;
            };
            let plan = self.plan;
            if self.name(reader, raw) != plan.envelope[level] {
                reader.skip(&mut at, depth)?;
            } else {
                self.event.forget_profile();
                if at.peek() != b'{' {
                    reader.skip(&mut at, depth)?;
                } else if level + 1 == self.plan.envelope.len() {
                    at = reader.cursor(self.profile(reader, at.at(), depth)?);
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
    fn profile(&mut self, reader: &Reader<'_>, from: usize, mut depth: u32) -> Read<usize> {
        let mut at = reader.cursor(from);
        self.event.found = true;
        depth += 1;
        let outside = self.event.open.len();
        let mut node = ROOT;
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        loop {
            let Some(raw) = key.found() else {
                if self.event.open.len() == outside {
                    return Ok(at.at());
                }
                node = self.event.open.pop().unwrap_or(ROOT);
                depth -= 1;
                key = reader.next_key(&mut at)?;
                continue;
            };
            let (target, rank) = self.target(reader, node, raw);
            match target {
                None => reader.skip(&mut at, depth)?,
                Some(target @ (SEGMENT_MEMBERSHIP | IDENTITY_MAP)) => {
                    let key = SectionKey { target, rank, depth };
                    let (from, after) = (at.at(), self.section(reader, at.at(), key)?);
                    self.event.visited(Visit { key, from, after });
                    at = reader.cursor(after);
                }
                Some(child) => {
                    let (after, enter) = self.attribute(reader, at.at(), child, rank, depth)?;
                    at = reader.cursor(after);
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
    fn target(&mut self, reader: &Reader<'_>, node: u32, raw: Raw) -> (Option<u32>, Rank) {
        let plan = self.plan;
        let (name, rank) = field_name(self.name(reader, raw), plan.spelling);
        (plan.nodes[node as usize].by_name.find(name), rank)
    }

    /// Reads the value of a node of the plan, unless the node's object is to be entered: then tells so.
    #[inline(never)]
    fn attribute(
        &mut self,
        reader: &Reader<'_>,
        from: usize,
        node: u32,
        rank: Rank,
        depth: u32,
    ) -> Read<(usize, bool)> {
        let mut at = reader.cursor(from);
        let known = &self.plan.nodes[node as usize];
        let slot = &mut self.event.slots[node as usize];
        if rank < slot.rank {
            reader.skip(&mut at, depth)?;
            return Ok((at.at(), false));
        }
        if slot.rank != Rank::Unseen {
            self.event.slots[node as usize..known.end as usize].fill(Slot::default());
        }
        self.event.slots[node as usize].rank = rank;
        let enter = at.peek() == b'{' && !known.by_name.is_empty();
        if known.attribute.is_some() {
            let (after, value) = self.value(reader, at, depth)?;
            self.event.slots[node as usize].value = value;
            if !enter {
                at = after;
            }
        } else if !enter {
            reader.skip(&mut at, depth)?;
        }
        Ok((at.at(), enter))
    }

    /// Reads a value in its exported form; `None` if it does not exist.
    #[inline(always)]
    fn value(&mut self, reader: &Reader<'_>, mut at: Cursor, depth: u32) -> Read<(Cursor, Option<Copied>)> {
        let start = at.at();
        match at.peek() {
            b'"' => {
                let raw = reader.string(&mut at)?;
                if raw.is_escaped() {
                    return Ok((at, Some(self.event.copier.string(reader.record(), raw))));
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
                let (at, copied) = copier.container(reader, at, depth, names, arena, self.plan.spelling)?;
                return Ok((at, Some(copied)));
            }
            _ => reader.scalar(&mut at)?,
        }
        Ok((at, Some(Copied::InRecord { start, end: at.at() })))
    }

    /// A string's characters, decoded if need be.
    #[inline(always)]
    fn text(&mut self, reader: &Reader<'_>, raw: Raw) -> Text {
        if raw.is_escaped() { self.decoded(reader, raw) } else { Text::in_record(raw.start(), raw.end()) }
    }

    #[inline(never)]
    fn decoded(&mut self, reader: &Reader<'_>, raw: Raw) -> Text {
        let start = self.event.arena.len();
        decode(reader.record(), raw, &mut self.event.arena);
        Text::in_arena(start, self.event.arena.len())
    }

    /// A key's characters.
    #[inline(always)]
    fn name<'s>(&'s mut self, reader: &Reader<'s>, raw: Raw) -> &'s [u8] {
        if raw.is_escaped() {
            self.decoded(reader, raw).of(&[], &self.event.arena)
        } else {
            &reader.record()[raw.start()..raw.end()]
        }
    }

    /// Reads the value of a section's key: it is next.
    pub(crate) fn section(&mut self, reader: &Reader<'_>, from: usize, key: SectionKey) -> Read<usize> {
        match key.target {
            SEGMENT_MEMBERSHIP => self.membership_section(reader, from, key.rank, key.depth),
            _ => self.identity_section(reader, from, key.rank, key.depth),
        }
    }

    #[inline(never)]
    fn membership_section(
        &mut self,
        reader: &Reader<'_>,
        from: usize,
        rank: Rank,
        depth: u32,
    ) -> Read<usize> {
        let mut at = reader.cursor(from);
        let section = &mut self.event.memberships;
        if rank >= section.rank {
            section.clear();
            section.rank = rank;
            match at.peek() {
                b'{' => return self.membership_namespaces(reader, at.at(), depth + 1),
                byte => section.bad = byte != b'n',
            }
        }
        reader.skip(&mut at, depth)?;
        Ok(at.at())
    }

    /// Reads the section: an object is next, which lies at `depth`; so for all that follow.
    #[inline(never)]
    fn membership_namespaces(&mut self, reader: &Reader<'_>, from: usize, depth: u32) -> Read<usize> {
        let mut at = reader.cursor(from);
        let frame = self.event.names.enter();
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let name = self.text(reader, raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, reader.record(), arena);
            let start = self.event.memberships.items.len() as u32;
            let malformed = at.peek() != b'{';
            if malformed {
                reader.skip(&mut at, depth)?;
            } else {
                at = reader.cursor(self.memberships(reader, at.at(), name, depth + 1)?);
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
        Ok(at.at())
    }

    /// Reads the memberships of one namespace: an object is next.
    #[inline(never)]
    fn memberships(&mut self, reader: &Reader<'_>, from: usize, namespace: Text, depth: u32) -> Read<usize> {
        let mut at = reader.cursor(from);
        let plan = self.plan;
        let mapped_ids = if plan.segment_namespaces.is_empty() {
            None
        } else {
            let Event { lower, arena, .. } = &mut *self.event;
            lower.clear();
            lower.extend_from_slice(namespace.of(reader.record(), arena));
            lower.make_ascii_lowercase();
            plan.segment_namespaces.find(lower).map(|i| &plan.segment_ids[i as usize])
        };
        let frame = self.event.names.enter();
        let first = self.event.memberships.items.len();
        reader.open(&mut at, depth)?;
        let mut more = reader.first_member(&mut at);
        let may_be_quick = !plan.needs_clock() && depth < plan.max_depth;
        while more {
            if may_be_quick && let Some(quick) = quick::membership(reader, &mut at) {
                self.event.memberships.items.push(quick);
            } else {
                let (after, found) = self.membership(reader, at.at(), depth)?;
                at = reader.cursor(after);
                self.event.memberships.items.push(found);
            }
            let Event { names, arena, memberships, .. } = &mut *self.event;
            let last = memberships.items.len() - 1;
            let id = memberships.items[last].id;
            let name = id.of(reader.record(), arena);
            let signature = signature(name);
            if let Some(mapped) = mapped_ids.and_then(|ids| ids.find_signed(name, signature)) {
                memberships.items[last].mapped = mapped;
            }
            let (place, new) = names.note_signed(frame, id, signature, reader.record(), arena);
            if !new {
                // It takes the place of the one before.
                memberships.items.swap_remove(first + place);
            }
            more = reader.next_member(&mut at)?;
        }
        self.event.names.leave(frame);
        Ok(at.at())
    }

    /// Reads a membership with care: a key is next, the id.
    #[inline(never)]
    fn membership(&mut self, reader: &Reader<'_>, from: usize, mut depth: u32) -> Read<(usize, Membership)> {
        let mut at = reader.cursor(from);
        let plan = self.plan;
        let key = reader.key(&mut at)?;
        let id = self.text(reader, key);
        if at.peek() != b'{' {
            reader.skip(&mut at, depth)?;
            return Ok((at.at(), Membership::ignored(id, IgnoreReason::Malformed)));
        }
        depth += 1;
        let [mut status, mut time, mut old_time, mut until] = [Field::UNSEEN; 4];
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let value = self.field(reader, &mut at, depth)?;
            let (name, rank) = field_name(self.name(reader, raw), plan.spelling);
            match name.len() {
                6 if name == b"status" => status.set(rank, value),
                9 if name == b"timestamp" => old_time.set(rank, value),
                10 if name == b"validUntil" => until.set(rank, value),
                21 if name == b"lastQualificationTime" => time.set(rank, value),
                _ => {}
            }
            key = reader.next_key(&mut at)?;
        }
        let time = if time.is_text() { time } else { old_time };
        Ok((at.at(), self.judged(reader, id, [status, time, until])))
    }

    /// What a membership with these fields comes to (specification, 5.4).
    #[inline(always)]
    fn judged(&mut self, reader: &Reader<'_>, id: Text, [status, time, until]: [Field; 3]) -> Membership {
        let plan = self.plan;
        let mut word = Text::NONE;
        let status = match status.value.kind {
            Kind::Absent => Status::Realized,
            Kind::Text => match self.name(reader, status.value.raw) {
                b"realized" => Status::Realized,
                b"existing" => Status::Existing,
                b"exited" => Status::Exited,
                _ if plan.keep_unknown_status => {
                    word = self.text(reader, status.value.raw);
                    Status::Other
                }
                _ => return Membership::ignored(id, IgnoreReason::UnknownStatus),
            },
            Kind::True | Kind::Other => return Membership::ignored(id, IgnoreReason::Malformed),
        };
        if plan.needs_clock()
            && let Some(reason) = self.outdated(reader, status, time, until)
        {
            return Membership::ignored(id, reason);
        }
        let time = if time.is_text() { self.text(reader, time.value.raw) } else { Text::NONE };
        Membership { id, time, word, status, ..Membership::new(id) }
    }

    /// Whether a membership is to be ignored because of a time.
    #[inline(never)]
    fn outdated(
        &mut self,
        reader: &Reader<'_>,
        status: Status,
        time: Field,
        until: Field,
    ) -> Option<IgnoreReason> {
        let plan = self.plan;
        let mut read = |field: Field| {
            if field.is_text() { time::read(self.name(reader, field.value.raw)) } else { None }
        };
        match status {
            Status::Realized | Status::Existing => {
                let expired = plan.omit_expired && read(until)?.has_come(self.now);
                expired.then_some(IgnoreReason::Expired)
            }
            Status::Exited => {
                let days = plan.exited_retention_days;
                let old = days > 0 && read(time)?.is_before(self.now.minus_days(days));
                old.then_some(IgnoreReason::OldExit)
            }
            Status::Other => None,
        }
    }

    /// Reads the value of a field.
    #[inline(always)]
    fn field(&mut self, reader: &Reader<'_>, at: &mut Cursor, depth: u32) -> Read<Value> {
        let kind = match at.peek() {
            b'"' => return Ok(Value { kind: Kind::Text, raw: reader.string(at)? }),
            b'n' => Kind::Absent,
            b't' => Kind::True,
            _ => Kind::Other,
        };
        reader.skip(at, depth)?;
        Ok(Value { kind, raw: Raw::NONE })
    }

    #[inline(never)]
    fn identity_section(&mut self, reader: &Reader<'_>, from: usize, rank: Rank, depth: u32) -> Read<usize> {
        let mut at = reader.cursor(from);
        let section = &mut self.event.identities;
        if rank >= section.rank {
            section.clear();
            section.rank = rank;
            match at.peek() {
                b'{' => return self.identity_namespaces(reader, at.at(), depth + 1),
                byte => section.bad = byte != b'n',
            }
        }
        reader.skip(&mut at, depth)?;
        Ok(at.at())
    }

    /// Reads the section: an object is next, which lies at `depth`; so for all that follow.
    #[inline(never)]
    fn identity_namespaces(&mut self, reader: &Reader<'_>, from: usize, depth: u32) -> Read<usize> {
        let mut at = reader.cursor(from);
        let frame = self.event.names.enter();
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let name = self.text(reader, raw);
            let Event { names, arena, .. } = &mut *self.event;
            let (place, new) = names.note(frame, name, reader.record(), arena);
            let start = self.event.identities.items.len() as u32;
            let malformed = at.peek() != b'[';
            let mut unusable = 0;
            if malformed {
                reader.skip(&mut at, depth)?;
            } else {
                let (after, found) = self.identity_items(reader, at.at(), depth + 1)?;
                at = reader.cursor(after);
                unusable = found;
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
        Ok(at.at())
    }

    /// Reads the items of one namespace: an array is next. Gives the number of unusable ones.
    #[inline(never)]
    fn identity_items(&mut self, reader: &Reader<'_>, from: usize, depth: u32) -> Read<(usize, u32)> {
        if depth < self.plan.max_depth
            && let Some((identity, after)) = quick::lone_identity(reader, from)
        {
            self.event.identities.items.push(identity);
            return Ok((after, 0));
        }
        let mut at = reader.cursor(from);
        let frame = self.event.names.enter();
        let first = self.event.identities.items.len();
        let mut unusable = 0;
        reader.open(&mut at, depth)?;
        let mut more = reader.first_element(&mut at);
        while more {
            let usable = if let Some(quick) = quick::identity(reader, &mut at, depth + 1) {
                Some(quick)
            } else if at.peek() == b'{' {
                let (after, found) = self.identity(reader, at.at(), depth + 1)?;
                at = reader.cursor(after);
                found
            } else {
                reader.skip(&mut at, depth)?;
                None
            };
            match usable {
                None => unusable += 1,
                Some(identity) => {
                    let Event { names, arena, identities, .. } = &mut *self.event;
                    let count = identities.items.len() - first;
                    if count == 1 {
                        names.note(frame, identities.items[first].id, reader.record(), arena);
                    }
                    // One alone, which is usual, need not be noted.
                    let (place, new) = match count {
                        0 => (0, true),
                        _ => names.note(frame, identity.id, reader.record(), arena),
                    };
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
        Ok((at.at(), unusable))
    }

    #[inline(never)]
    fn identity(&mut self, reader: &Reader<'_>, from: usize, depth: u32) -> Read<(usize, Option<Identity>)> {
        let mut at = reader.cursor(from);
        let plan = self.plan;
        let [mut id, mut primary] = [Field::UNSEEN; 2];
        reader.open(&mut at, depth)?;
        let mut key = reader.first_key(&mut at)?;
        while let Some(raw) = key.found() {
            let value = self.field(reader, &mut at, depth)?;
            let (name, rank) = field_name(self.name(reader, raw), plan.spelling);
            match name.len() {
                2 if name == b"id" => id.set(rank, value),
                7 if name == b"primary" => primary.set(rank, value),
                _ => {}
            }
            key = reader.next_key(&mut at)?;
        }
        if !id.is_text() || id.value.raw.start() == id.value.raw.end() {
            return Ok((at.at(), None));
        }
        let primary = primary.value.kind == Kind::True;
        Ok((at.at(), Some(Identity { id: self.text(reader, id.value.raw), primary, repeated: false })))
    }
}
