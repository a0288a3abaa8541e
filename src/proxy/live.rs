//! The live services: what is in force now, by listening address and by name.
//!
//! An immutable map, replaced whole by a reload. A session keeps the service it began under;
//! counts and permits of a service go over from one generation to the next.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::model::{Model, Protocol, Service};
use crate::config::names::{ListenAddress, ServiceName};
use crate::config::proxy_protocol::Receiving;
use crate::events::watch::FailoverWatch;
use crate::net::tls_server::TlsServer;
use crate::proxy::permits::{Permit, Permits};
use crate::proxy::shared_lines::SharedLines;
use crate::proxy::sources::Sources;
use crate::routing::hello::HelloTable;
use crate::routing::table::Table;
use crate::telemetry::counts::ServiceCounts;

/// Where the live services are found.
pub type LiveCell = Arc<ArcSwap<LiveServices>>;

/// Every service in force.
#[derive(Debug, Default)]
pub struct LiveServices {
    by_address: HashMap<ListenAddress, Arc<LivePort>>,
    by_name: HashMap<ServiceName, Arc<LiveService>>,
}

/// Who answers at one listening address.
#[derive(Debug)]
pub enum LivePort {
    /// One service, whoever comes.
    One(Arc<LiveService>),
    /// Whose a connection is shows in the client's hello.
    Hello(HelloPort),
}

/// A port whose services are told apart by what a client asks for.
#[derive(Debug)]
pub struct HelloPort {
    /// The services of the port.
    pub table: HelloTable<Arc<LiveService>>,
    /// How long a client may take to say whom it wants: the longest time that any of them gives.
    pub handshake_timeout: Duration,
    /// What comes before that; all of them agree.
    receiving: Option<Receiving>,
    /// What is told of sessions that come to nothing before they have a service.
    lines: Arc<SharedLines>,
}

/// One service in force.
#[derive(Debug)]
pub struct LiveService {
    /// Its routes.
    pub table: Table,
    /// Its end of TLS, where TLS is ended.
    pub tls: Option<TlsServer>,
    /// How many sessions it may have.
    pub permits: Permits,
    /// How many of its clients may wait for a target, at all routers together.
    holds: Permits,
    /// What is counted of its clients' addresses, where there are limits for them.
    pub sources: Arc<Sources>,
    /// What is told of its sessions that come to nothing.
    pub lines: Arc<SharedLines>,
    /// What is counted of it.
    pub counts: Arc<ServiceCounts>,
    /// What its failovers cost.
    pub failovers: Arc<FailoverWatch>,
}

// === impl LiveServices ===

impl LiveServices {
    /// What `model` puts in force after `previous`. A service that has not changed is the same
    /// one; one that has keeps its counts and those of the targets that stay.
    pub fn of(model: &Model, previous: &Self) -> Self {
        let mut live = Self::default();
        for service in model.services.values() {
            let old = previous.by_name.get(&service.name);
            let new = match old {
                Some(old) if old.table.service() == service => Arc::clone(old),
                Some(_) | None => Arc::new(LiveService::new(service, old.map(|old| &**old))),
            };
            live.by_name.insert(service.name.clone(), new);
        }
        live.by_address = live.ports(previous);
        live
    }

    /// Who answers at this address.
    pub fn at(&self, listen: &ListenAddress) -> Option<&Arc<LivePort>> {
        self.by_address.get(listen)
    }

    fn ports(&self, previous: &Self) -> HashMap<ListenAddress, Arc<LivePort>> {
        let mut sharing: HashMap<&ListenAddress, Vec<&Arc<LiveService>>> = HashMap::new();
        for live in self.by_name.values() {
            sharing.entry(&live.service().listen).or_default().push(live);
        }
        let port = |(listen, services): (&ListenAddress, Vec<&Arc<LiveService>>)| {
            let old = previous.at(listen).map(|port| &**port);
            (listen.clone(), Arc::new(LivePort::of(listen, &services, old)))
        };
        sharing.into_iter().map(port).collect()
    }

    /// The service of this name.
    pub fn named(&self, name: &ServiceName) -> Option<&Arc<LiveService>> {
        self.by_name.get(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveService>> {
        self.by_name.values()
    }
}

// === impl LivePort ===

impl LivePort {
    /// The port of these services; only those that are told apart by a hello can share one.
    fn of(listen: &ListenAddress, services: &[&Arc<LiveService>], previous: Option<&Self>) -> Self {
        if let Some(one) = services.iter().find(|live| !live.service().is_chosen_by_hello()) {
            return Self::One(Arc::clone(one));
        }
        let timeouts = services.iter().map(|live| live.service().limits.handshake_timeout);
        let handshake_timeout = timeouts.max().unwrap_or_default();
        let entries =
            services.iter().map(|live| (live.service().answers.clone(), Arc::clone(live)));
        let receiving = services.first().and_then(|live| live.service().receiving.clone());
        let lines = match previous {
            Some(Self::Hello(old)) => Arc::clone(&old.lines),
            Some(Self::One(_)) | None => SharedLines::of_port(&listen.to_string()),
        };
        let table = HelloTable::new(entries);
        Self::Hello(HelloPort { table, handshake_timeout, receiving, lines })
    }

    /// What a connection has to begin with, before anything else; `None`: nothing.
    pub fn receiving(&self) -> Option<&Receiving> {
        match self {
            Self::One(live) => live.service().receiving.as_ref(),
            Self::Hello(port) => port.receiving.as_ref(),
        }
    }

    /// What is told of sessions that come to nothing.
    pub fn lines(&self) -> &Arc<SharedLines> {
        match self {
            Self::One(live) => &live.lines,
            Self::Hello(port) => &port.lines,
        }
    }

    /// How long a client may take until its session is routed.
    pub fn handshake_timeout(&self) -> Duration {
        match self {
            Self::One(live) => live.service().limits.handshake_timeout,
            Self::Hello(port) => port.handshake_timeout,
        }
    }
}

impl fmt::Display for LivePort {
    /// The services, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&ServiceName> = match self {
            Self::One(live) => vec![&live.service().name],
            Self::Hello(port) => port.table.iter().map(|live| &live.service().name).collect(),
        };
        names.sort();
        let shown: Vec<String> = names.iter().take(8).map(|name| format!("\"{name}\"")).collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        write!(f, "service{plural} {}", shown.join(", "))?;
        if names.len() > shown.len() {
            write!(f, " and {} more", names.len() - shown.len())?;
        }
        Ok(())
    }
}

