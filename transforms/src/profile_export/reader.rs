//! Reader: the grammar of JSON (RFC 8259), one token after the other.
//! In: a record.  Out: where values start and end, and whether a string had non-ASCII; `Broken` at the first byte that JSON forbids.
//! Never: recurses, allocates per value, looks inside a string (`strings.rs` does that).

use std::cell::Cell;

use super::strings::{odd_end, plain_end};

/// Why a document cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Json,
    TooDeep,
}

pub(crate) type Read<T> = Result<T, Broken>;

/// A string as it stands in the record, without its quotes. Two plain words: with a flag of its own the compiler would take it
/// apart byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    start: u32,
    /// Where it ends, and in the highest bit whether it has an escape.
    end: u32,
}

impl Raw {
    const ESCAPED: u32 = 1 << 31;
    /// In the place of a string: there is none. A string cannot start at 0.
    pub(crate) const NONE: Self = Self { start: 0, end: 0 };

    #[inline(always)]
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        Self { start: start as u32, end: end as u32 | if escaped { Self::ESCAPED } else { 0 } }
    }

    #[inline(always)]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    #[inline(always)]
    pub(crate) fn end(self) -> usize {
        (self.end & !Self::ESCAPED) as usize
    }

    #[inline(always)]
    pub(crate) fn is_escaped(self) -> bool {
        self.end & Self::ESCAPED != 0
    }

    /// This string, if there is one.
    #[inline(always)]
    pub(crate) fn found(self) -> Option<Self> {
        (self.start != 0).then_some(self)
    }
}

/// A record that is being read. Where the reading is at says a [`Cursor`].
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    record: &'a [u8],
    max_depth: u32,
    /// No string so far had anything else.
    ascii: Cell<bool>,
}

/// Where the reading is at. Two words that go by value, so that they live in registers: behind a reference every step would
/// wait for the memory of the step before. From one function to the next goes the place alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next byte to look at.
    at: usize,
    /// The byte at `at`; 0, which no token starts with, at the end.
    byte: u8,
}

impl Cursor {
    #[inline(always)]
    pub(crate) fn at(self) -> usize {
        self.at
    }

    /// The next byte.
    #[inline(always)]
    pub(crate) fn peek(self) -> u8 {
        self.byte
    }
}

/// Levels of nesting that `skip` can remember; `max_depth` is at most 1000.
const LEVELS: usize = 1024;

/// One bit a level: is the container around this level an object?
struct Levels {
    bits: [u64; LEVELS / 64],
    top: usize,
}

impl Levels {
    #[inline(always)]
    fn push(&mut self, object: bool) {
        self.top += 1;
        let (word, bit) = (self.top / 64 % (LEVELS / 64), self.top % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
    }

    #[inline(always)]
    fn pop(&mut self) -> bool {
        let object = self.bits[self.top / 64 % (LEVELS / 64)] >> (self.top % 64) & 1 == 1;
        self.top -= 1;
        object
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8], max_depth: u32) -> Self {
        debug_assert!((max_depth as usize) < LEVELS);
        Self { record, max_depth, ascii: Cell::new(true) }
    }

