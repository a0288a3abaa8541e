//! What a relay does to the bytes, over real loopback sockets: all of them, in order, at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::proxy::relaying::{self, SOON, check, hear, pattern};
use crate::proxy::transfer::yield_to_events;
use crate::proxy::watch::RelayLimits;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn bulk_both_ways_arrives_whole_by_splicing() {
    let relaying = relaying::tcp(RelayLimits::default()).await;
    check(relaying, 8 * MIB, &[256 * 1024]).await;
}

#[tokio::test]
async fn bulk_both_ways_arrives_whole_by_copying() {
    // Pieces of less than a buffer, with our end read dry between them, are copied.
    let relaying = relaying::tcp(RelayLimits::default()).await;
    check(relaying, 2 * MIB, &[1000, 8000, 16_000]).await;
}

#[tokio::test]
async fn pieces_of_any_length_arrive_whole() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces: Vec<_> = (0..5).map(|_| 1 << random.u32(0..20)).collect();
        let relaying = relaying::tcp(RelayLimits::default()).await;
        check(relaying, MIB + random.usize(..MIB), &pieces).await;
    }
}

#[tokio::test]
async fn bulk_to_and_from_a_unix_target_arrives_whole() {
    let relaying = relaying::tcp_to_unix(RelayLimits::default()).await;
    check(relaying, 4 * MIB, &[3, 100_000]).await;
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once() {
    let mut relaying = relaying::tcp(RelayLimits::default()).await;
    relaying.target.write_all(b"220 ready").await.unwrap();
    let mut heard = [0; 9];
    timeout(SOON, relaying.client.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"220 ready");
}

#[tokio::test]
async fn single_bytes_go_back_and_forth_without_delay() {
    let mut relaying = relaying::tcp(RelayLimits::default()).await;
    let talk = async {
        for _ in 0..2000 {
            relaying.client.write_all(b"?").await.unwrap();
            relaying.target.read_exact(&mut [0]).await.unwrap();
            relaying.target.write_all(b"!").await.unwrap();
            relaying.client.read_exact(&mut [0]).await.unwrap();
        }
    };
    // One delayed acknowledgement (40 ms) a round would take 80 s.
    timeout(SOON, talk).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    let relaying = relaying::tcp(RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    let said = Arc::new(pattern(64 * MIB));
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
    stalled.expect_err("64 MiB do not fit between them");
    assert!(meter.to_client.get() < 32 * MIB as u64);
    assert!(timeout(SOON, hear(&mut client)).await.unwrap() == *said);
    timeout(SOON, writing).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_urgent_mark_in_bulk_stops_nothing() {
    let relaying = relaying::tcp(RelayLimits::default()).await;
    let (mut client, mut target) = (relaying.client, relaying.target);
    let said = pattern(4 * MIB);
    let (before, behind) = said.split_at(2 * MIB);
    let write = async {
        target.write_all(before).await.unwrap();
        socket2::SockRef::from(&target).send_out_of_band(b"!").unwrap();
        target.write_all(behind).await.unwrap();
        target.shutdown().await.unwrap();
    };
    let both = async { tokio::join!(write, hear(&mut client)) };
    let ((), heard) = timeout(SOON, both).await.expect("the bytes behind it arrive");
    // The urgent byte itself is not of the stream.
    assert!(heard == said, "{} of {}", heard.len(), said.len());
}

#[tokio::test]
async fn a_relay_that_yields_lets_its_neighbours_have_their_events() {
    let local = tokio::task::LocalSet::new();
    let polls = Rc::new(Cell::new(0));
    let busy = Rc::clone(&polls);
    local.spawn_local(poll_fn(move |cx| -> Poll<()> {
        busy.set(busy.get() + 1);
        yield_to_events(cx);
        Poll::Pending
    }));
    let rounds = local.run_until(async {
        let mut relaying = relaying::tcp(RelayLimits::default()).await;
        let before = polls.get();
        for _ in 0..10 {
            relaying.client.write_all(b"?").await.unwrap();
            relaying.target.read_exact(&mut [0]).await.unwrap();
        }
        polls.get() - before
    });
    let rounds = timeout(SOON, rounds).await.unwrap();
    // Two events a message. With a bare wake each of them takes 61 polls of the busy one.
    assert!(rounds < 10 * 20, "{rounds}");
}
