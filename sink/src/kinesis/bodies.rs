//! Bodies: the memory of requests' bodies that are not written out yet.
//! In: bodies. Out: the same as shared bytes; how many there are; the buffers again, once nobody needs their bytes.
//! Holds: a few buffers for the next bodies, so that a steady stream asks the system for no memory. They come back by themselves (`Spares` of the
//! pipeline looks back at the last few that it gave away, and hundreds of requests may be under way).
//! Never: knows what is in a body.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Most buffers that are kept for the next bodies, and most bytes of them: a few full requests of records of 2 KiB.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 6 * 1024 * 1024;

/// See the head of this file. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Bodies(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    /// Told when there are fewer.
    fewer: Notify,
    spares: Mutex<Vec<Vec<u8>>>,
}

/// A body whose bytes are given back when the last byte is written (or the request dropped).
struct Counted {
    body: Vec<u8>,
    bodies: Bodies,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        self.bodies.0.bytes.fetch_sub(body.capacity(), Relaxed);
        self.bodies.keep(body);
        self.bodies.0.fewer.notify_one();
    }
}

impl Bodies {
    /// An empty buffer for the next body.
    pub fn buffer(&self) -> Vec<u8> {
        self.0.spares.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Counts the body until it is written out.
    pub fn wrap(&self, body: Vec<u8>) -> Bytes {
        self.0.bytes.fetch_add(body.capacity(), Relaxed);
        Bytes::from_owner(Counted { body, bodies: self.clone() })
    }

    /// Bytes of the buffers of all bodies that are not written out yet.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Waits until there are fewer.
    pub async fn fewer(&self) {
        self.0.fewer.notified().await;
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        let mut spares = self.0.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = spares.iter().map(Vec::capacity).sum();
        if spares.len() < SPARES_MAX && kept + buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_byte_is_let_go() {
        let bodies = Bodies::default();
        let body = bodies.wrap(b"some bytes".to_vec());
        let (place, slice) = (body.as_ptr(), body.slice(..4));
        assert_eq!(bodies.bytes(), 10);
        drop(body);
        assert_eq!((bodies.bytes(), bodies.buffer().capacity()), (10, 0), "a slice is not written yet");
        drop(slice);
        assert_eq!(bodies.bytes(), 0);
        let buffer = bodies.buffer();
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let bodies = Bodies::default();
        let wrapped: Vec<_> = (0..20).map(|_| bodies.wrap(Vec::with_capacity(1_000_000))).collect();
        drop(wrapped);
        drop(bodies.wrap(Vec::with_capacity(SPARE_BYTES_MAX)));
        let kept: Vec<_> =
            std::iter::from_fn(|| Some(bodies.buffer()).filter(|b| b.capacity() > 0)).collect();
        assert_eq!(kept.len(), SPARES_MAX);
        assert!(kept.iter().all(|buffer| buffer.capacity() < SPARE_BYTES_MAX));
    }
}
