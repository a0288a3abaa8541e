//! For tests: a relay under way between two peers that a test holds, of which some speak TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::net::loopback;
use crate::net::loopback_tls::Configs;
use crate::net::peer::Peer;
use crate::proxy::meter::Meter;
use crate::proxy::relay::Cut;
use crate::proxy::relaying::{Relaying, Running};
use crate::proxy::secure_relay::relay_peers;
use crate::proxy::watch::RelayLimits;

/// How a side talks: by this version of TLS, or plainly.
pub(super) type Tongue = Option<&'static SupportedProtocolVersion>;

/// The client and the target of every kind of session of which a side speaks TLS, and of one
/// where neither does.
pub(super) const PAIRS: [[Tongue; 2]; 9] = [
    [None, None],
    [None, Some(&TLS12)],
    [None, Some(&TLS13)],
    [Some(&TLS12), None],
    [Some(&TLS12), Some(&TLS12)],
    [Some(&TLS12), Some(&TLS13)],
    [Some(&TLS13), None],
    [Some(&TLS13), Some(&TLS12)],
    [Some(&TLS13), Some(&TLS13)],
];

/// An outside peer.
#[derive(Debug)]
pub(super) enum Outside {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// A relay between peers that talk so.
pub(super) async fn secure(
    [client, target]: [Tongue; 2],
    limits: RelayLimits,
) -> Relaying<Outside, Outside> {
    let client = match client {
        Some(version) => secure_client(Configs::of(version)).await,
        None => plain().await,
    };
    let target = match target {
        Some(version) => secure_target(Configs::of(version)).await,
        None => plain().await,
    };
    between(client, target, limits)
}

pub(super) async fn plain() -> (Outside, Peer) {
    let (outside, socket) = loopback::tcp().await;
    (Outside::Plain(outside), Peer::from(Arc::new(socket)))
}

pub(super) async fn secure_client(configs: Configs) -> (Outside, Peer) {
    let (outside, peer) = configs.client().await;
    (Outside::Secure(Box::new(outside.into())), peer)
}

pub(super) async fn secure_target(configs: Configs) -> (Outside, Peer) {
    let (outside, peer) = configs.server().await;
    (Outside::Secure(Box::new(outside.into())), peer)
}

/// A relay between these two.
pub(super) fn between<Client, Target>(
    (client, mut client_peer): (Client, Peer),
    (target, mut target_peer): (Target, Peer),
    limits: RelayLimits,
) -> Relaying<Client, Target> {
    let sockets = [Arc::clone(client_peer.socket()), Arc::clone(target_peer.socket())];
    let (meter, cut) = (Arc::new(Meter::default()), Arc::new(Cut::default()));
    let ended = tokio::spawn({
        let (meter, cut) = (Arc::clone(&meter), Arc::clone(&cut));
        async move { relay_peers(&mut client_peer, &mut target_peer, limits, &meter, &cut).await }
    });
    Relaying { client, target, relay: Running { sockets, meter, cut, ended } }
}

// === impl Outside ===

impl Outside {
    /// The connection under it.
    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(stream) => match &mut **stream {
                TlsStream::Client(stream) => stream.get_mut().0,
                TlsStream::Server(stream) => stream.get_mut().0,
            },
        }
    }

    /// Resets the connection.
    pub(super) fn reset(mut self) {
        self.tcp().set_zero_linger().unwrap();
    }

    /// Ends its stream by FIN alone, without `close_notify`.
    pub(super) async fn truncate(&mut self) {
        self.tcp().shutdown().await.unwrap();
    }

    /// Says that its stream ends, and leaves the connection as it is.
    pub(super) async fn notify(&mut self) {
        match self {
            Self::Plain(_) => panic!("only TLS has words for it"),
            Self::Secure(stream) => match &mut **stream {
                TlsStream::Client(stream) => stream.get_mut().1.send_close_notify(),
                TlsStream::Server(stream) => stream.get_mut().1.send_close_notify(),
            },
        }
        self.flush().await.unwrap();
    }

    /// Changes its keys, and asks the other side to do so.
    pub(super) fn change_keys(&mut self) {
        let Self::Secure(stream) = self else { return };
        match &mut **stream {
            TlsStream::Client(stream) => stream.get_mut().1.refresh_traffic_keys(),
            TlsStream::Server(stream) => stream.get_mut().1.refresh_traffic_keys(),
        }
        .unwrap();
    }
}

impl AsyncRead for Outside {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Outside {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
