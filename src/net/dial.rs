//! Dialling: one connect to one known address, by a deadline. Sessions and probes dial alike.
//!
//! Names are resolved elsewhere. Dropping the future closes the socket: a target never sees more
//! of a cancelled dial than a connection that ends. A failure says whose it is: what is wrong on
//! our own side must never count against the target.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::time::Instant;

use crate::config::names::TargetAddress;
use crate::net::socket::Socket;
use crate::net::tuning::Tuning;

/// How long a unix target whose accept queue is full is left alone before it is asked again: the
/// kernel has no event for it.
const UNIX_RETRY: Duration = Duration::from_millis(5);

/// Where a dial goes: nothing in it is left to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A TCP address.
    Ip(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("target {destination} {}", Told(self))]
pub struct DialError {
    /// What kind of failure it is.
    pub fault: DialFault,
    /// Where the dial went.
    pub destination: Destination,
    /// What the system answered; absent for our own deadline.
    pub source: Option<io::Error>,
}

/// The kinds of failed dials, by what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialFault {
    /// Nobody listens there.
    Refused,
    /// Somebody did, and reset the connection at once.
    Reset,
    /// No answer before the deadline, or before the kernel gave up.
    TimedOut,
    /// It was connected to, and the TLS handshake failed. It is there, and not as it should be.
    Handshake,
    /// The network says that the way to the target is broken.
    Unreachable,
    /// Trouble of our own (descriptors, ports, memory, no route, a firewall rule): says nothing of
    /// the target, and must not be held against it.
    OwnSide,
    /// None of these.
    Other,
}

/// Connects to `destination` before `deadline`.
pub async fn dial(
    destination: &Destination,
    deadline: Instant,
    tuning: &Tuning,
) -> Result<Socket, DialError> {
    let connecting = async {
        match destination {
            Destination::Ip(address) => dial_ip(*address, tuning).await,
            Destination::Unix(path) => dial_unix(path).await,
        }
    };
    let failed = |fault, source| DialError { fault, destination: destination.clone(), source };
    match tokio::time::timeout_at(deadline, connecting).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(Failed { at, error })) => Err(failed(judge(at, &error), Some(error))),
        Err(_) => Err(failed(DialFault::TimedOut, None)),
    }
}

/// The moment of a failure: what the kernel says at once it says of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Before anything was sent.
    Preparing,
    /// After.
    Connecting,
}

/// A failure and its moment.
struct Failed {
    at: Moment,
    error: io::Error,
}

async fn dial_ip(address: SocketAddr, tuning: &Tuning) -> Result<Socket, Failed> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = open(family).map_err(preparing)?;
    tuning.apply(&fd).map_err(preparing)?;
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(preparing(error)),
    }
    let socket = Socket::from_accepted(fd).map_err(preparing)?;
    socket.connected().await.map_err(connecting)?;
    if is_self_connected(&socket, address) {
        return Err(connecting(Errno::CONNREFUSED));
    }
    Ok(socket)
}

/// TCP lets a socket connect to itself: with nobody listening on a port out of the ephemeral
/// range, the kernel sooner or later picks that very port for our end, and a dead target answers
/// with our own bytes. A privileged port is never picked.
fn is_self_connected(socket: &Socket, address: SocketAddr) -> bool {
    const FIRST_UNPRIVILEGED: u16 = 1024;
    address.port() >= FIRST_UNPRIVILEGED
        && rustix::net::getsockname(socket)
            .is_ok_and(|local| SocketAddr::try_from(local) == Ok(address))
}

async fn dial_unix(path: &PathBuf) -> Result<Socket, Failed> {
    let address = SocketAddrUnix::new(path).map_err(preparing)?;
    let fd = open(AddressFamily::UNIX).map_err(preparing)?;
    loop {
        match rustix::net::connect(&fd, &address) {
            Ok(()) => return Socket::from_accepted(fd).map_err(preparing),
            Err(Errno::AGAIN) => tokio::time::sleep(UNIX_RETRY).await,
            Err(Errno::INTR) => {}
            Err(error) => return Err(connecting(error)),
        }
    }
}

fn open(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

fn preparing(error: impl Into<io::Error>) -> Failed {
    Failed { at: Moment::Preparing, error: error.into() }
}

fn connecting(error: impl Into<io::Error>) -> Failed {
    Failed { at: Moment::Connecting, error: error.into() }
}

fn judge(at: Moment, error: &io::Error) -> DialFault {
    match (Errno::from_io_error(error), at) {
        // A unix socket file that is not there is a target that is not there.
        (Some(Errno::CONNREFUSED | Errno::NOENT), _) => DialFault::Refused,
        (Some(Errno::CONNRESET | Errno::PIPE), _) => DialFault::Reset,
        (Some(Errno::TIMEDOUT), _) => DialFault::TimedOut,
        (
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::HOSTDOWN),
            Moment::Connecting,
        ) => DialFault::Unreachable,
        (Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM), _)
        | (Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM), _)
        | (Some(_) | None, Moment::Preparing) => DialFault::OwnSide,
        (Some(_) | None, Moment::Connecting) => DialFault::Other,
    }
}

/// The second half of a failure's sentence.
struct Told<'a>(&'a DialError);

// === impl DialError ===

impl DialError {
    fn is_tcp(&self) -> bool {
        matches!(self.destination, Destination::Ip(_))
    }