    #[inline(always)]
    pub(crate) fn record(&self) -> &'a [u8] {
        self.record
    }

    /// Whether all strings that were read are ASCII.
    pub(crate) fn is_ascii(&self) -> bool {
        self.ascii.get()
    }

    /// The string that starts at `start`, after its opening quote.
    #[inline(always)]
    pub(crate) fn string_from(&self, start: usize) -> Option<Raw> {
        match plain_end(self.record, start) {
            Ok(end) => Some(Raw::new(start, end, false)),
            Err(odd) => self.odd_string(start, odd).found(),
        }
    }

    /// `NONE` if JSON forbids it; so that it fits into a register.
    #[inline(never)]
    fn odd_string(&self, start: usize, odd: usize) -> Raw {
        let Some(end) = odd_end(self.record, odd) else { return Raw::NONE };
        self.ascii.set(self.ascii.get() & end.ascii);
        Raw::new(start, end.at, end.escaped)
    }

    /// The first token at or after a place.
    #[inline(always)]
    pub(crate) fn token_from(&self, at: usize) -> usize {
        space_end(self.record, at)
    }

    /// Whether the string that ends here is a key.
    pub(crate) fn is_key_end(&self, quote: usize) -> bool {
        self.byte(space_end(self.record, quote + 1)) == b':'
    }

    /// If an object with a key is next, at a depth that is allowed, the place of the key. Only `quick_` functions may follow,
    /// until `quick_close` tells that the object is closed.
    #[inline(always)]
    pub(crate) fn quick_open(&self, cursor: Cursor, depth: u32) -> Option<Cursor> {
        let open = depth <= self.max_depth && self.next_is(cursor, b"{\"");
        open.then_some(Cursor { at: cursor.at + 1, ..cursor })
    }

    #[inline(always)]
    fn next_is<const N: usize>(&self, cursor: Cursor, bytes: &[u8; N]) -> bool {
        self.record.get(cursor.at..).and_then(|rest| rest.first_chunk()) == Some(bytes)
    }

    /// If a key is next, the place after its opening quote.
    #[inline(always)]
    pub(crate) fn quick_key(&self, cursor: Cursor) -> Option<Cursor> {
        (cursor.byte == b'"').then_some(Cursor { at: cursor.at + 1, ..cursor })
    }

    /// Goes past this text, if it is next. It is given as it is written without and with spaces after colons and commas.
    #[inline(always)]
    pub(crate) fn quick_pass<const N: usize, const S: usize>(
        &self,
        cursor: &mut Cursor,
        tight: &[u8; N],
        spaced: &[u8; S],
    ) -> Option<()> {
        if self.next_is(*cursor, tight) {
            cursor.at += N;
        } else if self.next_is(*cursor, spaced) {
            cursor.at += S;
        } else {
            return None;
        }
        Some(())
    }

    /// The string without escapes whose opening quote was just passed. Goes to its closing quote.
    #[inline(always)]
    pub(crate) fn quick_string(&self, cursor: &mut Cursor) -> Option<Raw> {
        let raw = self.string_from(cursor.at).filter(|raw| !raw.is_escaped())?;
        cursor.at = raw.end();
        Some(raw)
    }

    /// If a member with this name and a string is next, its value, and the cursor goes to after it. The name is given as it is
    /// written before the value, without and with a space after the colon. Everything that makes this a member has been
    /// checked then; if it is not one, the cursor stays.
    #[inline(always)]
    pub(crate) fn quick_text<const N: usize, const S: usize>(
        &self,
        cursor: &mut Cursor,
        tight: &[u8; N],
        spaced: &[u8; S],
    ) -> Option<Raw> {
        let mut after = *cursor;
        self.quick_pass(&mut after, tight, spaced)?;
        let value = self.quick_string(&mut after)?;
        *cursor = Cursor { at: after.at + 1, ..after };
        Some(value)
    }

    /// Like `quick_text` for a member with `true` or `false`.
    #[inline(always)]
    pub(crate) fn quick_flag<const N: usize, const S: usize>(
        &self,
        cursor: &mut Cursor,
        tight: &[u8; N],
        spaced: &[u8; S],
    ) -> Option<bool> {
        let mut after = *cursor;
        self.quick_pass(&mut after, tight, spaced)?;
        let (flag, length) = match self.record.get(after.at..)? {
            [b't', b'r', b'u', b'e', ..] => (true, 4),
            [b'f', b'a', b'l', b's', b'e', ..] => (false, 5),
            _ => return None,
        };
        *cursor = Cursor { at: after.at + length, ..after };
        Some(flag)
    }

    /// If `}` is next, goes past it; if `,"` or `, "`, to the key. Which of both, or `None`.
    #[inline(always)]
    pub(crate) fn quick_close(&self, cursor: &mut Cursor) -> Option<bool> {
        match self.record.get(cursor.at..cursor.at + 2)? {
            b",\"" => {
                cursor.at += 1;
                Some(false)
            }
            b", " if self.byte(cursor.at + 2) == b'"' => {
                cursor.at += 2;
                Some(false)
            }
            [b'}', byte] => {
                *cursor = Cursor { at: cursor.at + 1, byte: *byte };
                Some(true)
            }
            _ => None,
        }
    }

    /// The byte at `at`; 0 after the end.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.record.get(at).copied().unwrap_or(0)
    }

    /// The cursor at a place.
    #[inline(always)]
    pub(crate) fn cursor(&self, at: usize) -> Cursor {
        Cursor { at, byte: self.byte(at) }
    }

    /// A cursor at the first token.
    pub(crate) fn start(&self) -> Cursor {
        let mut cursor = self.cursor(0);
        self.space(&mut cursor);
        cursor
    }

    #[inline(always)]
    fn go(&self, cursor: &mut Cursor, at: usize) {
        cursor.at = at;
        cursor.byte = self.byte(at);
    }

    /// Goes to the next token, from `at` on.
    #[inline(always)]
    fn go_to_token(&self, cursor: &mut Cursor, at: usize) {
        self.go(cursor, at);
        if cursor.byte <= b' ' {
            // One space is the usual style of those who write any.
            if cursor.byte == b' ' {
                self.go(cursor, at + 1);
            }
            self.space(cursor);
        }
    }

    #[inline(always)]
    fn space(&self, cursor: &mut Cursor) {
        if cursor.byte <= b' ' {
            self.go(cursor, space_end(self.record, cursor.at));
        }
    }

    /// The end of the document: only white space may follow.
    pub(crate) fn end(&self, mut cursor: Cursor) -> Read<()> {
        self.space(&mut cursor);
        if cursor.at == self.record.len() { Ok(()) } else { Err(Broken::Json) }
    }

    /// Reads a string; the next byte must be its opening quote.
    #[inline(always)]
    pub(crate) fn string(&self, cursor: &mut Cursor) -> Read<Raw> {
        let Some(raw) = self.string_from(cursor.at + 1) else { return Err(Broken::Json) };
        self.go(cursor, raw.end() + 1);
        Ok(raw)
    }

    /// Reads a key and the colon after it; the value is next.
    #[inline(always)]
    pub(crate) fn key(&self, cursor: &mut Cursor) -> Read<Raw> {
        if cursor.byte != b'"' {
            return Err(Broken::Json);
        }
        let Some(raw) = self.string_from(cursor.at + 1) else { return Err(Broken::Json) };
        let end = raw.end();
        match self.record.get(end + 1..end + 3) {
            Some([b':', byte]) if *byte > b' ' => (cursor.at, cursor.byte) = (end + 2, *byte),
            _ => *cursor = self.cursor(self.after_colon(end + 1)?),
        }
        Ok(raw)
    }

    /// The value after a colon with white space around it.
    #[inline(never)]
    fn after_colon(&self, at: usize) -> Read<usize> {
        let mut cursor = self.cursor(at);
        self.space(&mut cursor);
        if cursor.byte != b':' {
            return Err(Broken::Json);
        }
        let at = cursor.at + 1;
        self.go_to_token(&mut cursor, at);
        Ok(cursor.at)
    }

    /// Steps into the container whose opening bracket is the next byte and which lies at this depth.
    #[inline(always)]
    pub(crate) fn open(&self, cursor: &mut Cursor, depth: u32) -> Read<()> {
        if depth > self.max_depth {
            return Err(Broken::TooDeep);
        }
        self.go_to_token(cursor, cursor.at + 1);
        Ok(())
    }

    /// After `open` of an object: its first key, with the value next; `NONE` if the object is empty and now closed.
    #[inline(always)]
    pub(crate) fn first_key(&self, cursor: &mut Cursor) -> Read<Raw> {
        if self.first_member(cursor) { self.key(cursor) } else { Ok(Raw::NONE) }
    }

    /// After a member's value: the next key, with the value next; `NONE` if the object is now closed.
    #[inline(always)]
    pub(crate) fn next_key(&self, cursor: &mut Cursor) -> Read<Raw> {
        if self.next_member(cursor)? { self.key(cursor) } else { Ok(Raw::NONE) }
    }

    /// After `open` of an object: whether there is a first member (its key is next); if not, the object is closed.
    #[inline(always)]
    pub(crate) fn first_member(&self, cursor: &mut Cursor) -> bool {
        self.first(cursor, b'}')
    }

    /// After a member: whether there is another (its key is next); if not, the object is closed.
    #[inline(always)]
    pub(crate) fn next_member(&self, cursor: &mut Cursor) -> Read<bool> {
        self.next(cursor, b'}')
    }

    /// Like `first_member` for the elements of an array.
    #[inline(always)]
    pub(crate) fn first_element(&self, cursor: &mut Cursor) -> bool {
        self.first(cursor, b']')
    }

    /// Like `next_member` for the elements of an array.
    #[inline(always)]
    pub(crate) fn next_element(&self, cursor: &mut Cursor) -> Read<bool> {
        self.next(cursor, b']')
    }

    #[inline(always)]
    fn first(&self, cursor: &mut Cursor, bracket: u8) -> bool {
        let closed = cursor.byte == bracket;
        if closed {
            self.go(cursor, cursor.at + 1);
        }
        !closed
    }

    #[inline(always)]
    fn next(&self, cursor: &mut Cursor, bracket: u8) -> Read<bool> {
        self.space(cursor);
        if cursor.byte == b',' {
            self.go_to_token(cursor, cursor.at + 1);
            Ok(true)
        } else if cursor.byte == bracket {
            self.go(cursor, cursor.at + 1);
            Ok(false)
        } else {
            Err(Broken::Json)
        }
    }

    /// Reads a number, `true`, `false` or `null`.
    #[inline(always)]
    pub(crate) fn scalar(&self, cursor: &mut Cursor) -> Read<()> {
        let Some(end) = scalar_end(self.record, cursor.at) else { return Err(Broken::Json) };
        self.go(cursor, end);
        Ok(())
    }

    /// Reads a value of any kind and forgets it. `depth` is that of the container around it.
    #[inline(always)]
    pub(crate) fn skip(&self, cursor: &mut Cursor, depth: u32) -> Read<()> {
        if cursor.byte == b'"' {
            self.string(cursor)?;
        } else {
            let after = self.after_other(cursor.at, depth)?;
            *cursor = self.cursor(after);
        }
        Ok(())
    }

    /// The place after the value, not a string, that is next.
    #[inline(never)]
    fn after_other(&self, at: usize, depth: u32) -> Read<usize> {
        let mut cursor = self.cursor(at);
        if matches!(cursor.byte, b'{' | b'[') {
            cursor = self.after_container(cursor, depth)?;
        } else {
            self.scalar(&mut cursor)?;
        }
        Ok(cursor.at)
    }

    /// The place after the container that is next.
    #[inline(always)]
    fn after_container(&self, mut cursor: Cursor, depth: u32) -> Read<Cursor> {
        let mut around = Levels { bits: [0; LEVELS / 64], top: 0 };
        // Of the innermost container.
        let mut object = false;
        loop {
            // A value is next.
            match cursor.byte {
                b'"' => _ = self.string(&mut cursor)?,
                bracket @ (b'{' | b'[') => {
                    around.push(object);
                    object = bracket == b'{';
                    self.open(&mut cursor, depth + around.top as u32)?;
                    if cursor.byte != bracket + 2 {
                        if object {
                            self.key(&mut cursor)?;
                        }
                        continue;
                    }
                }
                _ => self.scalar(&mut cursor)?,
            }
            // A value has ended, or a container is empty: go on, or close.
            loop {
                self.space(&mut cursor);
                let next = cursor.at + 1;
                if cursor.byte == b',' {
                    self.go_to_token(&mut cursor, next);
                    if object {
                        self.key(&mut cursor)?;
                    }
                    break;
                }
                if cursor.byte != if object { b'}' } else { b']' } {
                    return Err(Broken::Json);
                }
                self.go(&mut cursor, next);
                object = around.pop();
                if around.top == 0 {
                    return Ok(cursor);
                }
            }
        }
    }
}

