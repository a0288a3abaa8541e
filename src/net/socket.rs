//! A connected stream socket, TCP or unix: registered once with the runtime, used by `&self`.
//!
//! A session and the registry hold the same `Arc<Socket>`: the session's one task polls it, and
//! anybody may `abort` it from any thread. A short read or write proves that the kernel has no more
//! (no more room), so readiness is cleared there and then, and nobody pays a call that can only
//! answer EAGAIN. SIGPIPE must be ignored, as every Rust program does from its start.
//!
//! Who talks to whom, and for how long, is for others.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::endpoint::Endpoint;
use crate::net::registration;
use crate::net::tuning::Tuning;

/// A connected stream socket.
#[derive(Debug)]
pub struct Socket {
    io: AsyncFd<OwnedFd>,
    /// Readiness was cleared although bytes may be unread: the next read tries first.
    unread: AtomicBool,
}

/// How a peer that we were not reading from has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It finished sending, and every byte it sent has been read.
    Finished,
    /// It finished sending behind bytes that have not been read: it has half-closed, and may wait for
    /// an answer.
    Behind,
    /// It reset the connection.
    Reset,
}

// === impl Socket ===

impl Socket {
    /// Takes over a connected, nonblocking socket and registers it with the current runtime.
    pub fn from_accepted(fd: OwnedFd) -> io::Result<Self> {
        // Priority is asked for only to learn that urgent data exists: see `is_urgent`.
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let io = registration::register(fd, interest)?;
        Ok(Self { io, unread: AtomicBool::new(false) })
    }

