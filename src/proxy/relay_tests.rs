//! How a relay ends, over real loopback sockets: half-closes, resets, limits, cuts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::net::loopback;
use crate::net::socket::Socket;
use crate::proxy::meter::Meter;
use crate::proxy::relay::{Cut, End, Relayed, Side, relay};
use crate::proxy::watch::RelayLimits;

/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// A relay under test, with what its two peers hold.
struct Relaying {
    client: TcpStream,
    target: TcpStream,
    sockets: [Arc<Socket>; 2],
    cut: Arc<Cut>,
    ended: JoinHandle<Relayed>,
}

async fn start(limits: RelayLimits) -> Relaying {
    let (client, client_socket) = loopback::tcp().await;
    let (target, target_socket) = loopback::tcp().await;
    let sockets = [Arc::new(client_socket), Arc::new(target_socket)];
    let cut = Arc::new(Cut::default());
    let ended = tokio::spawn({
        let [client, target] = sockets.clone();
        let cut = Arc::clone(&cut);
        async move { relay(&client, &target, limits, &Meter::default(), &cut).await }
    });
    Relaying { client, target, sockets, cut, ended }
}

impl Relaying {
    /// The outcome; the relay's sockets are closed after it.
    async fn ended(self) -> Relayed {
        timeout(SOON, self.ended).await.expect("the relay ends").unwrap()
    }
}

fn is_reset<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.expect_err("no end of stream, but a reset").kind() == io::ErrorKind::ConnectionReset
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect()
}

#[tokio::test]
async fn whoever_finishes_first_still_hears_the_other_out() {
    for first in [Side::Client, Side::Target] {
        let mut relaying = start(RelayLimits::default()).await;
        let (early, late) = match first {
            Side::Client => (&mut relaying.client, &mut relaying.target),
            Side::Target => (&mut relaying.target, &mut relaying.client),
        };
        early.write_all(b"that is all").await.unwrap();
        early.shutdown().await.unwrap();
        let mut heard = Vec::new();
        late.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"that is all");

        let answer = pattern(1 << 20);
        let mut received = Vec::new();
        let send = async {
            late.write_all(&answer).await.unwrap();
            late.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(send, early.read_to_end(&mut received));
        read.unwrap();
        assert!(received == answer);

        let relayed = timeout(SOON, relaying.ended).await.unwrap().unwrap();
        assert!(matches!(relayed.end, End::Finished { first: by } if by == first));
        let (from_early, from_late) = match first {
            Side::Client => (relayed.to_target, relayed.to_client),
            Side::Target => (relayed.to_client, relayed.to_target),
        };
        assert_eq!((from_early, from_late), (11, 1 << 20));
    }
}

#[tokio::test]
async fn a_reset_becomes_a_reset_after_what_was_said_before_it() {
    for by in [Side::Client, Side::Target] {
        let relaying = start(RelayLimits::default()).await;
        let Relaying { client, target, ended, .. } = relaying;
        let (mut leaver, mut stayer) = match by {
            Side::Client => (client, target),
            Side::Target => (target, client),
        };
        let said = pattern(200_000);
        leaver.write_all(&said).await.unwrap();
        reset(leaver);
        let mut heard = Vec::new();
        assert!(is_reset(timeout(SOON, stayer.read_to_end(&mut heard)).await.unwrap()));
        assert!(said.starts_with(&heard));
        let relayed = ended.await.unwrap();
        assert!(matches!(relayed.end, End::Reset(side) if side == by), "{relayed:?}");
    }
}

#[tokio::test]
async fn an_abort_from_another_thread_cuts_both_sides() {
    let mut relaying = start(RelayLimits::default()).await;
    relaying.client.write_all(b"x").await.unwrap();
    relaying.target.read_exact(&mut [0]).await.unwrap();
    let sockets = relaying.sockets.clone();
    let cut = Arc::clone(&relaying.cut);
    std::thread::spawn(move || {
        cut.set();
        sockets.iter().for_each(|socket| socket.abort());
    });
    assert!(is_reset(timeout(SOON, relaying.client.read(&mut [0])).await.unwrap()));
    assert!(is_reset(timeout(SOON, relaying.target.read(&mut [0])).await.unwrap()));
    assert!(matches!(relaying.ended().await.end, End::Cut));
}
