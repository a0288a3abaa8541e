//! The house: what outlives every component, made once at the start and handed to all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use actix::Actor;
use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::app::hired::Discoverers;
use crate::app::limits::Shortage;
use crate::app::service_manager::ServiceManager;
use crate::config::model::{Model, Node};
use crate::config::names::{ListenAddress, ServiceName};
use crate::config::origin::Origin;
use crate::discovery::discoverer::ListChanged;
use crate::discovery::resolver::Resolver;
use crate::events::courier::Courier;
use crate::events::herald::Herald;
use crate::health::snapshot::{Snapshot, SnapshotCell};
use crate::health::supervisor::HealthSupervisor;
use crate::net::connectors::Connectors;
use crate::net::names::NameBook;
use crate::proxy::listener::Listener;
use crate::proxy::live::LiveCell;
use crate::proxy::permits::Permits;
use crate::proxy::registry::Registry;
use crate::proxy::router::{Reconsider, Router};
use crate::proxy::sockets::SocketTable;
use crate::proxy::worker::{Worker, Workers};
use crate::state::keeper::Keeper;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::supervisor::Supervisor;
use crate::telemetry::log::LogControl;

/// What outlives every component.
#[derive(Clone)]
pub struct House {
    /// The log of the process.
    pub log: LogControl,
    /// The model in force, with the targets that have been found.
    pub model: Arc<ArcSwap<Model>>,
    /// What it was made from.
    pub origin: Arc<ArcSwap<Origin>>,
    /// The files of certificates that were changed and cannot be used, each with the reason.
    pub certificate_faults: Arc<ArcSwap<BTreeMap<PathBuf, String>>>,
    /// The same as it is written.
    pub written: Arc<ArcSwap<Model>>,
    /// Targets that are found and would close a circle, by service, in words: they are left out.
    pub circles: Arc<ArcSwap<BTreeMap<ServiceName, Vec<String>>>>,
    /// Held while a model is put in force: one at a time, and each one whole.
    pub applying: Arc<tokio::sync::Mutex<()>>,
    /// Since an upgrade another process serves: no configuration comes into force here any more.
    pub is_succeeded: Arc<AtomicBool>,
    /// Who finds targets.
    pub discoverers: Discoverers,
    /// Told when another list of targets counts.
    pub lists_changed: Recipient<ListChanged>,
    /// How many models have been in force.
    pub generation: Arc<AtomicU64>,
    /// When the process started.
    pub started: Instant,
    /// Every listening socket.
    pub sockets: SocketTable,
    /// Who has started us, and wants to know how we are.
    pub manager: ServiceManager,
    /// The services in force.
    pub live: LiveCell,
    /// What is known of their targets.
    pub snapshot: SnapshotCell,
    /// The addresses of target names.
    pub names: Arc<ArcSwap<NameBook>>,
    /// What TLS handshakes with targets need.
    pub connectors: Connectors,
    /// The names that are looked up.
    pub wanted_names: Arc<ArcSwap<BTreeSet<Arc<str>>>>,
    /// Writes to disk what must outlive the process.
    pub keeper: Keeper,
    /// Every session.
    pub registry: Arc<Registry>,
    /// The bound on all of them.
    pub permits: Permits,
    /// What has been told of a bound that is lower than wanted.
    pub shortage: Arc<Mutex<Shortage>>,
    /// The data arbiters' queues and counts.
    pub workers: Workers,
    /// Their routers, in the same order.
    pub routers: Arc<[Ref<Router>]>,
    /// The listeners, by the address each listens at.
    pub listeners: Arc<Mutex<BTreeMap<ListenAddress, Ref<Listener>>>>,
    /// The component that judges targets.
    pub health: Ref<HealthSupervisor>,
    /// The component that resolves names.
    pub resolver: Ref<Resolver>,
    /// Tells handlers what happens to targets.
    pub herald: Arc<Herald>,
    /// The component that sends it to webhooks.
    pub courier: Ref<Courier>,
    /// The group of routers and listeners.
    pub data: Ref<Supervisor>,
    /// The group of checkers.
    pub checkers: Ref<Supervisor>,
    /// The group of discoverers.
    pub discovery: Ref<Supervisor>,
    /// How often each component may be restarted.
    pub intensity: Intensity,
}

impl House {
    /// An empty house for a node that has these groups and this log.
    pub fn new(
        node: &Node,
        log: LogControl,
        [data, checkers, discovery]: [Ref<Supervisor>; 3],
        lists_changed: Recipient<ListChanged>,
    ) -> Self {
        let workers = node.workers;
        let courier: Ref<Courier> = vacant("courier");
        let routers = (0..workers.get()).map(|index| vacant(&format!("router/{index}"))).collect();
        Self {
            log,
            model: Arc::default(),
            origin: Arc::default(),
            certificate_faults: Arc::default(),
            written: Arc::default(),
            discoverers: Arc::default(),
            lists_changed,
            circles: Arc::default(),
            applying: Arc::default(),
            is_succeeded: Arc::default(),
            generation: Arc::default(),
            started: Instant::now(),
            sockets: SocketTable::default(),
            manager: ServiceManager::default(),
            live: LiveCell::default(),
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            names: Arc::default(),
            connectors: Connectors::default(),
            wanted_names: Arc::default(),
            keeper: Keeper::new(node.state_folder.clone(), node.state_max_age),
            registry: Registry::new(workers.get()),
            permits: Permits::new(None),
            shortage: Arc::default(),
            workers: Worker::crew(workers.get()),
            routers,
            listeners: Arc::default(),
            health: vacant("health"),
            resolver: vacant("resolver"),
            herald: Arc::new(Herald::new(courier.recipient())),
            courier,
            data,
            checkers,
            discovery,
            intensity: Intensity {
                restarts: node.supervision.intensity.get(),
                window: node.supervision.window,
            },
        }
    }

    /// What is served, for people.
    pub fn services_in_words(&self) -> String {
        match self.model.load().services.len() {
            0 => "no service is active, nothing is served".to_owned(),
            1 => "1 service".to_owned(),
            several => format!("{several} services"),
        }
    }

    /// Has every router look at what it holds and remembers again.
    pub fn reconsider(&self) {
        for router in &*self.routers {
            router.tell(Reconsider);
        }
    }
}

fn vacant<A: Actor<Context = actix::Context<A>>>(name: &str) -> Ref<A> {
    Ref::vacant(name)
}