    /// Reads into `buffer`, which must not be empty; 0 is the end of the stream.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, buffer.len(), |fd| {
            rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()).map(|(count, _)| count)
        })
    }

    /// Reads behind what is in `buffer`, as far as that has room, which it must have; 0 is the end
    /// of the stream.
    pub fn poll_append(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let room = buffer.capacity() - buffer.len();
        self.poll_read_with(cx, room, |fd| {
            rustix::net::recv(fd, spare_capacity(buffer), RecvFlags::empty())
                .map(|(_, count)| count)
        })
    }

    /// Looks at what is to be read, from the first byte on, and leaves it there: more bytes than
    /// the `known` ones, as far as `buffer` reaches. As many or fewer: no more will come.
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        known: usize,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.io.poll_read_ready(cx))?;
            // Asked before the look: what the end stands behind is seen by it.
            let is_closed = guard.ready().is_read_closed();
            match rustix::net::recv(self.as_fd(), &mut *buffer, RecvFlags::PEEK) {
                Ok((count, _)) => {
                    // Whoever reads next has to try, whether an event comes or not.
                    self.unread.store(true, Ordering::Relaxed);
                    if count > known || count == 0 || is_closed {
                        return Poll::Ready(Ok(count));
                    }
                    guard.clear_ready();
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes some of `bytes`, which must not be empty.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), |fd| {
            rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)
        })
    }

    /// Writes some of what is in `slices`, of which the first must not be empty, at once.
    pub fn poll_send_slices(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = slices {
            return self.poll_send(cx, bytes);
        }
        let whole = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, whole, |fd| {
            let mut control = SendAncillaryBuffer::default();
            rustix::net::sendmsg(fd, slices, &mut control, SendFlags::NOSIGNAL)
        })
    }

    /// Reads by `read` once the socket is readable. A result between 1 and `whole` - 1 means that
    /// nothing is left to read; with `whole` 0 only EAGAIN does.
    pub fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        whole: usize,
        mut read: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let is_drained = |count| 0 < count && count < whole && !self.is_urgent();
        while self.unread.load(Ordering::Relaxed) {
            match read(self.as_fd()) {
                Err(Errno::AGAIN) => self.unread.store(false, Ordering::Relaxed),
                Err(Errno::INTR) => {}
                Ok(count) => {
                    if is_drained(count) {
                        self.unread.store(false, Ordering::Relaxed);
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        loop {
            let mut guard = ready!(self.io.poll_read_ready(cx))?;
            match read(self.as_fd()) {
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Ok(count) => {
                    if is_drained(count) {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes by `write` once the socket is writable. A result between 1 and `whole` - 1 means
    /// that there is no room left; with `whole` 0 only EAGAIN does.
    pub fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        whole: usize,
        mut write: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.io.poll_write_ready(cx))?;
            match write(self.as_fd()) {
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Ok(count) => {
                    if 0 < count && count < whole {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Waits, without reading, until there is something to read: bytes, the end, or an error.
    pub async fn readable(&self) {
        if !self.unread.load(Ordering::Relaxed) {
            // An error is something to read, too.
            drop(self.io.readable().await);
        }
    }

    /// Waits, without reading, until the peer has reset or finished. Bytes that it sent stay where
    /// they are.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Gone> {
        loop {
            let Ok(mut guard) = ready!(self.io.poll_read_ready(cx)) else {
                return Poll::Ready(Gone::Reset);
            };
            if !guard.ready().is_read_closed() {
                // Clearing makes the next event wake us; the bytes must not be forgotten.
                self.unread.store(true, Ordering::Relaxed);
                guard.clear_ready();
                continue;
            }
            match rustix::net::recv(self.as_fd(), &mut [0; 1], RecvFlags::PEEK) {
                Ok((_, 0)) => return Poll::Ready(Gone::Finished),
                Ok(_) => {
                    return match sockopt::socket_error(self.as_fd()) {
                        Ok(Ok(())) => Poll::Ready(Gone::Behind),
                        Ok(Err(_)) | Err(_) => Poll::Ready(Gone::Reset),
                    };
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(_) => return Poll::Ready(Gone::Reset),
            }
        }
    }

    /// Has the peer ever sent urgent data? Reads stop short at its mark with more behind it, so a
    /// short read proves nothing there. (True as well once the peer has finished, where readiness
    /// is never cleared anyway.)
    pub fn is_urgent(&self) -> bool {
        self.io.try_io(Interest::PRIORITY, |_| Ok(())).is_ok()
    }

    /// Makes the next read try the kernel even if nothing has become readable.
    pub fn expect_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Finishes our sending: the peer reads what is queued and then the end of the stream.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.as_fd(), Shutdown::Write)?)
    }

    /// Ends the connection now, from any thread, while others still hold the socket: the send
    /// queue is discarded, the peer gets a RST, and whoever polls the socket gets an error.
    ///
    /// A unix socket has neither RST nor a queue of its own: both directions are shut down there,
    /// and the peer still reads what it has already been given.
    pub fn abort(&self) {
        // connect(AF_UNSPEC) is Linux's tcp_disconnect; unix sockets answer EINVAL.
        if rustix::net::connect_unspec(self.as_fd()).is_err() {
            // An error here says that the socket is no longer connected: what was wanted.
            rustix::net::shutdown(self.as_fd(), Shutdown::Both).ok();
        }
    }

    /// Makes the close of the last holder send a RST and discard the send queue.
    pub fn reset_on_close(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self.as_fd(), Some(Duration::ZERO))?)
    }

    /// Waits until the kernel has put everything we wrote on the wire, so that an abort discards
    /// nothing. Lasts as long as the peer's window stays shut: give it a deadline.
    pub async fn sent(&self) {
        // With this low-water mark the kernel calls the socket writable only with nothing unsent.
        // Where it cannot be set (unix sockets), a write is a delivery.
        if socket2::SockRef::from(&self.io).set_tcp_notsent_lowat(1).is_ok() {
            poll_fn(|cx| self.poll_sent(cx)).await;
        }
    }

    /// Is anything that we wrote still to be put on the wire, because the peer's window is shut?
    /// Says no once we have finished sending, and of unix sockets, where a write is a delivery.
    pub fn has_unsent(&self) -> bool {
        // See `sent`.
        let is_asked = socket2::SockRef::from(&self.io).set_tcp_notsent_lowat(1).is_ok();
        is_asked && !self.is_all_sent()
    }

    /// With the low-water mark that `sent` sets.
    fn is_all_sent(&self) -> bool {
        let mut asked = [PollFd::new(&self.io, PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(rustix::event::poll(&mut asked, Some(&at_once)), Ok(0) | Err(Errno::INTR))
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut guard) = ready!(self.io.poll_write_ready(cx)) else {
                return Poll::Ready(());
            };
            if guard.ready().is_write_closed() {
                return Poll::Ready(());
            }
            // First clear, then ask: room that comes in between makes a new event.
            guard.clear_ready();
            if self.is_all_sent() {
                return Poll::Ready(());
            }
        }
    }

    /// Sets the service's TCP options; what was accepted has inherited its listener's.
    pub fn tune(&self, tuning: &Tuning) -> io::Result<()> {
        tuning.apply(self.as_fd())
    }

    /// The other end.
    pub fn peer(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::from_kernel(rustix::net::getpeername(self.as_fd())?))
    }

    /// Our end.
    pub fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::from_kernel(Some(rustix::net::getsockname(self.as_fd())?)))
    }

    /// Waits until a connect under way has ended, well or not; the error is the socket's.
    pub(super) async fn connected(&self) -> io::Result<()> {
        let guard = poll_fn(|cx| self.io.poll_write_ready(cx)).await?;
        // Writable and not closed proves a connection without asking for SO_ERROR.
        if guard.ready().is_write_closed() {
            sockopt::socket_error(self.as_fd())??;
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }
}
