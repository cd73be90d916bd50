//! Text: where the characters of a string are, and the renaming of field names (specification, 5.2).
//! In: positions found by `reader.rs`.  Out: slices, and names in platform spelling.
//! Never: owns bytes. A string without escapes stays in the record; one with escapes is decoded once into the arena.

use super::reader::Raw;
use super::strings::code_unit;

/// Set in [`Text`]'s end when the characters are in the arena and not in the record.
const IN_ARENA: u32 = 1 << 31;
/// Longer records are refused: positions have 31 bits, and the arena may need a multiple of the record. A Kinesis
/// record has 10 MiB at most, so that nothing useful is lost.
pub(crate) const LONGEST_RECORD_BYTES: usize = 1 << 28;

/// The decoded characters of one string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    start: u32,
    end: u32,
}

impl Text {
    pub(crate) const NONE: Self = Self { start: u32::MAX, end: 0 };

    #[inline(always)]
    pub(crate) fn in_record(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn in_arena(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 | IN_ARENA }
    }

    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.start == u32::MAX
    }

    #[inline(always)]
    pub(crate) fn is_in_arena(self) -> bool {
        self.end & IN_ARENA != 0
    }

    #[inline(always)]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    #[inline(always)]
    pub(crate) fn end(self) -> usize {
        (self.end & !IN_ARENA) as usize
    }

    #[inline(always)]
    pub(crate) fn of<'a>(self, record: &'a [u8], arena: &'a [u8]) -> &'a [u8] {
        let whole = if self.is_in_arena() { arena } else { record };
        &whole[self.start()..self.end()]
    }

    /// The same text without its first `n` bytes.
    pub(crate) fn skip(self, n: usize) -> Self {
        Self { start: self.start + n as u32, end: self.end }
    }
}

/// Appends the characters of a raw string with escapes (already validated).
pub(crate) fn decode(record: &[u8], raw: Raw, out: &mut Vec<u8>) {
    let (mut at, end) = (raw.start(), raw.end());
    while at < end {
        let rest = &record[at..end];
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        at += plain;
        if at >= end {
            break;
        }
        let simple = match record.get(at + 1) {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                at += decode_unicode(record, at, out);
                continue;
            }
            Some(other) => *other,
            None => break,
        };
        out.push(simple);
        at += 2;
    }
}

/// Appends the character of an escape of four hexadecimal digits (or of a pair) at `at`; gives the length of the escape.
fn decode_unicode(record: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let first = code_unit(record, at).unwrap_or(0);
    let (point, length) = if (0xd800..0xdc00).contains(&first) {
        let second = code_unit(record, at + 6).unwrap_or(0xdc00);
        (0x10000 + ((first & 0x3ff) << 10 | second & 0x3ff), 12)
    } else {
        (first, 6)
    };
    let character = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    length
}

/// How much a name weighs where several become one: a name that needs no renaming beats one that does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    #[default]
    Unseen,
    Renamed,
    Plain,
}

/// The platform spelling of a field name: one `xdm:` is removed, `@id` and `@type` become `_id` and `_type`.
#[inline(always)]
pub(crate) fn renamed(name: &[u8]) -> (&[u8], Rank) {
    match name.first() {
        Some(b'x') if name.len() > 4 && name.starts_with(b"xdm:") => (&name[4..], Rank::Renamed),
        Some(b'@') if name == b"@id" => (b"_id", Rank::Renamed),
        Some(b'@') if name == b"@type" => (b"_type", Rank::Renamed),
        _ => (name, Rank::Plain),
    }
}

/// Reads eight bytes, the ones past the end as zero.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << 32;
    }
    match bytes {
        [] => 0,
        [a] => u64::from(*a),
        [a, b] => u64::from(*a) | u64::from(*b) << 8,
        [a, b, c, ..] => u64::from(*a) | u64::from(*b) << 8 | u64::from(*c) << 16,
    }
}

/// Equality without a call, 16 bytes at a time: names and keys are short.
#[inline(always)]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(a_end), Some(b_end)) = (a.last_chunk::<16>(), b.last_chunk::<16>()) {
        return a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0).all(|(a, b)| a == b)
            && a_end == b_end;
    }
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_end), Some(b_end)) => a_end == b_end && word(a) == word(b),
        _ => word(a) == word(b),
    }
}

/// A cheap signature without branches on the length: the length, and three bytes. Equal names have equal signatures; unequal
/// ones mostly differ. Not safe against someone who chooses names to collide.
#[inline(always)]
pub(crate) fn signature(name: &[u8]) -> u32 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let middle = name[name.len() / 2];
    let length = name.len() as u32;
    u32::from(*first) | u32::from(*last) << 8 | u32::from(middle) << 16 | length << 24
}
