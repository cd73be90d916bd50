//! Write: JSON text into one buffer that keeps its length, so that short copies are a few fixed-size moves.
//! In: slices and constants.  Out: the first `n` bytes of the buffer.
//! Never: escapes more than JSON needs (specification, 4.5).

/// Copies up to this many bytes with moves of fixed size, garbage after the end included.
const SHORT_BYTES: usize = 48;

/// An output buffer. Bytes past `len` are garbage.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
    len: usize,
}

impl Writer {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        if self.buffer.len() > most {
            self.buffer.truncate(most);
            self.buffer.shrink_to_fit();
        }
    }

    /// Makes sure that `more` bytes and one short copy fit.
    pub(crate) fn reserve(&mut self, more: usize) {
        let needed = self.len + more + SHORT_BYTES;
        if needed > self.buffer.len() {
            self.grow(needed);
        }
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        self.buffer.resize(needed.next_power_of_two().max(4096), 0);
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.buffer.len() {
            self.grow(end);
        }
        self.buffer[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Writes a constant.
    #[inline(always)]
    pub(crate) fn fixed<const N: usize>(&mut self, bytes: &[u8; N]) {
        match self.buffer.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            Some(slot) => {
                *slot = *bytes;
                self.len += N;
            }
            None => self.put(bytes),
        }
    }

    /// Writes `whole[start..start + len]`.
    #[inline(always)]
    pub(crate) fn part(&mut self, whole: &[u8], start: usize, len: usize) {
        if len <= SHORT_BYTES
            && let Some(from) = whole.get(start..).and_then(|rest| rest.first_chunk::<SHORT_BYTES>())
            && let Some(to) =
                self.buffer.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<SHORT_BYTES>())
        {
            *to = *from;
            self.len += len;
            return;
        }
        self.put(&whole[start..start + len]);
    }

    /// Takes back the last byte.
    pub(crate) fn unput(&mut self) {
        self.len -= 1;
    }

    /// Writes text that may need escapes, without quotes.
    pub(crate) fn escaped(&mut self, text: &[u8]) {
        escape_with(text, |piece| self.put(piece));
    }

    /// Turns what was written from `start` on into ASCII lower case.
    pub(crate) fn lower_since(&mut self, start: usize) {
        self.buffer[start..self.len].make_ascii_lowercase();
    }
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
