//! The live services: what is in force now, by listening address and by name.
//!
//! An immutable map, replaced whole by a reload. A session keeps the service it began under;
//! counts and permits of a service go over from one generation to the next.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::model::{Model, Service};
use crate::config::names::{ListenAddress, ServiceName};
use crate::events::watch::FailoverWatch;
use crate::proxy::permits::{Permit, Permits};
use crate::routing::table::Table;
use crate::telemetry::counts::ServiceCounts;

/// Where the live services are found.
pub type LiveCell = Arc<ArcSwap<LiveServices>>;

/// Every service in force.
#[derive(Debug, Default)]
pub struct LiveServices {
    by_address: HashMap<ListenAddress, Arc<LiveService>>,
    by_name: HashMap<ServiceName, Arc<LiveService>>,
}

/// One service in force.
#[derive(Debug)]
pub struct LiveService {
    /// Its routes.
    pub table: Table,
    /// How many sessions it may have.
    pub permits: Permits,
    /// How many of its clients may wait for a target, at all routers together.
    holds: Permits,
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
            live.by_address.insert(service.listen.clone(), Arc::clone(&new));
            live.by_name.insert(service.name.clone(), new);
        }
        live
    }

    /// The service that answers at this address.
    pub fn at(&self, listen: &ListenAddress) -> Option<&Arc<LiveService>> {
        self.by_address.get(listen)
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
            permits,
            holds,
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

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::model::{Balance, Protocol, SessionLimits};
    use crate::routing::pool::tests::pool;

    fn service(name: &str, port: u16, weights: &[u32]) -> Arc<Service> {
        Arc::new(Service {
            name: ServiceName::new(name),
            source: Path::new("service.json").into(),
            listen: ListenAddress::AnyOnPort(port),
            protocol: Protocol::Tcp,
            pool: pool(Balance::First, weights).spec().clone(),
            limits: SessionLimits::default(),
            health: None,
        })
    }

    /// A service in force, whatever it is.
    pub(crate) fn live_service() -> Arc<LiveService> {
        Arc::new(LiveService::new(&service("any", 1, &[1]), None))
    }

    fn model(services: &[Arc<Service>]) -> Model {
        let services = services.iter().map(|one| (one.name.clone(), Arc::clone(one)));
        Model { services: services.collect(), ..Model::default() }
    }

    #[test]
    fn a_service_that_has_not_changed_is_the_same_one_after_a_reload() {
        let old = LiveServices::of(&model(&[service("a", 1, &[1])]), &LiveServices::default());
        let new = LiveServices::of(&model(&[service("a", 1, &[1])]), &old);
        let at = |live: &LiveServices| Arc::clone(live.at(&ListenAddress::AnyOnPort(1)).unwrap());
        assert!(Arc::ptr_eq(&at(&old), &at(&new)));
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
        let after = new.at(&ListenAddress::AnyOnPort(2)).unwrap();
        assert_eq!(after.counts.accepted.get(), 1);
        assert!(after.permits.try_take().is_none(), "the one that is out counts");
        assert_eq!(after.table.pool().members()[1].live(), 1);
        assert!(new.at(&ListenAddress::AnyOnPort(1)).is_none());
    }
}
