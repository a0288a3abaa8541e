//! The relay of a session of which a side speaks TLS.
//!
//! As `relay` in everything that a peer can see: `close_notify` with FIN is what FIN is there, and
//! an end without it is a cut, which becomes a reset of the other side.

use std::io;
use std::task::{Context, Poll};

use crate::net::peer::Peer;
use crate::net::socket::Socket;
use crate::proxy::meter::Meter;
use crate::proxy::relay::{Cut, Ends, Relayed, relay, run};
use crate::proxy::secure_direction::SecureDirection;
use crate::proxy::transfer::Terminal;
use crate::proxy::watch::RelayLimits;

/// Relays between two peers as `relay` does between two sockets, and by it if both are plain.
///
/// Handshakes are over, and whatever was read with their last messages is passed on first. Memory
/// is what `direction` and `secure_direction` bound it to; an idle session holds only what rustls
/// keeps.
pub async fn relay_peers(
    client: &mut Peer,
    target: &mut Peer,
    limits: RelayLimits,
    meter: &Meter,
    cut: &Cut,
) -> Relayed {
    if let (Peer::Plain(client), Peer::Plain(target)) = (&*client, &*target) {
        return relay(client, target, limits, meter, cut).await;
    }
    run::<_, SecureDirection>(Ends { client, target }, limits, meter, cut).await
}

impl Terminal for Peer {
    fn socket(&self) -> &Socket {
        self.socket()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.records() {
            Some(mut records) => records.poll_finish(cx),
            None => Poll::Ready(self.socket().shutdown_write()),
        }
    }
}
