//! Shape: the records of a feed mostly differ in their values only. What they share (brackets, keys, white space) is kept from records
//! that `profile.rs` has read; where it comes again, it is compared instead of being parsed.
//! In: a record; after careful reading, what was found.  Out: what careful reading would find, or that the shape is new.
//! Holds: a tree of pieces; shapes that begin alike share their beginning. Bounded by the numbers below.
//! Never: takes a value on trust: strings and numbers are read, and so are the two sections.

use super::copy::Copied;
use super::event::{Event, SectionKey, Slot, Visit};
use super::profile::Profile;
use super::reader::{Read, Reader, number_end};
use super::text::same;

/// When there are more shapes, pieces, or bytes in them, all are forgotten; one record may add as much again. Chosen, not measured.
const SHAPES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 1 << 17;
const PIECES_MAX: usize = 1 << 12;
/// Pieces that are tried at one place. Where there would be more, keys are data.
const CHOICES_MAX: usize = 16;
/// A lesson costs about as much as reading with care, so only one record of so many is one.
const RECORDS_PER_LESSON: u32 = 16;
/// Where shapes do not come again, two to this power: only one record of so many is tried.
const MISSES_MAX: u32 = 5;
/// In the place of a number: there is none.
const NONE: u32 = u32::MAX;
/// The piece before all others.
const ROOT: usize = 0;

/// The shapes known so far.
#[derive(Debug)]
pub(crate) struct Shapes {
    pieces: Vec<Piece>,
    text: Vec<u8>,
    found: Vec<Found>,
    /// Where the pieces of the record at hand start.
    starts: Vec<usize>,
    /// Where its strings with escapes start.
    escaped: Vec<usize>,
    /// Records read with care since the last lesson.
    unlearned: u32,
    /// Records that shall not be tried.
    pause: u32,
    /// Tries without success, one after the other.
    misses: u32,
}

/// Text that must be there, and what follows it.
#[derive(Debug)]
struct Piece {
    /// The place of its text in `Shapes::text`.
    start: u32,
    end: u32,
    then: Then,
    /// What to try in its place.
    other: u32,
    /// What to try after it; after the last piece of a shape, the entry of `Shapes::found`.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// A string, without its quotes: they belong to the pieces around it.
    String,
    Number,
    Section(SectionKey),
    /// The end of the record.
    End,
}

/// What the attributes of a shape are.
#[derive(Debug)]
struct Found {
    slots: Vec<Slot>,
    values: Vec<Value>,
}

/// The value of a node of the plan.
#[derive(Debug)]
struct Value {
    node: usize,
    start: Place,
    end: Place,
}

/// So many bytes after the start of a piece, which is named by its place on the way.
#[derive(Clone, Copy, Debug)]
struct Place {
    piece: usize,
    offset: usize,
}

impl Default for Shapes {
    fn default() -> Self {
        let root = Piece { start: 0, end: 0, then: Then::End, other: NONE, next: NONE };
        Self {
            pieces: vec![root],
            text: Vec::new(),
            found: Vec::new(),
            starts: Vec::new(),
            escaped: Vec::new(),
            unlearned: RECORDS_PER_LESSON,
            pause: 0,
            misses: 0,
        }
    }
}

impl Shapes {
    /// Reads a record of a known shape. If it has none, tells so, and what is in the event then means nothing.
    pub(crate) fn follow(&mut self, reader: &Reader<'_>, profile: &mut Profile<'_>) -> Read<bool> {
        if self.pause > 0 || self.found.is_empty() {
            self.pause = self.pause.saturating_sub(1);
            return Ok(false);
        }
        let known = self.walk(reader, profile)?;
        self.misses = if known { 0 } else { MISSES_MAX.min(self.misses + 1) };
        // Odd, so that every other record of a feed is not the only one that is ever tried.
        self.pause = if known { 0 } else { 1 << self.misses };
        Ok(known)
    }

    fn walk(&mut self, reader: &Reader<'_>, profile: &mut Profile<'_>) -> Read<bool> {
        let record = reader.record();
        self.starts.clear();
        self.escaped.clear();
        let mut at = 0;
        let mut choice = self.pieces[ROOT].next;
        while let Some(piece) = self.pieces.get(choice as usize) {
            choice = piece.other;
            let text = &self.text[piece.start as usize..piece.end as usize];
            if !record.get(at..at + text.len()).is_some_and(|next| same(next, text)) {
                continue;
            }
            let value = at + text.len();
            self.starts.push(at);
            let after = match piece.then {
                Then::String => reader.string_from(value).map(|raw| {
                    if raw.is_escaped() {
                        self.escaped.push(value);
                    }
                    raw.end()
                }),
                Then::Number => number_end(record, value),
                Then::Section(key) => Some(profile.section(reader, reader.token_from(value), key)?),
                Then::End if value == record.len() => {
                    return Ok(self.fill(piece.next, profile.event));
                }
                Then::End => None,
            };
            match after {
                Some(after) => (at, choice) = (after, piece.next),
                None => _ = self.starts.pop(),
            }
        }
        Ok(false)
    }

