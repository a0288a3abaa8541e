//! Connecting: the dial, a PROXY header where one is sent, PostgreSQL's request for TLS where it is
//! asked so and, where TLS is spoken, the handshake, by one deadline. Sessions and probes take this
//! road alike.
//!
//! A target that judges our certificate tells of it late: with TLS 1.3 our side is done before the
//! other has looked. Where one has ever asked for a certificate, its next word is waited for, so
//! that a refusal is a failed connect (another target may do better), and not a lost session.

use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::config::transport::Starttls;
use crate::net::connectors::Connector;
use crate::net::dial::{Destination, DialError, DialFault, dial};
use crate::net::peer::Peer;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::net::tls_fault;
use crate::net::tuning::Tuning;
use crate::wire::postgres_request::{SSL_REQUEST, answer};

/// A target that has judged our certificate says something by then, or says nothing unasked: so
/// many times what the handshake took.
const JUDGMENT: u32 = 3;
/// But at least this long, and at most that long.
const SHORTEST: Duration = Duration::from_millis(30);
const LONGEST: Duration = Duration::from_millis(300);

/// What a target is told before everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preface<'a> {
    /// A PROXY header, unless it is empty. It is sent at once: some targets speak first, but not
    /// before they have it.
    pub header: &'a [u8],
    /// How it is asked for the TLS that somebody else will begin.
    pub starttls: Option<Starttls>,
}

/// Connects to `destination` before `deadline`, through `connector` if there is one.
///
/// # Errors
/// There is no connection, or the handshake failed.
pub async fn connect(
    destination: &Destination,
    preface: Preface<'_>,
    connector: Option<&Connector>,
    deadline: Instant,
    tuning: &Tuning,
) -> Result<Peer, DialError> {
    let socket = dial(destination, deadline, tuning).await?;
    if !preface.header.is_empty() {
        let sent = timeout_at(deadline, Box::pin(send(&socket, preface.header))).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| DialError::after_connect(destination, error))?;
    }
    let starttls = preface.starttls.or(connector.and_then(Connector::starttls));
    if starttls.is_none() && connector.is_none() {
        return Ok(Peer::Plain(socket.into()));
    }
    let securing = async {
        match starttls {
            Some(Starttls::Postgres) => ask(&socket).await?,
            None => {}
        }
        match connector {
            Some(connector) => secure(Stream::from(socket), connector).await.map(Peer::from),
            None => Ok(Peer::Plain(socket.into())),
        }
    };
    // In a box: a session without TLS must not be as large as one that has it.
    let secured = timeout_at(deadline, Box::pin(securing)).await;
    secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        let own = tls_fault::is_own(&error);
        let words = io::Error::new(error.kind(), tls_fault::of_handshake(&error));
        DialError {
            fault: if own { DialFault::OwnSide } else { DialFault::Handshake },
            destination: destination.clone(),
            source: Some(words),
        }
    })
}

/// Asks a PostgreSQL server for TLS.
async fn ask(socket: &Socket) -> io::Result<()> {
    send(socket, &SSL_REQUEST).await?;
    // With room for more than the answer, so that more is seen.
    let mut said = [0; 64];
    let count = poll_fn(|cx| socket.poll_recv(cx, &mut said)).await?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    answer(&said[..count]).map_err(|declined| io::Error::new(io::ErrorKind::InvalidData, declined))
}

async fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let count = poll_fn(|cx| socket.poll_send(cx, left)).await?;
        left = &left[count..];
    }
    Ok(())
}

/// Goes on in TLS on a connection that began without it.
///
/// # Errors
/// The handshake failed. The connection is of no more use.
pub async fn begin_tls(socket: &Arc<Socket>, connector: &Connector) -> io::Result<Peer> {
    secure(Stream::from(Arc::clone(socket)), connector).await.map(Peer::from)
}

async fn secure(stream: Stream, connector: &Connector) -> io::Result<TlsStream<Stream>> {
    let started = Instant::now();
    let mut stream = connector.tls().connect(connector.server_name(), stream).await?;
    let connection = stream.get_ref().1;
    let is_judged_late = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && connection.handshake_kind() != Some(HandshakeKind::Resumed);
    if is_judged_late && connector.was_asked() {
        let patience = (started.elapsed() * JUDGMENT).clamp(SHORTEST, LONGEST);
        if let Ok(judged) = timeout(patience, poll_fn(|cx| poll_judged(&mut stream, cx))).await {
            judged?;
        }
    }
    Ok(stream)
}

/// Waits for whatever the target says first: a ticket, payload (which stays where it is, to be
/// read), its end, or that it refuses us.
fn poll_judged(stream: &mut TlsStream<Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let (socket, connection) = stream.get_mut();
    loop {
        if connection.tls13_tickets_received() > 0 {
            return Poll::Ready(Ok(()));
        }
        let read = connection.read_tls(&mut Reading { stream: socket, cx: &mut *cx });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
            // The end stays: whoever reads next meets it again.
            Ok(0) => return Poll::Ready(Ok(())),
            Ok(_) => {}
        }
        let state = connection
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
            return Poll::Ready(Ok(()));
        }
    }
}

/// A stream as rustls reads it: now, or `WouldBlock` and a wake-up.
struct Reading<'a, 'b> {
    stream: &'a mut Stream,
    cx: &'a mut Context<'b>,
}

impl Read for Reading<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
