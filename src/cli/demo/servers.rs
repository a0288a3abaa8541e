//! The two servers on the network: their ports, their connections, and what a failover does to
//! those.
//!
//! A dead server's port stays reserved, so that nobody else gets it meanwhile and it can come
//! back: a socket that is bound and does not listen refuses, as a dead process does.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::demo::pair::{Act, Pair};
use crate::cli::demo::request::{Malformed, parse};
use crate::cli::demo::side::Side;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Both servers. They end when this is dropped.
pub struct Servers {
    pair: Arc<Mutex<Pair>>,
    doors: [Door; 2],
}

/// Where a server is reached.
struct Door {
    side: Side,
    address: SocketAddr,
    /// Bound, and never listening, for as long as the demo goes on.
    _reserved: Socket,
    frozen: watch::Sender<bool>,
    /// Ends what this incarnation serves.
    life: CancellationToken,
}

/// What serving needs.
#[derive(Clone)]
struct Serving {
    side: Side,
    pair: Arc<Mutex<Pair>>,
    frozen: watch::Receiver<bool>,
    life: CancellationToken,
}

// === impl Servers ===

impl Servers {
    /// Starts both, on free ports.
    ///
    /// # Errors
    /// If there is no port or no descriptor left.
    pub fn start() -> io::Result<Self> {
        let doors = [Door::reserve(Side::A)?, Door::reserve(Side::B)?];
        let pair = Pair::new([doors[0].address, doors[1].address], Instant::now());
        let mut servers = Self { pair: Arc::new(Mutex::new(pair)), doors };
        for door in &mut servers.doors {
            door.open(&servers.pair)?;
        }
        Ok(servers)
    }

    /// Where one is reached.
    pub fn address(&self, side: Side) -> SocketAddr {
        self.doors[side.index()].address
    }

    /// What they know.
    pub fn pair(&self) -> MutexGuard<'_, Pair> {
        lock(&self.pair)
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// If a server that comes back has no descriptor left for its port.
    pub fn perform(&mut self, act: Act) -> io::Result<()> {
        self.pair().perform(act, Instant::now());
        match act {
            Act::Kill(side) => self.doors[side.index()].close(),
            Act::Restart(side) => self.doors[side.index()].open(&self.pair)?,
            Act::Freeze(side) => drop(self.doors[side.index()].frozen.send_replace(true)),
            Act::Thaw(side) => drop(self.doors[side.index()].frozen.send_replace(false)),
            Act::Swap | Act::Cut | Act::Promote(_) | Act::Demote(_) => {}
        }
        Ok(())
    }
}

// === impl Door ===

impl Door {
    fn reserve(side: Side) -> io::Result<Self> {
        let reserved = bind(([127, 0, 0, 1], 0).into())?;
        let address = reserved.local_addr()?.as_socket().expect("it is bound to an IPv4 address");
        let (frozen, _) = watch::channel(false);
        Ok(Self { side, address, _reserved: reserved, frozen, life: CancellationToken::new() })
    }

    fn open(&mut self, pair: &Arc<Mutex<Pair>>) -> io::Result<()> {
        self.life = CancellationToken::new();
        let socket = bind(self.address)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into())?;
        let serving = Serving {
            side: self.side,
            pair: Arc::clone(pair),
            frozen: self.frozen.subscribe(),
            life: self.life.clone(),
        };
        tokio::spawn(accept(listener, serving));
        Ok(())
    }

    /// As when the process dies: what is connected is reset, what comes is refused.
    fn close(&self) {
        self.life.cancel();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.life.cancel();
    }
}

/// A socket on this address, which several may be bound to while none or one of them listens.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(listener: TcpListener, serving: Serving) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = serving.life.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, serving.clone()));
            }
            // No descriptors: they may be back soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One connection, for as long as this server lives.
async fn serve(mut stream: TcpStream, serving: Serving) {
    let life = serving.life.clone();
    tokio::select! {
        // Its errors are those of a client that is gone.
        ended = converse(&mut stream, serving) => drop(ended),
        () = life.cancelled() => {
            // Closed with an RST, as the kernel does for a process that dies in mid-request.
            drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        }
    }
}

async fn converse(stream: &mut TcpStream, mut serving: Serving) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    loop {
        if stream.read_buf(&mut unread).await? == 0 {
            return Ok(());
        }
        let (mut replies, mut over) = (Vec::new(), false);
        while !over {
            // What arrives at a frozen server waits there. Nobody freezes it between this and the
            // answer: neither awaits anything else.
            if serving.frozen.wait_for(|frozen| !frozen).await.is_err() {
                return Ok(());
            }
            let (request, used) = match parse(&unread) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(Malformed(why)) => {
                    replies.extend(format!("-ERR Protocol error: {why}\r\n").into_bytes());
                    over = true;
                    break;
                }
            };
            unread.drain(..used);
            let answer = lock(&serving.pair).answer(serving.side, &request, Instant::now());
            replies.extend(answer.reply);
            over = answer.quit;
        }
        stream.write_all(&replies).await?;
        if over {
            return stream.shutdown().await;
        }
    }
}

fn lock(pair: &Mutex<Pair>) -> MutexGuard<'_, Pair> {
    pair.lock().unwrap_or_else(PoisonError::into_inner)
}
