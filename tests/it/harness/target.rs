//! Scripted targets: a listener on a free port and what it does with each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything here takes, so that a hang is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(20);

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

    /// Answers `PING` as `is_well` says then, and echoes whatever else comes.
    pub(crate) fn checked(is_well: Arc<AtomicBool>) -> Self {
        Self::new(move |mut stream| {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let answer = match &buffer[..count] {
                    b"PING\r\n" if is_well.load(Ordering::Relaxed) => b"+PONG\r\n",
                    b"PING\r\n" => b"-SICK\r\n",
                    other => other,
                };
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Says its own number and closes.
    pub(crate) fn numbered(number: u8) -> Self {
        Self::new(move |mut stream| drop(stream.write_all(&[b'0' + number])))
    }

    /// Hands its connections to the test.
    pub(crate) fn handed_over() -> (Self, Receiver<TcpStream>) {
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let target = Self::new(move |stream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("a deadline can be set");
            let sender = sender.lock().expect("nobody panics while sending");
            // The test may be over.
            drop(sender.send(stream));
        });
        (target, receiver)
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
