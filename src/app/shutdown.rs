//! Shutdown: stop accepting, let sessions end, cut what is left.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::app::apply::stop_listener;
use crate::app::house::House;
use crate::config::names::ListenAddress;
use crate::proxy::registry::CutReason;

/// How often the drain looks whether the last session has ended.
const LOOK: Duration = Duration::from_millis(10);
/// A reload that is under way may take this long to end before listeners are stopped.
const TURN: Duration = Duration::from_secs(1);
/// Webhooks are told what waits within this.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// Cut sessions write their outcomes within this.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Stops accepting and waits until no session is left, or `limit` has passed. What is left then is
/// reset. Health goes on meanwhile: sessions that drain still obey it.
pub async fn drain(house: &House, limit: Duration) {
    let deadline = Instant::now() + limit;
    // No reload begins from now on.
    let _turn = tokio::time::timeout(TURN.min(limit), house.applying.lock()).await;
    stop_accepting(house).await;
    let live = sessions(house);
    if live > 0 {
        log::info!(sessions = live; "stopping: sessions may end by themselves for {limit:?}");
    }
    while sessions(house) > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        // One that had begun may have opened another address.
        stop_accepting(house).await;
    }
    cut_what_is_left(house).await;
}

/// Leaves those who come to a successor, which accepts from the same queues, and waits until no
/// session is left, or `limit` has passed; what is left then is reset. Health goes on meanwhile, and
/// so does what is found: sessions obey both.
pub async fn leave(house: &House, limit: Option<Duration>) {
    let deadline = limit.map(|limit| Instant::now() + limit);
    house.sockets.shut();
    stop_accepting(house).await;
    let live = sessions(house);
    if live > 0 {
        let long = limit.map_or_else(String::new, |limit| format!(", for {limit:?}"));
        log::info!(sessions = live; "upgraded: sessions live on here until they end{long}");
    }
    while sessions(house) > 0 && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        tokio::time::sleep(LOOK).await;
    }
    cut_what_is_left(house).await;
}

/// Resets every session there is.
pub async fn cut_what_is_left(house: &House) {
    let cut = house.registry.cut_all(CutReason::Shutdown);
    if cut > 0 {
        log::warn!(sessions = cut; "stopping: sessions cut");
    }
    let deadline = Instant::now() + LAST_WORDS;
    while sessions(house) > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// What handlers are still to be told is sent, as far as that takes no longer than a moment.
pub async fn send_last_events(house: &House) {
    let deadline = Instant::now() + LAST_EVENTS;
    while house.herald.waiting() > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    let lost = house.herald.waiting();
    if lost > 0 {
        log::warn!(events = lost; "stopping: not every webhook has been told of everything");
    }
}

/// Stops all listeners side by side, so that one that is stuck keeps no other open.
async fn stop_accepting(house: &House) {
    let addresses: Vec<ListenAddress> = {
        let listeners = house.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.keys().cloned().collect()
    };
    join_all(addresses.iter().map(|address| stop_listener(house, address))).await;
}

/// Sessions, those included that no router has opened yet.
fn sessions(house: &House) -> usize {
    house.workers.iter().map(|worker| worker.live()).sum()
}
