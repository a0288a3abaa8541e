//! One direction of a relay: bytes from a source to a sink, in order, to their end.
//!
//! Small messages go by one read and one write through a borrowed buffer; once two reads in a row
//! have filled it, bytes are spliced, until a splice is small again. Nothing is read while
//! something read is still unwritten: that is the back-pressure, and the bound on memory. A
//! direction with nothing to pass on holds neither buffer nor pipe.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::socket::Socket;
use crate::proxy::buffers::{Buffer, CHUNK};
use crate::proxy::meter::Counter;
use crate::proxy::splice::{self, Pipe};

/// This many reads in a row that fill the buffer begin the splicing.
const FULL_READS: u8 = 2;
/// A splice of less ends it.
const SMALL_SPLICE: usize = 8 * 1024;

/// The bytes and steps of one turn, so that the neighbours on the arbiter get theirs.
const TURN_BYTES: usize = 512 * 1024;
const TURN_STEPS: u32 = 32;

/// Where one direction leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    /// Read from.
    pub(super) source: &'a Socket,
    /// Written to.
    pub(super) sink: &'a Socket,
    /// Counts what the sink has taken.
    pub(super) moved: &'a Counter,
}

/// What is in flight in one direction.
#[derive(Debug)]
pub(super) struct Direction {
    mode: Mode,
    /// Read by copying and not yet all written; never while the pipe has bytes that are older.
    held: Option<Buffer>,
    pipe: Option<Pipe>,
}

/// How a turn of one direction went, while it has not ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// There is nothing to read, or no room to write: an event will wake it.
    Waiting,
    /// It could go on at once, but has had its share.
    Yielding,
    /// The source has finished sending, and the sink has been given everything.
    Finished,
    /// A side failed.
    Broken(Broken),
}

/// The side that failed, and how.
#[derive(Debug)]
pub(super) enum Broken {
    /// Reading failed: nothing more will come.
    Source(io::Error),
    /// Writing failed: what was in flight is lost.
    Sink(io::Error),
}

/// How the next bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By copying, after so many reads in a row that filled the buffer.
    Copy { full_reads: u8 },
    /// By splicing.
    Splice,
    /// By copying for ever: splicing does not work here.
    CopyOnly,
}

// === impl Direction ===

impl Direction {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Copy { full_reads: 0 }, held: None, pipe: None }
    }

    /// Has bytes been read that are not yet written?
    pub(super) fn is_in_flight(&self) -> bool {
        self.held.as_ref().is_some_and(|buffer| !buffer.bytes().is_empty())
            || self.pipe.as_ref().is_some_and(|pipe| pipe.filled() > 0)
    }

    /// Moves what can be moved.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, way: Way<'_>) -> Turn {
        let before = way.moved.get();
        for _ in 0..TURN_STEPS {
            match self.poll_flush(cx, way) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Sink(error)),
                Poll::Ready(Ok(())) => {}
            }
            if way.moved.get() - before >= TURN_BYTES as u64 {
                return Turn::Yielding;
            }
            match self.poll_fill(cx, way.source) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Source(error)),
                Poll::Ready(Ok(0)) => return Turn::Finished,
                Poll::Ready(Ok(_)) => {}
            }
        }
        Turn::Yielding
    }

    /// Writes everything that is in flight.
    fn poll_flush(&mut self, cx: &mut Context<'_>, way: Way<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(buffer) = &mut self.held {
                while !buffer.bytes().is_empty() {
                    let count = ready!(way.sink.poll_send(cx, buffer.bytes()))?;
                    buffer.consume(count);
                    way.moved.add(count);
                }
            }
            let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.filled() > 0) else {
                return Poll::Ready(Ok(()));
            };
            if self.mode == Mode::CopyOnly {
                let buffer = self.held.get_or_insert_with(Buffer::take);
                let count = pipe.copy_out(buffer.room())?;
                buffer.fill(count);
                continue;
            }
            match ready!(pipe.poll_drain(cx, way.sink)) {
                Ok(0) => self.mode = Mode::CopyOnly,
                Ok(count) => way.moved.add(count),
                Err(error) if splice::is_unsupported(&error) => self.mode = Mode::CopyOnly,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once, with nothing in flight; 0 is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        if self.mode == Mode::Splice {
            self.held = None;
            let spliced = self.poll_splice(cx, source);
            if !matches!(spliced, Poll::Ready(Ok(0))) {
                return spliced;
            }
        }
        self.pipe = None;
        self.poll_copy(cx, source)
    }

    /// Fills the pipe. 0: the reading is to go on by copying.
    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        if self.pipe.is_none() {
            self.pipe = Pipe::take();
        }
        let Some(pipe) = &mut self.pipe else {
            // All pipes are in use. Ask again after as many full reads.
            self.mode = Mode::Copy { full_reads: 0 };
            return Poll::Ready(Ok(0));
        };
        match pipe.poll_fill(cx, source) {
            // Drained, or stopped at an urgent mark, which a read gets past.
            Poll::Pending if source.is_urgent() => {
                source.expect_unread();
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Pending => {
                self.pipe = None;
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(count)) => {
                if count < SMALL_SPLICE {
                    self.mode = Mode::Copy { full_reads: 0 };
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) if splice::is_unsupported(&error) => {
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        let buffer = self.held.get_or_insert_with(Buffer::take);
        let received = source.poll_recv(cx, buffer.room());
        let Poll::Ready(Ok(count @ 1..)) = received else {
            self.held = None;
            return received;
        };
        buffer.fill(count);
        if let Mode::Copy { full_reads } = self.mode {
            self.mode = match full_reads + 1 {
                _ if count < CHUNK => Mode::Copy { full_reads: 0 },
                FULL_READS => Mode::Splice,
                full_reads => Mode::Copy { full_reads },
            };
        }
        Poll::Ready(Ok(count))
    }
}
