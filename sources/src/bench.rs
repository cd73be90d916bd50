//! Bench: how sources find lines, for `benches/`. No part of the crate's interface.
//! In: bytes, as if they were read. Out: lines. Never: anything of its own; it calls what the sources call.

use bytes::Bytes;

use crate::LINE_BYTES_MAX_DEFAULT;
use crate::lines::{Delimiter, Line, LineBuffer, LineRules, READ_BYTES, ReadBuffers};

/// Finds lines in a stream.
pub struct Lines {
    rules: LineRules,
    buffer: LineBuffer,
    buffers: ReadBuffers,
}

impl Default for Lines {
    fn default() -> Self {
        let rules = LineRules { delimiter: Delimiter::byte(b'\n'), max_line_bytes: LINE_BYTES_MAX_DEFAULT };
        Self { buffer: LineBuffer::new(rules.clone(), 0), buffers: ReadBuffers::default(), rules }
    }
}

impl Lines {
    /// `input` comes next; every line that is whole now goes to `each`, and after each read `end` is called.
    pub fn read<T>(&mut self, input: &[u8], to: &mut T, each: impl Fn(&mut T, Bytes), end: impl Fn(&mut T)) {
        for piece in input.chunks(READ_BYTES) {
            self.buffer.space(&mut self.buffers).extend_from_slice(piece);
            let Some(mut chunk) = self.buffer.take(&mut self.buffers) else { continue };
            while let Some(line) = chunk.next_line(&self.rules) {
                if let Line::Record { bytes, .. } = line {
                    each(to, bytes);
                }
            }
            drop(chunk);
            end(to);
        }
    }
}
