//! The outcome: how a session ended, in which stage, and why. Exactly one a session, also when
//! its task panics: one log line and one set of counts, written when the ledger is dropped. Those
//! that came to nothing share lines where they are many.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::net::endpoint::Endpoint;
use crate::proxy::client_address::ClientAddress;
use crate::proxy::ending::Ending;
use crate::proxy::live::LiveService;
use crate::proxy::meter::Meter;
use crate::proxy::shared_lines::SharedLines;
use crate::telemetry::counts::ServiceCounts;
use crate::telemetry::escape::Escaped;

/// The record of one session, from accept to close.
#[derive(Debug)]
pub struct Ledger {
    /// Whose it is; nobody's before its client has said so.
    service: Option<Owner>,
    /// Of the service, or of the port before there is one.
    lines: Arc<SharedLines>,
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

// === impl Ledger ===

impl Ledger {
    /// Opens the record of a session that has just been accepted, at a port with these lines.
    pub fn open(client: Endpoint, lines: &Arc<SharedLines>) -> Self {
        Self {
            service: None,
            lines: Arc::clone(lines),
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
        self.lines = Arc::clone(&live.lines);
        self.service = Some(Owner { name: live.service().name.clone(), counts });
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
        self.ending.count(counts);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if matches!(self.ending, Ending::Panicked) && !std::thread::panicking() {
            self.ending = Ending::ArbiterLost;
        }
        let (to_target, to_client) = self.bytes();
        self.count((to_target, to_client));
        if let Some(reason) = self.ending.reason()
            && !self.lines.note(reason, &self.ending, self.client.ip())
        {
            return;
        }
        let told = self.client.header();
        let told_id = told.and_then(|told| told.unique_id.as_deref());
        let unique_id = self.unique_id.as_deref().or(told_id);
        let shown = |bytes: Option<&[u8]>| bytes.map(|bytes| Escaped(bytes).to_string());
        log::log!(
            self.ending.level(),
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

// === impl Stage ===

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
        let mut ledger = Ledger::open(Endpoint::Unix(None), &live.lines);
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
