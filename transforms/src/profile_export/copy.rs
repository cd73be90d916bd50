//! Copy: the exported form of a mapped attribute's value (specification, section 7 step 8).
//! In: a reader whose next byte starts an object or array.  Out: the value without nulls in objects, in platform spelling,
//! compact, each key once. What needs no change is copied in runs as long as possible; a value that needs none at all is
//! not copied here: only its place is told.
//! Never: recurses; looks at a byte of a string that has no escape.

use super::names::{Frame, Names};
use super::plan::Spelling;
use super::reader::{Cursor, Raw, Read, Reader};
use super::text::{Rank, Text, decode, renamed};
use super::write::escape_into;

/// Where an exported value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It is in the record exactly as it is exported.
    InRecord { start: usize, end: usize },
    /// It was written to [`Copier::out`].
    InBuffer { start: usize, end: usize },
}

/// One open container.
#[derive(Clone, Copy, Debug)]
struct Open {
    object: bool,
    /// Something was written inside, so the next thing needs a comma.
    wrote: bool,
    /// A key came more than once: the content must be put together again at the end.
    shuffled: bool,
    /// Where the content starts in the output.
    content: usize,
    /// The names of an object, and its first entry of `Copier::members`.
    names: Frame,
    members: usize,
    member: Current,
}

/// The member that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    /// Entry of `Copier::members`.
    entry: usize,
    /// Where it starts in the output, comma included, and where its value starts.
    start: usize,
    value: usize,
    /// It loses against one already read: forget it when its value has been read.
    outranked: bool,
}

/// One name of an open object, in the order of first sight.
#[derive(Clone, Copy, Debug)]
struct Member {
    name: Text,
    rank: Rank,
    /// Where its value is in the output; `None` if it does not exist (null, or an array under `arrays: omit`).
    value: Option<(usize, usize)>,
    /// A name that needs no renaming took this one's place, elsewhere.
    superseded: bool,
}

/// Bytes of the record that belong to the output but have not been copied yet.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where they start, or [`Run::NOTHING`].
    from: usize,
    /// Where they end; with nothing pending, meaningless.
    upto: usize,
}

impl Run {
    const NOTHING: usize = usize::MAX;

    fn at(at: usize) -> Self {
        Self { from: at, upto: at }
    }

    fn nothing() -> Self {
        Self { from: Self::NOTHING, upto: 0 }
    }

    fn len(self) -> usize {
        if self.from == Self::NOTHING { 0 } else { self.upto - self.from }
    }
}

/// What the copying reads and leans on.
struct With<'a> {
    record: &'a [u8],
    names: &'a mut Names,
    /// Takes decoded key names.
    arena: &'a mut Vec<u8>,
    spelling: Spelling,
}

/// Scratch of the copying, kept between records.
#[derive(Debug, Default)]
pub(crate) struct Copier {
    /// Exported values that differ from the record's bytes.
    pub(crate) out: Vec<u8>,
    open: Vec<Open>,
    members: Vec<Member>,
    again: Vec<u8>,
    decoded: Vec<u8>,
}

impl Copier {
    pub(crate) fn clear(&mut self) {
        self.out.clear();
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        for buffer in [&mut self.out, &mut self.again, &mut self.decoded] {
            if buffer.capacity() > most {
                buffer.clear();
                buffer.shrink_to(most);
            }
        }
        self.members.clear();
        self.members.shrink_to(most / size_of::<Member>());
    }

    /// Writes the exported form of a string with escapes, with its quotes.
    pub(crate) fn string(&mut self, record: &[u8], raw: Raw) -> Copied {
        let start = self.out.len();
        self.put_string(record, raw);
        Copied::InBuffer { start, end: self.out.len() }
    }

    fn put_string(&mut self, record: &[u8], raw: Raw) {
        self.decoded.clear();
        decode(record, raw, &mut self.decoded);
        self.out.push(b'"');
        escape_into(&self.decoded, &mut self.out);
        self.out.push(b'"');
    }

