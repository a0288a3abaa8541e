//! How a relay with TLS ends, over real loopback sockets: half-closes, truncations, resets, limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::proxy::relay::{End, Side};
use crate::proxy::relaying::{SOON, hear, pattern};
use crate::proxy::secure_relaying::{Outside, PAIRS, secure};
use crate::proxy::watch::RelayLimits;

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(100);
const SIDES: [Side; 2] = [Side::Client, Side::Target];

/// The stream ends here, in order: inside TLS this needs `close_notify`.
async fn check_finished(outside: &mut Outside) {
    assert_eq!(timeout(SOON, outside.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
}

/// The stream is reset behind what was `said`.
async fn check_reset(outside: &mut Outside, said: &[u8]) {
    let mut heard = Vec::new();
    let error = timeout(SOON, outside.read_to_end(&mut heard)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    assert!(heard == said, "{} of {}", heard.len(), said.len());
}

#[tokio::test]
async fn whoever_finishes_first_still_hears_the_other_out() {
    for (pair, first) in PAIRS.into_iter().flat_map(|pair| SIDES.map(|first| (pair, first))) {
        let relaying = secure(pair, RelayLimits::default()).await;
        let (mut early, mut late) = match first {
            Side::Client => (relaying.client, relaying.target),
            Side::Target => (relaying.target, relaying.client),
        };
        early.write_all(b"that is all").await.unwrap();
        early.shutdown().await.unwrap();
        assert_eq!(hear(&mut late).await, b"that is all");

        let answer = pattern(1 << 20);
        let send = async {
            late.write_all(&answer).await.unwrap();
            late.shutdown().await.unwrap();
        };
        let ((), heard) = tokio::join!(send, hear(&mut early));
        assert!(heard == answer);

        let relayed = relaying.relay.ended().await;
        assert!(matches!(relayed.end, End::Finished { first: by } if by == first), "{relayed:?}");
        let (from_early, from_late) = match first {
            Side::Client => (relayed.to_target, relayed.to_client),
            Side::Target => (relayed.to_client, relayed.to_target),
        };
        assert_eq!((from_early, from_late), (11, 1 << 20));
    }
}

#[tokio::test]
async fn who_says_that_its_stream_ends_may_keep_the_connection_and_go_on_reading() {
    for (pair, by) in [([Some(&TLS13), None], Side::Client), ([None, Some(&TLS12)], Side::Target)] {
        let relaying = secure(pair, RelayLimits::default()).await;
        let (mut early, mut late) = match by {
            Side::Client => (relaying.client, relaying.target),
            Side::Target => (relaying.target, relaying.client),
        };
        early.notify().await;
        check_finished(&mut late).await;
        // What comes behind it is no one's.
        early.tcp().write_all(b"no record at all").await.unwrap();
        late.write_all(b"and an answer").await.unwrap();
        late.shutdown().await.unwrap();
        assert_eq!(hear(&mut early).await, b"and an answer");
        assert!(matches!(relaying.relay.ended().await.end, End::Finished { first } if first == by));
    }
}

#[tokio::test]
async fn an_end_that_tls_does_not_vouch_for_becomes_a_reset_after_all_that_was_said() {
    for pair in PAIRS {
        for (by, tongue) in SIDES.into_iter().zip(pair).filter(|(_, tongue)| tongue.is_some()) {
            let relaying = secure(pair, RelayLimits::default()).await;
            let (mut leaver, mut stayer) = match by {
                Side::Client => (relaying.client, relaying.target),
                Side::Target => (relaying.target, relaying.client),
            };
            let said = pattern(100_000);
            leaver.write_all(&said).await.unwrap();
            leaver.flush().await.unwrap();
            leaver.truncate().await;
            check_reset(&mut stayer, &said).await;
            let end = relaying.relay.ended().await.end;
            let End::Failed(side, error) = end else { panic!("{tongue:?}: {end:?}") };
            assert_eq!((side, error.kind()), (by, io::ErrorKind::UnexpectedEof));
        }
    }
}

#[tokio::test]
async fn a_reset_becomes_a_reset_after_all_that_was_said_before_it() {
    for (pair, by) in PAIRS.into_iter().flat_map(|pair| SIDES.map(|by| (pair, by))) {
        let relaying = secure(pair, RelayLimits::default()).await;
        let (mut leaver, mut stayer) = match by {
            Side::Client => (relaying.client, relaying.target),
            Side::Target => (relaying.target, relaying.client),
        };
        // Less than a receive buffer, so that all of it has arrived when the reset does.
        let said = pattern(50_000);
        leaver.write_all(&said).await.unwrap();
        leaver.flush().await.unwrap();
        leaver.reset();
        check_reset(&mut stayer, &said).await;
        let end = relaying.relay.ended().await.end;
        assert!(matches!(end, End::Reset(side) if side == by), "{end:?}");
    }
}

#[tokio::test]
async fn what_is_not_tls_is_answered_by_an_alert_and_becomes_a_reset() {
    let too_long = [&[23, 3, 3, 0xff, 0xff], &[0; 0x400][..]].concat();
    let forged = [&[23, 3, 3, 0, 64], &[7; 64][..]].concat();
    for said in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), too_long, forged] {
        for version in [&TLS12, &TLS13] {
            let relaying = secure([Some(version), None], RelayLimits::default()).await;
            let (mut client, mut target) = (relaying.client, relaying.target);
            client.write_all(b"so far it is").await.unwrap();
            client.tcp().write_all(&said).await.unwrap();
            check_reset(&mut target, b"so far it is").await;
            let error = timeout(SOON, client.read(&mut [0; 8])).await.unwrap().unwrap_err();
            assert!(error.to_string().contains("received fatal alert"), "{error}");
            let end = relaying.relay.ended().await.end;
            assert!(matches!(end, End::Failed(Side::Client, _)), "{end:?}");
        }
    }
}

#[tokio::test]
async fn an_abort_from_another_thread_cuts_both_sides() {
    for pair in PAIRS {
        let mut relaying = secure(pair, RelayLimits::default()).await;
        relaying.client.write_all(b"x").await.unwrap();
        relaying.target.read_exact(&mut [0]).await.unwrap();
        let sockets = relaying.relay.sockets.clone();
        let cut = Arc::clone(&relaying.relay.cut);
        std::thread::spawn(move || {
            cut.set();
            sockets.iter().for_each(|socket| socket.abort());
        });
        check_reset(&mut relaying.client, b"").await;
        check_reset(&mut relaying.target, b"").await;
        assert!(matches!(relaying.relay.ended().await.end, End::Cut));
    }
}

#[tokio::test]
async fn silence_for_the_idle_timeout_ends_in_order() {
    for pair in PAIRS {
        let limits = RelayLimits { idle_timeout: Some(SHORT), ..RelayLimits::default() };
        let mut relaying = secure(pair, limits).await;
        relaying.target.write_all(b"x").await.unwrap();
        relaying.client.read_exact(&mut [0]).await.unwrap();
        check_finished(&mut relaying.client).await;
        check_finished(&mut relaying.target).await;
        assert!(matches!(relaying.relay.ended().await.end, End::IdleTimeout));
    }
}

#[tokio::test]
async fn silence_after_a_half_close_ends_sooner() {
    let limits = RelayLimits { half_close_timeout: Some(SHORT), ..RelayLimits::default() };
    let mut relaying = secure([Some(&TLS13), Some(&TLS12)], limits).await;
    relaying.client.shutdown().await.unwrap();
    check_finished(&mut relaying.target).await;
    check_finished(&mut relaying.client).await;
    assert!(matches!(relaying.relay.ended().await.end, End::HalfCloseTimeout));
}

#[tokio::test]
async fn the_end_of_its_age_resets_a_relay() {
    let until = Some(Instant::now() + SHORT);
    let limits = RelayLimits { until, ..RelayLimits::default() };
    let mut relaying = secure([Some(&TLS13), Some(&TLS13)], limits).await;
    check_reset(&mut relaying.client, b"").await;
    check_reset(&mut relaying.target, b"").await;
    assert!(matches!(relaying.relay.ended().await.end, End::MaxAge));
}

#[tokio::test]
async fn an_idle_timeout_with_bytes_in_flight_does_not_look_like_an_end() {
    let limits = RelayLimits { idle_timeout: Some(SHORT), ..RelayLimits::default() };
    for pair in [[Some(&TLS13), None], [None, Some(&TLS13)], [Some(&TLS12), Some(&TLS13)]] {
        let relaying = secure(pair, limits).await;
        let (mut client, mut target) = (relaying.client, relaying.target);
        let writing = tokio::spawn(async move {
            let said = pattern(1 << 20);
            while target.write_all(&said).await.is_ok() {}
        });
        timeout(SOON, writing).await.expect("the writer is reset").unwrap();
        assert!(matches!(relaying.relay.ended().await.end, End::IdleTimeout));
        client.read_to_end(&mut Vec::new()).await.expect_err("it is not the whole of it");
    }
}

#[tokio::test]
async fn a_relay_that_is_dropped_in_the_middle_resets_both_sides() {
    let mut relaying = secure([Some(&TLS13), Some(&TLS12)], RelayLimits::default()).await;
    relaying.client.write_all(b"half of").await.unwrap();
    relaying.target.read_exact(&mut [0; 7]).await.unwrap();
    relaying.relay.ended.abort();
    check_reset(&mut relaying.client, b"").await;
    check_reset(&mut relaying.target, b"").await;
}
