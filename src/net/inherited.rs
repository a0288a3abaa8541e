//! Inherited sockets: those that somebody has bound for us and handed over as `LISTEN_FDS`
//! (sd_listen_fds(3)), such as systemd by a socket unit.

use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt;

use crate::net::listen::Bound;

/// Takes them over. Before anything else is opened: they are known by their numbers only. Those
/// that nobody can accept from are left alone, and told.
pub fn take() -> Vec<Bound> {
    let mut handed_over = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..handed_over.len() {
        match take_one(&mut handed_over, index) {
            Ok(bound) => taken.push(bound),
            Err(why) => log::warn!("LISTEN_FDS: socket {index} is not used: {why}"),
        }
    }
    taken
}

fn take_one(handed_over: &mut ListenFd, index: usize) -> Result<Bound, String> {
    let tcp = handed_over.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
    let unix = || handed_over.take_unix_listener(index).ok().flatten().map(OwnedFd::from);
    let fd = tcp.or_else(unix).ok_or("it is neither a TCP nor a unix stream socket")?;
    match sockopt::socket_acceptconn(&fd) {
        Ok(true) => Bound::adopt(fd).map_err(|error| error.to_string()),
        Ok(false) => Err("it does not listen".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
