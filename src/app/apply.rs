//! Applying a model: all of it, or nothing.
//!
//! Whatever can fail comes first and can be taken back: names, then sockets. Then the health
//! supervisor is told, so that a new target is unknown before anybody can route to it; then what
//! waits at listeners that leave is taken in; then the services are in force, all at once; then
//! listeners are started, and what has left is forgotten. The start of the process is the same
//! walk from the empty model.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use crate::app::closing::Closer;
use crate::app::house::House;
use crate::app::{circling, discovering, limits, remembering};
use crate::config::check::HealthSpec;
use crate::config::circles::Cut;
use crate::config::model::{Model, Service};
use crate::config::names::{ListenAddress, ServiceName, TargetAddress, TargetKey};
use crate::config::transport::Policy;
use crate::discovery::resolver::Want;
use crate::health::leader::remembered::Remembered;
use crate::health::supervisor::Configure;
use crate::net::tuning::Tuning;
use crate::proxy::listener::{Listener, ListenerArgs, Retire};
use crate::proxy::live::LiveServices;
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::Ref;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{StartChild, StopChild};

/// Names that do not resolve by then are left to the background.
const NAMES: Duration = Duration::from_secs(3);
/// A component that is being restarted is back within this.
const ANSWER: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);

/// Why a model was not applied. The one before is in force, whole.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// These addresses could not be had.
    #[error("{}", .0.join("\n"))]
    Bind(Vec<String>),
    /// A component did not answer.
    #[error("{0} did not answer: nothing was changed")]
    Unanswered(&'static str),
}

/// Puts a model in force, as it is written.
///
/// # Errors
/// If an address cannot be bound; nothing has changed then.
pub async fn apply(house: &House, closer: &Closer, written: Arc<Model>) -> Result<(), ApplyError> {
    let displaced = discovering::hire(house, &written).await;
    let model = Arc::new(discovering::effective(house, &written));
    let put = put(house, closer, &model).await;
    match &put {
        Ok(()) => {
            house.generation.fetch_add(1, Ordering::Relaxed);
            house.written.store(written);
        }
        Err(_) => discovering::take_back(house, displaced),
    }
    discovering::let_go(house, &house.written.load());
    put
}

/// Puts a model in force whose targets are those that have been found, but for those that would
/// close a circle.
///
/// # Errors
/// As `apply`.
pub async fn put(house: &House, closer: &Closer, model: &Arc<Model>) -> Result<(), ApplyError> {
    let old = house.model.load_full();
    let (names_before, names_after) = (names(&old), names(model));
    // Sessions and checks of both may connect until the new one is in force.
    house.connectors.prepare(policies(&old).chain(policies(model)));
    // Until nothing can be refused any more, the names of both are in the book.
    look_names_up(house, &names_before | &names_after).await;
    let Cut { model: whole, left_out } = circling::cut(house, model);
    let put = put_in_force(house, closer, &old, &Arc::new(whole)).await;
    if put.is_ok() {
        circling::tell(house, left_out);
    }
    house.connectors.prepare(policies(if put.is_ok() { model } else { &old }));
    house.resolver.tell(Want(if put.is_ok() { names_after } else { names_before }));
    put
}

async fn put_in_force(
    house: &House,
    closer: &Closer,
    old: &Model,
    model: &Arc<Model>,
) -> Result<(), ApplyError> {
    let addresses = |model: &Model| -> BTreeSet<ListenAddress> {
        model.services.values().map(|service| service.listen.clone()).collect()
    };
    let (before, after) = (addresses(old), addresses(model));
    bind(house, model, after.difference(&before))?;
    // Those that leave are still judged until nobody is routed by them any more.
    let leaving = old.services.iter().filter(|(name, _)| !model.services.contains_key(*name));
    let both = model.services.values().chain(leaving.map(|(_, service)| service));
    let remembered = remembering::of_new_services(house, old, model).await;
    if let Err(error) = configure_health(house, both, remembered).await {
        after.difference(&before).for_each(|address| house.sockets.close(address));
        // It may have heard of it all the same, and answer late.
        let services = old.services.values().cloned().collect();
        house.health.tell(Configure { services, remembered: HashMap::new() });
        return Err(error);
    }
    // What waits at an address that is given up is still served under the old services.
    for address in before.difference(&after) {
        stop_listener(house, address).await;
    }
    let previous = house.live.load_full();
    house.live.store(Arc::new(LiveServices::of(model, &previous)));
    house.permits.set_limit(limits::share_out(model, house.workers.len(), &house.shortage));
    if old.node.log.level != model.node.log.level {
        house.log.set_filter(&model.node.log.level);
    }
    house.model.store(Arc::clone(model));
    house.herald.adopt(model, &house.snapshot);
    house.reconsider();
    for address in after.difference(&before) {
        start_listener(house, address).await;
    }
    tune_listeners(house, model);
    if old.services.keys().any(|name| !model.services.contains_key(name))
        && let Err(error) = configure_health(house, model.services.values(), HashMap::new()).await
    {
        log::error!("removed services are still checked: {error}");
    }
    close_removed(closer, &previous, model);
    discovering::tell(old, model);
    Ok(())
}

/// How its targets, those that its checks ask, those who know its targets and those who are told of
/// events are spoken to over TLS.
fn policies(model: &Model) -> impl Iterator<Item = &Arc<Policy>> {
    model.services.values().flat_map(|service| {
        let checks = service.health.iter().flat_map(|spec| &spec.checks);
        let targets = service.pool.targets.iter().filter_map(|target| target.tls.as_ref());
        let directories = service.discovery.iter().filter_map(|it| it.directory.tls());
        let webhooks = service.events.webhooks().filter_map(|(_, webhook)| webhook.tls.as_ref());
        targets
            .chain(directories)
            .chain(webhooks)
            .chain(checks.filter_map(|check| check.tls.as_ref()))
    })
}

