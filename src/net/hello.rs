//! The hello: a client's first TLS message, read to learn whose the connection is, and kept, so
//! that the same bytes can be answered here or passed on to a target.
//!
//! rustls reads it, in whatever pieces it comes: cut over segments or over records, and it bounds
//! what is kept (a record of 16 KiB and a little). The deadline is the caller's.
//!
//! A client of PostgreSQL asks for TLS first; it is told yes, and its hello is what it says then.

use std::future::poll_fn;
use std::io;

use rustls::server::{Accepted, Acceptor};

use crate::net::socket::Socket;
use crate::wire::postgres_request::{Opening, Refusal, Requests};

/// One read takes at most this much.
const CHUNK: usize = 4 * 1024;
/// No hello is larger; rustls gives up a little earlier.
const LARGEST: usize = 64 * 1024;

/// A client's first message.
pub struct Hello {
    /// What rustls made of it, to go on with if TLS is ended here. It is as large as a connection,
    /// and in a box so that nothing around it is.
    pub accepted: Box<Accepted>,
    /// The bytes themselves, to pass on if it is not.
    pub bytes: Vec<u8>,
    /// The name that is asked for (SNI), as it was sent; rustls takes an IP address for none.
    pub name: Option<String>,
    /// The protocols that are offered (ALPN).
    pub alpn: Vec<Vec<u8>>,
    /// It came after PostgreSQL's request for TLS, which was answered.
    pub after_request: bool,
}

/// Why there is no hello.
#[derive(Debug, thiserror::Error)]
pub enum HelloFault {
    /// The client closed the connection before it had said anything.
    #[error("the client closed the connection without a word")]
    Silent,
    /// The client closed it in the middle.
    #[error("the client closed the connection in the middle of its hello")]
    Cut,
    /// What it sent is no TLS that can be answered.
    #[error("what the client sent is no TLS hello: {0}")]
    NotTls(String),
    /// It is a client of PostgreSQL that is not served like this.
    #[error("{0}")]
    Postgres(Refusal),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The alerts that we send before there is a TLS connection (RFC 8446, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// Nobody answers the name.
    UnrecognizedName = 112,
    /// Nobody of that name speaks a protocol that is offered.
    NoApplicationProtocol = 120,
}

/// Reads the hello. An answer to what is none has been sent when this returns.
///
/// # Errors
/// There is none.
pub async fn read_hello(client: &Socket) -> Result<Hello, HelloFault> {
    let (mut acceptor, mut bytes) = (None, Vec::new());
    let (mut requests, mut is_hello) = (Requests::default(), false);
    loop {
        // Whoever is silent has no room held for them.
        client.readable().await;
        if bytes.len() == bytes.capacity() {
            bytes.reserve_exact(CHUNK);
        }
        let count = poll_fn(|cx| client.poll_append(cx, &mut bytes)).await?;
        if count == 0 {
            return Err(if bytes.is_empty() { HelloFault::Silent } else { HelloFault::Cut });
        }
        if bytes.len() > LARGEST {
            return Err(HelloFault::NotTls("it is too large".to_owned()));
        }
        let mut unread = &bytes[bytes.len() - count..];
        if !is_hello {
            match requests.read(&bytes) {
                None => continue,
                Some(Opening::Hello) => (is_hello, unread) = (true, &bytes),
                Some(Opening::Answer(byte)) => {
                    send(client, &[byte]).await?;
                    bytes.clear();
                    continue;
                }
                Some(Opening::Refuse(refusal)) => {
                    send_last(client, &refusal.words()).await;
                    return Err(HelloFault::Postgres(refusal));
                }
            }
        }
        let acceptor = acceptor.get_or_insert_with(Box::<Acceptor>::default);
        if let Some(accepted) = accept(acceptor, &mut unread, client).await? {
            debug_assert!(unread.is_empty(), "rustls has taken everything that was read");
            return Ok(Hello::of(accepted, bytes, requests.tls));
        }
    }
}

/// Has rustls read on; `None`: the hello is not whole yet.
async fn accept(
    acceptor: &mut Acceptor,
    unread: &mut &[u8],
    client: &Socket,
) -> Result<Option<Box<Accepted>>, HelloFault> {
    while !unread.is_empty() {
        if let Err(error) = acceptor.read_tls(unread) {
            return Err(HelloFault::NotTls(error.to_string()));
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(Some(Box::new(accepted))),
            Err((error, mut alert)) => {
                let mut answer = Vec::new();
                alert.write_all(&mut answer)?;
                send_last(client, &answer).await;
                return Err(HelloFault::NotTls(error.to_string()));
            }
        }
    }
    Ok(None)
}

/// Tells the client why nobody answers it, in a fatal alert.
pub async fn refuse(client: &Socket, alert: Alert) {
    // A record of type alert, as TLS 1.2 and 1.3 both write it in the clear.
    send_last(client, &[21, 3, 3, 0, 2, 2, alert as u8]).await;
}

/// The last words; whoever does not take them has lost nothing.
async fn send_last(client: &Socket, bytes: &[u8]) {
    if send(client, bytes).await.is_ok() {
        client.shutdown_write().ok();
    }
}

async fn send(client: &Socket, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let count = poll_fn(|cx| client.poll_send(cx, left)).await?;
        left = &left[count..];
    }
    Ok(())
}

impl Hello {
    fn of(accepted: Box<Accepted>, bytes: Vec<u8>, after_request: bool) -> Self {
        let hello = accepted.client_hello();
        let name = hello.server_name().map(str::to_owned);
        let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        Self { accepted, bytes, name, alpn, after_request }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::net::loopback;

    #[tokio::test]
    async fn little_is_held_for_a_client_that_says_nothing() {
        let (_client, socket) = loopback::tcp().await;
        let mut reading = Box::pin(read_hello(&socket));
        let size = size_of_val(&*reading);
        assert!(size <= 2048, "{size} bytes are held for every client that is silent");
        assert!(reading.as_mut().now_or_never().is_none());
    }
}
