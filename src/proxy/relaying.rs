//! For tests: a relay under way between two peers that a test holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::net::loopback;
use crate::net::socket::Socket;
use crate::proxy::meter::Meter;
use crate::proxy::relay::{Cut, Relayed, relay};
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
