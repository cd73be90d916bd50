//! Strings: where a string ends and what is in it, 16 bytes at a time.
//! In: a record and the place after an opening quote.  Out: the place of the closing quote, and whether there are escapes or non-ASCII;
//! or nothing, if JSON forbids what is there.
//! Never: branches on single bytes of ordinary text; checks UTF-8 (`mapper.rs` does, if there is non-ASCII).

use wide::{i8x16, u8x16};

/// Where a string ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The place of the closing quote.
    pub(crate) at: usize,
    pub(crate) escaped: bool,
    pub(crate) ascii: bool,
}

/// The end of a usual string: without escapes, all ASCII, and not among the last 16 bytes of the record. Of another one, a place up to
/// which it is like that.
#[inline(always)]
pub(crate) fn plain_end(record: &[u8], start: usize) -> Result<usize, usize> {
    let rest = record.get(start..).unwrap_or_default();
    let mut at = start;
    for sixteen in rest.as_chunks::<16>().0 {
        let found = not_plain(sixteen).to_bitmask();
        if found != 0 {
            let odd = found.trailing_zeros() as usize;
            at += odd;
            return if sixteen[odd % 16] == b'"' { Ok(at) } else { Err(at) };
        }
        at += 16;
    }
    Err(at)
}

/// All bits of each byte that ends a string, or is odd in one.
#[inline(always)]
pub(crate) fn not_plain(sixteen: &[u8; 16]) -> i8x16 {
    // Signed: less than a space are control characters, and all that is not ASCII.
    let signed = i8x16::new(sixteen.map(|byte| byte as i8));
    let is = |byte: u8| signed.simd_eq(i8x16::splat(byte as i8));
    signed.simd_lt(i8x16::splat(b' ' as i8)) | is(b'"') | is(b'\\')
}

/// The end of any string, from a place inside it on.
#[inline(never)]
pub(crate) fn odd_end(record: &[u8], mut at: usize) -> Option<End> {
    let (mut escaped, mut ascii) = (false, true);
    loop {
        while let Some(sixteen) = record.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            let bytes = u8x16::new(*sixteen);
            ascii &= bytes.to_bitmask() == 0;
            let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
            let found = control | bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
            let found = found.to_bitmask();
            if found != 0 {
                at += found.trailing_zeros() as usize;
                break;
            }
            at += 16;
        }
        match record.get(at)? {
            b'"' => return Some(End { at, escaped, ascii }),
            b'\\' => {
                escaped = true;
                at += escape_length(record, at)?;
            }
            ..0x20 => return None,
            byte => {
                ascii &= byte.is_ascii();
                at += 1;
            }
        }
    }
}

/// The length of the escape at `at`, if it is one of JSON's and no half of a surrogate pair.
fn escape_length(record: &[u8], at: usize) -> Option<usize> {
    match record.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match code_unit(record, at)? {
            0xdc00..=0xdfff => None,
            0xd800..=0xdbff => {
                let pair = record.get(at + 6..at + 8) == Some(b"\\u");
                let low = pair && matches!(code_unit(record, at + 6), Some(0xdc00..=0xdfff));
                low.then_some(12)
            }
            _ => Some(6),
        },
        _ => None,
    }
}

/// The number that is written in the four hexadecimal digits of the escape at `at`.
pub(crate) fn code_unit(record: &[u8], at: usize) -> Option<u32> {
    let digits = record.get(at + 2..at + 6)?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One byte after the other.
    fn slowly(record: &[u8]) -> Option<End> {
        let (mut at, mut escaped) = (0, false);
        loop {
            at += match record.get(at)? {
                b'"' => return Some(End { at, escaped, ascii: record[..at].is_ascii() }),
                b'\\' => escape_length(record, at)?,
                ..0x20 => return None,
                _ => 1,
            };
            escaped |= record[..at].contains(&b'\\');
        }
    }

    proptest! {
        #[test]
        fn a_strings_end_is_found_whatever_is_in_it(
            parts in prop::collection::vec(r#"[a-z "]{0,20}|é|ü{20}|\\[nu"\\x]|\\u00e9|\\ud83d\\ude00|\n"#, 0..8),
        ) {
            let record = parts.concat().into_bytes();
            let slow = slowly(&record);
            match plain_end(&record, 0) {
                Ok(at) => prop_assert_eq!(slow, Some(End { at, escaped: false, ascii: true })),
                Err(odd) => {
                    let usual = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(byte);
                    prop_assert!(record[..odd].iter().all(usual));
                    let found = odd_end(&record, odd);
                    prop_assert_eq!(found.map(|end| (end.at, end.escaped)), slow.map(|end| (end.at, end.escaped)));
                    // What comes right after the string may be taken for a part of it.
                    let missed = found.is_some_and(|end| end.ascii) && slow.is_some_and(|end| !end.ascii);
                    prop_assert!(!missed);
                }
            }
        }
    }
}
