//! Targets that speak TLS, and note what they were asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::target::Target;

/// What a target saw of one handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The SNI.
    pub(crate) name: Option<String>,
    /// The ALPN protocol that was agreed on.
    pub(crate) alpn: Option<String>,
    /// No certificate was shown anew.
    pub(crate) resumed: bool,
    /// The client showed a certificate.
    pub(crate) certified: bool,
    /// That certificate.
    pub(crate) shown: Option<Vec<u8>>,
}

/// A target behind TLS.
pub(crate) struct TlsTarget {
    target: Target,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A connection to such a target, from its side.
pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl TlsTarget {
    /// Runs `serve` for every connection whose handshake succeeded.
    pub(crate) fn new(
        config: ServerConfig,
        serve: impl Fn(&mut TlsStream) + Send + Sync + 'static,
    ) -> Self {
        let (config, seen) = (Arc::new(config), Arc::<Mutex<Vec<Seen>>>::default());
        let target = Target::new({
            let seen = Arc::clone(&seen);
            move |mut stream| {
                let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                while connection.is_handshaking() {
                    if connection.complete_io(&mut stream).is_err() {
                        // An alert that is still to be told.
                        connection.write_tls(&mut stream).ok();
                        return;
                    }
                }
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let shown = connection.peer_certificates().and_then(|chain| chain.first());
                lock(&seen).push(Seen {
                    name: connection.server_name().map(str::to_owned),
                    alpn: connection.alpn_protocol().map(text),
                    resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
                    certified: shown.is_some(),
                    shown: shown.map(|leaf| leaf.to_vec()),
                });
                serve(&mut StreamOwned::new(connection, stream));
            }
        });
        Self { target, seen }
    }

    /// Sends back what it gets; says its farewell when the client has.
    pub(crate) fn echo(config: ServerConfig) -> Self {
        Self::new(config, |stream| {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            stream.conn.send_close_notify();
            stream.flush().ok();
        })
    }

    /// Answers each line that it hears with `answer`.
    pub(crate) fn answering(config: ServerConfig, answer: &'static [u8]) -> Self {
        Self::new(config, move |stream| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if buffer[..count].ends_with(b"\n") && stream.write_all(answer).is_err() {
                    return;
                }
            }
        })
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.target.address()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.target.port()
    }

    /// `tls://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("tls://{}", self.address())
    }

    /// The handshakes that succeeded so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
