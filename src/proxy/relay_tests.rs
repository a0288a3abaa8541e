//! How a relay ends, over real loopback sockets: half-closes, resets, limits, cuts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::proxy::relay::{End, Side};
use crate::proxy::relaying::{self, SOON, pattern};
use crate::proxy::watch::RelayLimits;

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(100);

fn is_reset<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// The stream ends here, in order.
async fn check_finished(stream: &mut TcpStream) {
    assert_eq!(timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
}

/// The stream is reset here.
async fn check_reset(stream: &mut TcpStream) {
    assert!(is_reset(timeout(SOON, stream.read(&mut [0; 8])).await.unwrap()));
}

#[tokio::test]
async fn whoever_finishes_first_still_hears_the_other_out() {
    for first in [Side::Client, Side::Target] {
        let mut relaying = relaying::tcp(RelayLimits::default()).await;
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

        let relayed = relaying.relay.ended().await;
        assert!(matches!(relayed.end, End::Finished { first: by } if by == first));
        let (from_early, from_late) = match first {
            Side::Client => (relayed.to_target, relayed.to_client),
            Side::Target => (relayed.to_client, relayed.to_target),
        };
        assert_eq!((from_early, from_late), (11, 1 << 20));
    }
}

#[tokio::test]
async fn a_reset_becomes_a_reset_after_all_that_was_said_before_it() {
    for by in [Side::Client, Side::Target] {
        let relaying = relaying::tcp(RelayLimits::default()).await;
        let (mut leaver, mut stayer) = match by {
            Side::Client => (relaying.client, relaying.target),
            Side::Target => (relaying.target, relaying.client),
        };
        // Less than a receive buffer, so that all of it has arrived when the reset does.
        let said = pattern(100_000);
        leaver.write_all(&said).await.unwrap();
        reset(leaver);
        let mut heard = Vec::new();
        assert!(is_reset(timeout(SOON, stayer.read_to_end(&mut heard)).await.unwrap()));
        assert!(heard == said, "{} of {}", heard.len(), said.len());
        let relayed = relaying.relay.ended().await;
        assert!(matches!(relayed.end, End::Reset(side) if side == by), "{relayed:?}");
    }
}

#[tokio::test]
async fn a_reset_waits_for_a_slow_reader_to_take_what_was_said() {
    let mut relaying = relaying::tcp(RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    // More than the client's first receive window, less than our send queue takes.
    let said = pattern(600_000);
    target.write_all(&said).await.unwrap();
    let meter = relaying.relay.meter.clone();
    let passed_on = async {
        while meter.to_client.get() < said.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, passed_on).await.unwrap();
    reset(target);
    // Time for a relay that does not wait to do harm.
    let relay = &mut relaying.relay.ended;
    timeout(SHORT, relay).await.expect_err("the client has not been given everything");
    let mut heard = vec![0; said.len()];
    timeout(SOON, client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert!(heard == said);
    check_reset(&mut client).await;
    assert!(matches!(relaying.relay.ended().await.end, End::Reset(Side::Target)));
}

#[tokio::test]
async fn the_last_words_of_a_side_that_takes_no_more_are_passed_on() {
    let relaying = relaying::tcp(RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    client.write_all(b"a question never read").await.unwrap();
    target.readable().await.unwrap();
    target.write_all(b"-ERR go away").await.unwrap();
    // Closing with unread bytes is a reset.
    drop(target);
    let mut heard = [0; 12];
    timeout(SOON, client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"-ERR go away");
    check_reset(&mut client).await;
    assert!(matches!(relaying.relay.ended().await.end, End::Reset(Side::Target)));
}

#[tokio::test]
async fn an_abort_from_another_thread_cuts_both_sides() {
    let mut relaying = relaying::tcp(RelayLimits::default()).await;
    relaying.client.write_all(b"x").await.unwrap();
    relaying.target.read_exact(&mut [0]).await.unwrap();
    let sockets = relaying.relay.sockets.clone();
    let cut = Arc::clone(&relaying.relay.cut);
    std::thread::spawn(move || {
        cut.set();
        sockets.iter().for_each(|socket| socket.abort());
    });
    check_reset(&mut relaying.client).await;
    check_reset(&mut relaying.target).await;
    assert!(matches!(relaying.relay.ended().await.end, End::Cut));
}

#[tokio::test]
async fn an_abort_in_the_middle_of_bulk_delivers_nothing_more_and_returns_the_buffers() {
    let relaying = relaying::tcp(RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    let writing = tokio::spawn(async move {
        let said = pattern(1 << 20);
        while target.write_all(&said).await.is_ok() {}
    });
    client.read_exact(&mut [0; 100_000]).await.unwrap();
    relaying.relay.cut.set();
    relaying.relay.sockets.iter().for_each(|socket| socket.abort());
    assert!(is_reset(client.read_to_end(&mut Vec::new()).await));
    timeout(SOON, writing).await.unwrap().unwrap();
    assert!(matches!(relaying.relay.ended().await.end, End::Cut));
}

#[tokio::test]
async fn silence_for_the_idle_timeout_ends_in_order_and_traffic_one_way_prevents_it() {
    // Long enough that a busy machine does not let it pass between two bytes.
    let idle_timeout = 5 * SHORT;
    let limits = RelayLimits { idle_timeout: Some(idle_timeout), ..RelayLimits::default() };
    let mut relaying = relaying::tcp(limits).await;
    let started = Instant::now();
    while started.elapsed() < 2 * idle_timeout {
        relaying.target.write_all(b"x").await.unwrap();
        relaying.client.read_exact(&mut [0]).await.unwrap();
        tokio::time::sleep(SHORT / 10).await;
    }
    check_finished(&mut relaying.client).await;
    check_finished(&mut relaying.target).await;
    assert!(matches!(relaying.relay.ended().await.end, End::IdleTimeout));
}

#[tokio::test]
async fn silence_after_a_half_close_ends_sooner() {
    let limits = RelayLimits { half_close_timeout: Some(SHORT), ..RelayLimits::default() };
    let mut relaying = relaying::tcp(limits).await;
    relaying.client.shutdown().await.unwrap();
    check_finished(&mut relaying.target).await;
    check_finished(&mut relaying.client).await;
    assert!(matches!(relaying.relay.ended().await.end, End::HalfCloseTimeout));
}

#[tokio::test]
async fn the_end_of_its_age_resets_a_relay() {
    let until = Some(Instant::now() + SHORT);
    let mut relaying = relaying::tcp(RelayLimits { until, ..RelayLimits::default() }).await;
    check_reset(&mut relaying.client).await;
    check_reset(&mut relaying.target).await;
    assert!(matches!(relaying.relay.ended().await.end, End::MaxAge));
}

#[tokio::test]
async fn an_idle_timeout_with_bytes_in_flight_does_not_look_like_an_end() {
    let limits = RelayLimits { idle_timeout: Some(SHORT), ..RelayLimits::default() };
    let relaying = relaying::tcp(limits).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    let writing = tokio::spawn(async move {
        let said = pattern(1 << 20);
        while target.write_all(&said).await.is_ok() {}
    });
    timeout(SOON, writing).await.expect("the writer is reset").unwrap();
    assert!(matches!(relaying.relay.ended().await.end, End::IdleTimeout));
    assert!(is_reset(client.read_to_end(&mut Vec::new()).await));
}

#[tokio::test]
async fn an_idle_timeout_leaves_nothing_for_a_stalled_side_to_receive_later() {
    let limits = RelayLimits { idle_timeout: Some(4 * SHORT), ..RelayLimits::default() };
    let mut relaying = relaying::tcp(limits).await;
    // More than the window of the target, which reads nothing; less than the kernel queues for it.
    let said = pattern(1 << 17);
    let stalled = Arc::clone(&relaying.relay.sockets[1]);
    sockopt::set_socket_recv_buffer_size(&relaying.target, 4096).unwrap();
    sockopt::set_socket_send_buffer_size(&stalled, 1 << 18).unwrap();
    relaying.client.write_all(&said).await.unwrap();
    let meter = Arc::clone(&relaying.relay.meter);
    let passed_on = async {
        while meter.to_target.get() < said.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, passed_on).await.expect("nothing is left with the relay");
    assert!(stalled.has_unsent());
    check_finished(&mut relaying.client).await;
    assert!(matches!(relaying.relay.ended().await.end, End::IdleTimeout));
    assert!(is_reset(timeout(SOON, relaying.target.read_to_end(&mut Vec::new())).await.unwrap()));
}

#[tokio::test]
async fn a_relay_that_is_dropped_in_the_middle_resets_both_sides() {
    let mut relaying = relaying::tcp(RelayLimits::default()).await;
    relaying.client.write_all(b"half of").await.unwrap();
    relaying.target.read_exact(&mut [0; 7]).await.unwrap();
    relaying.relay.ended.abort();
    check_reset(&mut relaying.client).await;
    check_reset(&mut relaying.target).await;
}
