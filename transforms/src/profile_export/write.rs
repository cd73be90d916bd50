//! Write: JSON text at the end of a buffer, so that short copies are a few moves of fixed size.
//! In: slices and constants.  Out: the same, appended.
//! Never: escapes more than JSON needs (specification, 4.5).

/// Usual lengths of parts: of a status; of a key, a time or an id; and of a membership up to its status.
pub(crate) const TINY_BYTES: usize = 16;
pub(crate) const SHORT_BYTES: usize = 48;
pub(crate) const LONG_BYTES: usize = 112;

/// Appends `whole[start..end]`. Up to `N` bytes are copied with moves of fixed size; what comes too much is cut off again.
#[inline(always)]
pub(crate) fn part<const N: usize>(whole: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    let length = end - start;
    match whole.get(start..).and_then(|rest| rest.first_chunk::<N>()) {
        Some(from) if length <= N => {
            out.extend_from_slice(from);
            out.truncate(out.len() - (N - length));
        }
        _ => out.extend_from_slice(&whole[start..end]),
    }
}

/// Appends text with JSON's escapes, without quotes.
pub(crate) fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    let mut put = |piece: &[u8]| out.extend_from_slice(piece);
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        put(&rest[..at]);
        match rest[at] {
            0x08 => put(b"\\b"),
            0x0c => put(b"\\f"),
            b'\n' => put(b"\\n"),
            b'\r' => put(b"\\r"),
            b'\t' => put(b"\\t"),
            byte @ (b'"' | b'\\') => put(&[b'\\', byte]),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                put(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    put(rest);
}
