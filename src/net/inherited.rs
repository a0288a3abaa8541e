//! Inherited sockets: those that somebody has bound for us and handed over as `LISTEN_FDS`
//! (sd_listen_fds(3)): systemd by a socket unit, or in an upgrade the process before us.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use rustix::net::sockopt;

use crate::net::listen::Bound;

/// Set in an upgrade: of the sockets that are handed over, so many, the first, were inherited by the
/// process before us; the last is no listening socket, but the line to it.
pub const UPGRADE: &str = "STAGEDOOR_UPGRADE";
/// What is said on the line once we serve.
pub const SERVES: &[u8; 7] = b"SERVES\n";

/// What is handed over to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Bound by somebody who keeps them too.
    pub lasting: Vec<Bound>,
    /// Bound by a process that we succeed.
    pub handed_over: Vec<Bound>,
    /// The line to that process.
    pub line: Option<UnixStream>,
}

/// Takes everything over. Before anything else is opened: it is known by its numbers only. Sockets
/// that nobody can accept from are left alone, and told.
pub fn take() -> Inherited {
    let mut fds = ListenFd::from_env();
    let before = std::env::var(UPGRADE).ok().and_then(|count| count.parse::<usize>().ok());
    let mut inherited = Inherited::default();
    let mut count = fds.len();
    if before.is_some() && count > 0 {
        count -= 1;
        inherited.line = take_unix(&mut fds, count).map(UnixStream::from);
    }
    for index in 0..count {
        match take_one(&mut fds, index) {
            Ok(bound) if before.is_some_and(|lasting| index >= lasting) => {
                inherited.handed_over.push(bound);
            }
            Ok(bound) => inherited.lasting.push(bound),
            Err(why) => log::warn!("LISTEN_FDS: socket {index} is not used: {why}"),
        }
    }
    inherited
}

fn take_one(fds: &mut ListenFd, index: usize) -> Result<Bound, String> {
    let tcp = fds.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
    let fd = tcp
        .or_else(|| take_unix(fds, index))
        .ok_or("it is neither a TCP nor a unix stream socket")?;
    match sockopt::socket_acceptconn(&fd) {
        Ok(true) => Bound::adopt(fd).map_err(|error| error.to_string()),
        Ok(false) => Err("it does not listen".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn take_unix(fds: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    fds.take_unix_listener(index).ok().flatten().map(OwnedFd::from)
}
