//! The outcome: how a session ended, in which stage, and why. Exactly one a session, also when
//! its task panics: one log line and one set of counts, written when the ledger is dropped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::net::endpoint::Endpoint;
use crate::proxy::meter::Meter;
use crate::proxy::registry::CutReason;
use crate::proxy::relay::{End, Side};
use crate::routing::choice::Refusal;
use crate::telemetry::counts::ServiceCounts;

/// The record of one session, from accept to close.
#[derive(Debug)]
pub struct Ledger {
    service: ServiceName,
    counts: Arc<ServiceCounts>,
    client: Endpoint,
    opened: Instant,
    stage: Stage,
    target: Option<Arc<str>>,
    dialled: Option<Duration>,
    /// What is relayed, once something is: read at the end, however that comes.
    meter: Option<Arc<Meter>>,
    ending: Ending,
}

/// How far a session got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Accepted, not yet routed.
    Accept,
    /// Waiting for a target.
    Route,
    /// Connecting to one.
    Dial,
    /// Bytes flow.
    Relay,
}

/// Why a session ended.
#[derive(Debug)]
pub enum Ending {
    /// Its task ended without saying why, which only a panic does.
    Panicked,
    /// Its arbiter was stopped, and its task with it.
    ArbiterLost,
    /// Its socket could not be used.
    Unusable(std::io::Error),
    /// The service has as many sessions as it may have.
    OverLimit,
    /// There was no target to give.
    NoTarget(Refusal),
    /// No target could be reached; this is how the last one failed.
    Unreachable(String),
    /// It was not dialled for want of something of our own: descriptors, ports, memory, a right.
    Hindered(String),
    /// The client left before it was connected.
    ClientLeft,
    /// Somebody cut it.
    Cut(CutReason),
    /// The relay ran to its end.
    Relayed(End),
}

// === impl Ledger ===

impl Ledger {
    /// Opens the record of a session that has just been accepted.
    pub fn open(service: ServiceName, counts: Arc<ServiceCounts>, client: Endpoint) -> Self {
        counts.accepted.raise();
        counts.live.raise();
        Self {
            service,
            counts,
            client,
            opened: Instant::now(),
            stage: Stage::Accept,
            target: None,
            dialled: None,
            meter: None,
            ending: Ending::Panicked,
        }
    }

    /// Notes that the session asks for a target; asking again after a failed dial is part of it.
    pub fn routing(&mut self, is_first: bool) {
        if is_first {
            self.stage = Stage::Route;
        }
    }

    /// Notes the target that is being dialled.
    pub fn dialling(&mut self, target: &Arc<str>) {
        self.stage = Stage::Dial;
        self.target = Some(Arc::clone(target));
    }

    /// Notes a dial that failed.
    pub fn dial_failed(&self) {
        self.counts.failed_dials.raise();
    }

    /// Notes that the target is connected, and where it is counted what is relayed.
    pub fn relaying(&mut self, meter: &Arc<Meter>) {
        self.meter = Some(Arc::clone(meter));
        self.stage = Stage::Relay;
        self.dialled = Some(self.opened.elapsed());
        self.counts.connected.raise();
    }

    /// Closes the record.
    pub fn close(mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Bytes relayed: to the target, to the client.
    fn bytes(&self) -> (u64, u64) {
        self.meter.as_ref().map_or((0, 0), |meter| (meter.to_target.get(), meter.to_client.get()))
    }

    fn count(&self, (to_target, to_client): (u64, u64)) {
        self.counts.live.lower();
        self.counts.bytes_to_target.add(to_target);
        self.counts.bytes_to_client.add(to_client);
        match &self.ending {
            Ending::OverLimit
            | Ending::NoTarget(_)
            | Ending::Unreachable(_)
            | Ending::Hindered(_) => {
                self.counts.refused.raise();
            }
            Ending::Cut(_)
            | Ending::Relayed(End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge) => {
                self.counts.cut.raise();
            }
            Ending::Panicked
            | Ending::ArbiterLost
            | Ending::Unusable(_)
            | Ending::ClientLeft
            | Ending::Relayed(End::Finished { .. } | End::Reset(_) | End::Failed(..) | End::Cut) => {
            }
        }
    }

    fn level(&self) -> log::Level {
        match &self.ending {
            Ending::Panicked | Ending::ArbiterLost | Ending::Hindered(_) => log::Level::Error,
            Ending::Unreachable(_) | Ending::NoTarget(_) => log::Level::Warn,
            Ending::Unusable(_)
            | Ending::OverLimit
            | Ending::ClientLeft
            | Ending::Cut(_)
            | Ending::Relayed(_) => log::Level::Info,
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if matches!(self.ending, Ending::Panicked) && !std::thread::panicking() {
            self.ending = Ending::ArbiterLost;
        }
        let (to_target, to_client) = self.bytes();
        self.count((to_target, to_client));
        log::log!(
            self.level(),
            service = self.service.as_str(),
            client:% = self.client,
            target = self.target.as_deref().unwrap_or("-"),
            stage:% = self.stage,
            by = self.ending.by(),
            to_target = to_target,
            to_client = to_client,
            dial_ms = self.dialled.map_or(0, whole_millis),
            ms = whole_millis(self.opened.elapsed());
            "session ended: {}", self.ending
        );
    }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// === impl Ending ===

impl Ending {
    /// Who ended the session: `client`, `target` or `stagedoor`.
    fn by(&self) -> &'static str {
        match self {
            Self::ClientLeft
            | Self::Relayed(
                End::Finished { first: Side::Client }
                | End::Reset(Side::Client)
                | End::Failed(Side::Client, _),
            ) => "client",
            Self::Relayed(
                End::Finished { first: Side::Target }
                | End::Reset(Side::Target)
                | End::Failed(Side::Target, _),
            ) => "target",
            Self::Panicked
            | Self::ArbiterLost
            | Self::Unusable(_)
            | Self::OverLimit
            | Self::NoTarget(_)
            | Self::Unreachable(_)
            | Self::Hindered(_)
            | Self::Cut(_)
            | Self::Relayed(End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge | End::Cut) => {
                "stagedoor"
            }
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("its task panicked"),
            Self::ArbiterLost => f.write_str("its arbiter was stopped"),
            Self::Unusable(error) => write!(f, "client: {error}"),
            Self::OverLimit => f.write_str("the service has as many sessions as it may have"),
            Self::NoTarget(refusal) => refusal.fmt(f),
            Self::Unreachable(error) => write!(f, "no target could be reached: {error}"),
            Self::Hindered(error) => f.write_str(error),
            Self::ClientLeft => f.write_str("the client left before it was connected"),
            Self::Cut(cut) => cut.fmt(f),
            Self::Relayed(end) => end.fmt(f),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Route => "route",
            Self::Dial => "dial",
            Self::Relay => "relay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_never_said_how_it_ended_has_relayed_what_it_has() {
        let counts = Arc::<ServiceCounts>::default();
        let client = Endpoint::Unix(None);
        let mut ledger = Ledger::open(ServiceName::new("any"), Arc::clone(&counts), client);
        let meter = Arc::<Meter>::default();
        ledger.relaying(&meter);
        meter.to_target.add(3);
        meter.to_client.add(5);
        drop(ledger);
        assert_eq!((counts.bytes_to_target.get(), counts.bytes_to_client.get()), (3, 5));
        assert_eq!(counts.live.get(), 0);
    }
}
