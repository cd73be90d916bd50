//! Reader: the grammar of JSON (RFC 8259) between the strings, one token after the other.
//! In: a record and its `index.rs`.  Out: where values start and end; `Broken` at the first byte that JSON forbids.
//! Never: recurses, allocates per value, looks inside a string (the index has done that).

use super::index::Index;

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
    /// In the place of a key: there is none. A string cannot start at 0.
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

    /// This key, if there is one.
    #[inline(always)]
    pub(crate) fn found(self) -> Option<Self> {
        (self.start != 0).then_some(self)
    }
}

/// A record that is being read. Does not change; where the reading is at says a [`Cursor`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    record: &'a [u8],
    /// Where strings end, in order.
    ends: &'a [u32],
    escapes: &'a [u32],
    max_depth: u32,
    /// The first key has a space after its colon: a hint at the style of the whole record.
    spaced: bool,
}

/// Where the reading is at. A few words that go by value, so that they live in registers: behind a reference every step would
/// wait for the memory of the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next byte to look at.
    at: usize,
    /// How many strings have been passed: the next one ends at this entry of `ends`.
    string: usize,
    /// The byte at `at`; 0, which no token starts with, at the end.
    byte: u8,
}

/// A cursor on the way from one function to the next: two words fit into registers there, three do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: usize,
    pub(crate) string: usize,
}

impl Cursor {
    #[inline(always)]
    pub(crate) fn mark(self) -> Mark {
        Mark { at: self.at, string: self.string }
    }

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
    pub(crate) fn new(record: &'a [u8], index: &'a Index, max_depth: u32) -> Self {
        debug_assert!((max_depth as usize) < LEVELS);
        let ends = index.ends();
        let after_first = ends.first().and_then(|end| record.get(*end as usize + 2));
        Self { record, ends, escapes: index.escapes(), max_depth, spaced: after_first == Some(&b' ') }
    }