// === impl LiveService ===

impl LiveService {
    fn new(service: &Arc<Service>, previous: Option<&Self>) -> Self {
        let permits = previous.map_or_else(|| Permits::new(None), |old| old.permits.clone());
        permits.set_limit(service.limits.max_connections);
        let holds = previous.map_or_else(|| Permits::new(None), |old| old.holds.clone());
        holds.set_limit(NonZeroUsize::new(service.pool.hold_limit));
        let counts: Arc<ServiceCounts> =
            previous.map(|old| Arc::clone(&old.counts)).unwrap_or_default();
        let failovers = previous.map_or_else(
            || Arc::new(FailoverWatch::new(service.name.clone(), Arc::clone(&counts))),
            |old| Arc::clone(&old.failovers),
        );
        Self {
            table: Table::compile(Arc::clone(service), previous.map(|old| &old.table)),
            tls: tls(service, previous.and_then(|old| old.tls.as_ref())),
            permits,
            holds,
            sources: previous.map(|old| Arc::clone(&old.sources)).unwrap_or_default(),
            lines: previous.map_or_else(
                || SharedLines::of_service(service.name.as_str()),
                |old| Arc::clone(&old.lines),
            ),
            counts,
            failovers,
        }
    }

    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        self.table.service()
    }

    /// Clients that wait for a target now.
    pub fn waiting(&self) -> u64 {
        self.holds.out() as u64
    }

    /// A place among the clients that wait, if one is left.
    pub fn try_hold(&self) -> Option<Permit> {
        // A limit of 0 is none to `Permits`.
        (self.service().pool.hold_limit > 0).then(|| self.holds.try_take())?
    }
}

/// A service's end of TLS. Where it cannot be made, for want of randomness say, its clients are
/// refused, and others are served.
fn tls(service: &Service, previous: Option<&TlsServer>) -> Option<TlsServer> {
    let Protocol::Tls(termination) = &service.protocol else { return None };
    let made = TlsServer::new(termination, &service.answers, previous);
    made.inspect_err(|error| {
        log::error!(service = service.name.as_str(); "TLS cannot be ended here: {error}");
    })
    .ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::model::{Balance, Protocol, SessionLimits};
    use crate::config::tls::Answers;
    use crate::routing::pool::tests::pool;

    fn service(name: &str, port: u16, weights: &[u32]) -> Arc<Service> {
        Arc::new(Service {
            name: ServiceName::new(name),
            source: Path::new("service.json").into(),
            listen: ListenAddress::AnyOnPort(port),
            protocol: Protocol::Tcp,
            answers: Answers::default(),
            receiving: None,
            access: None,
            pool: pool(Balance::First, weights).spec().clone(),
            limits: SessionLimits::default(),
            health: None,
            discovery: None,
            events: Arc::default(),
        })
    }

    /// A service in force, whatever it is.
    pub(crate) fn live_service() -> Arc<LiveService> {
        Arc::new(LiveService::new(&service("any", 1, &[1]), None))
    }

    /// A port with a service in force, whatever it is.
    pub(crate) fn live_port() -> Arc<LivePort> {
        Arc::new(LivePort::One(live_service()))
    }

    fn model(services: &[Arc<Service>]) -> Model {
        let services = services.iter().map(|one| (one.name.clone(), Arc::clone(one)));
        Model { services: services.collect(), ..Model::default() }
    }

    #[test]
    fn a_service_that_has_not_changed_is_the_same_one_after_a_reload() {
        let old = LiveServices::of(&model(&[service("a", 1, &[1])]), &LiveServices::default());
        let new = LiveServices::of(&model(&[service("a", 1, &[1])]), &old);
        let named = |live: &LiveServices| Arc::clone(live.named(&ServiceName::new("a")).unwrap());
        assert!(Arc::ptr_eq(&named(&old), &named(&new)));
    }

    #[test]
    fn a_changed_service_keeps_its_counts_its_permits_and_the_targets_that_stay() {
        let old = LiveServices::of(&model(&[service("a", 1, &[1, 1])]), &LiveServices::default());
        let before = old.named(&ServiceName::new("a")).unwrap();
        before.counts.accepted.raise();
        let _session = (before.permits.try_take(), before.table.pool().lease(1));
        let mut changed = Service::clone(&service("a", 2, &[1, 1, 1]));
        changed.limits.max_connections = NonZeroUsize::new(1);
        let new = LiveServices::of(&model(&[Arc::new(changed)]), &old);
        let LivePort::One(after) = &**new.at(&ListenAddress::AnyOnPort(2)).unwrap() else {
            panic!("a tcp service has a port to itself");
        };
        assert_eq!(after.counts.accepted.get(), 1);
        assert!(after.permits.try_take().is_none(), "the one that is out counts");
        assert_eq!(after.table.pool().members()[1].live(), 1);
        assert!(new.at(&ListenAddress::AnyOnPort(1)).is_none());
    }
}
