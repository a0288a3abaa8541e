//! A peer: one end of a session, its bytes as they come or inside TLS.
//!
//! What a handshake demands is settled before there is one; a peer only carries bytes, and says
//! what its handshake agreed on. An end of the stream that TLS does not vouch for is an error.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use crate::net::records::Records;
use crate::net::socket::Socket;
use crate::net::stream::Stream;

/// One end of a session, as `AsyncRead + AsyncWrite`. Its shutdown finishes our sending: inside
/// TLS by `close_notify` and then FIN, else by FIN.
#[derive(Debug)]
pub enum Peer {
    /// The bytes as they come.
    Plain(Arc<Socket>),
    /// Inside TLS, of which we are the server.
    Server(Box<server::TlsStream<Stream>>),
    /// Inside TLS, of which we are the client.
    Client(Box<client::TlsStream<Stream>>),
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// `TLS 1.3`, `TLS 1.2`.
    pub version: &'static str,
    /// The protocol inside, by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// By a ticket or session ID, without a certificate being shown again.
    pub is_resumed: bool,
}

// === impl Peer ===

impl Peer {
    /// The socket under it.
    pub fn socket(&self) -> &Arc<Socket> {
        match self {
            Self::Plain(socket) => socket,
            Self::Server(stream) => stream.get_ref().0.socket(),
            Self::Client(stream) => stream.get_ref().0.socket(),
        }
    }

    /// Do its bytes travel without TLS?
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Its records, to be moved by hand; none without TLS. Whoever begins with them stays with
    /// them: reading as a stream as well would lose its place.
    pub fn records(&mut self) -> Option<Records<'_>> {
        match self {
            Self::Plain(_) => None,
            Self::Server(stream) => {
                let (stream, connection) = stream.get_mut();
                Some(Records::new(stream.socket(), &mut **connection))
            }
            Self::Client(stream) => {
                let (stream, connection) = stream.get_mut();
                Some(Records::new(stream.socket(), &mut **connection))
            }
        }
    }

    /// The certificate that it has shown, now or when the session that is resumed began.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        let shown = match self {
            Self::Plain(_) => None,
            Self::Server(stream) => stream.get_ref().1.peer_certificates(),
            Self::Client(stream) => stream.get_ref().1.peer_certificates(),
        };
        shown?.first()
    }

    /// What its handshake agreed on; nothing without TLS.
    pub fn agreed(&self) -> Option<Agreed> {
        match self {
            Self::Plain(_) => None,
            Self::Server(stream) => Some(Agreed::of(stream.get_ref().1)),
            Self::Client(stream) => Some(Agreed::of(stream.get_ref().1)),
        }
    }

    /// The cipher suite that its handshake agreed on, as rustls spells it; none without TLS.
    pub fn cipher(&self) -> Option<&'static str> {
        let suite = match self {
            Self::Plain(_) => None,
            Self::Server(stream) => stream.get_ref().1.negotiated_cipher_suite(),
            Self::Client(stream) => stream.get_ref().1.negotiated_cipher_suite(),
        };
        suite?.suite().as_str()
    }
}

impl From<Arc<Socket>> for Peer {
    fn from(socket: Arc<Socket>) -> Self {
        Self::Plain(socket)
    }
}

impl From<server::TlsStream<Stream>> for Peer {
    fn from(stream: server::TlsStream<Stream>) -> Self {
        Self::Server(Box::new(stream))
    }
}

impl From<client::TlsStream<Stream>> for Peer {
    fn from(stream: client::TlsStream<Stream>) -> Self {
        Self::Client(Box::new(stream))
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => {
                Pin::new(&mut Stream::from(Arc::clone(socket))).poll_read(cx, buffer)
            }
            Self::Server(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Client(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_) if bytes.is_empty() => Poll::Ready(Ok(0)),
            Self::Plain(socket) => socket.poll_send(cx, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Server(stream) => Pin::new(stream).poll_flush(cx),
            Self::Client(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Poll::Ready(socket.shutdown_write()),
            Self::Server(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Client(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

// === impl Agreed ===

impl Agreed {
    fn of(connection: &CommonState) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(_) | None => "TLS",
        };
        Self {
            version,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            is_resumed: matches!(connection.handshake_kind(), Some(HandshakeKind::Resumed)),
        }
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        if let Some(alpn) = &self.alpn {
            write!(f, ", {}", alpn.escape_ascii())?;
        }
        if self.is_resumed {
            f.write_str(", resumed")?;
        }
        Ok(())
    }
}
