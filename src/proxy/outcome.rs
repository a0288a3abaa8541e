//! The outcome: how a session ended, in which stage, and why. Exactly one a session, also when
//! its task panics: one log line and one set of counts, written when the ledger is dropped. Those
//! who are turned away by a rule share their lines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::net::endpoint::Endpoint;
use crate::proxy::client_address::ClientAddress;
use crate::proxy::denial::Denial;
use crate::proxy::live::LiveService;
use crate::proxy::meter::Meter;
use crate::proxy::registry::CutReason;
use crate::proxy::relay::{End, Side};
use crate::proxy::turned_away::TurnedAway;
use crate::routing::choice::Refusal;
use crate::routing::hello::NoAnswer;
use crate::telemetry::counts::ServiceCounts;
use crate::telemetry::escape::Escaped;

/// The record of one session, from accept to close.
#[derive(Debug)]
pub struct Ledger {
    /// Whose it is; nobody's before its client has said so.
    service: Option<Owner>,
    client: ClientAddress,
    /// What targets are told that it is called.
    unique_id: Option<Box<[u8]>>,
    /// The name that its client asked for (SNI), escaped.
    name: Option<String>,
    opened: Instant,
    stage: Stage,
    target: Option<Arc<str>>,
    dialled: Option<Duration>,
    /// What is relayed, once something is: read at the end, however that comes.
    meter: Option<Arc<Meter>>,
    ending: Ending,
}

/// The service that a session belongs to, as far as its record needs it.
#[derive(Debug)]
struct Owner {
    name: ServiceName,
    counts: Arc<ServiceCounts>,
    turned_away: Arc<TurnedAway>,
}

