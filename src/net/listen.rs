//! Listening sockets: bound once, kept for as long as the process wants the address.
//!
//! Who owns a `Bound` owns the accept queue; acceptors work on duplicates of it, so that one may
//! crash and be replaced without a queued client noticing. Whatever is set here (no delay,
//! keep-alive, user timeout) is inherited by every accepted socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};

use crate::config::names::ListenAddress;
use crate::net::endpoint::Endpoint;
use crate::net::tuning::Tuning;

/// The accept queue we ask for; the kernel takes the lesser of this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound, listening socket.
#[derive(Debug)]
pub struct Bound {
    fd: OwnedFd,
    local: Endpoint,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", Explained(source))]
pub struct BindError {
    /// The address as it was asked for.
    pub address: ListenAddress,
    /// What the system answered.
    pub source: io::Error,
}

/// Binds `address` and listens on it, with `tuning` for what it accepts.
pub fn bind(address: &ListenAddress, tuning: &Tuning) -> Result<Bound, BindError> {
    let bound = match address {
        ListenAddress::AnyOnPort(_) => bind_any(&address.candidates(), tuning),
        ListenAddress::Ip(ip) => bind_ip(*ip, tuning),
        ListenAddress::Unix(path) => bind_unix(path),
    };
    bound.map_err(|source| BindError { address: address.clone(), source })
}

/// The first candidate that this machine can have at all. An address that is taken is an error and
/// no reason to try the next: half a dual-stack listener would be a trap.
fn bind_any(candidates: &[SocketAddr], tuning: &Tuning) -> io::Result<Bound> {
    let mut missing = io::Error::from(Errno::ADDRNOTAVAIL);
    for candidate in candidates {
        match bind_ip(*candidate, tuning) {
            Err(error) if is_family_missing(&error) => missing = error,
            settled => return settled,
        }
    }
    Err(missing)
}

fn is_family_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn bind_ip(address: SocketAddr, tuning: &Tuning) -> io::Result<Bound> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        // `::` serves both families whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    tuning.apply(&socket)?;
    listen_at(socket, &SockAddr::from(address))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    remove_if_stale(path)?;
    listen_at(socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?, &address)
}

fn listen_at(socket: socket2::Socket, address: &SockAddr) -> io::Result<Bound> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Bound::adopt(socket.into())
}

/// Removes a socket file that nobody listens on any more. Anything else at `path` stays.
///
/// # Errors
/// `AddrInUse` if somebody listens there; what the system says if that cannot be found out;
/// `AlreadyExists` if it is a file of another kind.
pub fn remove_if_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of this name that is not a socket",
        ));
    }
    if is_listened_on(path)? {
        return Err(Errno::ADDRINUSE.into());
    }
    std::fs::remove_file(path)
}

/// Does anybody listen on this socket file? Never waits for whoever does.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let asking = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match asking.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            // Its accept queue is full; a blocking connect would wait, perhaps for ever.
            Some(Errno::AGAIN) => Ok(true),
            Some(Errno::CONNREFUSED) => Ok(false),
            Some(_) | None => Err(error),
        },
    }
}

/// The system's answer, with what a person can do about it.
struct Explained<'a>(&'a io::Error);

// === impl Bound ===