/// The names of its targets and of those that its checks ask.
fn names(model: &Model) -> BTreeSet<Arc<str>> {
    let name_of = |address: &TargetAddress| match address {
        TargetAddress::Name { host, .. } => Some(Arc::clone(host)),
        TargetAddress::Ip(_) | TargetAddress::Unix(_) => None,
    };
    let services = || model.services.values();
    let targets = services().flat_map(|service| &service.pool.targets).map(|t| &t.address);
    let specs = services().filter_map(|service| service.health.as_deref());
    let checks = specs.flat_map(HealthSpec::all_checks).map(|check| &check.address);
    targets.chain(checks).filter_map(name_of).collect()
}

async fn look_names_up(house: &House, names: BTreeSet<Arc<str>>) {
    if names.is_empty() {
        return;
    }
    let looked_up = tokio::time::timeout(NAMES, house.resolver.ask(Want(names))).await;
    if !matches!(looked_up, Ok(Ok(()))) {
        log::warn!("target names take long to look up: going on without");
    }
}

fn bind<'a>(
    house: &House,
    model: &Model,
    addresses: impl Iterator<Item = &'a ListenAddress>,
) -> Result<(), ApplyError> {
    let owner = |address: &ListenAddress| {
        let service = model.services.values().find(|service| service.listen == *address);
        service.map_or(String::new(), |service| {
            format!("service \"{}\" ({}): ", service.name, service.source.display())
        })
    };
    let tuning = |address: &ListenAddress| {
        let service = model.services.values().find(|service| service.listen == *address);
        service.map_or_else(Tuning::default, |service| Tuning::of(&service.limits))
    };
    house.sockets.bind_all(addresses.map(|address| (address, tuning(address)))).map_err(|errors| {
        ApplyError::Bind(
            errors.iter().map(|error| format!("{}{error}", owner(&error.address))).collect(),
        )
    })
}

async fn configure_health(
    house: &House,
    services: impl Iterator<Item = &Arc<Service>>,
    remembered: HashMap<ServiceName, Remembered>,
) -> Result<(), ApplyError> {
    let services: Vec<Arc<Service>> = services.cloned().collect();
    let configure = || Configure { services: services.clone(), remembered: remembered.clone() };
    let configured = tokio::time::timeout(ANSWER, async {
        // One that falls over it has lost the question, and is back soon.
        while house.health.ask(configure()).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    });
    configured.await.map_err(|_| ApplyError::Unanswered("the health supervisor"))
}

/// What is accepted from now on carries the TCP options of now.
fn tune_listeners(house: &House, model: &Model) {
    // A successor accepts, or a predecessor still does.
    if !house.sockets.is_open() {
        return;
    }
    for service in model.services.values() {
        if let Err(error) = house.sockets.tune(&service.listen, &Tuning::of(&service.limits)) {
            log::warn!(listen:% = service.listen; "TCP options not changed: {error}");
        }
    }
}

async fn start_listener(house: &House, address: &ListenAddress) {
    let handle: Ref<Listener> = Ref::vacant(&*format!("listener/{address}"));
    let args = ListenerArgs {
        listen: Arc::new(address.clone()),
        live: Arc::clone(&house.live),
        sockets: house.sockets.clone(),
        permits: house.permits.clone(),
        waiting: Arc::default(),
        workers: Arc::clone(&house.workers),
        routers: Arc::clone(&house.routers),
    };
    let slot = {
        let mut listeners = listeners(house);
        listeners.insert(address.clone(), handle.clone());
        SlotId::Data(u16::try_from(listeners.len() % house.workers.len()).unwrap_or(0))
    };
    let spec = ChildSpec::new(&handle, slot, move |_| Listener::new(args.clone()))
        .intensity(house.intensity);
    if !matches!(house.data.ask(StartChild(spec)).await, Ok(true)) {
        log::error!(listen:% = address; "listener not started: its supervisor is gone");
    }
    let local = house.sockets.local_address(address).map(|local| local.to_string());
    let shown = local.unwrap_or_else(|| address.to_string());
    if let Some(port) = house.live.load().at(address) {
        log::info!("listening on {shown} for {port}");
    }
}

/// Serves what waits at an address, then gives it up.
pub async fn stop_listener(house: &House, address: &ListenAddress) {
    let Some(handle) = listeners(house).remove(address) else { return };
    let retired = tokio::time::timeout(ANSWER, handle.ask(Retire)).await;
    if !matches!(retired, Ok(Ok(()))) {
        log::warn!(listen:% = address; "listener was stuck: connections in its queue are lost");
    }
    if !matches!(house.data.ask(StopChild(handle.name().clone())).await, Ok(true)) {
        log::error!(listen:% = address; "listener not stopped: its supervisor is gone");
    }
    house.sockets.close(address);
}

fn close_removed(closer: &Closer, previous: &LiveServices, model: &Model) {
    for old in previous.iter() {
        let kept = model.services.get(&old.service().name);
        let kept: HashSet<&TargetKey> =
            kept.iter().flat_map(|it| &it.pool.targets).map(|target| &target.key).collect();
        for target in &old.service().pool.targets {
            if !kept.contains(&target.key) {
                closer.target_removed(old, &target.key);
            }
        }
    }
}

fn listeners(house: &House) -> MutexGuard<'_, BTreeMap<ListenAddress, Ref<Listener>>> {
    // Every change is one call of `BTreeMap`: sound whatever panicked.
    house.listeners.lock().unwrap_or_else(PoisonError::into_inner)
}
