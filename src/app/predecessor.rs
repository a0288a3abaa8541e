//! The predecessor: the process that has started this one to serve in its place, and serves until it
//! hears that we do.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::house::House;
use crate::net::inherited::SERVES;

/// Targets that have no verdict by then are waited for no longer.
const VERDICTS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

/// The line to it.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

// === impl Predecessor ===

impl Predecessor {
    /// The one at the other end of `line`.
    pub fn at(line: UnixStream) -> Self {
        Self(line)
    }

    /// Waits until every target has its first verdict, so that no client waits for that here who
    /// would be served at once there.
    pub async fn verdicts(&self, house: &House) {
        let deadline = Instant::now() + VERDICTS;
        while is_awaiting(house) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells it that we serve.
    pub fn tell(mut self) {
        if let Err(error) = self.0.write_all(SERVES) {
            log::warn!("the process that was to be succeeded is gone: {error}");
        }
    }
}

fn is_awaiting(house: &House) -> bool {
    let (model, snapshot) = (house.model.load(), house.snapshot.load());
    let mut judged = model.services.values().filter(|service| service.is_judged());
    judged.any(|service| {
        let health = snapshot.services.get(&service.name);
        health.is_none_or(|health| health.awaiting_first)
    })
}
