//! Buffers for bytes in flight: borrowed from a pool of the thread, returned when dropped.
//!
//! An idle relay has none. The pool keeps a few for the next who needs one and frees the rest, so
//! memory follows the traffic down again.

use std::cell::RefCell;

/// The size of a buffer: with one for each direction, a relay holds 32 KiB at the most.
pub(super) const CHUNK: usize = 16 * 1024;

/// How many buffers a thread keeps for later.
const KEPT: usize = 32;

thread_local! {
    static IDLE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A borrowed buffer and the bytes in it that have not been passed on yet.
#[derive(Debug)]
pub(super) struct Buffer {
    /// `CHUNK` bytes; empty only while it is being returned.
    room: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Borrows an empty buffer.
    pub(super) fn take() -> Self {
        let room =
            IDLE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        Self { room, start: 0, end: 0 }
    }

    /// The whole room, to read into while there are no bytes in it.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// Says that the first `count` bytes of the room have been read into.
    pub(super) fn fill(&mut self, count: usize) {
        self.start = 0;
        self.end = count;
    }

    /// The bytes to be passed on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// Says that the first `count` of the bytes have been passed on.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let room = std::mem::take(&mut self.room);
        // A thread that is ending has no pool any more: then the buffer is simply freed.
        IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < KEPT {
                idle.push(room);
            }
        })
        .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_used_again_and_comes_empty() {
        let mut buffer = Buffer::take();
        buffer.room()[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.consume(1);
        assert_eq!(buffer.bytes(), b"bc");
        let place = buffer.room().as_ptr();
        drop(buffer);
        let mut again = Buffer::take();
        assert_eq!(again.room().as_ptr(), place);
        assert_eq!(again.bytes(), b"");
    }

    #[test]
    fn a_burst_leaves_only_a_few_buffers_behind() {
        let burst: Vec<_> = (0..10 * KEPT).map(|_| Buffer::take()).collect();
        drop(burst);
        assert_eq!(IDLE.with_borrow(Vec::len), KEPT);
    }
}
