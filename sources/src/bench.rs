//! Bench: how sources find lines, for `benches/`. No part of the crate's interface.
//! In: bytes, as if they were read. Out: lines. Never: anything of its own; it calls what the sources call.

use bytes::Bytes;

use crate::LINE_BYTES_MAX_DEFAULT;
use crate::lines::{Delimiter, Line, LineBuffer, LineRules, READ_BYTES};

/// Hands every line of `input` to `each`.
pub fn lines(input: &[u8], mut each: impl FnMut(Bytes)) {
    let rules = LineRules { delimiter: Delimiter::byte(b'\n'), max_line_bytes: LINE_BYTES_MAX_DEFAULT };
    let mut buffer = LineBuffer::new(rules.clone(), 0);
    for piece in input.chunks(READ_BYTES) {
        buffer.space().extend_from_slice(piece);
        let Some(mut chunk) = buffer.take() else { continue };
        while let Some(line) = chunk.next_line(&rules) {
            if let Line::Record { bytes, .. } = line {
                each(bytes);
            }
        }
    }
}
