//! The JSON check: is this text one RFC 8259 value, and where does it end?
//! In: bytes and a position. Out: the position after the value, or where it breaks and what was expected.
//! Holds: one bit a level, on the stack. Never: allocates, recurses, looks at UTF-8 (the caller does).
//!
//! Lone surrogate escapes are refused, as in Vector; any number that the grammar allows passes.

/// Most levels of objects and arrays in one value. Chosen: above the deepest `max_depth` of `profile_export` (1000),
/// so that it is the transform that says what is too deep.
pub const JSON_LEVELS_MAX: usize = 1024;

/// Where a text stops being what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// Bytes before the fault.
    pub offset: usize,
    /// What was expected there, or what is wrong.
    pub reason: &'static str,
}

fn fault<T>(offset: usize, reason: &'static str) -> Result<T, JsonFault> {
    Err(JsonFault { offset, reason })
}

/// Whether JSON counts `byte` as white space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The first position from `at` on that is no white space.
#[inline]
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

/// Which of the open levels are objects.
struct Levels {
    objects: [u64; JSON_LEVELS_MAX / 64],
    open: usize,
}

impl Levels {
    fn open(&mut self, object: bool, at: usize) -> Result<(), JsonFault> {
        if self.open == JSON_LEVELS_MAX {
            return fault(at, "nested deeper than 1024 levels");
        }
        let (word, bit) = (self.open / 64, 1 << (self.open % 64));
        if object {
            self.objects[word] |= bit;
        } else {
            self.objects[word] &= !bit;
        }
        self.open += 1;
        Ok(())
    }

    /// Whether the innermost open level is an object; `None` when none is open.
    fn innermost(&self) -> Option<bool> {
        let last = self.open.checked_sub(1)?;
        Some(self.objects[last / 64] & (1 << (last % 64)) != 0)
    }
}

/// Checks the value that begins at `at` (no white space before it) and returns where it ends.
pub(super) fn check_value(text: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    let mut levels = Levels { objects: [0; JSON_LEVELS_MAX / 64], open: 0 };
    loop {
        match text.get(at) {
            Some(b'{') => {
                levels.open(true, at)?;
                at = skip_space(text, at + 1);
                if text.get(at) != Some(&b'}') {
                    at = key(text, at)?;
                    continue;
                }
                at += 1;
                levels.open -= 1;
            }
            Some(b'[') => {
                levels.open(false, at)?;
                at = skip_space(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
                at += 1;
                levels.open -= 1;
            }
            Some(b'"') => at = string(text, at + 1)?,
            Some(b'-' | b'0'..=b'9') => at = number(text, at)?,
            Some(b't') => at = word(text, at, b"true")?,
            Some(b'f') => at = word(text, at, b"false")?,
            Some(b'n') => at = word(text, at, b"null")?,
            _ => return fault(at, "expected a value"),
        }
        // After a value: the next one of its parent, or the ends of all parents that end here.
        loop {
            let Some(object) = levels.innermost() else { return Ok(at) };
            at = skip_space(text, at);
            match (text.get(at), object) {
                (Some(b','), true) => {
                    at = key(text, skip_space(text, at + 1))?;
                    break;
                }
                (Some(b','), false) => {
                    at = skip_space(text, at + 1);
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    at += 1;
                    levels.open -= 1;
                }
                (_, true) => return fault(at, "expected `,` or `}`"),
                (_, false) => return fault(at, "expected `,` or `]`"),
            }
        }
    }
}

/// A key and its colon; returns where the value begins.
fn key(text: &[u8], at: usize) -> Result<usize, JsonFault> {
    if text.get(at) != Some(&b'"') {
        return fault(at, "expected a key in quotes");
    }
    let at = skip_space(text, string(text, at + 1)?);
    if text.get(at) != Some(&b':') {
        return fault(at, "expected `:`");
    }
    Ok(skip_space(text, at + 1))
}

fn word(text: &[u8], at: usize, word: &'static [u8]) -> Result<usize, JsonFault> {
    if text[at..].starts_with(word) { Ok(at + word.len()) } else { fault(at, "expected a value") }
}

fn digits(text: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    if !text.get(at).is_some_and(u8::is_ascii_digit) {
        return fault(at, "expected a digit");
    }
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    Ok(at)
}

fn number(text: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    if text[at] == b'-' {
        at += 1;
    }
    // A zero stands alone; whatever follows it is then no part of the number.
    at = if text.get(at) == Some(&b'0') { at + 1 } else { digits(text, at)? };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(text.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(text, at)?;
    }
    Ok(at)
}

/// The rest of a string whose opening quote is before `at`; returns the position after the closing quote.
fn string(text: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    loop {
        at = plain(text, at);
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(text, at)?,
            Some(_) => return fault(at, "control character in a string"),
            None => return fault(at, "string without an end"),
        }
    }
}

/// Skips bytes that mean themselves in a string, eight at a time.
#[inline]
fn plain(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    // The lowest marked byte is right; marks above it may come from a borrow and are not looked at.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(eight) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let marks = control | zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at
}

/// One escape that begins at `at`; returns where it ends. A surrogate escape takes its other half with it.
fn escape(text: &[u8], at: usize) -> Result<usize, JsonFault> {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let end = at + 6;
            match code_unit(text, at)? {
                0xd800..=0xdbff if text[end..].starts_with(b"\\u") => match code_unit(text, end)? {
                    0xdc00..=0xdfff => Ok(end + 6),
                    _ => fault(at, "lone surrogate escape"),
                },
                0xd800..=0xdfff => fault(at, "lone surrogate escape"),
                _ => Ok(end),
            }
        }
        _ => fault(at, "unknown escape"),
    }
}

/// The value of the escape of four hexadecimal digits that begins at `at`.
fn code_unit(text: &[u8], at: usize) -> Result<u16, JsonFault> {
    let digits = text.get(at + 2..at + 6).and_then(|digits| {
        digits.iter().try_fold(0u16, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
    });
    digits.map_or_else(|| fault(at, "`\\u` needs four hex digits"), Ok)
}
