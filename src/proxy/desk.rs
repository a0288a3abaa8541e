//! The desk: what a router and its sessions work with, and how a session asks for a target.

use std::sync::{Arc, OnceLock};

use actix::Message;
use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::snapshot::SnapshotCell;
use crate::health::supervisor::TargetSuspected;
use crate::net::connectors::Connectors;
use crate::net::names::NameBook;
use crate::proxy::live::{LiveCell, LiveService};
use crate::proxy::registry::Registry;
use crate::proxy::worker::Workers;
use crate::routing::choice::{Facts, Refusal};
use crate::routing::pool::Lease;
use crate::supervise::handle::Recipient;
use crate::telemetry::counts::Count;

/// What a router and its sessions work with. All of it outlives the router.
#[derive(Debug)]
pub struct Desk {
    /// Which worker this is.
    pub index: usize,
    /// All workers.
    pub workers: Workers,
    /// Whom its sessions ask for a target: the router itself.
    pub routes: Recipient<Route>,
    /// The services in force.
    pub live: LiveCell,
    /// What is known of their targets.
    pub snapshot: SnapshotCell,
    /// The addresses of target names.
    pub names: Arc<ArcSwap<NameBook>>,
    /// What TLS handshakes with targets need.
    pub connectors: Connectors,
    /// Every session.
    pub registry: Arc<Registry>,
    /// Told of targets that did not answer a dial.
    pub suspicions: Recipient<TargetSuspected>,
}

/// Since when a session has had no target to go to: said once, by the session when a dial failed or
/// by its router when there was nobody to dial. It is the session's, so that `hold` does not begin
/// anew when it asks again, or another router.
pub type HeldSince = Arc<Waiting>;

/// How long a session has waited, and whether that has been counted.
#[derive(Debug, Default)]
pub struct Waiting {
    since: OnceLock<Instant>,
    counted: OnceLock<()>,
}

/// A session asks for a target.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Route {
    /// The service it began under; the newest of that name decides.
    pub live: Arc<LiveService>,
    /// What is known of the connection.
    pub facts: Facts,
    /// Targets that have already failed it.
    pub tried: Vec<TargetKey>,
    /// Since when it has been held, if it is.
    pub held_since: HeldSince,
    /// Where the answer goes. Dropped with the router's state if it is restarted.
    pub reply: oneshot::Sender<Result<Lease, Refusal>>,
}

// === impl Waiting ===

impl Waiting {
    /// Since when it has had no target; `now` if it had one until now.
    pub fn since(&self, now: Instant) -> Instant {
        *self.since.get_or_init(|| now)
    }

    /// Counts it among those that were held, once.
    pub fn count(&self, held: &Count) {
        if self.counted.set(()).is_ok() {
            held.raise();
        }
    }
}

// === impl Route ===

impl Route {
    /// Gives the answer.
    pub fn answer(self, answer: Result<Lease, Refusal>) {
        // A session that has gone away gives its lease back by dropping it.
        drop(self.reply.send(answer));
    }
}
