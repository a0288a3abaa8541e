//! The transfer: what one direction of a relay does, whatever its two ends are.
//!
//! The relay decides from these words alone; how bytes are moved is for `direction` (between two
//! sockets) and `secure_direction` (with TLS on one side or on both).

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::net::socket::Socket;
use crate::proxy::meter::Counter;

/// One direction of a relay: bytes from a source to a sink, in order, to their end.
pub(super) trait Transfer<E> {
    /// One with nothing in flight.
    fn new() -> Self;

    /// Have bytes been read that are not yet written?
    fn is_in_flight(&self) -> bool;

    /// Moves what can be moved; `moved` counts what the sink has taken.
    fn turn(&mut self, cx: &mut Context<'_>, source: &mut E, sink: &mut E, moved: &Counter)
    -> Turn;
}

/// One end of a relay.
pub(super) trait Terminal {
    /// The socket under it.
    fn socket(&self) -> &Socket;

    /// Tells it that it has been given everything.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
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

/// Asks to be polled again, after the runtime has looked for events. A bare wake would not do: a
/// `LocalSet` of busy tasks looks for events only every 61 polls, and beside eight busy relays
/// everybody else waited 150 ms for each (measured).
pub(super) fn yield_to_events(cx: &mut Context<'_>) {
    // It is pending the first time, and what wakes the task then is not tied to this future.
    let asked = pin!(tokio::task::yield_now()).poll(cx);
    if asked.is_ready() {
        cx.waker().wake_by_ref();
    }
}

// === impl Terminal ===

impl Terminal for &Socket {
    fn socket(&self) -> &Socket {
        self
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}