/// The first byte from `at` on that is not white space.
#[inline(never)]
fn space_end(record: &[u8], mut at: usize) -> usize {
    while matches!(record.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of the number, `true`, `false` or `null` at `at`.
#[inline(never)]
fn scalar_end(record: &[u8], at: usize) -> Option<usize> {
    let rest = record.get(at..)?;
    let word: &[u8] = match rest.first()? {
        b't' => b"true",
        b'f' => b"false",
        b'n' => b"null",
        _ => return number_end(record, at),
    };
    rest.starts_with(word).then_some(at + word.len())
}

/// The end of the number at `at`.
pub(crate) fn number_end(record: &[u8], at: usize) -> Option<usize> {
    let byte = |at: usize| record.get(at).copied().unwrap_or(0);
    let digits = |from: usize| {
        let mut at = from;
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        (at > from).then_some(at)
    };
    let mut at = at + usize::from(byte(at) == b'-');
    at = if byte(at) == b'0' { at + 1 } else { digits(at)? };
    if byte(at) == b'.' {
        at = digits(at + 1)?;
    }
    if byte(at) | 0x20 == b'e' {
        let sign = matches!(byte(at + 1), b'+' | b'-');
        at = digits(at + 1 + usize::from(sign))?;
    }
    Some(at)
}
