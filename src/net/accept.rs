//! Accepting: what waits in a listening socket's queue becomes connections.
//!
//! No error is fatal: one that concerns a single connection is passed over, one that says that we
//! are short of something is handed back, and the listener pauses. The caller does the waiting.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::endpoint::Endpoint;
use crate::net::registration;

/// The most connections taken in one turn, so that what shares the arbiter gets its turn too.
pub const BATCH: usize = 64;

/// Accepts on a duplicate of a bound socket.
#[derive(Debug)]
pub struct Acceptor {
    io: AsyncFd<OwnedFd>,
}

/// A connection just accepted: nonblocking, closed on exec, not yet registered with a runtime.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub fd: OwnedFd,
    /// The client.
    pub peer: Endpoint,
}

/// How a turn of accepting ended.
#[derive(Debug)]
pub enum Turn {
    /// The queue is empty, or the turn is over: come again.
    Done,
    /// The system is short of something (descriptors, memory) or forbids it: pause, 10 to 100 ms,
    /// then come again. What `accepted` has is good, and the queue keeps who waits.
    Pause(io::Error),
}

// === impl Acceptor ===

impl Acceptor {
    /// Registers a duplicate of a bound socket with the current runtime.
    pub fn new(lent: OwnedFd) -> io::Result<Self> {
        Ok(Self { io: registration::register(lent, Interest::READABLE)? })
    }

    /// Waits for clients, then moves up to `limit` of them, and never more than `BATCH`, to
    /// `accepted`. `limit` is at least 1. Cancel-safe: what was accepted is in `accepted`.
    pub async fn accept(&self, accepted: &mut Vec<Accepted>, limit: usize) -> Turn {
        poll_fn(|cx| self.poll_accept(cx, accepted, limit)).await
    }

    /// `accept` for those who poll. Pending only with nothing added to `accepted`.
    pub fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        accepted: &mut Vec<Accepted>,
        limit: usize,
    ) -> Poll<Turn> {
        let before = accepted.len();
        for _ in 0..limit.min(BATCH) {
            let mut guard = match self.io.poll_read_ready(cx) {
                Poll::Ready(Ok(guard)) => guard,
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::Pause(error)),
                Poll::Pending if accepted.len() == before => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Turn::Done),
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::acceptfrom_with(&self.io, flags) {
                Ok((fd, peer)) => {
                    accepted.push(Accepted { fd, peer: Endpoint::from_kernel(peer) });
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) if is_of_one_client(error) => {}
                Err(error) => return Poll::Ready(Turn::Pause(error.into())),
            }
        }
        Poll::Ready(Turn::Done)
    }
}

/// Does the error say that one connection is gone? Linux also passes on errors of the new
/// connection's network, which accept(2) says to treat like EAGAIN. All else is a trouble of ours.
fn is_of_one_client(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::PROTO
            | Errno::INTR
            | Errno::CONNRESET
            | Errno::TIMEDOUT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
            | Errno::OPNOTSUPP
    )
}
