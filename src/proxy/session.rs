//! The session: the life of one connection, from accept to close, as one list of stages.
//!
//! Accept → header → greeting → route → dial → relay → outcome. Permit, seat, pass and lease come back by `Drop`,
//! whatever happens; the outcome is written by the ledger, once.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::snapshot::{Leadership, ServiceHealth};
use crate::health::supervisor::TargetSuspected;
use crate::health::suspicion::Failure;
use crate::net::connect::{Preface, connect};
use crate::net::connectors::Unbuildable;
use crate::net::dial::DialFault;
use crate::net::peer::Peer;
use crate::net::socket::Socket;
use crate::net::tuning::Tuning;
use crate::proxy::admission::admit;
use crate::proxy::announcement::{Known, Told, announce};
use crate::proxy::client_address::ClientAddress;
use crate::proxy::departure::client_leaves;
use crate::proxy::desk::{Desk, HeldSince, Route};
use crate::proxy::ending::Ending;
use crate::proxy::greeting::{Greeted, Heard, greet};
use crate::proxy::header;
use crate::proxy::live::{LivePort, LiveService};
use crate::proxy::outcome::Ledger;
use crate::proxy::registry::{CutReason, Pass};
use crate::proxy::relay::{End, Relayed, Side, relay};
use crate::proxy::secure_relay::relay_peers;
use crate::proxy::watch::RelayLimits;
use crate::proxy::worker::Incoming;
use crate::routing::choice::{Facts, Refusal};
use crate::routing::pool::Lease;
use crate::wire::proxy_header::tlv::Tlvs;

/// All dials of one session together, unless it may be held for longer.
const DIALS_IN_ALL: Duration = Duration::from_secs(10);
/// How often a session may be sent back to route because its target lost the lead while it dialled.
const REROUTES: u32 = 8;

/// Serves one connection to its end.
pub async fn run(incoming: Incoming, desk: Arc<Desk>) {
    let Incoming { fd, peer, port, permit: _permit, seat: _seat, queued } = incoming;
    let mut ledger = Ledger::open(peer.clone(), port.lines());
    let client = match Socket::from_accepted(fd) {
        Ok(client) => Arc::new(client),
        Err(error) => return ledger.close(Ending::Unusable(error)),
    };
    if let LivePort::One(live) = &*port {
        ledger.belongs_to(live);
    }
    let (address, received) = match port.receiving() {
        None => (ClientAddress::direct(peer), None),
        Some(rules) => {
            ledger.expecting_header();
            let until = queued + port.handshake_timeout();
            // A session without a header must not be as large as one that has it.
            match Box::pin(header::receive(&client, peer, rules, until)).await {
                Ok((address, tlvs)) => {
                    ledger.comes_as(&address);
                    (address, Some(Box::new(tlvs)))
                }
                Err(ending) => return ledger.close(ending),
            }
        }
    };
    let greeted = match &*port {
        LivePort::One(live) => {
            // The rules of now: a header may have taken its time, and they were looser before.
            let name = &live.service().name;
            let newest = port.receiving().and_then(|_| desk.live.load().named(name).cloned());
            admit(newest.as_ref().unwrap_or(live), address.ip(), queued)
                .map(|admission| Greeted::plain(Arc::clone(live), Arc::clone(&client), admission))
                .map_err(Ending::Denied)
        }
        LivePort::Hello(hello) => {
            // A session without TLS must not be as large as one that has it.
            let client = Arc::clone(&client);
            Box::pin(greet(client, hello, &desk.live, queued, &mut ledger)).await
        }
    };
    let ending = match greeted {
        Ok(Greeted { live, client: end, heard, admission: _admission }) => {
            let session = Session { client, address, received, live, desk };
            session.serve(end, heard, &mut ledger).await
        }
        Err(ending @ Ending::Denied(_)) => {
            client.abort();
            ending
        }
        Err(ending) => ending,
    };
    ledger.close(ending);
}

struct Session {
    client: Arc<Socket>,
    address: ClientAddress,
    /// What a header has told besides, until targets are told of it.
    received: Option<Box<Tlvs>>,
    live: Arc<LiveService>,
    desk: Arc<Desk>,
}