    #[inline(always)]
    pub(crate) fn record(&self) -> &'a [u8] {
        self.record
    }

    /// The closing quote of the string that the mark is in or before.
    #[inline(always)]
    pub(crate) fn string_from(&self, mark: Mark) -> Option<Mark> {
        let end = *self.ends.get(mark.string)?;
        Some(Mark { at: end as usize, string: mark.string + 1 })
    }

    /// The first token at or after a mark.
    #[inline(always)]
    pub(crate) fn token_from(&self, mark: Mark) -> Mark {
        Mark { at: space_end(self.record, mark.at), ..mark }
    }

    /// Whether the string that ends here is a key.
    pub(crate) fn is_key_end(&self, quote: usize) -> bool {
        self.byte(space_end(self.record, quote + 1)) == b':'
    }

    /// Whether there is an escape between two places.
    #[inline(always)]
    pub(crate) fn has_escape(&self, start: usize, end: usize) -> bool {
        !self.escapes.is_empty() && has_escape(self.escapes, start, end)
    }

    /// Whether no string of the record has an escape.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.escapes.is_empty()
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
        } else if self.spaced && self.next_is(*cursor, spaced) {
            cursor.at += S;
        } else {
            return None;
        }
        Some(())
    }

    /// For records without escapes: the string whose opening quote, after so many keys, was just passed. Goes to its
    /// closing quote.
    #[inline(always)]
    pub(crate) fn quick_string(&self, cursor: &mut Cursor, keys: usize) -> Option<Raw> {
        let (start, end) = (cursor.at, *self.ends.get(cursor.string + keys)? as usize);
        cursor.string += keys + 1;
        cursor.at = end;
        Some(Raw::new(start, end, false))
    }

    /// If a member with this name and a string is next, its value, and the cursor goes to after it. The name is given as it is
    /// written before the value, without and with a space after the colon. Everything that makes this a member has been
    /// checked then.
    #[inline(always)]
    pub(crate) fn quick_text<const N: usize, const S: usize>(
        &self,
        cursor: &mut Cursor,
        tight: &[u8; N],
        spaced: &[u8; S],
    ) -> Option<Raw> {
        self.quick_pass(cursor, tight, spaced)?;
        let value = self.quick_string(cursor, 1);
        cursor.at += 1;
        value
    }

    /// Like `quick_text` for a member with `true` or `false`.
    #[inline(always)]
    pub(crate) fn quick_flag<const N: usize, const S: usize>(
        &self,
        cursor: &mut Cursor,
        tight: &[u8; N],
        spaced: &[u8; S],
    ) -> Option<bool> {
        self.quick_pass(cursor, tight, spaced)?;
        let (flag, length) = match self.record.get(cursor.at..)? {
            [b't', b'r', b'u', b'e', ..] => (true, 4),
            [b'f', b'a', b'l', b's', b'e', ..] => (false, 5),
            _ => return None,
        };
        cursor.string += 1;
        cursor.at += length;
        Some(flag)
    }

    /// If a closing quote and `}` are next, the place after them.
    #[inline(always)]
    pub(crate) fn quick_end(&self, mut cursor: Cursor) -> Option<Cursor> {
        let closed = self.next_is(cursor, b"\"}");
        let at = cursor.at + 2;
        self.go(&mut cursor, at);
        closed.then_some(cursor)
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
                *cursor = Cursor { at: cursor.at + 1, byte: *byte, ..*cursor };
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

    /// The cursor at a mark.
    #[inline(always)]
    pub(crate) fn cursor(&self, mark: Mark) -> Cursor {
        Cursor { at: mark.at, string: mark.string, byte: self.byte(mark.at) }
    }

    /// A cursor at the first token.
    pub(crate) fn start(&self) -> Cursor {
        let mut cursor = Cursor { at: 0, string: 0, byte: self.byte(0) };
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

    /// The end of the string whose opening quote is the next byte.
    #[inline(always)]
    fn string_end(&self, cursor: &mut Cursor) -> Read<usize> {
        let Some(end) = self.ends.get(cursor.string) else { return Err(Broken::Json) };
        cursor.string += 1;
        Ok(*end as usize)
    }

    #[inline(always)]
    fn raw(&self, start: usize, end: usize) -> Raw {
        Raw::new(start, end, self.has_escape(start, end))
    }

    /// Reads a string; the next byte must be its opening quote.
    #[inline(always)]
    pub(crate) fn string(&self, cursor: &mut Cursor) -> Read<Raw> {
        let start = cursor.at + 1;
        let end = self.string_end(cursor)?;
        self.go(cursor, end + 1);
        Ok(self.raw(start, end))
    }

    /// Reads a key and the colon after it; the value is next.
    #[inline(always)]
    pub(crate) fn key(&self, cursor: &mut Cursor) -> Read<Raw> {
        let start = cursor.at + 1;
        let end = self.skip_key(cursor)?;
        Ok(self.raw(start, end))
    }

    /// Like `key`, but gives only the end of the key.
    #[inline(always)]
    fn skip_key(&self, cursor: &mut Cursor) -> Read<usize> {
        if cursor.byte != b'"' {
            return Err(Broken::Json);
        }
        let end = self.string_end(cursor)?;
        match self.record.get(end + 1..end + 3) {
            Some([b':', byte]) if *byte > b' ' => (cursor.at, cursor.byte) = (end + 2, *byte),
            _ => {
                let after = self.after_colon(Mark { at: end + 1, ..cursor.mark() })?;
                *cursor = self.cursor(after);
            }
        }
        Ok(end)
    }

    /// The value after a colon with white space around it.
    #[inline(never)]
    fn after_colon(&self, mark: Mark) -> Read<Mark> {
        let mut cursor = self.cursor(mark);
        self.go_to_token(&mut cursor, mark.at);
        if cursor.byte != b':' {
            return Err(Broken::Json);
        }
        let at = cursor.at + 1;
        self.go_to_token(&mut cursor, at);
        Ok(cursor.mark())
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
            let end = self.string_end(cursor)?;
            self.go(cursor, end + 1);
        } else {
            let after = self.after_other(cursor.mark(), depth)?;
            *cursor = self.cursor(after);
        }
        Ok(())
    }

    /// The place after the value, not a string, that is next.
    #[inline(never)]
    fn after_other(&self, mark: Mark, depth: u32) -> Read<Mark> {
        let mut cursor = self.cursor(mark);
        if matches!(cursor.byte, b'{' | b'[') {
            cursor = self.after_container(cursor, depth)?;
        } else {
            self.scalar(&mut cursor)?;
        }
        Ok(cursor.mark())
    }

    /// The place after the container that is next.
    #[inline(always)]
    fn after_container(&self, mut cursor: Cursor, depth: u32) -> Read<Cursor> {
        let reader = *self;
        let mut around = Levels { bits: [0; LEVELS / 64], top: 0 };
        // Of the innermost container.
        let mut object = false;
        loop {
            // A value is next.
            match cursor.byte {
                b'"' => {
                    let end = reader.string_end(&mut cursor)?;
                    reader.go(&mut cursor, end + 1);
                }
                bracket @ (b'{' | b'[') => {
                    around.push(object);
                    object = bracket == b'{';
                    reader.open(&mut cursor, depth + around.top as u32)?;
                    if cursor.byte != bracket + 2 {
                        if object {
                            reader.skip_key(&mut cursor)?;
                        }
                        continue;
                    }
                }
                _ => reader.scalar(&mut cursor)?,
            }
            // A value has ended, or a container is empty: go on, or close.
            loop {
                reader.space(&mut cursor);
                let next = cursor.at + 1;
                if cursor.byte == b',' {
                    reader.go_to_token(&mut cursor, next);
                    if object {
                        reader.skip_key(&mut cursor)?;
                    }
                    break;
                }
                if cursor.byte != if object { b'}' } else { b']' } {
                    return Err(Broken::Json);
                }
                reader.go(&mut cursor, next);
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

#[inline(never)]
fn has_escape(escapes: &[u32], start: usize, end: usize) -> bool {
    let next = escapes.partition_point(|at| (*at as usize) < start);
    escapes.get(next).is_some_and(|at| (*at as usize) < end)
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