impl Bound {
    /// Takes over a socket that already listens.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let local = Endpoint::from_kernel(Some(rustix::net::getsockname(&fd)?));
        Ok(Self { fd, local })
    }

    /// Where it listens: with the real port if port 0 was asked for.
    pub fn local(&self) -> &Endpoint {
        &self.local
    }

    /// Is it what `address` asks for?
    pub fn is_at(&self, address: &ListenAddress) -> bool {
        match (address, &self.local) {
            (ListenAddress::AnyOnPort(port), Endpoint::Ip(local)) => {
                local.ip().is_unspecified() && local.port() == *port
            }
            (ListenAddress::Ip(asked), local @ Endpoint::Ip(_)) => Endpoint::from(*asked) == *local,
            (ListenAddress::Unix(path), Endpoint::Unix(local)) => local.as_ref() == Some(path),
            (ListenAddress::AnyOnPort(_) | ListenAddress::Ip(_), Endpoint::Unix(_))
            | (ListenAddress::Unix(_), Endpoint::Ip(_)) => false,
        }
    }

    /// A duplicate for an acceptor (or for the next binary): the same accept queue.
    pub fn lend(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Changes what will be accepted from now on inherits.
    pub fn tune(&self, tuning: &Tuning) -> io::Result<()> {
        tuning.apply(&self.fd)
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// === impl Explained ===

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_io_error(self.0) {
            Some(Errno::ADDRINUSE) => f.write_str(
                "the address is in use: another process, or another socket of ours, listens there",
            ),
            Some(Errno::ACCESS | Errno::PERM) => f.write_str(
                "not permitted: a port below net.ipv4.ip_unprivileged_port_start (1024) needs \
                 CAP_NET_BIND_SERVICE, a unix socket needs a folder that can be written to",
            ),
            Some(Errno::ADDRNOTAVAIL) => f.write_str("this machine has no such address"),
            Some(Errno::AFNOSUPPORT) => {
                f.write_str("this machine does not speak this family of addresses (IPv6 is off?)")
            }
            Some(Errno::NOENT) => f.write_str("the folder does not exist"),
            Some(_) | None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn bind_on(address: &ListenAddress) -> Result<Bound, BindError> {
        bind(address, &Tuning::default())
    }

    fn port_of(bound: &Bound) -> u16 {
        bound.local().ip().unwrap().port()
    }

    /// Binds and fails; the message has each of these words.
    fn check(address: &ListenAddress, expected: &[&str]) {
        let message = bind_on(address).expect_err("not to be bound").to_string();
        for words in expected {
            assert!(message.contains(words), "{message:?} lacks {words:?}");
        }
    }

    #[test]
    fn any_on_port_serves_ipv4_also_where_there_is_ipv6() {
        let bound = bind_on(&ListenAddress::AnyOnPort(0)).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&bound))).unwrap();
    }

    #[test]
    fn the_next_candidate_is_tried_only_where_the_family_is_missing() {
        // 192.0.2.1 (RFC 5737) is no address of this machine, as `::` is none without IPv6.
        let missing = SocketAddr::from(([192, 0, 2, 1], 0));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tuning = Tuning::default();
        let bound = bind_any(&[missing, local], &tuning).unwrap();
        let taken = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&bound)));
        let error = bind_any(&[taken, local], &tuning).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(bind_any(&[missing], &tuning).is_err());
    }

    #[test]
    fn a_bind_that_fails_names_the_address_and_the_cause() {
        let bound = bind_on(&ListenAddress::Ip(([127, 0, 0, 1], 0).into())).unwrap();
        let taken = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&bound)));
        check(&ListenAddress::Ip(taken), &[&taken.to_string(), "in use"]);
        check(
            &ListenAddress::Ip(([192, 0, 2, 1], 80).into()),
            &["192.0.2.1:80", "no such address"],
        );
        check(&ListenAddress::Unix("/no/such/folder/s".into()), &["unix:/no/such", "folder"]);
    }

    #[test]
    fn a_unix_path_is_taken_over_only_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = ListenAddress::Unix(path.clone());
        let living = UnixListener::bind(&path).unwrap();
        check(&address, &["in use"]);
        drop(living);
        assert!(path.exists());
        let bound = bind_on(&address).unwrap();
        UnixStream::connect(&path).unwrap();
        check(&address, &["in use"]);
        drop(bound);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        check(&address, &["not a socket"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_unix_path_whose_listener_is_too_busy_to_accept_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let new = || socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        let (busy, address) = (new(), SockAddr::unix(&path).unwrap());
        busy.bind(&address).unwrap();
        busy.listen(0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            let client = new();
            match client.connect(&address) {
                Ok(()) => waiting.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        check(&ListenAddress::Unix(path.clone()), &["in use"]);
        assert!(path.exists());
    }

    #[test]
    fn a_lent_duplicate_keeps_the_accept_queue_alive() {
        let bound = bind_on(&ListenAddress::Ip(([127, 0, 0, 1], 0).into())).unwrap();
        let port = port_of(&bound);
        let lent = bound.lend().unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop(bound);
        let adopted = Bound::adopt(lent).unwrap();
        assert_eq!(port_of(&adopted), port);
        rustix::net::accept(&adopted).unwrap();
    }
}
