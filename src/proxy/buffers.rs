//! Buffers for bytes in flight: borrowed from a pool of the thread, returned when dropped.
//!
//! An idle relay has none. The pool keeps a few for the next who needs one and frees the rest, so
//! memory follows the traffic down again. Of the large ones there are only so many.

use std::cell::RefCell;

/// The size of a buffer: with one for each direction, a relay holds 32 KiB at the most.
pub(super) const CHUNK: usize = 16 * 1024;
/// The size of a large one, for bulk that cannot be spliced.
pub(super) const LARGE: usize = 64 * 1024;

/// How many buffers a thread keeps for later.
const KEPT: usize = 32;
const KEPT_LARGE: usize = 8;
/// The most large ones of one thread, in use and kept: 4 MiB.
const MOST_LARGE: usize = 64;

thread_local! {
    static IDLE: RefCell<Idle> = const { RefCell::new(Idle::new()) };
}

#[derive(Debug)]
struct Idle {
    normal: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    /// How many large ones there are, wherever they are.
    large_alive: usize,
}

/// A borrowed buffer and the bytes in it that have not been passed on yet.
#[derive(Debug)]
pub(super) struct Buffer {
    /// `CHUNK` or `LARGE` bytes; empty only while it is being returned.
    room: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Borrows an empty buffer.
    pub(super) fn take() -> Self {
        let idle = IDLE.with_borrow_mut(|idle| idle.normal.pop());
        Self::of(idle.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice()))
    }

    /// Borrows an empty large one; one of the normal size if too many are in use.
    pub(super) fn take_large() -> Self {
        let large = IDLE.with_borrow_mut(|idle| {
            let large = idle.large.pop();
            if large.is_none() && idle.large_alive < MOST_LARGE {
                idle.large_alive += 1;
                return Some(vec![0; LARGE].into_boxed_slice());
            }
            large
        });
        large.map_or_else(Self::take, Self::of)
    }

    fn of(room: Box<[u8]>) -> Self {
        Self { room, start: 0, end: 0 }
    }

    /// Is it a large one?
    pub(super) fn is_large(&self) -> bool {
        self.room.len() > CHUNK
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

    /// Adds as many of `bytes` as there is room for behind those that are in it.
    pub(super) fn append(&mut self, bytes: &[u8]) -> usize {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        let room = &mut self.room[self.end..];
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.end += count;
        count
    }

    /// Have all its bytes been passed on?
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
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
        let is_large = self.is_large();
        let room = std::mem::take(&mut self.room);
        // A thread that is ending has no pool any more: then the buffer is simply freed.
        IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if is_large && idle.large.len() < KEPT_LARGE {
                idle.large.push(room);
            } else if is_large {
                idle.large_alive -= 1;
            } else if idle.normal.len() < KEPT {
                idle.normal.push(room);
            }
        })
        .ok();
    }
}

impl Idle {
    const fn new() -> Self {
        Self { normal: Vec::new(), large: Vec::new(), large_alive: 0 }
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
        assert_eq!(IDLE.with_borrow(|idle| idle.normal.len()), KEPT);
    }

    #[test]
    fn there_are_never_more_large_ones_than_allowed_and_few_are_kept() {
        let burst: Vec<_> = (0..2 * MOST_LARGE).map(|_| Buffer::take_large()).collect();
        assert_eq!(burst.iter().filter(|buffer| buffer.is_large()).count(), MOST_LARGE);
        drop(burst);
        let counts = IDLE.with_borrow(|idle| (idle.large.len(), idle.large_alive));
        assert_eq!(counts, (KEPT_LARGE, KEPT_LARGE));
        assert!(Buffer::take_large().is_large());
    }

    #[test]
    fn what_is_added_comes_behind_what_is_there_until_it_is_full() {
        let mut buffer = Buffer::take();
        assert_eq!(buffer.append(b"abc"), 3);
        buffer.consume(1);
        assert_eq!(buffer.append(&[7; CHUNK]), CHUNK - 3);
        assert_eq!((&buffer.bytes()[..3], buffer.bytes().len()), (&b"bc\x07"[..], CHUNK - 1));
        assert_eq!(buffer.append(b"d"), 0);
        buffer.consume(CHUNK - 1);
        assert_eq!(buffer.append(b"d"), 1);
        assert_eq!(buffer.bytes(), b"d");
    }
}
