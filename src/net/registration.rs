//! Registration: a descriptor joins the current runtime's epoll set, edge-triggered, once.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a nonblocking descriptor with the runtime of this thread until it is dropped.
///
/// The safe constructor is deprecated because a type of one's own may lie about its descriptor; an
/// `OwnedFd` cannot: it names one open description from birth to drop, so no `unsafe` is needed.
#[expect(deprecated, reason = "sound for OwnedFd, and keeps this room free of unsafe code")]
pub(super) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
