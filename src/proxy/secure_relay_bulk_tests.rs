//! What a relay with TLS does to the bytes, over real loopback sockets: all of them, in order.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::net::loopback;
use crate::net::loopback_tls::{Configs, localhost};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::proxy::relay::{End, Side};
use crate::proxy::relaying::{SOON, check, hear, pattern};
use crate::proxy::secure_relaying::{PAIRS, between, plain, secure, secure_target};
use crate::proxy::watch::RelayLimits;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn bulk_both_ways_arrives_whole() {
    for pair in [[None, Some(&TLS13)], [Some(&TLS13), Some(&TLS12)], [Some(&TLS12), None]] {
        check(secure(pair, RelayLimits::default()).await, 4 * MIB, &[256 * 1024]).await;
    }
}

#[tokio::test]
async fn pieces_of_any_length_arrive_whole() {
    for (seed, pair) in (0..).zip(PAIRS) {
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces: Vec<_> = (0..5).map(|_| 1 << random.u32(0..18)).collect();
        let length = MIB / 2 + random.usize(..MIB / 2);
        check(secure(pair, RelayLimits::default()).await, length, &pieces).await;
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once() {
    for pair in PAIRS {
        let mut relaying = secure(pair, RelayLimits::default()).await;
        relaying.target.write_all(b"220 ready").await.unwrap();
        let mut heard = [0; 9];
        timeout(SOON, relaying.client.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"220 ready");
    }
}

#[tokio::test]
async fn single_bytes_go_back_and_forth_without_delay() {
    for pair in PAIRS {
        let mut relaying = secure(pair, RelayLimits::default()).await;
        let talk = async {
            for _ in 0..500 {
                relaying.client.write_all(b"?").await.unwrap();
                relaying.target.read_exact(&mut [0]).await.unwrap();
                relaying.target.write_all(b"!").await.unwrap();
                relaying.client.read_exact(&mut [0]).await.unwrap();
            }
        };
        // One delayed acknowledgement (40 ms) a round would take 20 s.
        timeout(SOON, talk).await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    let pairs = [[Some(&TLS13), None], [None, Some(&TLS12)], [Some(&TLS13), Some(&TLS13)]];
    for pair in pairs {
        let mut relaying = secure(pair, RelayLimits::default()).await;
        for socket in &relaying.relay.sockets {
            sockopt::set_socket_send_buffer_size(socket, 64 * 1024).unwrap();
            sockopt::set_socket_recv_buffer_size(socket, 64 * 1024).unwrap();
        }
        for outside in [&mut relaying.client, &mut relaying.target] {
            sockopt::set_socket_send_buffer_size(outside.tcp(), 64 * 1024).unwrap();
            sockopt::set_socket_recv_buffer_size(outside.tcp(), 64 * 1024).unwrap();
        }
        let (mut client, mut target) = (relaying.client, relaying.target);
        let said = Arc::new(pattern(4 * MIB));
        let meter = Arc::clone(&relaying.relay.meter);
        let mut writing = tokio::spawn({
            let said = Arc::clone(&said);
            async move {
                target.write_all(&said).await.unwrap();
                target.shutdown().await.unwrap();
                target
            }
        });
        // The kernel's buffers fill up and everything stands still.
        let stalled = timeout(Duration::from_millis(300), &mut writing).await;
        stalled.expect_err("4 MiB do not fit between them");
        assert!(meter.to_client.get() < MIB as u64);
        assert!(timeout(SOON, hear(&mut client)).await.unwrap() == *said);
        timeout(SOON, writing).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_came_with_the_last_words_of_the_handshake_is_passed_on() {
    let configs = Configs::of(&TLS13);
    let (outside, ours) = loopback::tcp().await;
    let acceptor = TlsAcceptor::from(Arc::new(configs.server));
    let connector = TlsConnector::from(Arc::new(configs.client));
    let connecting = connector.connect_with(localhost(), outside, |connection| {
        connection.writer().write_all(b"at once").unwrap();
    });
    let (outside, ours) = tokio::join!(connecting, acceptor.accept(Stream::from(ours)));
    let client = (outside.unwrap(), Peer::from(ours.unwrap()));
    let mut relaying = between(client, plain().await, RelayLimits::default());
    let mut heard = [0; 7];
    timeout(SOON, relaying.target.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"at once");
}

#[tokio::test]
async fn keys_may_change_in_the_middle() {
    let relaying = secure([Some(&TLS13), Some(&TLS13)], RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    let said = pattern(20_000);
    for _ in 0..50 {
        client.change_keys();
        target.change_keys();
        client.write_all(&said).await.unwrap();
        target.write_all(&said).await.unwrap();
        let (mut at_client, mut at_target) = (vec![0; said.len()], vec![0; said.len()]);
        let both = async {
            tokio::join!(client.read_exact(&mut at_client), target.read_exact(&mut at_target))
        };
        let (one, other) = timeout(SOON, both).await.unwrap();
        one.and(other).unwrap();
        assert!(at_client == said && at_target == said);
    }
}

/// Suites whose keys are good for this many records only.
fn short_lived(records: u64) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    for suite in &mut provider.cipher_suites {
        *suite = match *suite {
            SupportedCipherSuite::Tls12(inside) => {
                let common = CipherSuiteCommon { confidentiality_limit: records, ..inside.common };
                let short = Tls12CipherSuite { common, ..*inside };
                SupportedCipherSuite::Tls12(Box::leak(Box::new(short)))
            }
            SupportedCipherSuite::Tls13(inside) => {
                let common = CipherSuiteCommon { confidentiality_limit: records, ..inside.common };
                let short = Tls13CipherSuite { common, ..*inside };
                SupportedCipherSuite::Tls13(Box::leak(Box::new(short)))
            }
        };
    }
    provider
}

#[tokio::test]
async fn keys_that_are_used_up_are_changed_by_tls_1_3() {
    let target = secure_target(Configs::with(&TLS13, short_lived(64))).await;
    check(between(plain().await, target, RelayLimits::default()), 4 * MIB, &[100_000]).await;
}

#[tokio::test]
async fn keys_of_tls_1_2_that_are_used_up_cut_the_stream_and_do_not_end_it() {
    let target = secure_target(Configs::with(&TLS12, short_lived(128))).await;
    let relaying = between(plain().await, target, RelayLimits::default());
    let (mut client, mut target) = (relaying.client, relaying.target);
    let writing = tokio::spawn(async move {
        let said = pattern(4 * MIB);
        client.write_all(&said).await.ok();
        said
    });
    let mut heard = Vec::new();
    let error = timeout(SOON, target.read_to_end(&mut heard)).await.unwrap().unwrap_err();
    assert_ne!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    let said = timeout(SOON, writing).await.unwrap().unwrap();
    assert!(said.starts_with(&heard) && heard.len() > MIB, "{}", heard.len());
    let end = relaying.relay.ended().await.end;
    assert!(matches!(end, End::Failed(Side::Target, _)), "{end:?}");
}