    /// What came of a connection that was there, before it was of use.
    pub(super) fn after_connect(destination: &Destination, error: io::Error) -> Self {
        // Ours or the system's.
        let is_late = error.kind() == io::ErrorKind::TimedOut;
        let fault = if is_late { DialFault::TimedOut } else { judge(Moment::Connecting, &error) };
        Self { fault, destination: destination.clone(), source: Some(error) }
    }
}

// === impl Destination ===

impl Destination {
    /// The destination of an address that needs no resolving; `None` for a name.
    pub fn known(address: &TargetAddress) -> Option<Self> {
        match address {
            TargetAddress::Ip(address) => Some(Self::Ip(*address)),
            TargetAddress::Unix(path) => Some(Self::Unix(path.clone())),
            TargetAddress::Name { .. } => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Told ===

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.fault {
            DialFault::Refused => "refused the connection",
            DialFault::Reset => "reset the connection at once",
            DialFault::TimedOut => "did not answer in time to the connect",
            DialFault::Unreachable => "is unreachable",
            DialFault::Handshake => "failed the TLS handshake",
            DialFault::OwnSide => "was not dialled, for a fault on our own side",
            DialFault::Other => "could not be connected to",
        })?;
        let Some(error) = &self.0.source else { return Ok(()) };
        match Errno::from_io_error(error) {
            // The kernel keeps a port for a minute after whoever finished first.
            Some(Errno::ADDRNOTAVAIL) if self.0.is_tcp() => f.write_str(
                ": every local port towards it is in use; see net.ipv4.ip_local_port_range and \
                 net.ipv4.tcp_tw_reuse",
            ),
            Some(_) | None => write!(f, ": {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);

    async fn dial_for(destination: &Destination, time: Duration) -> Result<Socket, DialError> {
        dial(destination, Instant::now() + time, &Tuning::default()).await
    }

    /// A dial that fails so, with these words.
    async fn check(destination: Destination, time: Duration, fault: DialFault, words: &str) {
        let error = dial_for(&destination, time).await.expect_err("not to be connected");
        assert_eq!(error.fault, fault, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(&destination.to_string()), "{error}");
    }

    /// Takes an address out of use that was just in use.
    async fn nobody_listens() -> Destination {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Destination::Ip(listener.local_addr().unwrap())
    }

    /// A listener that answers no SYN any more: its queue is full.
    fn black_hole() -> (socket2::Socket, Vec<std::net::TcpStream>, Destination) {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting =
            std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, SHORT).ok());
        let waiting = waiting.collect();
        (listener, waiting, Destination::Ip(address))
    }

    #[tokio::test]
    async fn a_dial_connects_and_the_socket_works() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let destination = Destination::Ip(listener.local_addr().unwrap());
        let socket = dial_for(&destination, SOON).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        assert_eq!(socket.local().unwrap().ip(), Some(peer));
        accepted.try_write(b"hi").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await.unwrap(), 2);
        assert!(rustix::net::sockopt::tcp_nodelay(&socket).unwrap());
    }

    #[tokio::test]
    async fn a_unix_target_is_dialled_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let destination = Destination::Unix(path.clone());
        check(destination.clone(), SOON, DialFault::Refused, "refused").await;
        let listener = UnixListener::bind(&path).unwrap();
        dial_for(&destination, SOON).await.unwrap();
        drop(listener);
        check(destination, SOON, DialFault::Refused, "refused").await;
    }

    #[tokio::test]
    async fn a_refusal_is_known_at_once() {
        check(nobody_listens().await, SOON, DialFault::Refused, "refused the connection").await;
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline() {
        let (_listener, _waiting, destination) = black_hole();
        check(destination, SHORT, DialFault::TimedOut, "did not answer in time").await;
    }

    #[tokio::test]
    async fn a_socket_connected_to_itself_is_nobody_listening() {
        let Destination::Ip(address) = nobody_listens().await else { unreachable!() };
        let fd = open(AddressFamily::INET).unwrap();
        rustix::net::bind(&fd, &address).unwrap();
        match rustix::net::connect(&fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => panic!("{error}"),
        }
        let socket = Socket::from_accepted(fd).unwrap();
        socket.connected().await.unwrap();
        assert!(is_self_connected(&socket, address));
    }

    #[test]
    fn whoever_has_no_port_left_is_told_where_there_are_more() {
        let destination = Destination::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let source = Some(Errno::ADDRNOTAVAIL.into());
        let error = DialError { fault: DialFault::OwnSide, destination, source };
        assert!(error.to_string().contains("in use; see net.ipv4.ip_local"), "{error}");
    }

    #[test]
    fn what_the_kernel_says_at_once_it_says_of_us() {
        use DialFault::{OwnSide, Refused, Reset, TimedOut, Unreachable};
        use Moment::{Connecting, Preparing};
        for (moment, error, expected) in [
            (Preparing, Errno::NETUNREACH, OwnSide),
            (Connecting, Errno::NETUNREACH, Unreachable),
            (Preparing, Errno::HOSTUNREACH, OwnSide),
            (Connecting, Errno::HOSTUNREACH, Unreachable),
            (Preparing, Errno::MFILE, OwnSide),
            (Preparing, Errno::ADDRNOTAVAIL, OwnSide),
            (Connecting, Errno::PERM, OwnSide),
            (Connecting, Errno::CONNREFUSED, Refused),
            (Connecting, Errno::CONNRESET, Reset),
            (Connecting, Errno::TIMEDOUT, TimedOut),
        ] {
            assert_eq!(judge(moment, &error.into()), expected, "{moment:?} {error}");
        }
    }
}
