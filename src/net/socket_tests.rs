//! What sockets do to each other, on real loopback TCP and unix sockets.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::loopback;
use crate::net::socket::{Gone, Socket};
use crate::net::stream::Stream;

/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for loopback to deliver what it is going to deliver.
const MOMENT: Duration = Duration::from_millis(20);

async fn recv(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    timeout(SOON, poll_fn(|cx| socket.poll_recv(cx, buffer))).await.expect("a read ends")
}

/// Reads to the end: what came, and whether it ended by a reset.
async fn hear_out(peer: &mut (impl AsyncRead + Unpin)) -> (usize, bool) {
    let mut heard = Vec::new();
    let read = timeout(SOON, peer.read_to_end(&mut heard)).await.expect("the stream ends");
    (heard.len(), read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset))
}

/// Writes until no more can be written at once; how many bytes that were.
async fn fill_up(socket: &Socket) -> usize {
    let mut total = 0;
    let bytes = vec![7; 1 << 16];
    while let Ok(sent) = timeout(MOMENT, poll_fn(|cx| socket.poll_send(cx, &bytes))).await {
        total += sent.unwrap();
    }
    total
}

async fn gone(socket: &Socket) -> Option<Gone> {
    timeout(10 * MOMENT, poll_fn(|cx| socket.poll_gone(cx))).await.ok()
}

fn reset(peer: TcpStream) {
    peer.set_zero_linger().unwrap();
}

#[tokio::test]
async fn an_abort_resets_the_peer_with_or_without_unread_bytes() {
    for unread in [&b""[..], b"never read"] {
        let (mut peer, socket) = loopback::tcp().await;
        peer.write_all(unread).await.unwrap();
        socket.abort();
        assert_eq!(hear_out(&mut peer).await, (0, true), "{unread:?}");
    }
}

#[tokio::test]
async fn an_abort_discards_the_send_queue() {
    let (mut peer, socket) = loopback::tcp().await;
    let sent = fill_up(&socket).await;
    socket.abort();
    let (heard, was_reset) = hear_out(&mut peer).await;
    assert!(was_reset && heard < sent, "{heard} of {sent}");
}

#[tokio::test]
async fn an_abort_from_another_thread_wakes_whoever_waits_and_stays() {
    let (_peer, socket) = loopback::tcp().await;
    let socket = Arc::new(socket);
    let waiting = tokio::spawn({
        let socket = Arc::clone(&socket);
        async move { recv(&socket, &mut [0; 8]).await }
    });
    tokio::task::yield_now().await;
    std::thread::spawn({
        let socket = Arc::clone(&socket);
        move || socket.abort()
    });
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(recv(&socket, &mut [0; 8]).await.is_err());
    let write = timeout(SOON, poll_fn(|cx| socket.poll_send(cx, b"x"))).await.unwrap();
    assert_eq!(write.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    socket.abort();
}

#[tokio::test]
async fn an_abort_of_a_unix_socket_ends_it_for_both() {
    let (mut peer, socket) = loopback::unix();
    poll_fn(|cx| socket.poll_send(cx, b"said")).await.unwrap();
    socket.abort();
    assert_eq!(hear_out(&mut peer).await, (4, false));
    assert_eq!(recv(&socket, &mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn reset_on_close_makes_the_close_a_reset() {
    let (mut peer, socket) = loopback::tcp().await;
    socket.reset_on_close().unwrap();
    drop(socket);
    assert_eq!(hear_out(&mut peer).await, (0, true));
}

#[tokio::test]
async fn sent_waits_for_a_slow_reader_so_that_an_abort_loses_nothing() {
    let (mut peer, socket) = loopback::tcp().await;
    let sent = fill_up(&socket).await;
    assert!(socket.has_unsent());
    timeout(MOMENT, socket.sent()).await.expect_err("the peer's window is shut");
    let mut heard = vec![0; sent];
    let abort_when_sent = async {
        timeout(SOON, socket.sent()).await.unwrap();
        socket.abort();
    };
    let (read, ()) = tokio::join!(peer.read_exact(&mut heard), abort_when_sent);
    assert_eq!(read.unwrap(), sent);
    assert_eq!(hear_out(&mut peer).await, (0, true));
    let (_peer, idle) = loopback::tcp().await;
    assert!(!idle.has_unsent());
    timeout(SOON, idle.sent()).await.expect("nothing is unsent");
}

#[tokio::test]
async fn a_waiting_client_is_gone_by_reset_or_by_end_with_nothing_unread() {
    let (peer, socket) = loopback::tcp().await;
    assert_eq!(gone(&socket).await, None);
    drop(peer);
    assert_eq!(gone(&socket).await, Some(Gone::Finished));

    let (mut peer, socket) = loopback::tcp().await;
    peer.write_all(b"hello").await.unwrap();
    assert_eq!(gone(&socket).await, None);
    reset(peer);
    assert_eq!(gone(&socket).await, Some(Gone::Reset));
}

#[tokio::test]
async fn waiting_loses_no_byte_and_no_half_close() {
    let (mut peer, socket) = loopback::tcp().await;
    peer.write_all(b"hel").await.unwrap();
    assert_eq!(gone(&socket).await, None);
    peer.write_all(b"lo").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(gone(&socket).await, Some(Gone::Behind));
    let mut buffer = [0; 4];
    assert_eq!(recv(&socket, &mut buffer).await.unwrap(), 4);
    assert_eq!(recv(&socket, &mut buffer).await.unwrap(), 1);
    assert_eq!(recv(&socket, &mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn bytes_behind_an_urgent_mark_are_read_at_once() {
    let (peer, socket) = loopback::tcp().await;
    let peer = socket2::SockRef::from(&peer);
    peer.send(b"before").unwrap();
    peer.send_out_of_band(b"!").unwrap();
    peer.send(b"behind").unwrap();
    let mut heard = Vec::new();
    while heard != b"beforebehind" {
        let mut buffer = [0; 64];
        let count = recv(&socket, &mut buffer).await.unwrap();
        heard.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_stream_reads_writes_and_shuts_down() {
    let (mut peer, socket) = loopback::tcp().await;
    let mut stream = Stream::from(socket);
    stream.write_all(b"ping").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(hear_out(&mut peer).await, (4, false));
    peer.write_all(b"pong").await.unwrap();
    drop(peer);
    assert_eq!(hear_out(&mut stream).await, (4, false));
}

#[tokio::test]
async fn both_ends_of_a_socket_have_names() {
    let (peer, socket) = loopback::tcp().await;
    assert_eq!(socket.peer().unwrap().ip(), Some(peer.local_addr().unwrap()));
    assert_eq!(socket.local().unwrap().ip(), Some(peer.peer_addr().unwrap()));
    let (_peer, socket) = loopback::unix();
    assert_eq!(socket.peer().unwrap().to_string(), "unix:");
}
