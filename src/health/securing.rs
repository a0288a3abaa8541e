//! TLS that begins in the middle of a probe, and what a handshake agreed on, in words.

use std::future::{Future, ready};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::connect;
use crate::net::connectors::Connector;
use crate::net::peer::Peer;
use crate::net::tls_fault::date;
use crate::wire::certificate::facts_of;

/// Of the name in a certificate, this much is shown.
const SUBJECT: usize = 100;

/// A stream that a script can talk over.
pub trait Talking: AsyncRead + AsyncWrite + Unpin {
    /// Goes on in TLS; what was agreed on, and with whom. What fails leaves it of no use.
    fn begin_tls(&mut self, _connector: &Connector) -> impl Future<Output = io::Result<String>> {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl Talking for Peer {
    async fn begin_tls(&mut self, connector: &Connector) -> io::Result<String> {
        *self = connect::begin_tls(self.socket(), connector).await?;
        Ok(agreed(self).unwrap_or_default())
    }
}

/// What a handshake agreed on, and with whom; nothing without TLS.
pub fn agreed(peer: &Peer) -> Option<String> {
    let agreed = peer.agreed()?;
    let leaf = peer.certificate().and_then(|leaf| facts_of(leaf, 1).ok());
    let with = leaf.map_or(String::new(), |leaf| {
        let subject = leaf.subject.chars().take(SUBJECT).flat_map(char::escape_debug);
        let subject: String = subject.collect();
        let until = u64::try_from(leaf.not_after).unwrap_or(0);
        format!(", with {subject} until {}, key {}", date(until), leaf.spki)
    });
    Some(format!("{agreed}{with}"))
}