    /// Puts the attributes of a shape into the event, unless one has an escape.
    fn fill(&self, found: u32, event: &mut Event) -> bool {
        let Some(found) = self.found.get(found as usize) else { return false };
        event.found = true;
        event.slots.copy_from_slice(&found.slots);
        let at = |place: Place| self.starts[place.piece] + place.offset;
        found.values.iter().all(|value| {
            let (start, end) = (at(value.start), at(value.end));
            event.slots[value.node].value = Some(Copied::InRecord { start, end });
            !self.escaped.iter().any(|at| (start..end).contains(at))
        })
    }

    /// Keeps the shape of a record that was read with care, with what was found in it.
    pub(crate) fn learn(&mut self, reader: &Reader<'_>, event: &Event) {
        self.unlearned = self.unlearned.saturating_add(1);
        let written = |slot: &Slot| matches!(slot.value, Some(Copied::InBuffer { .. }));
        if self.unlearned < RECORDS_PER_LESSON
            || !event.found
            || event.has_many_visits()
            || event.slots.iter().any(written)
        {
            return;
        }
        self.unlearned = 0;
        if reader.record().len() > TEXT_BYTES_MAX {
            return;
        }
        if self.found.len() == SHAPES_MAX
            || self.text.len() > TEXT_BYTES_MAX
            || self.pieces.len() > PIECES_MAX
        {
            self.forget();
        }
        let Some(last) = self.add_pieces(reader, &event.visits) else {
            // No place for it: what is kept is not what comes now.
            return self.forget();
        };
        if self.pieces[last].next != NONE {
            return;
        }
        let place = |at: usize| {
            let piece = self.starts.partition_point(|start| *start <= at) - 1;
            Place { piece, offset: at - self.starts[piece] }
        };
        let values = event.slots.iter().enumerate().filter_map(|(node, slot)| match slot.value {
            Some(Copied::InRecord { start, end }) => {
                Some(Value { node, start: place(start), end: place(end) })
            }
            _ => None,
        });
        let found = Found { slots: event.slots.clone(), values: values.collect() };
        self.pieces[last].next = self.found.len() as u32;
        self.found.push(found);
    }

    fn forget(&mut self) {
        *self = Self { unlearned: 0, ..Self::default() };
    }

    /// Cuts a record into pieces: before each string that is not a key, each number and each section. Gives the last piece.
    fn add_pieces(&mut self, reader: &Reader<'_>, visits: &[Visit]) -> Option<usize> {
        let record = reader.record();
        self.starts.clear();
        let mut visits = visits.iter().peekable();
        // Where the piece starts, and what is next.
        let (mut start, mut next) = (0, 0);
        let mut parent = ROOT;
        while let Some(byte) = record.get(next) {
            let visit = visits.next_if(|visit| visit.from == next);
            let (then, text_end, after) = if let Some(visit) = visit {
                (Then::Section(visit.key), next, visit.after)
            } else if *byte == b'"' {
                let end = reader.string_from(next + 1)?.end();
                if reader.is_key_end(end) {
                    next = end + 1;
                    continue;
                }
                (Then::String, next + 1, end)
            } else if let Some(end) = number_end(record, next) {
                (Then::Number, next, end)
            } else {
                next += 1;
                continue;
            };
            parent = self.add(parent, &record[start..text_end], then)?;
            self.starts.push(start);
            (start, next) = (after, after + usize::from(then == Then::String));
        }
        self.starts.push(start);
        self.add(parent, &record[start..], Then::End)
    }