impl Session {
    async fn serve(
        mut self,
        mut end: Peer,
        heard: Option<Box<Heard>>,
        ledger: &mut Ledger,
    ) -> Ending {
        let service = Arc::clone(self.live.service());
        let pass = self.desk.registry.enter(self.desk.index, &service.name, &self.client);
        let name = heard.as_ref().and_then(|heard| heard.name.as_deref());
        let known = Known { address: &self.address, received: self.received.take(), name };
        let header = announce(&self.live, known, &end, ledger);
        let starttls = heard.as_ref().and_then(|heard| heard.starttls);
        let told = Told { header, name, starttls };
        // In a box, like everything else that a relay has no more use for: it may last for hours.
        let connecting = Box::pin(self.connect(&mut end, told, &pass, ledger));
        let (mut target, lease) = match connecting.await {
            Ok(connected) => connected,
            Err(ending) => return ending,
        };
        ledger.relaying(pass.meter());
        if let Some(heard) = heard {
            let within = service.pool.connect_timeout;
            if let Err(error) = Box::pin(heard.pass_on(&mut target, pass.meter(), within)).await {
                target.socket().abort();
                return Ending::Relayed(End::Failed(Side::Target, error));
            }
        }
        let limits = RelayLimits::of(&service.limits);
        let socket = Arc::clone(target.socket());
        let (meter, cut) = (pass.meter(), pass.relay_cut());
        let relayed = match (end, &mut target) {
            (Peer::Plain(_), Peer::Plain(target)) => {
                let relaying = pin!(relay(&self.client, target, limits, meter, cut));
                self.watch_first_byte(&socket, &lease, &pass, relaying).await
            }
            (mut end, target) => {
                let mut relaying = Box::pin(relay_peers(&mut end, target, limits, meter, cut));
                self.watch_first_byte(&socket, &lease, &pass, relaying.as_mut()).await
            }
        };
        if matches!(relayed.end, End::Reset(Side::Target) | End::Failed(Side::Target, _)) {
            self.suspect(&lease.target().key, Failure::Reset);
        }
        match pass.why_cut() {
            Some(cut) => Ending::Cut(cut),
            None => Ending::Relayed(relayed.end),
        }
    }

    /// Routes and dials until a target is connected, unless the client leaves first.
    async fn connect(
        &self,
        end: &mut Peer,
        told: Told<'_>,
        pass: &Pass,
        ledger: &mut Ledger,
    ) -> Result<(Peer, Lease), Ending> {
        tokio::select! {
            biased;
            connected = self.find_target(&told, pass, ledger) => connected,
            () = client_leaves(end) => Err(left_by(pass)),
        }
    }

    async fn find_target(
        &self,
        told: &Told<'_>,
        pass: &Pass,
        ledger: &mut Ledger,
    ) -> Result<(Peer, Lease), Ending> {
        let service = self.live.service();
        let pool = &service.pool;
        let (mut tried, mut reroutes, mut dialled) = (Vec::new(), 0, Duration::ZERO);
        let (held_since, mut failure) = (HeldSince::default(), None);
        // A client that may be held is dialled for as long as that.
        let in_all = DIALS_IN_ALL.max(pool.hold);
        loop {
            let lease = match self.route(&tried, &held_since, ledger).await {
                Ok(lease) => lease,
                Err(refusal) => {
                    return Err(match (refusal, failure) {
                        (Refusal::AllTried, Some(failed)) => failed,
                        (refusal, _) => Ending::NoTarget(refusal),
                    });
                }
            };
            let key = lease.target().key.clone();
            if tried.contains(&key) {
                // The router has begun another round, under `hold`: this one begins with it.
                tried.clear();
            }
            ledger.dialling(&lease.target().name);
            pass.aim(&key);
            let started = Instant::now();
            let left = in_all.saturating_sub(dialled);
            let attempt = tokio::select! {
                biased;
                cut = pass.cut() => Err(Fate::Cut(cut)),
                dialled = self.dial(told, &lease, left.min(pool.connect_timeout)) => {
                    dialled
                }
            };
            dialled += started.elapsed();
            match attempt.and_then(|target| self.admit(pass, target, &key)) {
                Ok(target) => return Ok((target, lease)),
                // It lost the lead while we dialled: not a byte may reach it.
                Err(Fate::Cut(cut)) if cut.is_of_target() => {}
                Err(Fate::Cut(cut)) => return Err(Ending::Cut(cut)),
                Err(Fate::Failed(failed)) => {
                    ledger.dial_failed();
                    tried.push(key);
                    let tries_left = u32::try_from(tried.len()).is_ok_and(|n| n <= pool.retries)
                        && dialled < in_all;
                    // Under `hold`, every target refusing is as good as every target being down.
                    let since = held_since.since(Instant::now());
                    let held = since.elapsed() < pool.hold;
                    if !(tries_left || held) {
                        return Err(failed);
                    }
                    failure = Some(failed);
                    continue;
                }
            }
            reroutes += 1;
            if reroutes > REROUTES {
                return Err(Ending::NoTarget(Refusal::NoLeader));
            }
        }
    }