/// How far a session got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Accepted, not yet routed.
    Accept,
    /// A PROXY header is expected.
    Header,
    /// Its client says whom it wants, and TLS is ended.
    Greeting,
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
    /// A PROXY header is expected, and it comes from where none may come from.
    Untrusted,
    /// A PROXY header is expected, and there is none.
    NoHeader(String),
    /// Its client did not begin TLS.
    NoHello(String),
    /// Nobody answers what its client asks for.
    Unanswered(NoAnswer),
    /// TLS did not come about.
    NoHandshake(String),
    /// Its client took too long to say whom it wants and to agree on TLS.
    GreetingTimeout,
    /// A rule of the service turns its client away.
    Denied(Denial),
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
    pub fn open(client: Endpoint) -> Self {
        Self {
            service: None,
            client: ClientAddress::direct(client),
            unique_id: None,
            name: None,
            opened: Instant::now(),
            stage: Stage::Accept,
            target: None,
            dialled: None,
            meter: None,
            ending: Ending::Panicked,
        }
    }

    /// Notes whose it is: from now on it counts.
    pub fn belongs_to(&mut self, live: &LiveService) {
        let counts = Arc::clone(&live.counts);
        counts.accepted.raise();
        counts.live.raise();
        self.service = Some(Owner {
            name: live.service().name.clone(),
            counts,
            turned_away: Arc::clone(&live.turned_away),
        });
    }

    /// Notes that a PROXY header is expected.
    pub fn expecting_header(&mut self) {
        self.stage = Stage::Header;
    }

    /// Notes who the client is, as far as that is told.
    pub fn comes_as(&mut self, client: &ClientAddress) {
        self.client = client.clone();
    }

    /// Who the client is.
    pub fn client(&self) -> &ClientAddress {
        &self.client
    }

    /// Notes what targets are told that it is called.
    pub fn is_called(&mut self, unique_id: Vec<u8>) {
        self.unique_id = Some(unique_id.into());
    }

    /// Notes that the client is being asked whom it wants.
    pub fn greeting(&mut self) {
        self.stage = Stage::Greeting;
    }

    /// Notes the name that the client asked for.
    pub fn asked_for(&mut self, name: Option<&str>) {
        self.name = name.map(|name| Escaped(name.as_bytes()).to_string());
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
        if let Some(Owner { counts, .. }) = &self.service {
            counts.failed_dials.raise();
        }
    }

    /// Notes that the target is connected, and where it is counted what is relayed.
    pub fn relaying(&mut self, meter: &Arc<Meter>) {
        self.meter = Some(Arc::clone(meter));
        self.stage = Stage::Relay;
        self.dialled = Some(self.opened.elapsed());
        if let Some(Owner { counts, .. }) = &self.service {
            counts.connected.raise();
        }
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
        let Some(Owner { counts, .. }) = &self.service else { return };
        counts.live.lower();
        counts.bytes_to_target.add(to_target);
        counts.bytes_to_client.add(to_client);
        match &self.ending {
            Ending::Untrusted
            | Ending::NoTarget(_)
            | Ending::Unreachable(_)
            | Ending::Hindered(_) => {
                counts.refused.raise();
            }
            Ending::Denied(denial) => {
                counts.refused.raise();
                denial.count(counts).raise();
            }
            Ending::Cut(_)
            | Ending::Relayed(End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge) => {
                counts.cut.raise();
            }
            Ending::NoHeader(_) | Ending::NoHandshake(_) | Ending::GreetingTimeout => {
                counts.failed_handshakes.raise();
            }
            Ending::NoHello(_)
            | Ending::Unanswered(_)
            | Ending::Panicked
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
            | Ending::Untrusted
            | Ending::NoHeader(_)
            | Ending::NoHello(_)
            | Ending::Unanswered(_)
            | Ending::NoHandshake(_)
            | Ending::GreetingTimeout
            | Ending::Denied(_)
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
        if let (Ending::Denied(denial), Some(owner)) = (&self.ending, &self.service) {
            // Not one by one: there may be thousands.
            return owner.turned_away.note(*denial, self.client.ip());
        }
        let told = self.client.header();
        let told_id = told.and_then(|told| told.unique_id.as_deref());
        let unique_id = self.unique_id.as_deref().or(told_id);
        let shown = |bytes: Option<&[u8]>| bytes.map(|bytes| Escaped(bytes).to_string());
        log::log!(
            self.level(),
            service = self.service.as_ref().map_or("-", |owner| owner.name.as_str()),
            client:% = self.client.real(),
            via = self.client.sender().map(ToString::to_string),
            authority = told.and_then(|told| shown(told.authority.as_deref())),
            unique_id = shown(unique_id),
            name = self.name.as_deref(),
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
            | Self::NoHeader(_)
            | Self::NoHello(_)
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
            | Self::Untrusted
            | Self::Unanswered(_)
            | Self::NoHandshake(_)
            | Self::GreetingTimeout
            | Self::Denied(_)
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
            Self::Untrusted => {
                f.write_str("a PROXY header is required, and not believed from this address")
            }
            Self::NoHello(why) | Self::NoHeader(why) => f.write_str(why),
            Self::Unanswered(why) => why.fmt(f),
            Self::NoHandshake(why) => write!(f, "TLS: {why}"),
            Self::GreetingTimeout => {
                f.write_str("the client took longer than handshake_timeout to begin")
            }
            Self::Denied(denial) => write!(f, "turned away: {denial}"),
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
            Self::Header => "header",
            Self::Greeting => "greeting",
            Self::Route => "route",
            Self::Dial => "dial",
            Self::Relay => "relay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::live::tests::live_service;

    #[test]
    fn a_relay_that_never_said_how_it_ended_has_relayed_what_it_has() {
        let live = live_service();
        let counts = Arc::clone(&live.counts);
        let mut ledger = Ledger::open(Endpoint::Unix(None));
        ledger.belongs_to(&live);
        let meter = Arc::<Meter>::default();
        ledger.relaying(&meter);
        meter.to_target.add(3);
        meter.to_client.add(5);
        drop(ledger);
        assert_eq!((counts.bytes_to_target.get(), counts.bytes_to_client.get()), (3, 5));
        assert_eq!(counts.live.get(), 0);
    }
}
