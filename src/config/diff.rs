//! What a reload changes: the difference of two models, as a value.
//!
//! Boot is the difference from the empty model. Applied to the old model it gives the new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::model::{Log, Model, Node, Service};

/// Everything that differs between two models.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Services that are new.
    pub added: Vec<Arc<Service>>,
    /// Services that are gone.
    pub removed: Vec<Arc<Service>>,
    /// Services that are there before and after, and differ.
    pub changed: Vec<ServiceChange>,
    /// The settings of the process, where they differ.
    pub node: Option<NodeChange>,
}

/// What differs in one service. All six may be `false`: then only its file is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceChange {
    /// As it was.
    pub old: Arc<Service>,
    /// As it is to be.
    pub new: Arc<Service>,
    /// Where it listens: a socket is opened, another one closed.
    pub listen: bool,
    /// What it speaks with its clients, which of them are its own, what it shows them.
    pub clients: bool,
    /// Its targets, how one is chosen, what becomes of sessions.
    pub table: bool,
    /// What is asked of targets, how often, what counts.
    pub checks: bool,
    /// The bounds on its sessions.
    pub limits: bool,
    /// Who is told of events.
    pub events: bool,
}

/// What differs in the settings of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeChange {
    /// As they are to be.
    pub new: Node,
    /// The keys that hold from now on.
    pub live: Vec<&'static str>,
    /// The keys that hold only after a restart of the process.
    pub restart: Vec<&'static str>,
}

// === impl Changes ===

impl Changes {
    /// Does nothing differ?
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.node.is_none()
    }
}

/// What leads from one model to another.
pub fn diff(old: &Model, new: &Model) -> Changes {
    let mut changes = Changes { node: node(&old.node, &new.node), ..Changes::default() };
    for (name, service) in &old.services {
        match new.services.get(name) {
            None => changes.removed.push(Arc::clone(service)),
            Some(other) => changes.changed.extend(service_change(service, other)),
        }
    }
    let added = new.services.iter().filter(|(name, _)| !old.services.contains_key(*name));
    changes.added.extend(added.map(|(_, service)| Arc::clone(service)));
    changes
}

/// The model after these changes.
pub fn apply(old: &Model, changes: &Changes) -> Model {
    let mut services: BTreeMap<_, _> = old.services.clone();
    for service in &changes.removed {
        services.remove(&service.name);
    }
    let new = changes.changed.iter().map(|change| &change.new).chain(&changes.added);
    services.extend(new.map(|service| (service.name.clone(), Arc::clone(service))));
    let node = changes.node.as_ref().map_or(&old.node, |change| &change.new).clone();
    Model { node, services }
}

fn service_change(old: &Arc<Service>, new: &Arc<Service>) -> Option<ServiceChange> {
    if old == new {
        return None;
    }
    let Service {
        name: _,
        source: _,
        listen,
        protocol,
        answers,
        receiving,
        access,
        pool,
        limits,
        health,
        discovery,
        events,
    } = &**old;
    let clients =
        *protocol != new.protocol || *answers != new.answers || *receiving != new.receiving;
    Some(ServiceChange {
        listen: *listen != new.listen,
        clients,
        table: *pool != new.pool || *discovery != new.discovery,
        checks: *health != new.health,
        limits: *limits != new.limits || *access != new.access,
        events: *events != new.events,
        old: Arc::clone(old),
        new: Arc::clone(new),
    })
}

