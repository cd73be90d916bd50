//! Spare: buffers that were given away and are used again when nobody holds them any more: on a steady stream no memory is asked for, and what
//! is written stays in the processor's cache.
//! In: full buffers.  Out: the same as shared bytes, and empty buffers.
//! Holds: the last few that were given away, no more than a number of them and of bytes.
//! Never: waits for a buffer; tells anybody that it is used again: who holds a slice of it holds all of it.

use bytes::Bytes;

/// The buffers of one place that fills one after the other.
#[derive(Debug)]
pub struct Spares {
    /// Oldest first.
    given: Vec<Given>,
    count_max: usize,
    bytes_max: usize,
    /// Capacity of all that are remembered.
    bytes: usize,
}

#[derive(Debug)]
struct Given {
    buffer: Bytes,
    capacity: usize,
}

impl Spares {
    /// Remembers at most `count_max` buffers, of at most `bytes_max` bytes together.
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { given: Vec::new(), count_max, bytes_max, bytes: 0 }
    }

    /// An empty buffer with room for `bytes`: the one given away last of those that everybody has let go of, or a new one.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        let free = |given: &Given| given.capacity >= bytes && given.buffer.is_unique();
        if let Some(at) = self.given.iter().rposition(free)
            && let Ok(mut buffer) = self.forget(at).try_into_mut()
        {
            buffer.clear();
            return Vec::from(buffer);
        }
        Vec::with_capacity(bytes)
    }

    /// Gives a buffer away and remembers it; older ones are forgotten if there is no room.
    pub fn give(&mut self, buffer: Vec<u8>) -> Bytes {
        let capacity = buffer.capacity();
        let buffer = Bytes::from(buffer);
        if self.count_max == 0 || capacity > self.bytes_max {
            return buffer;
        }
        while self.given.len() == self.count_max || self.bytes + capacity > self.bytes_max {
            self.forget(0);
        }
        self.bytes += capacity;
        self.given.push(Given { buffer: buffer.clone(), capacity });
        buffer
    }

    fn forget(&mut self, at: usize) -> Bytes {
        let Given { buffer, capacity } = self.given.remove(at);
        self.bytes -= capacity;
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(spares: &mut Spares, bytes: usize) -> Vec<u8> {
        let mut buffer = spares.take(bytes);
        buffer.resize(bytes, b'x');
        buffer
    }

    #[test]
    fn a_buffer_comes_back_empty_once_nobody_holds_a_slice_of_it() {
        let mut spares = Spares::new(4, 1 << 20);
        let buffer = filled(&mut spares, 1000);
        let place = buffer.as_ptr();
        let given = spares.give(buffer);
        let slice = given.slice(10..20);
        drop(given);
        let other = spares.take(1000);
        assert_ne!(other.as_ptr(), place, "a slice is held");
        assert_eq!(slice[..], [b'x'; 10]);
        drop(slice);
        let again = spares.take(900);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 1000);
        assert_eq!((spares.given.len(), spares.bytes), (0, 0), "it is nobody's but the caller's");
    }

    #[test]
    fn one_that_is_too_small_is_left_for_others() {
        let mut spares = Spares::new(4, 1 << 20);
        for bytes in [100, 200] {
            let buffer = filled(&mut spares, bytes);
            drop(spares.give(buffer));
        }
        assert!(spares.take(150).capacity() >= 200);
        assert!(spares.take(150).capacity() >= 150);
        assert_eq!(spares.given.len(), 1);
    }

    #[test]
    fn what_is_remembered_stays_within_both_bounds() {
        let mut spares = Spares::new(3, 1000);
        let held: Vec<_> = [300, 300, 300, 300, 500, 1001, 1000]
            .into_iter()
            .map(|bytes| {
                let given = spares.give(Vec::with_capacity(bytes));
                assert!(spares.given.len() <= 3 && spares.bytes <= 1000);
                assert_eq!(spares.bytes, spares.given.iter().map(|given| given.capacity).sum::<usize>());
                given
            })
            .collect();
        assert_eq!((spares.given.len(), spares.bytes, held.len()), (1, 1000, 7));
    }
}
