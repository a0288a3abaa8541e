//! Accepting: what waits in a listening socket's queue becomes connections.
//!
//! No error is fatal: one that concerns a single connection is passed over, one that says that we
//! are short of something is handed back, and the listener pauses. The caller does the waiting.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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

    /// Pending only with nothing added to `accepted`.
    fn poll_accept(
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
            match accept_one(&self.io) {
                Ok(connection) => accepted.push(connection),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) if is_of_one_client(error) => {}
                Err(error) => return Poll::Ready(Turn::Pause(error.into())),
            }
        }
        Poll::Ready(Turn::Done)
    }
}

/// Moves up to `limit` of those who wait in the queue of a bound socket now to `accepted`, and waits
/// for nobody. False: the queue is empty.
///
/// # Errors
/// The system is short of something: what `accepted` has is good, and the queue keeps the rest.
pub fn take_queued(
    bound: impl AsFd,
    accepted: &mut Vec<Accepted>,
    limit: usize,
) -> io::Result<bool> {
    for _ in 0..limit {
        match accept_one(&bound) {
            Ok(connection) => accepted.push(connection),
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) if is_of_one_client(error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn accept_one(listening: impl AsFd) -> rustix::io::Result<Accepted> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer) = rustix::net::acceptfrom_with(listening, flags)?;
    Ok(Accepted { fd, peer: Endpoint::from_kernel(peer) })
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use rustix::net::sockopt;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::config::model::KeepAlive;
    use crate::config::names::ListenAddress;
    use crate::net::listen::{Bound, bind};
    use crate::net::tuning::Tuning;

    const SOON: Duration = Duration::from_secs(10);

    fn listening(tuning: &Tuning) -> (Bound, SocketAddr) {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = bind(&ListenAddress::Ip(anywhere), tuning).unwrap();
        let address = bound.local().ip().unwrap();
        (bound, address)
    }

    async fn accept(acceptor: &Acceptor, limit: usize) -> Vec<Accepted> {
        let mut accepted = Vec::new();
        let turn = timeout(SOON, acceptor.accept(&mut accepted, limit)).await.unwrap();
        assert!(matches!(turn, Turn::Done));
        accepted
    }

    #[tokio::test]
    async fn what_is_accepted_has_the_tuning_of_its_listener() {
        let tuning = Tuning {
            keep_alive: KeepAlive {
                idle: Duration::from_secs(7),
                interval: Duration::from_secs(3),
                count: 5,
            },
            user_timeout: Some(Duration::from_millis(4321)),
        };
        let (bound, address) = listening(&tuning);
        let acceptor = Acceptor::new(bound.lend().unwrap()).unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let accepted = accept(&acceptor, 1).await.pop().unwrap();
        assert_eq!(accepted.peer.ip(), Some(client.local_addr().unwrap()));
        let fd = &accepted.fd;
        assert!(sockopt::tcp_nodelay(fd).unwrap() && sockopt::socket_keepalive(fd).unwrap());
        assert_eq!(sockopt::tcp_keepidle(fd).unwrap(), Duration::from_secs(7));
        assert_eq!(sockopt::tcp_keepintvl(fd).unwrap(), Duration::from_secs(3));
        assert_eq!(sockopt::tcp_user_timeout(fd).unwrap(), 4321);
        assert!(rustix::fs::fcntl_getfl(fd).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[tokio::test]
    async fn a_turn_takes_what_waits_up_to_its_limit_and_the_next_goes_on() {
        let (bound, address) = listening(&Tuning::default());
        let acceptor = Acceptor::new(bound.lend().unwrap()).unwrap();
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(accept(&acceptor, 3).await.len(), 3);
        assert_eq!(accept(&acceptor, 3).await.len(), 2);
        let mut none = Vec::new();
        let waiting = acceptor.accept(&mut none, 3);
        timeout(Duration::from_millis(20), waiting).await.expect_err("nobody else is there");
    }

    #[tokio::test]
    async fn the_queue_outlives_an_acceptor() {
        let (bound, address) = listening(&Tuning::default());
        let first = Acceptor::new(bound.lend().unwrap()).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        drop(first);
        let second = Acceptor::new(bound.lend().unwrap()).unwrap();
        assert_eq!(accept(&second, 1).await.len(), 1);
    }

    #[tokio::test]
    async fn a_queue_is_taken_without_waiting_until_it_is_empty() {
        let (bound, address) = listening(&Tuning::default());
        let mut clients = Vec::new();
        for _ in 0..BATCH + 3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut accepted = Vec::new();
        assert!(take_queued(&bound, &mut accepted, BATCH).unwrap(), "there may be more");
        assert_eq!(accepted.len(), BATCH);
        assert!(!take_queued(&bound, &mut accepted, BATCH).unwrap());
        assert_eq!(accepted.len(), clients.len());
    }

    #[tokio::test]
    async fn a_client_that_reset_in_the_queue_is_no_trouble() {
        let (bound, address) = listening(&Tuning::default());
        let acceptor = Acceptor::new(bound.lend().unwrap()).unwrap();
        TcpStream::connect(address).await.unwrap().set_zero_linger().unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        assert!(!accept(&acceptor, 2).await.is_empty());
    }

    #[test]
    fn only_what_concerns_one_client_is_passed_over() {
        for error in [Errno::CONNABORTED, Errno::PROTO, Errno::INTR, Errno::NETUNREACH] {
            assert!(is_of_one_client(error), "{error}");
        }
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            assert!(!is_of_one_client(error), "{error}");
        }
    }
}
