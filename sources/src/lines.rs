//! Lines: from a stream of bytes, read in any pieces, to whole lines that share the memory they were read into.
//! In: reads of up to 256 KiB. Out: chunks of whole lines, each line a slice.
//! Holds: of each stream one incomplete line, at most `max_line_bytes` and one read of it; of all streams that one thread reads a few buffers,
//! used in turn.
//! Never: cuts a line, copies more of a line than the beginning that an earlier read brought, keeps a line that is too long (it is told with
//! place and length).

use std::ops::Range;

use afluente_pipeline::spare::Spares;
use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem, memrchr};

/// How much is asked for in one read. Measured: less costs system calls, more leaves the processor's cache.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// What ends a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delimiter(Box<[u8]>);

impl Delimiter {
    /// A delimiter of one or more bytes; `None` if it is empty.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(bytes.into()))
    }

    pub(crate) fn byte(byte: u8) -> Self {
        Self(Box::new([byte]))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn find(&self, text: &[u8]) -> Option<usize> {
        match &*self.0 {
            [byte] => memchr(*byte, text),
            many => memmem::find(text, many),
        }
    }

    /// The places of the lines of `text`, without their ends; the last one may have none.
    fn split(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut lines = Vec::new();
        let mut start = 0;
        let mut add = |end: usize| {
            lines.push(start..start + self.trim(&text[start..end]).len());
            start = end + self.len();
        };
        match &*self.0 {
            [byte] => memchr_iter(*byte, text).for_each(&mut add),
            many => memmem::find_iter(text, many).for_each(&mut add),
        }
        if start < text.len() {
            lines.push(start..start + self.trim(&text[start..]).len());
        }
        lines
    }

    /// The last delimiter of those that follow each other from the beginning of `text`.
    fn find_last(&self, text: &[u8]) -> Option<usize> {
        match &*self.0 {
            [byte] => memrchr(*byte, text),
            // From the left, since a delimiter such as `\n\n` can overlap itself.
            many => memmem::find_iter(text, many).last(),
        }
    }

    /// A `\r` before a `\n` belongs to the line's end.
    pub(crate) fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line {
            [line @ .., b'\r'] if *self.0 == *b"\n" => line,
            line => line,
        }
    }
}

/// What `LineBuffer` needs to know of lines.
#[derive(Clone, Debug)]
pub(crate) struct LineRules {
    pub(crate) delimiter: Delimiter,
    /// The longest line in bytes, its end not counted.
    pub(crate) max_line_bytes: usize,
}

/// A line that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    /// Where it begins in the stream.
    pub(crate) offset: u64,
    /// Its length, its end not counted.
    pub(crate) bytes: u64,
}

/// Collects reads until they make whole lines.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    rules: LineRules,
    buffer: Vec<u8>,
    /// Where `buffer` begins in the stream.
    offset: u64,
    /// The delimiter does not begin before here.
    searched: usize,
    /// Where the line begins that is too long and not over yet.
    skipping: Option<u64>,
}

/// What one thread reads into, whatever it reads: full ones are given away, and used again when all their lines are settled.
#[derive(Debug)]
pub(crate) struct ReadBuffers(Spares);

/// Buffers that are remembered after they were given away. They stay for good: at most 4 MiB.
const SPARES_MAX: usize = 8;
/// A larger one, made for a long line, is not used again: reads would become as large.
const SPARE_BYTES_MAX: usize = 2 * READ_BYTES;

impl Default for ReadBuffers {
    fn default() -> Self {
        Self(Spares::new(SPARES_MAX, SPARES_MAX * SPARE_BYTES_MAX))
    }
}

impl ReadBuffers {
    fn give(&mut self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() > SPARE_BYTES_MAX { Bytes::from(buffer) } else { self.0.give(buffer) }
    }
}

impl LineBuffer {
    /// A buffer for a stream whose next byte stands at `offset`, which begins a line.
    pub(crate) fn new(rules: LineRules, offset: u64) -> Self {
        Self { rules, buffer: Vec::new(), offset, searched: 0, skipping: None }
    }

    /// Where the next read appends what it reads; there is room for a good piece.
    pub(crate) fn space(&mut self, buffers: &mut ReadBuffers) -> &mut Vec<u8> {
        let length = self.buffer.len();
        if self.buffer.capacity() - length < READ_BYTES / 4 {
            // A long line's buffer doubles, so that it is not moved for each read.
            let mut larger = buffers.0.take(length + READ_BYTES.max(length));
            larger.extend_from_slice(&self.buffer);
            drop(buffers.give(std::mem::replace(&mut self.buffer, larger)));
        }
        &mut self.buffer
    }

