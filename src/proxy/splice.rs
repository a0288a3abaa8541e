//! Splicing: bulk goes from socket to socket through a kernel pipe, with no copy through us.
//!
//! Pipes come from a pool of the thread, which bounds how many exist at all, and go back to it only
//! empty: one that is dropped with bytes in it is closed, so that nobody's bytes ever reach
//! another's session. Which bytes are worth splicing is for `direction`.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::net::socket::Socket;

/// The size asked for; the kernel's default is 64 KiB.
const SIZE: usize = 256 * 1024;
/// A pipe smaller than this (the user's pipe memory is used up) is not worth having.
const LEAST: usize = 64 * 1024;
/// The most pipes of one thread, in use and kept, unless `allow` says fewer. Each takes two
/// descriptors.
pub const MOST: usize = 64;
/// How many of them a thread keeps for later.
const KEPT: usize = 16;

/// Descriptors are a thing of the whole process, and so is what may be taken of them.
static ALLOWED: AtomicUsize = AtomicUsize::new(MOST);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { idle: Vec::new(), alive: 0 }) };
}

struct Pool {
    idle: Vec<Ends>,
    alive: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A borrowed pipe.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Absent only while it is being returned.
    ends: Option<Ends>,
    filled: usize,
}

/// Allows each thread this many pipes, and never more than `MOST`. Those that there are stay.
pub fn allow(pipes: usize) {
    ALLOWED.store(pipes.min(MOST), Ordering::Relaxed);
}

impl Pipe {
    /// Borrows an empty pipe, if there is one to be had.
    pub(super) fn take() -> Option<Self> {
        let ends = POOL.with_borrow_mut(|pool| {
            if let Some(ends) = pool.idle.pop() {
                return Some(ends);
            }
            if pool.alive >= ALLOWED.load(Ordering::Relaxed) {
                return None;
            }
            let ends = Ends::open().ok()??;
            pool.alive += 1;
            Some(ends)
        })?;
        Some(Self { ends: Some(ends), filled: 0 })
    }

    /// How many bytes are in it.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Moves what `source` has into the pipe, which must be empty. 0 is the end of the stream, or
    /// an urgent mark in front of it: only a read can tell.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
    ) -> Poll<io::Result<usize>> {
        let pipe = &self.ends().write;
        let count = ready!(source.poll_read_with(cx, 0, |socket| {
            rustix::pipe::splice(socket, None, pipe, None, SIZE, flags())
        }))?;
        self.filled += count;
        Poll::Ready(Ok(count))
    }

    /// Moves some of what is in the pipe to `sink`.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Socket,
    ) -> Poll<io::Result<usize>> {
        let pipe = &self.ends().read;
        let filled = self.filled;
        let count = ready!(sink.poll_write_with(cx, 0, |socket| {
            rustix::pipe::splice(pipe, None, socket, None, filled, flags())
        }))?;
        self.filled -= count;
        Poll::Ready(Ok(count))
    }

    /// Takes bytes out of the pipe by copying: for a sink that cannot be spliced to.
    pub(super) fn copy_out(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(&self.ends().read, room)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.filled -= count;
                Ok(count)
            }
        }
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("a pipe has its ends until it is dropped")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        let is_empty = self.filled == 0;
        // A thread that is ending has no pool any more: then the pipe is simply closed.
        POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if is_empty && pool.idle.len() < KEPT {
                pool.idle.push(ends);
            } else {
                pool.alive -= 1;
            }
        })
        .ok();
    }
}

impl Ends {
    /// A new pipe; `None` if it came out too small.
    fn open() -> io::Result<Option<Self>> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let size = rustix::pipe::fcntl_setpipe_size(&write, SIZE)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        Ok((size >= LEAST).then_some(Self { read, write }))
    }
}

/// Does the error say that splicing is not possible here, rather than that a peer is gone?
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::NOMEM)
    )
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

#[cfg(test)]
impl Pipe {
    /// A pipe that cannot be spliced through, being a pair of sockets, with `filled` bytes in it.
    pub(super) fn unspliceable(filled: &[u8]) -> Self {
        let (read, mut write) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
        io::Write::write_all(&mut write, filled).expect("room for a few bytes");
        POOL.with_borrow_mut(|pool| pool.alive += 1);
        let ends = Ends { read: read.into(), write: write.into() };
        Self { ends: Some(ends), filled: filled.len() }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::net::loopback;

    fn counts() -> (usize, usize) {
        POOL.with_borrow(|pool| (pool.idle.len(), pool.alive))
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_in_it_never_returns_to_the_pool() {
        let (mut peer, source) = loopback::tcp().await;
        peer.write_all(b"secret").await.unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &source)).await.unwrap(), 6);
        drop(pipe);
        assert_eq!(counts(), (0, 0));
        drop(Pipe::take());
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn there_are_never_more_pipes_than_allowed_and_few_are_kept() {
        let all: Vec<_> = std::iter::from_fn(Pipe::take).collect();
        assert_eq!(all.len(), MOST);
        drop(all);
        assert_eq!(counts(), (KEPT, KEPT));
        assert!(Pipe::take().is_some());
    }

    #[test]
    fn only_what_says_that_splicing_is_impossible_falls_back_to_copying() {
        for error in [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP] {
            assert!(is_unsupported(&error.into()), "{error}");
        }
        for error in [Errno::CONNRESET, Errno::PIPE, Errno::TIMEDOUT, Errno::NOTCONN] {
            assert!(!is_unsupported(&error.into()), "{error}");
        }
    }
}
