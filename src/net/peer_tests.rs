//! What a peer does with bytes, inside TLS and without, over real loopback sockets.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::net::loopback;
use crate::net::loopback_tls::{Configs, VERSIONS};
use crate::net::peer::Peer;

/// Each side says something, hears the other and then its end.
async fn check(mut outside: impl AsyncRead + AsyncWrite + Unpin, mut peer: Peer) {
    outside.write_all(b"a question").await.unwrap();
    outside.shutdown().await.unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"a question");
    peer.write_all(b"an answer").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut heard = Vec::new();
    outside.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"an answer");
}

#[tokio::test]
async fn bytes_and_ends_pass_both_ways_inside_tls_and_without() {
    let (outside, socket) = loopback::tcp().await;
    check(outside, Peer::from(Arc::new(socket))).await;
    for version in VERSIONS {
        let (outside, peer) = Configs::of(version).client().await;
        check(outside, peer).await;
        let (outside, peer) = Configs::of(version).server().await;
        check(outside, peer).await;
    }
}

#[tokio::test]
async fn an_end_that_tls_does_not_vouch_for_is_an_error() {
    for version in VERSIONS {
        let (mut outside, mut peer) = Configs::of(version).client().await;
        outside.get_mut().0.shutdown().await.unwrap();
        let error = peer.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn a_peer_says_what_its_handshake_agreed_on() {
    let (_outside, socket) = loopback::tcp().await;
    assert_eq!(Peer::from(Arc::new(socket)).agreed(), None);

    let [old, new] = VERSIONS;
    let mut configs = Configs::of(old);
    configs.client.alpn_protocols = vec![b"x\n".to_vec()];
    configs.server.alpn_protocols = vec![b"x\n".to_vec()];
    let (_outside, peer) = configs.client().await;
    assert_eq!(peer.agreed().unwrap().to_string(), r"TLS 1.2, x\n");

    let configs = Configs::of(new);
    for expected in ["TLS 1.3", "TLS 1.3, resumed"] {
        let (mut outside, mut peer) = configs.clone().client().await;
        assert_eq!(peer.agreed().unwrap().to_string(), expected);
        // Brings the client its ticket.
        peer.write_all(b"x").await.unwrap();
        outside.read_exact(&mut [0]).await.unwrap();
    }
}
