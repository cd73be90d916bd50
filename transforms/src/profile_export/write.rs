//! Write: JSON text into a buffer of fixed length, so that short copies are a few moves of fixed size and what is left of it stays in
//! registers.
//! In: slices and constants.  Out: how much was written, or that it did not fit; then the caller tries again with more room.
//! Never: escapes more than JSON needs (specification, 4.5).

/// Usual lengths of parts: of a key, a time or an id; and of a membership up to its status.
pub(crate) const SHORT_BYTES: usize = 48;
pub(crate) const LONG_BYTES: usize = 112;

/// The unwritten rest of a buffer. Once something has not fitted, it is empty.
pub(crate) struct Writer<'b> {
    rest: &'b mut [u8],
    full: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        Self { rest: buffer, full: false }
    }

    /// How many bytes of the buffer are left, unless something did not fit.
    pub(crate) fn finish(self) -> Option<usize> {
        (!self.full).then_some(self.rest.len())
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            Some((slot, rest)) => {
                slot.copy_from_slice(bytes);
                self.rest = rest;
            }
            None => self.full = true,
        }
    }

    /// Writes a constant.
    #[inline(always)]
    pub(crate) fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        match std::mem::take(&mut self.rest).split_first_chunk_mut::<N>() {
            Some((slot, rest)) => {
                *slot = *bytes;
                self.rest = rest;
            }
            None => self.full = true,
        }
    }

    /// Writes `whole[start..end]`. Up to `N` bytes are copied with moves of fixed size, garbage after the end included.
    #[inline(always)]
    pub(crate) fn part<const N: usize>(&mut self, whole: &[u8], start: usize, end: usize) {
        let from = whole.get(start..).and_then(|rest| rest.first_chunk::<N>());
        if let Some(from) = from
            && let Some(to) = self.rest.first_chunk_mut::<N>()
            && end - start <= N
        {
            *to = *from;
            self.rest = &mut std::mem::take(&mut self.rest)[end - start..];
        } else {
            self.put(&whole[start..end]);
        }
    }

    /// Writes text that may need escapes, without quotes.
    #[inline(always)]
    pub(crate) fn escaped(&mut self, text: &[u8]) {
        match escape_into_slice(text, self.rest) {
            Some(written) => self.rest = &mut std::mem::take(&mut self.rest)[written..],
            None => {
                self.rest = &mut [];
                self.full = true;
            }
        }
    }
}

/// Writes text with escapes; gives its length, if it fits.
#[inline(never)]
fn escape_into_slice(text: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let (mut at, mut fits) = (0, true);
    escape_with(text, |piece| match buffer.get_mut(at..at + piece.len()) {
        Some(slot) => {
            slot.copy_from_slice(piece);
            at += piece.len();
        }
        None => fits = false,
    });
    fits.then_some(at)
}

/// Appends text with JSON's escapes, without quotes.
pub(crate) fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    escape_with(text, |piece| out.extend_from_slice(piece));
}

fn escape_with(text: &[u8], mut put: impl FnMut(&[u8])) {
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