fn node(old: &Node, new: &Node) -> Option<NodeChange> {
    if old == new {
        return None;
    }
    let Node {
        workers,
        control_socket,
        state_folder,
        state_max_age,
        store,
        name_servers,
        log: Log { format, level },
        shutdown_timeout,
        upgrade_timeout,
        max_connections,
        supervision,
    } = old;
    let live = [
        ("log.level", *level != new.log.level),
        ("shutdown.timeout", *shutdown_timeout != new.shutdown_timeout),
        ("shutdown.upgrade_timeout", *upgrade_timeout != new.upgrade_timeout),
        ("discovery.name_servers", *name_servers != new.name_servers),
        ("certificates.folder", *store != new.store),
        ("limits.max_connections", *max_connections != new.max_connections),
    ];
    let restart = [
        ("workers", *workers != new.workers),
        ("admin.socket", *control_socket != new.control_socket),
        ("state_dir", *state_folder != new.state_folder),
        ("state_max_age", *state_max_age != new.state_max_age),
        ("log.format", *format != new.log.format),
        ("supervision", *supervision != new.supervision),
    ];
    let differing = |keys: &[(&'static str, bool)]| {
        keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
    };
    Some(NodeChange { new: new.clone(), live: differing(&live), restart: differing(&restart) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::model::{Balance, Closing, Pool, Protocol, SessionLimits, Target};
    use crate::config::names::{ListenAddress, ServiceName, TargetAddress};
    use crate::config::tls::Answers;

    /// A service in which five small numbers decide what it is.
    fn service(name: u8, [file, port, targets, limit, checks]: [u8; 5]) -> Arc<Service> {
        let target = |number: u8| {
            let host = format!("t{number}").as_str().into();
            Target::at(TargetAddress::Name { host, port: 1 })
        };
        let pool = Pool {
            targets: (0..=targets).map(target).collect(),
            balance: Balance::RoundRobin,
            balance_inferred: false,
            sending: None,
            check_health: false,
            connect_timeout: Duration::from_secs(3),
            retries: 2,
            hold: Duration::ZERO,
            hold_limit: 1_000,
            on_down: Closing::Keep,
            on_removed: Closing::Keep,
            close_spread: Duration::ZERO,
        };
        let idle_timeout = Some(Duration::from_secs(limit.into()));
        let health = (checks > 0).then(|| {
            let thresholds = crate::config::thresholds::Thresholds {
                fall: checks.into(),
                ..crate::config::thresholds::Thresholds::default()
            };
            Arc::new(crate::config::check::HealthSpec {
                checks: Vec::new(),
                thresholds,
                witness: None,
            })
        });
        Arc::new(Service {
            name: ServiceName::new(&format!("s{name}")),
            source: Path::new(&format!("f{file}")).into(),
            listen: ListenAddress::AnyOnPort(1_000 + u16::from(port)),
            protocol: Protocol::Tcp,
            answers: Answers::default(),
            receiving: None,
            access: None,
            pool,
            limits: SessionLimits { idle_timeout, ..SessionLimits::default() },
            health,
            discovery: None,
            events: Arc::default(),
        })
    }

    fn model() -> impl Strategy<Value = Model> {
        let services = prop::collection::btree_map(0..6_u8, prop::array::uniform5(0..3_u8), 0..6);
        (services, 0..3_u64).prop_map(|(services, seconds)| Model {
            node: Node { shutdown_timeout: Duration::from_secs(seconds), ..Node::default() },
            services: services
                .into_iter()
                .map(|(name, parts)| service(name, parts))
                .map(|service| (service.name.clone(), service))
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_one_model_to_the_other(old in model(), new in model()) {
            let changes = diff(&old, &new);
            prop_assert_eq!(&apply(&old, &changes), &new);
            prop_assert_eq!(changes.is_empty(), old == new);
            prop_assert!(diff(&new, &new).is_empty());
        }

        #[test]
        fn boot_is_the_difference_from_the_empty_model(new in model()) {
            let changes = diff(&Model::default(), &new);
            prop_assert_eq!(changes.added.len(), new.services.len());
            prop_assert!(changes.removed.is_empty() && changes.changed.is_empty());
        }
    }

    #[test]
    fn a_change_names_what_differs() {
        let of = |parts| {
            let service = service(0, parts);
            let services = BTreeMap::from([(service.name.clone(), service)]);
            Model { node: Node::default(), services }
        };
        let check = |parts, expected: [bool; 4]| {
            let changes = diff(&of([0; 5]), &of(parts));
            let change = &changes.changed[0];
            let found = [change.listen, change.table, change.checks, change.limits];
            assert_eq!(found, expected, "{parts:?}");
        };
        check([1, 0, 0, 0, 0], [false, false, false, false]);
        check([0, 1, 0, 0, 0], [true, false, false, false]);
        check([0, 0, 1, 0, 0], [false, true, false, false]);
        check([0, 0, 0, 1, 0], [false, false, false, true]);
        check([0, 0, 0, 0, 1], [false, false, true, false]);
    }

    #[test]
    fn a_setting_holds_now_or_after_a_restart() {
        let new = Node {
            control_socket: Some("/x".into()),
            shutdown_timeout: Duration::from_secs(1),
            ..Node::default()
        };
        let change = node(&Node::default(), &new).unwrap();
        assert_eq!((change.live, change.restart), (vec!["shutdown.timeout"], vec!["admin.socket"]));
    }
}