    /// Bytes that were read and not given out.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets all but the first `length` bytes that were not given out.
    pub(crate) fn cut(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Gives back what is not needed to wait for more: of a thousand files most have little to say.
    pub(crate) fn leave(&mut self, buffers: &mut ReadBuffers) {
        if self.buffer.capacity() > self.buffer.len() {
            let part = self.buffer.as_slice().to_vec();
            drop(buffers.give(std::mem::replace(&mut self.buffer, part)));
        }
    }

    /// The position after the last byte read.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Where the first line begins that was not given out.
    pub(crate) fn start(&self) -> u64 {
        self.skipping.unwrap_or(self.offset)
    }

    /// The whole lines read so far, if there are any.
    pub(crate) fn take(&mut self, buffers: &mut ReadBuffers) -> Option<Chunk> {
        let too_long = self.skip();
        if self.skipping.is_some() {
            return None;
        }
        let width = self.rules.delimiter.len();
        let Some(last) = self.rules.delimiter.find_last(&self.buffer[self.searched..]) else {
            // Two bytes of grace: a `\r` that belongs to the end, and the delimiter itself if it is one byte.
            if self.buffer.len() > self.rules.max_line_bytes + width + 1 {
                self.skipping = Some(self.offset);
                self.skip();
            } else {
                self.searched = (self.buffer.len() + 1).saturating_sub(width);
            }
            return too_long.map(|too_long| {
                Chunk::new(Bytes::new(), self.offset, Some(too_long), &self.rules.delimiter)
            });
        };
        let end = self.searched + last + width;
        self.searched = 0;
        let bytes = self.split(end, buffers);
        let chunk = Chunk::new(bytes, self.offset, too_long, &self.rules.delimiter);
        self.offset += end as u64;
        Some(chunk)
    }

    /// At the end of the stream: what is left is a line, too.
    pub(crate) fn take_last(&mut self) -> Option<Chunk> {
        let offset = self.offset;
        self.offset = self.end();
        let rest = Bytes::from(std::mem::take(&mut self.buffer));
        self.searched = 0;
        if let Some(start) = self.skipping.take() {
            let too_long = TooLong { offset: start, bytes: self.offset - start };
            return Some(Chunk::new(Bytes::new(), self.offset, Some(too_long), &self.rules.delimiter));
        }
        (!rest.is_empty()).then(|| Chunk::new(rest, offset, None, &self.rules.delimiter))
    }

    /// Lets go of a line that is too long, as far as it was read; returns it when its end was found.
    fn skip(&mut self) -> Option<TooLong> {
        let start = self.skipping?;
        let delimiter = &self.rules.delimiter;
        let found = delimiter.find(&self.buffer);
        let gone = match found {
            Some(at) => at + delimiter.len(),
            // The last bytes may be the beginning of the delimiter.
            None => (self.buffer.len() + 1).saturating_sub(delimiter.len()),
        };
        self.buffer.drain(..gone);
        self.offset += gone as u64;
        self.searched = 0;
        let at = found?;
        self.skipping = None;
        Some(TooLong { offset: start, bytes: self.offset - (gone - at) as u64 - start })
    }

    /// Gives away the first `end` bytes: less than half of the buffer as a copy of its own size, so that a lone line
    /// does not hold a whole buffer, else the buffer itself; then the incomplete line moves out of it.
    fn split(&mut self, end: usize, buffers: &mut ReadBuffers) -> Bytes {
        if end < self.buffer.capacity() / 2 {
            let bytes = Bytes::copy_from_slice(&self.buffer[..end]);
            self.buffer.drain(..end);
            return bytes;
        }
        let part = self.buffer[end..].to_vec();
        let mut full = std::mem::replace(&mut self.buffer, part);
        full.truncate(end);
        buffers.give(full)
    }
}

/// Whole lines that were read together. Where they begin and end is looked for as soon as they are read, by whoever read them: the bytes are in
/// that processor's cache, and who takes the lines apart later does not touch them.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    /// The lines that were not given out, without their ends.
    lines: std::vec::IntoIter<Range<usize>>,
    offset: u64,
    /// A line before these that was too long.
    too_long: Option<TooLong>,
}

/// What stands between two line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing.
    Empty,
    /// A record.
    Record {
        /// Where it begins in the stream.
        offset: u64,
        /// The line without its end; a slice of what was read.
        bytes: Bytes,
    },
    /// A line that is longer than it may be.
    TooLong(TooLong),
}

impl Chunk {
    fn new(bytes: Bytes, offset: u64, too_long: Option<TooLong>, delimiter: &Delimiter) -> Self {
        Self { lines: delimiter.split(&bytes).into_iter(), bytes, offset, too_long }
    }

    /// Where the next line begins in the stream.
    pub(crate) fn position(&self) -> u64 {
        self.offset + self.lines.as_slice().first().map_or(self.bytes.len(), |line| line.start) as u64
    }

