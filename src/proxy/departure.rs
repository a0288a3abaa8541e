//! The departure of a client that has no target yet: how it shows, and when it is one.

use std::future::{pending, poll_fn};
use std::time::Duration;

use crate::net::peer::Peer;
use crate::net::socket::Gone;

/// So long may a target take to connect for a client that has nothing to say.
const LISTENER_ONLY: Duration = Duration::from_millis(250);
/// A farewell inside TLS (`close_notify`) is a record of 24 or 31 bytes; more is not looked at.
const FAREWELL: usize = 64;

/// Waits until the client has left: by a reset, or by a FIN with nothing unread but the farewell of
/// TLS. A client that only ever listens sends a FIN at once, and is given the time that a connect
/// usually takes.
pub(super) async fn client_leaves(client: &mut Peer) {
    match poll_fn(|cx| client.socket().poll_gone(cx)).await {
        Gone::Reset => {}
        Gone::Finished => tokio::time::sleep(LISTENER_ONLY).await,
        Gone::Behind if says_farewell(client).await => {
            tokio::time::sleep(LISTENER_ONLY).await;
        }
        // It may wait for an answer to what it has said.
        Gone::Behind => pending().await,
    }
}

/// Is what is unread no more than the end of TLS? It is read then, and so is the little that turns
/// out to be payload, which its TLS keeps.
async fn says_farewell(client: &mut Peer) -> bool {
    if client.is_plain() {
        return false;
    }
    let mut unread = [0; FAREWELL + 1];
    let peeked = poll_fn(|cx| client.socket().poll_peek(cx, 0, &mut unread)).await;
    if !matches!(peeked, Ok(1..=FAREWELL)) {
        return false;
    }
    let received = poll_fn(|cx| client.socket().poll_recv(cx, &mut unread)).await;
    let Some(mut records) = client.records() else { return false };
    // Behind what is no TLS, or not whole, nobody waits for anything.
    let Ok(count) = received else { return true };
    match records.take_in(&unread[..count]) {
        Ok(_) => records.plaintext().map_or(true, <[u8]>::is_empty),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use rustls::version::{TLS12, TLS13};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::loopback_tls::Configs;
    use crate::proxy::secure_relaying::secure_client;

    #[tokio::test]
    async fn the_end_of_tls_with_nothing_said_before_it_is_a_farewell() {
        for version in [&TLS12, &TLS13] {
            let (mut speaker, mut client) = secure_client(Configs::of(version)).await;
            speaker.shutdown().await.unwrap();
            let gone = poll_fn(|cx| client.socket().poll_gone(cx)).await;
            assert_eq!(gone, Gone::Behind);
            assert!(says_farewell(&mut client).await);
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn whoever_has_said_something_may_wait_for_an_answer() {
        for version in [&TLS12, &TLS13] {
            for said in [&b"x"[..], &[7; 1_000]] {
                let (mut speaker, mut client) = secure_client(Configs::of(version)).await;
                speaker.write_all(said).await.unwrap();
                speaker.shutdown().await.unwrap();
                let gone = poll_fn(|cx| client.socket().poll_gone(cx)).await;
                assert_eq!(gone, Gone::Behind);
                assert!(!says_farewell(&mut client).await);
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard, said);
            }
        }
    }
}