    /// Copies the container that is next; gives the reader after it. `arena` takes decoded key names.
    pub(crate) fn container(
        &mut self,
        reader: &Reader<'_>,
        mut at: Cursor,
        depth: u32,
        names: &mut Names,
        arena: &mut Vec<u8>,
        spelling: Spelling,
    ) -> Read<(Cursor, Copied)> {
        self.open.clear();
        self.members.clear();
        let record = reader.record();
        let with = &mut With { record, names, arena, spelling };
        let (first_byte, first_out) = (at.at(), self.out.len());
        let mut run = Run::at(first_byte);
        'value: loop {
            // A value is next; everything before it is in the output or pending.
            let byte = at.peek();
            let in_object = self.open.last().is_some_and(|open| open.object);
            if in_object && (byte == b'n' || byte == b'[' && spelling.omit_arrays) {
                reader.skip(&mut at, depth + self.open.len() as u32)?;
                self.forget_member(record, &mut run);
            } else {
                match byte {
                    b'"' => {
                        let raw = reader.string(&mut at)?;
                        if raw.is_escaped() {
                            self.flush(record, &mut run);
                            self.put_string(record, raw);
                            run = Run::at(at.at());
                        }
                    }
                    b'{' => {
                        run.upto = at.at() + 1;
                        reader.open(&mut at, depth + self.open.len() as u32 + 1)?;
                        self.enter(true, run, with.names.enter());
                        if let Some(key) = reader.first_key(&mut at)?.found() {
                            self.member(with, key, at.at(), &mut run);
                            continue 'value;
                        }
                        self.leave(with, at.at(), &mut run);
                    }
                    b'[' => {
                        run.upto = at.at() + 1;
                        reader.open(&mut at, depth + self.open.len() as u32 + 1)?;
                        self.enter(false, run, with.names.enter());
                        if reader.first_element(&mut at) {
                            self.join(record, &mut run, at.at(), false);
                            continue 'value;
                        }
                        self.leave(with, at.at(), &mut run);
                    }
                    _ => reader.scalar(&mut at)?,
                }
                run.upto = at.at();
                self.value_ended(record, &mut run);
            }
            // A value has ended: on to the next one, or close what has no more.
            loop {
                let Some(open) = self.open.last() else {
                    let copied = if run.from == first_byte && self.out.len() == first_out {
                        Copied::InRecord { start: first_byte, end: run.upto }
                    } else {
                        self.flush(record, &mut run);
                        Copied::InBuffer { start: first_out, end: self.out.len() }
                    };
                    return Ok((at, copied));
                };
                if open.object {
                    if let Some(key) = reader.next_key(&mut at)?.found() {
                        self.member(with, key, at.at(), &mut run);
                        continue 'value;
                    }
                } else if reader.next_element(&mut at)? {
                    self.join(record, &mut run, at.at(), true);
                    continue 'value;
                }
                self.leave(with, at.at(), &mut run);
                self.value_ended(record, &mut run);
            }
        }
    }

    /// Length of the output including what is pending.
    fn position(&self, run: Run) -> usize {
        self.out.len() + run.len()
    }

    /// Copies what is pending; afterwards nothing is.
    fn flush(&mut self, record: &[u8], run: &mut Run) {
        if run.from != Run::NOTHING {
            self.out.extend_from_slice(&record[run.from..run.upto]);
        }
        *run = Run::nothing();
    }

    /// Continues the output with the byte at `at`, after a comma if `comma`. If that is what the record has right
    /// after the pending bytes, the run just grows.
    fn join(&mut self, record: &[u8], run: &mut Run, at: usize, comma: bool) {
        if run.from != Run::NOTHING && at == run.upto + usize::from(comma) {
            run.upto = at;
            return;
        }
        self.flush(record, run);
        if comma {
            self.out.push(b',');
        }
        *run = Run::at(at);
    }

    /// Cuts the output back to `length`.
    fn cut(&mut self, record: &[u8], run: &mut Run, length: usize) {
        match length.checked_sub(self.out.len()) {
            Some(pending) if pending > 0 => {
                self.out.extend_from_slice(&record[run.from..run.from + pending]);
            }
            _ => self.out.truncate(length),
        }
        *run = Run::nothing();
    }

    fn enter(&mut self, object: bool, run: Run, names: Frame) {
        self.open.push(Open {
            object,
            wrote: false,
            shuffled: false,
            content: self.position(run),
            names,
            members: self.members.len(),
            member: Current::default(),
        });
    }

    /// Writes a member's key; its value is next, at `value`.
    fn member(&mut self, with: &mut With<'_>, key: Raw, value: usize, run: &mut Run) {
        let With { record, names, arena, spelling } = with;
        let start = self.position(*run);
        let (name, rank) = name_of(record, key, arena, spelling.platform);
        let Some(open) = self.open.last_mut() else { return };
        let (place, new) = names.note(open.names, name, record, arena);
        let mut entry = open.members + place;
        let mut outranked = false;
        if new {
            self.members.push(Member { name, rank, value: None, superseded: false });
        } else {
            open.shuffled = true;
            let older = &mut self.members[entry];
            if rank > older.rank {
                older.superseded = true;
                entry = open.members + names.supersede(open.names, name, record, arena);
                self.members.push(Member { name, rank, value: None, superseded: false });
            } else {
                outranked = rank < older.rank;
            }
        }
        let comma = open.wrote;
        self.join(record, run, key.start() - 1, comma);
        if key.is_escaped() || rank == Rank::Renamed {
            self.flush(record, run);
            self.out.push(b'"');
            escape_into(name.of(record, arena), &mut self.out);
            self.out.extend_from_slice(b"\":");
            *run = Run::at(value);
        } else {
            run.upto = key.end() + 1;
            if value == key.end() + 2 {
                run.upto = value;
            } else {
                self.flush(record, run);
                self.out.push(b':');
                *run = Run::at(value);
            }
        }
        let value = self.position(*run);
        if let Some(open) = self.open.last_mut() {
            open.member = Current { entry, start, value, outranked };
        }
    }

    /// The value that was next is in the output or pending.
    fn value_ended(&mut self, record: &[u8], run: &mut Run) {
        let end = self.position(*run);
        let Some(open) = self.open.last_mut() else { return };
        if !open.object {
            open.wrote = true;
        } else if open.member.outranked {
            self.forget_member(record, run);
        } else {
            open.wrote = true;
            self.members[open.member.entry].value = Some((open.member.value, end));
        }
    }

    /// The value that was next does not count: takes back what was written of its member.
    fn forget_member(&mut self, record: &[u8], run: &mut Run) {
        let Some(open) = self.open.last() else { return };
        let Current { entry, start, outranked, .. } = open.member;
        if !outranked {
            self.members[entry].value = None;
        }
        self.cut(record, run, start);
    }

    /// A closing bracket has been passed, `end` is after it: writes it.
    fn leave(&mut self, with: &mut With<'_>, end: usize, run: &mut Run) {
        let With { record, names, arena, .. } = with;
        let Some(open) = self.open.pop() else { return };
        if open.shuffled {
            self.flush(record, run);
            self.again.clear();
            for member in &self.members[open.members..] {
                let Some((start, end)) = member.value.filter(|_| !member.superseded) else { continue };
                if !self.again.is_empty() {
                    self.again.push(b',');
                }
                self.again.push(b'"');
                escape_into(member.name.of(record, arena), &mut self.again);
                self.again.extend_from_slice(b"\":");
                self.again.extend_from_slice(&self.out[start..end]);
            }
            self.out.truncate(open.content);
            self.out.extend_from_slice(&self.again);
        }
        self.members.truncate(open.members);
        names.leave(open.names);
        self.join(record, run, end - 1, false);
        run.upto = end;
    }
}

/// A key's name, decoded and in platform spelling if that is asked for.
fn name_of(record: &[u8], key: Raw, arena: &mut Vec<u8>, platform: bool) -> (Text, Rank) {
    let text = if key.is_escaped() {
        let start = arena.len();
        decode(record, key, arena);
        Text::in_arena(start, arena.len())
    } else {
        Text::in_record(key.start(), key.end())
    };
    if !platform {
        return (text, Rank::Plain);
    }
    let name = text.of(record, arena);
    let (spelled, rank) = renamed(name);
    if rank == Rank::Plain {
        return (text, rank);
    }
    if let Some(cut) = name.len().checked_sub(spelled.len()).filter(|cut| *cut > 0) {
        return (text.skip(cut), rank);
    }
    let spelled: &'static [u8] = if name == b"@id" { b"_id" } else { b"_type" };
    let start = arena.len();
    arena.extend_from_slice(spelled);
    (Text::in_arena(start, arena.len()), rank)
}