    /// Bytes that were read, those of a line that was too long not counted.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all lines were given out.
    pub(crate) fn is_done(&self) -> bool {
        self.lines.len() == 0 && self.too_long.is_none()
    }

    /// The next line.
    #[inline]
    pub(crate) fn next_line(&mut self, rules: &LineRules) -> Option<Line> {
        if let Some(too_long) = self.too_long.take() {
            return Some(Line::TooLong(too_long));
        }
        let line = self.lines.next()?;
        let offset = self.offset + line.start as u64;
        Some(if line.is_empty() {
            Line::Empty
        } else if line.len() > rules.max_line_bytes {
            Line::TooLong(TooLong { offset, bytes: line.len() as u64 })
        } else {
            Line::Record { offset, bytes: self.bytes.slice(line) }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(delimiter: &[u8], max_line_bytes: usize) -> LineRules {
        LineRules { delimiter: Delimiter::new(delimiter).unwrap(), max_line_bytes }
    }

    /// All lines of `stream`, read in pieces that end at `borders`; after every second one nothing comes for a while if it `rests`.
    fn read(stream: &[u8], borders: &[usize], rules: &LineRules, rests: bool) -> Vec<Line> {
        let (mut buffer, mut buffers) = (LineBuffer::new(rules.clone(), 0), ReadBuffers::default());
        let mut lines = Vec::new();
        let mut take = |chunk: Option<Chunk>| {
            let mut chunk = chunk?;
            while let Some(line) = chunk.next_line(rules) {
                lines.push(line);
            }
            Some(())
        };
        let mut from = 0;
        for (piece, to) in borders.iter().copied().chain([stream.len()]).enumerate() {
            buffer.space(&mut buffers).extend_from_slice(&stream[from..to]);
            from = to;
            take(buffer.take(&mut buffers));
            if rests && piece % 2 == 0 {
                buffer.leave(&mut buffers);
            }
        }
        assert!(buffer.take(&mut buffers).is_none(), "everything whole was taken");
        take(buffer.take_last());
        assert_eq!(buffer.start(), stream.len() as u64);
        lines
    }

    /// The same by the plainest means.
    fn split(stream: &[u8], delimiter: &[u8], max_line_bytes: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut offset = 0;
        let mut rest = stream;
        while !rest.is_empty() {
            let end = rest.windows(delimiter.len()).position(|window| window == delimiter);
            let line = &rest[..end.unwrap_or(rest.len())];
            let trimmed = if delimiter == b"\n" { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            lines.push(match trimmed.len() {
                0 => Line::Empty,
                bytes if bytes > max_line_bytes => Line::TooLong(TooLong { offset, bytes: bytes as u64 }),
                _ => Line::Record { offset, bytes: Bytes::copy_from_slice(trimmed) },
            });
            let step = end.map_or(rest.len(), |end| end + delimiter.len());
            offset += step as u64;
            rest = &rest[step..];
        }
        lines
    }

    /// The length of a line that was let go unseen counts its `\r`, since nobody looked at its last byte.
    fn forgive_cr(lines: Vec<Line>) -> Vec<Line> {
        let forgive = |line| match line {
            Line::TooLong(too_long) => Line::TooLong(TooLong { bytes: 0, ..too_long }),
            line => line,
        };
        lines.into_iter().map(forgive).collect()
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_lines_of_the_whole(
            stream in prop::collection::vec(prop::sample::select(&b"ab\r\n;"[..]), 0..200),
            borders in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            delimiter in prop::sample::select(vec![&b"\n"[..], b";", b"a\nb", b"\r\n", b"aa"]),
            max_line_bytes in 1usize..30,
            rests: bool,
        ) {
            let mut borders: Vec<_> = borders.iter().map(|border| border.index(stream.len() + 1)).collect();
            borders.sort_unstable();
            let rules = rules(delimiter, max_line_bytes);
            let lines = read(&stream, &borders, &rules, rests);
            let expected = split(&stream, delimiter, max_line_bytes);
            prop_assert_eq!(forgive_cr(lines), forgive_cr(expected));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn so_do_large_pieces_of_long_lines(
            lengths in prop::collection::vec(0..400_000_usize, 1..8),
            borders in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            rests: bool,
        ) {
            let line = |(nth, length): (usize, &usize)| [vec![b'a' + nth as u8; *length], b"\n".to_vec()].concat();
            let stream = lengths.iter().enumerate().flat_map(line).collect::<Vec<u8>>();
            let mut borders: Vec<_> = borders.iter().map(|border| border.index(stream.len() + 1)).collect();
            borders.sort_unstable();
            let rules = rules(b"\n", 300_000);
            prop_assert!(read(&stream, &borders, &rules, rests) == split(&stream, b"\n", 300_000));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_never_held() {
        let rules = rules(b"\n", 1000);
        let (mut buffer, mut buffers) = (LineBuffer::new(rules.clone(), 0), ReadBuffers::default());
        buffer.space(&mut buffers).extend_from_slice(b"first\n");
        let mut first = buffer.take(&mut buffers).unwrap();
        assert!(matches!(first.next_line(&rules), Some(Line::Record { offset: 0, .. })));
        for _ in 0..1000 {
            buffer.space(&mut buffers).extend_from_slice(&[b'x'; 10_000]);
            assert!(buffer.take(&mut buffers).is_none());
            assert!(buffer.buffer.len() <= 10_000 + 1002);
        }
        buffer.space(&mut buffers).extend_from_slice(b"yz\nnext\n");
        let mut chunk = buffer.take(&mut buffers).unwrap();
        let too_long = TooLong { offset: 6, bytes: 10_000_002 };
        assert_eq!(chunk.next_line(&rules), Some(Line::TooLong(too_long)));
        let next = Line::Record { offset: 10_000_009, bytes: Bytes::from_static(b"next") };
        assert_eq!(chunk.next_line(&rules), Some(next));
        assert_eq!(chunk.next_line(&rules), None);
    }

    #[test]
    fn a_full_read_is_given_away_without_a_copy_and_a_small_one_is_copied_to_its_size() {
        let rules = rules(b"\n", 1000);
        let (mut buffer, mut buffers) = (LineBuffer::new(rules, 0), ReadBuffers::default());
        let space = buffer.space(&mut buffers);
        while space.len() < READ_BYTES / 4 * 3 {
            space.extend_from_slice(b"0123456789\n");
        }
        let read_into = space.as_ptr();
        space.extend_from_slice(b"rest");
        let chunk = buffer.take(&mut buffers).unwrap();
        assert_eq!(chunk.bytes.as_ptr(), read_into);
        let kept = buffer.space(&mut buffers).as_ptr();
        buffer.space(&mut buffers).extend_from_slice(b" of it\n");
        let chunk = buffer.take(&mut buffers).unwrap();
        assert_eq!(chunk.bytes, "rest of it\n");
        assert_ne!(chunk.bytes.as_ptr(), kept);
        assert_eq!(buffer.space(&mut buffers).as_ptr(), kept, "the buffer stays");
    }

    #[test]
    fn between_reads_a_thousand_streams_hold_their_incomplete_lines_and_a_few_buffers() {
        let mut buffers = ReadBuffers::default();
        let mut streams: Vec<_> = (0..1000).map(|_| LineBuffer::new(rules(b"\n", 1000), 0)).collect();
        let mut places = std::collections::HashSet::new();
        // Much, a little, nothing.
        for lines in [READ_BYTES / 11 * 3 / 4, 10, 0] {
            for buffer in &mut streams {
                let space = buffer.space(&mut buffers);
                let capacity = space.capacity();
                places.insert(space.as_ptr());
                if lines > 0 {
                    space.extend(std::iter::repeat_n(b"0123456789\n", lines).flatten());
                    space.extend_from_slice(b"rest");
                    assert_eq!(space.capacity(), capacity);
                    assert!(buffer.take(&mut buffers).is_some());
                }
                buffer.leave(&mut buffers);
                assert!(buffer.buffer.capacity() < 1000, "{} bytes", buffer.buffer.capacity());
            }
        }
        assert!(places.len() <= SPARES_MAX, "{} buffers", places.len());
        let last = &mut streams[999];
        last.space(&mut buffers).extend_from_slice(b" of it\n");
        assert_eq!(last.take(&mut buffers).unwrap().bytes, "rest of it\n");
    }

    #[test]
    fn a_long_line_is_moved_a_few_times_whatever_the_reads_and_its_buffer_is_not_used_again() {
        let mut buffers = ReadBuffers::default();
        let mut buffer = LineBuffer::new(rules(b"\n", 10 * READ_BYTES), 0);
        let mut places = Vec::new();
        for _ in 0..5 * READ_BYTES / 1000 {
            let space = buffer.space(&mut buffers);
            space.extend_from_slice(&[b'x'; 1000]);
            places.push(space.as_ptr());
            assert!(buffer.take(&mut buffers).is_none());
        }
        places.dedup();
        assert!(places.len() <= 4, "{} buffers", places.len());
        let whole = buffer.bytes().len();
        buffer.space(&mut buffers).extend_from_slice(b"\n");
        assert_eq!(buffer.take(&mut buffers).unwrap().len(), whole + 1);
        assert!(buffer.space(&mut buffers).capacity() <= SPARE_BYTES_MAX);
    }
}
