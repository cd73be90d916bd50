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

/// A string as it stands in the record, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) escaped: bool,
}

/// A place in the record, to come back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    at: usize,
    quote: usize,
    escape: usize,
}

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    record: &'a [u8],
    quotes: &'a [u32],
    escapes: &'a [u32],
    /// The next byte to look at.
    at: usize,
    /// The first entry of `quotes` that is not before `at`.
    quote: usize,
    /// The first entry of `escapes` that is not known to be before `at`.
    escape: usize,
    depth: u32,
    max_depth: u32,
}

/// Levels of nesting that `skip` can remember; `max_depth` is at most 1000.
const LEVELS: usize = 1024;

/// One bit a level: is the container at this level an object?
struct Levels {
    bits: [u64; LEVELS / 64],
    top: usize,
}

impl Levels {
    fn push(&mut self, object: bool) {
        self.top += 1;
        let (word, bit) = (self.top / 64 % (LEVELS / 64), self.top % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
    }

    #[inline(always)]
    fn in_object(&self) -> bool {
        self.bits[self.top / 64 % (LEVELS / 64)] >> (self.top % 64) & 1 == 1
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8], index: &'a Index, max_depth: u32) -> Self {
        debug_assert!((max_depth as usize) < LEVELS);
        Self {
            record,
            quotes: index.quotes(),
            escapes: index.escapes(),
            at: 0,
            quote: 0,
            escape: 0,
            depth: 0,
            max_depth,
        }
    }

    pub(crate) fn record(&self) -> &'a [u8] {
        self.record
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn place(&self) -> Place {
        Place { at: self.at, quote: self.quote, escape: self.escape }
    }

    /// Goes back to a place at the same depth.
    pub(crate) fn rewind(&mut self, place: Place) {
        self.at = place.at;
        self.quote = place.quote;
        self.escape = place.escape;
    }

    /// The next byte; 0, which no token starts with, at the end.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.record.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn space(&mut self) {
        if self.peek() <= b' ' {
            self.long_space();
        }
    }

    #[inline(never)]
    fn long_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// The end of the document: only white space may follow.
    pub(crate) fn end(&mut self) -> Read<()> {
        self.space();
        if self.at == self.record.len() { Ok(()) } else { Err(Broken::Json) }
    }

    /// Reads a string; the next byte must be its opening quote.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Read<Raw> {
        debug_assert_eq!(self.quotes.get(self.quote).map(|q| *q as usize), Some(self.at));
        let start = self.at + 1;
        let Some(end) = self.quotes.get(self.quote + 1) else { return Err(Broken::Json) };
        let end = *end as usize;
        self.quote += 2;
        self.at = end + 1;
        let escaped = !self.escapes.is_empty() && self.has_escape(start, end);
        Ok(Raw { start, end, escaped })
    }

    #[inline(never)]
    fn has_escape(&mut self, start: usize, end: usize) -> bool {
        while self.escapes.get(self.escape).is_some_and(|at| (*at as usize) < start) {
            self.escape += 1;
        }
        self.escapes.get(self.escape).is_some_and(|at| (*at as usize) < end)
    }

    #[inline(always)]
    fn skip_string(&mut self) -> Read<()> {
        let Some(end) = self.quotes.get(self.quote + 1) else { return Err(Broken::Json) };
        self.quote += 2;
        self.at = *end as usize + 1;
        Ok(())
    }

    #[inline(always)]
    fn colon(&mut self) -> Read<()> {
        self.space();
        if self.peek() != b':' {
            return Err(Broken::Json);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    #[inline(always)]
    fn key(&mut self) -> Read<Raw> {
        if self.peek() != b'"' {
            return Err(Broken::Json);
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline(always)]
    fn skip_key(&mut self) -> Read<()> {
        if self.peek() != b'"' {
            return Err(Broken::Json);
        }
        self.skip_string()?;
        self.colon()
    }

    /// Steps into the container whose opening bracket is the next byte.
    #[inline(always)]
    pub(crate) fn open(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(Broken::TooDeep);
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// After `open` of an object: its first key, with the value next; `None` if the object is empty and now closed.
    #[inline(always)]
    pub(crate) fn first_key(&mut self) -> Read<Option<Raw>> {
        self.space();
        if self.peek() == b'}' {
            self.close();
            return Ok(None);
        }
        self.key().map(Some)
    }

    /// After a member's value: the next key, with the value next; `None` if the object is now closed.
    #[inline(always)]
    pub(crate) fn next_key(&mut self) -> Read<Option<Raw>> {
        self.space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.space();
                self.key().map(Some)
            }
            b'}' => {
                self.close();
                Ok(None)
            }
            _ => Err(Broken::Json),
        }
    }

    /// After `open` of an array: whether there is a first element (it is next); if not, the array is closed.
    #[inline(always)]
    pub(crate) fn first_element(&mut self) -> Read<bool> {
        self.space();
        if self.peek() == b']' {
            self.close();
            return Ok(false);
        }
        Ok(true)
    }

    /// After an element: whether there is another (it is next); if not, the array is closed.
    #[inline(always)]
    pub(crate) fn next_element(&mut self) -> Read<bool> {
        self.space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            b']' => {
                self.close();
                Ok(false)
            }
            _ => Err(Broken::Json),
        }
    }

    /// Reads a number, `true`, `false` or `null`.
    #[inline(always)]
    pub(crate) fn scalar(&mut self) -> Read<()> {
        match self.peek() {
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    #[inline(always)]
    fn literal(&mut self, word: &[u8]) -> Read<()> {
        match self.record.get(self.at..self.at + word.len()) {
            Some(found) if found == word => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(Broken::Json),
        }
    }

    fn number(&mut self) -> Read<()> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if self.peek() | 0x20 == b'e' {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(Broken::Json) } else { Ok(()) }
    }

    /// Reads a value of any kind and forgets it.
    #[inline(always)]
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_container(),
            _ => self.scalar(),
        }
    }

    fn skip_container(&mut self) -> Read<()> {
        let mut levels = Levels { bits: [0; LEVELS / 64], top: 0 };
        let outside = self.depth;
        loop {
            // A value is next.
            let opened = match self.peek() {
                b'"' => {
                    self.skip_string()?;
                    false
                }
                b'{' => {
                    self.open()?;
                    levels.push(true);
                    self.space();
                    let empty = self.peek() == b'}';
                    if !empty {
                        self.skip_key()?;
                    }
                    !empty
                }
                b'[' => {
                    self.open()?;
                    levels.push(false);
                    self.space();
                    self.peek() != b']'
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if opened {
                continue;
            }
            // A value has ended, or a container is empty: go on, or close.
            loop {
                self.space();
                let byte = self.peek();
                if byte == b',' {
                    self.at += 1;
                    self.space();
                    if levels.in_object() {
                        self.skip_key()?;
                    }
                    break;
                }
                let closing = if levels.in_object() { b'}' } else { b']' };
                if byte != closing {
                    return Err(Broken::Json);
                }
                self.close();
                levels.top -= 1;
                if self.depth == outside {
                    return Ok(());
                }
            }
        }
    }
}

/// Appends the characters of a raw string with escapes (already validated).
pub(crate) fn decode(record: &[u8], raw: Raw, out: &mut Vec<u8>) {
    let mut at = raw.start;
    while at < raw.end {
        let rest = &record[at..raw.end];
        let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        at += plain;
        if at >= raw.end {
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

/// Appends the character of `\uXXXX` (or of a pair) at `at`; gives the length of the escape.
fn decode_unicode(record: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    use super::index::code_unit;
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
