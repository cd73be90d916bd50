//! Index: the first look at a record, 64 bytes at a time: where its strings begin and end.
//! In: the record.  Out: where each string ends, where escapes are, and whether there is non-ASCII. (Where a string starts, the
//! reader sees itself.)
//! Never: branches on single bytes of ordinary text. The grammar between the strings is `reader.rs`'s.

use wide::u8x16;

const BLOCK_BYTES: usize = 64;

/// The positions, kept between records so that nothing is allocated in the steady state.
#[derive(Debug, Default)]
pub(crate) struct Index {
    ends: Vec<u32>,
    count: usize,
    escapes: Vec<u32>,
    /// A control character inside a string, or an escape that JSON does not know.
    broken: bool,
    ascii: bool,
}

/// What one block leaves for the next.
#[derive(Clone, Copy)]
struct Carry {
    /// All bits: the next block starts inside a string.
    inside: u64,
    /// The first character of the next block is escaped.
    escaped: bool,
    /// All bytes so far, or-ed.
    high: u8x16,
}

impl Index {
    /// Positions of the closing quotes, in order.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends[..self.count]
    }

    /// Positions of the backslashes that start an escape.
    pub(crate) fn escapes(&self) -> &[u32] {
        &self.escapes
    }

    /// Whether a string holds something that JSON forbids.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether all bytes are below 0x80.
    pub(crate) fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// Gives memory back that a giant record left behind.
    pub(crate) fn shrink(&mut self, most: usize) {
        if self.ends.len() > most {
            self.ends.truncate(most);
            self.ends.shrink_to_fit();
        }
        if self.escapes.capacity() > most {
            self.escapes.clear();
            self.escapes.shrink_to(most);
        }
    }

    #[inline(never)]
    pub(crate) fn build(&mut self, record: &[u8]) {
        self.count = 0;
        self.escapes.clear();
        self.broken = false;
        let mut carry = Carry { inside: 0, escaped: false, high: u8x16::ZERO };
        let (blocks, rest) = record.as_chunks::<BLOCK_BYTES>();
        let mut base = 0;
        for block in blocks {
            carry = self.block(block, base, carry);
            base += BLOCK_BYTES as u32;
        }
        if !rest.is_empty() {
            let mut block = [b' '; BLOCK_BYTES];
            block[..rest.len()].copy_from_slice(rest);
            carry = self.block(&block, base, carry);
        }
        self.ascii = carry.high.to_bitmask() == 0;
        if !self.escapes.is_empty() {
            self.broken |= !escapes_are_valid(record, &self.escapes);
        }
    }

    #[inline(always)]
    fn block(&mut self, block: &[u8; BLOCK_BYTES], base: u32, carry: Carry) -> Carry {
        let v = lanes(block);
        let quote = u8x16::splat(b'"');
        let mut quotes = mask(v.map(|lane| lane.simd_eq(quote)));
        let high = carry.high | (v[0] | v[1]) | (v[2] | v[3]);
        let backslash = v.map(|lane| lane.simd_eq(u8x16::splat(b'\\')));
        let backslash = (backslash[0] | backslash[1]) | (backslash[2] | backslash[3]);
        let least = v[0].min(v[1]).min(v[2].min(v[3]));
        let mut escaped = false;
        let odd = (backslash | is_control(least)).to_bitmask() != 0;
        if odd | carry.escaped {
            (quotes, escaped) = self.odd_block(block, quotes, base, carry.inside, carry.escaped);
        }
        // From each opening quote up to before the closing one.
        let inside = prefix_xor(quotes) ^ carry.inside;
        self.push(quotes & !inside, base);
        Carry { inside: ((inside as i64) >> 63) as u64, escaped, high }
    }

    /// A block with a backslash or a control character (often only line breaks between tokens). Gives the quotes that are
    /// not escaped, and whether the first character of the next block is.
    #[inline(never)]
    fn odd_block(
        &mut self,
        block: &[u8; BLOCK_BYTES],
        mut quotes: u64,
        base: u32,
        inside: u64,
        first_is_escaped: bool,
    ) -> (u64, bool) {
        let v = lanes(block);
        let mut backslashes = mask(v.map(|lane| lane.simd_eq(u8x16::splat(b'\\'))));
        if first_is_escaped {
            backslashes &= !1;
            quotes &= !1;
        }
        let mut next_is_escaped = false;
        while backslashes != 0 {
            let at = backslashes.trailing_zeros();
            self.escapes.push(base + at);
            // The backslash itself and the character that it escapes.
            let escaped = 1_u64.checked_shl(at + 1).unwrap_or(0);
            backslashes &= !(1 << at | escaped);
            quotes &= !escaped;
            next_is_escaped = at == 63;
        }
        let controls = mask(v.map(is_control));
        self.broken |= controls & (prefix_xor(quotes) ^ inside) != 0;
        (quotes, next_is_escaped)
    }

    #[inline(always)]
    fn push(&mut self, mut ends: u64, base: u32) {
        /// At most every second byte ends a string.
        const ROOM: usize = 32;
        if self.ends.len() < self.count + ROOM {
            self.grow();
        }
        let Some(slots) = self.ends[self.count..].first_chunk_mut::<ROOM>() else { return };
        let mut count = 0;
        // Four at once, whether there are as many or not: cheaper than asking after each.
        for four in slots.as_chunks_mut::<4>().0 {
            for slot in four {
                *slot = base + ends.trailing_zeros();
                count += usize::from(ends != 0);
                ends &= ends.wrapping_sub(1);
            }
            if ends == 0 {
                break;
            }
        }
        self.count += count;
    }

    #[cold]
    fn grow(&mut self) {
        self.ends.resize((self.ends.len() * 2).max(1024), 0);
    }
}

#[inline(always)]
fn lanes(block: &[u8; BLOCK_BYTES]) -> [u8x16; 4] {
    let (lanes, _) = block.as_chunks::<16>();
    [u8x16::from(lanes[0]), u8x16::from(lanes[1]), u8x16::from(lanes[2]), u8x16::from(lanes[3])]
}

#[inline(always)]
fn is_control(lane: u8x16) -> u8x16 {
    lane.min(u8x16::splat(0x1f)).simd_eq(lane)
}

#[inline(always)]
fn mask(lanes: [u8x16; 4]) -> u64 {
    let [a, b, c, d] = lanes.map(|lane| u64::from(lane.to_bitmask()));
    (a | b << 16) | (c | d << 16) << 32
}

/// Bit i of the result is the parity of bits 0 to i.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Whether every escape is one of JSON's, and no half of a surrogate pair stands alone.
fn escapes_are_valid(record: &[u8], escapes: &[u32]) -> bool {
    let mut escapes = escapes.iter().map(|at| *at as usize);
    while let Some(at) = escapes.next() {
        match record.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'u') => match code_unit(record, at) {
                None => return false,
                Some(0xdc00..=0xdfff) => return false,
                Some(0xd800..=0xdbff) => {
                    if escapes.next() != Some(at + 6) || record.get(at + 7) != Some(&b'u') {
                        return false;
                    }
                    if !matches!(code_unit(record, at + 6), Some(0xdc00..=0xdfff)) {
                        return false;
                    }
                }
                Some(_) => {}
            },
            _ => return false,
        }
    }
    true
}

/// The number that is written in the four hexadecimal digits of the escape at `at`.
pub(crate) fn code_unit(record: &[u8], at: usize) -> Option<u32> {
    let digits = record.get(at + 2..at + 6)?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}
