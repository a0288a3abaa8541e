//! A target that answers no connect: its accept queue is full, and nobody accepts.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// The kernel has dropped the SYN if there is no answer by then: the loopback takes microseconds.
const NO_ANSWER: Duration = Duration::from_millis(100);

/// The target.
pub(crate) struct BlackHole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one.
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        SockRef::from(&listener).listen(0).expect("a listener may listen again");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connect = || TcpStream::connect_timeout(&address, NO_ANSWER).ok();
        let queued = std::iter::from_fn(connect).take(4).collect();
        Self { listener, _queued: queued }
    }

    /// Where it does not answer.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }
}