    /// The piece with this text after `parent`: the one that is there, or a new one.
    fn add(&mut self, parent: usize, text: &[u8], then: Then) -> Option<usize> {
        let mut at = self.pieces[parent].next as usize;
        for _ in 0..CHOICES_MAX {
            let Some(piece) = self.pieces.get(at) else {
                let start = self.text.len() as u32;
                self.text.extend_from_slice(text);
                let (end, other) = (self.text.len() as u32, self.pieces[parent].next);
                self.pieces[parent].next = self.pieces.len() as u32;
                self.pieces.push(Piece { start, end, then, other, next: NONE });
                return Some(self.pieces.len() - 1);
            };
            if piece.then == then && self.text[piece.start as usize..piece.end as usize] == *text {
                return Some(at);
            }
            at = piece.other as usize;
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::config::ProfileExportConfig;
    use super::super::plan::Plan;
    use super::super::time::Timestamp;
    use super::*;

    struct Lessons {
        plan: Plan,
        shapes: Shapes,
        event: Event,
    }

    impl Lessons {
        fn new() -> Self {
            let config = r#"{"attributes":["name","tags"]}"#;
            let config = ProfileExportConfig::from_json(serde_json::from_str(config).unwrap()).unwrap();
            Self { plan: Plan::compile(&config).unwrap(), shapes: Shapes::default(), event: Event::default() }
        }

        /// The bytes of the attributes, if the record has a known shape; if not, it is a lesson.
        fn follow(&mut self, record: &str) -> Option<Vec<String>> {
            let reader = Reader::new(record.as_bytes(), 64);
            let event = &mut self.event;
            let mut profile = Profile { plan: &self.plan, event, now: Timestamp::default() };
            profile.event.clear(self.plan.nodes.len());
            if self.shapes.follow(&reader, &mut profile).unwrap() {
                let values = self.event.slots.iter().filter_map(|slot| match slot.value {
                    Some(Copied::InRecord { start, end }) => Some(record[start..end].to_owned()),
                    _ => None,
                });
                return Some(values.collect());
            }
            profile.event.clear(self.plan.nodes.len());
            profile.document(&reader).unwrap();
            self.shapes.learn(&reader, &self.event);
            None
        }
    }

    #[test]
    fn a_record_that_differs_in_values_only_is_followed() {
        let mut lessons = Lessons::new();
        assert_eq!(lessons.follow(r#"{"name":"Ana","n":{"x": 1},"tags":[true,"a"], "z":""}"#), None);
        let found = lessons.follow(r#"{"name":"","n":{"x": -2.5e3},"tags":[true,"b, c"], "z":"\""}"#);
        assert_eq!(found.unwrap(), [r#""""#, r#"[true,"b, c"]"#]);
    }

    #[test]
    fn a_record_that_differs_in_more_is_not() {
        for other in [
            r#"{"name":"Ana","n":null}"#,
            r#"{"name":"Ana","n":"1"}"#,
            r#"{"name":"Ana","n": 1}"#,
            r#"{"name":"Ana","n":1} "#,
            r#"{"name":"Ana","n":1,"m":1}"#,
            r#"{"name":"Ana","N":1}"#,
            r#"{"name":"Ana","n":[1]}"#,
            r#"{"name":"\u0041na","n":1}"#,
        ] {
            let mut lessons = Lessons::new();
            assert_eq!(lessons.follow(r#"{"name":"Ana","n":1}"#), None);
            assert_eq!(lessons.follow(other), None, "{other}");
            lessons.shapes.pause = 0;
            assert_eq!(lessons.follow(r#"{"name":"Jo","n":2}"#).unwrap(), [r#""Jo""#]);
        }
    }

    #[test]
    fn a_second_shape_is_learned_after_a_while() {
        let mut lessons = Lessons::new();
        assert_eq!(lessons.follow(r#"{"name":"Ana"}"#), None);
        let second = r#"{"name":"Ana","a":1}"#;
        assert!((0..100).any(|_| lessons.follow(second).is_some()));
        assert!(lessons.follow(second).is_some());
        assert!(lessons.follow(r#"{"name":"Ana"}"#).is_some());
    }

    #[test]
    fn what_is_kept_stays_bounded_and_a_feed_that_follows_is_learned() {
        let mut lessons = Lessons::new();
        let (mut most, mut forgotten) = (0, 0);
        for n in 0..20_000 {
            let before = lessons.shapes.found.len();
            lessons.follow(&format!(r#"{{"a{}":"","b{}":"","c{}":1}}"#, n % 13, n / 13 % 11, n / 143 % 20));
            let Shapes { found, pieces, text, .. } = &lessons.shapes;
            assert!(found.len() <= SHAPES_MAX && pieces.len() <= PIECES_MAX + 100);
            assert!(text.len() <= TEXT_BYTES_MAX + 100);
            most = most.max(found.len());
            forgotten += usize::from(found.len() < before);
        }
        assert!(most > 16 && forgotten > 0, "{most} shapes at most, forgotten {forgotten} times");
        assert!((0..100).any(|_| lessons.follow(r#"{"name":"Ana"}"#).is_some()));
    }
}