    /// Asks the router, again if it is restarted meanwhile.
    async fn route(
        &self,
        tried: &[TargetKey],
        held_since: &HeldSince,
        ledger: &mut Ledger,
    ) -> Result<Lease, Refusal> {
        ledger.routing(tried.is_empty());
        loop {
            let (reply, answer) = oneshot::channel();
            let facts = Facts { client: self.address.ip() };
            let (live, tried) = (Arc::clone(&self.live), tried.to_vec());
            let held_since = Arc::clone(held_since);
            let ask = Route { live, facts, tried, held_since, reply };
            if self.desk.routes.tell(ask)
                && let Ok(answer) = answer.await
            {
                return answer;
            }
            // The router is being restarted; its back-off is short.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn dial(&self, told: &Told<'_>, lease: &Lease, within: Duration) -> Result<Peer, Fate> {
        let target = lease.target();
        let destination = self.desk.names.load().resolve(&target.address);
        let unreachable = |why: String| Fate::Failed(Ending::Unreachable(why));
        let destination = destination.map_err(|error| unreachable(error.to_string()))?;
        let connector =
            target.tls.as_ref().map(|policy| self.desk.connectors.of_session(policy, told.name));
        let connector = connector.transpose();
        let hindered = |error: Unbuildable| Fate::Failed(Ending::Hindered(error.to_string()));
        let connector = connector.map_err(hindered)?;
        let tuning = Tuning::of(&self.live.service().limits);
        let deadline = Instant::now() + within;
        let connector = connector.as_deref();
        let preface = Preface { header: &told.header, starttls: told.starttls };
        let dialled = connect(&destination, preface, connector, deadline, &tuning).await;
        dialled.map_err(|error| {
            if error.fault == DialFault::OwnSide {
                // It says nothing of this target; another may be on a network that we can reach.
                return Fate::Failed(Ending::Hindered(error.to_string()));
            }
            let by_client =
                told.name.is_some() && target.tls.as_ref().is_some_and(|it| it.by_client);
            // Whoever asks for strange names shall not have targets checked all the time.
            if !(by_client && error.fault == DialFault::Handshake) {
                self.suspect(&target.key, Failure::Unreachable);
            }
            unreachable(error.to_string())
        })
    }

    /// Relays, and tells of the first byte if it is the first since a failover.
    async fn watch_first_byte(
        &self,
        target: &Socket,
        lease: &Lease,
        pass: &Pass,
        mut relaying: Pin<&mut impl Future<Output = Relayed>>,
    ) -> Relayed {
        let failovers = &self.live.failovers;
        if failovers.awaits_first_byte() {
            let first = Box::pin(first_readable(&self.client, target));
            tokio::select! {
                biased;
                () = first => {
                    if !pass.relay_cut().is_set() {
                        failovers.first_byte(&lease.target().key, Instant::now());
                    }
                }
                relayed = &mut relaying => return relayed,
            }
        }
        relaying.await
    }

    /// Tells whoever judges targets.
    fn suspect(&self, target: &TargetKey, failure: Failure) {
        let service = self.live.service();
        if service.is_judged() {
            let (service, target) = (service.name.clone(), target.clone());
            self.desk.suspicions.tell(TargetSuspected { service, target, failure });
        }
    }

    /// Between the connect and the first byte: may this target have the session still? Asked before
    /// a cut can reach the client, which has seen nothing and goes elsewhere, and again once it can.
    fn admit(&self, pass: &Pass, target: Peer, key: &TargetKey) -> Result<Peer, Fate> {
        self.check_wanted(key)?;
        pass.connected(target.socket()).map_err(Fate::Cut)?;
        self.check_wanted(key)?;
        Ok(target)
    }

    /// Judges by the newest services and the newest snapshot: both may have changed since the
    /// session began.
    fn check_wanted(&self, target: &TargetKey) -> Result<(), Fate> {
        let services = self.desk.live.load();
        let live = services.named(&self.live.service().name).unwrap_or(&self.live);
        let service = live.service();
        if !service.pool.targets.iter().any(|kept| kept.key == *target) {
            return Err(Fate::Cut(CutReason::TargetRemoved));
        }
        let snapshot = self.desk.snapshot.load();
        // A leader is obeyed even before the definition that asks for one is in force.
        let is_judged =
            |health: &ServiceHealth| service.is_judged() || health.leadership != Leadership::NotLed;
        match snapshot.services.get(&service.name).filter(|health| is_judged(health)) {
            Some(health) if !health.is_eligible(target) => Err(Fate::Cut(CutReason::TargetDown)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Who made the client leave: a cut aborts its socket, which looks like a reset of its own.
fn left_by(pass: &Pass) -> Ending {
    let cut = pass.why_cut().filter(|_| pass.relay_cut().is_set());
    cut.map_or(Ending::ClientLeft, Ending::Cut)
}

/// Waits for a byte from either side (or its end), and reads nothing.
async fn first_readable(client: &Socket, target: &Socket) {
    tokio::select! {
        () = client.readable() => {}
        () = target.readable() => {}
    }
}

/// How a dial ended that connected nobody.
enum Fate {
    Cut(CutReason),
    /// Another target may do better; else the session ends so.
    Failed(Ending),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_that_relays_is_small() {
        let size = size_of_future(run);
        assert!(size <= 1536, "{size} bytes are held by every idle session");
    }
}
