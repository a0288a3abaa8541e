//! Scripted targets: a listener on a free port and what it does with each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A target that treats every connection alike, each on a thread of its own. The threads end with
/// their connections, the listener with the test process.
pub(crate) struct Target {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Target {
    /// Runs `serve` for every connection.
    pub(crate) fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (accepted, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        std::thread::spawn({
            let accepted = Arc::clone(&accepted);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    let serve = Arc::clone(&serve);
                    std::thread::spawn(move || serve(stream));
                }
            }
        });
        Self { address, accepted }
    }

    /// Sends back what it gets; closes its side when the client has.
    pub(crate) fn echo() -> Self {
        Self::new(|mut stream| {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            // The client may be gone already.
            drop(stream.shutdown(Shutdown::Write));
        })
    }

    /// Says `banner` at once, then echoes.
    pub(crate) fn banner(banner: &'static [u8]) -> Self {
        Self::new(move |mut stream| {
            if stream.write_all(banner).is_err() {
                return;
            }
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        })
    }

    /// Says its own number and closes.
    pub(crate) fn numbered(number: u8) -> Self {
        Self::new(move |mut stream| drop(stream.write_all(&[b'0' + number])))
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}
