//! For tests: a relay under way between two peers that a test holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::net::loopback;
use crate::net::socket::Socket;
use crate::proxy::meter::Meter;
use crate::proxy::relay::{Cut, End, Relayed, relay};
use crate::proxy::watch::RelayLimits;

/// Longer than anything may take that is expected to happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A relay under way, and what its two peers hold.
pub(super) struct Relaying<Client, Target> {
    pub(super) client: Client,
    pub(super) target: Target,
    pub(super) relay: Running,
}

/// The relay itself.
pub(super) struct Running {
    pub(super) sockets: [Arc<Socket>; 2],
    pub(super) meter: Arc<Meter>,
    pub(super) cut: Arc<Cut>,
    pub(super) ended: JoinHandle<Relayed>,
}

/// A relay between two TCP peers.
pub(super) async fn tcp(limits: RelayLimits) -> Relaying<TcpStream, TcpStream> {
    let (client, client_socket) = loopback::tcp().await;
    let (target, target_socket) = loopback::tcp().await;
    Relaying { client, target, relay: Running::start(client_socket, target_socket, limits) }
}

/// A relay from a TCP client to a unix target.
pub(super) async fn tcp_to_unix(limits: RelayLimits) -> Relaying<TcpStream, UnixStream> {
    let (client, client_socket) = loopback::tcp().await;
    let (target, target_socket) = loopback::unix();
    Relaying { client, target, relay: Running::start(client_socket, target_socket, limits) }
}

impl Running {
    fn start(client: Socket, target: Socket, limits: RelayLimits) -> Self {
        let sockets = [Arc::new(client), Arc::new(target)];
        let (meter, cut) = (Arc::new(Meter::default()), Arc::new(Cut::default()));
        let ended = tokio::spawn({
            let [client, target] = sockets.clone();
            let (meter, cut) = (Arc::clone(&meter), Arc::clone(&cut));
            async move { relay(&client, &target, limits, &meter, &cut).await }
        });
        Self { sockets, meter, cut, ended }
    }

    /// How it ended.
    pub(super) async fn ended(self) -> Relayed {
        timeout(SOON, self.ended).await.expect("the relay ends").expect("and without a panic")
    }
}

/// Bytes of which any piece that is lost, doubled or moved shows.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Sends `bytes` in pieces of lengths drawn from `pieces`, then finishes.
async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], pieces: &[usize]) {
    let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = pieces[random.usize(..pieces.len())].min(rest.len());
        stream.write_all(&rest[..length]).await.unwrap();
        rest = &rest[length..];
        if random.u8(..) < 8 {
            tokio::task::yield_now().await;
        }
    }
    stream.shutdown().await.unwrap();
}

/// Hears it out.
pub(super) async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    heard
}

/// Both sides say `length` bytes at once, in such pieces, and hear all of the other's.
pub(super) async fn check<Client, Target>(
    relaying: Relaying<Client, Target>,
    length: usize,
    pieces: &[usize],
) where
    Client: AsyncRead + AsyncWrite + Unpin,
    Target: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client_reads, mut client_writes) = tokio::io::split(relaying.client);
    let (mut target_reads, mut target_writes) = tokio::io::split(relaying.target);
    let (asked, answered) = (pattern(length), pattern(length + 1));
    let all = async {
        tokio::join!(
            say(&mut client_writes, &asked, pieces),
            say(&mut target_writes, &answered, pieces),
            hear(&mut client_reads),
            hear(&mut target_reads),
        )
    };
    let ((), (), at_client, at_target) = timeout(SOON, all).await.expect("all bytes arrive");
    assert!(at_client == answered && at_target == asked);
    let relayed = relaying.relay.ended().await;
    assert!(matches!(relayed.end, End::Finished { .. }));
    assert_eq!((relayed.to_target, relayed.to_client), (length as u64, length as u64 + 1));
}
