//! For tests: pairs of connected sockets, over real loopback TCP and unix sockets.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::net::socket::Socket;

/// A stream as an outside peer holds it, and the socket that it is connected to.
pub async fn tcp() -> (TcpStream, Socket) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let accepted = accepted.unwrap().0.into_std().unwrap();
    (peer.unwrap(), Socket::from_accepted(accepted.into()).unwrap())
}

/// The same over a pair of unix sockets.
pub fn unix() -> (UnixStream, Socket) {
    let (peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    (UnixStream::from_std(peer).unwrap(), Socket::from_accepted(ours.into()).unwrap())
}
