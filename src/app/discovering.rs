//! Discovering: who finds the targets of which service, and the model that is in force with what
//! they have found.
//!
//! There are two models: the one that is *written*, and the *effective* one, in which the targets
//! of a service that finds them are those that were found last. A reload, renewed certificates and
//! a discovery all end here: the written model of then, with the lists of now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use crate::app::hired::Hired;
use crate::app::house::House;
use crate::app::inheriting;
use crate::config::discovery::Discovery;
use crate::config::model::{Model, Service};
use crate::config::names::{ServiceName, TargetKey};
use crate::discovery::discoverer::{Discoverer, DiscovererArgs, Heard};
use crate::discovery::fetch::Means;
use crate::discovery::history::History;
use crate::discovery::look_up::LookUps;
use crate::discovery::reading::Reading;
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::{ComponentName, Ref};
use crate::supervise::policy::GiveUp;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{StartChild, StopChild};

/// Directories that have not answered by then are left to the background.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// Who was there before, by service.
pub struct Displaced(Vec<(ServiceName, Option<Hired>)>);

/// Has the services of `written` find their targets too, and waits a while for the first answers of
/// those that are new. What was heard before stays, where the same is asked; where nothing was,
/// what an earlier process heard counts until the first good answer.
pub async fn hire(house: &House, written: &Model) -> Displaced {
    let coming = coming(house, written);
    let unheard = coming.iter().filter(|one| one.heard.is_none());
    let mut kept = inheriting::lists(house, unheard.map(|one| one.service.clone()).collect()).await;
    let (mut displaced, mut new) = (Vec::new(), Vec::new());
    for Coming { service, discovery, before, heard } in coming {
        let heard = heard.unwrap_or_default();
        if let Some(kept) = kept.remove(&service.name) {
            heard.inherit(kept);
        }
        new.push((service.name.clone(), Arc::clone(&heard)));
        start(house, &service.name, Hired { listen: service.listen.clone(), discovery, heard });
        displaced.push((service.name.clone(), before));
    }
    let asked = join_all(new.iter().map(|(_, heard)| heard.asked()));
    if tokio::time::timeout(FIRST_ANSWER, asked).await.is_err() {
        log::warn!("discovery takes long: going on without, with the targets that are known");
    }
    new.iter().for_each(|(service, heard)| inheriting::tell(service, heard));
    Displaced(displaced)
}

/// A service whose discoverer is still to be started.
struct Coming {
    service: Arc<Service>,
    discovery: Arc<Discovery>,
    before: Option<Hired>,
    /// What the one before has heard, where it has asked the same.
    heard: Option<Arc<Heard>>,
}

fn coming(house: &House, written: &Model) -> Vec<Coming> {
    let hired = discoverers(house);
    let coming = written.services.values().filter_map(|service| {
        let discovery = Arc::clone(service.discovery.as_ref()?);
        let before = hired.get(&service.name).cloned();
        let before_here = before.as_ref().filter(|before| before.listen == service.listen);
        if before_here.is_some_and(|before| before.discovery == discovery) {
            return None;
        }
        let question = discovery.question();
        let heard = before_here.filter(|before| before.discovery.question() == question);
        let heard = heard.map(|before| Arc::clone(&before.heard));
        Some(Coming { service: Arc::clone(service), discovery, before, heard })
    });
    coming.collect()
}

/// Takes a hiring back.
pub fn take_back(house: &House, displaced: Displaced) {
    for (name, before) in displaced.0 {
        match before {
            Some(hired) => start(house, &name, hired),
            None => stop(house, &name),
        }
    }
}

/// Lets go of those whose service finds no targets any more.
pub fn let_go(house: &House, written: &Model) {
    let is_wanted = |name: &ServiceName| {
        written.services.get(name).is_some_and(|service| service.discovery.is_some())
    };
    let idle: Vec<ServiceName> =
        discoverers(house).keys().filter(|name| !is_wanted(name)).cloned().collect();
    idle.iter().for_each(|name| stop(house, name));
}

/// `written`, with the targets that have been found. A service that is as it was in force is the
/// same one.
pub fn effective(house: &House, written: &Model) -> Model {
    let in_force = house.model.load();
    let services = written.services.iter().map(|(name, service)| {
        let service = found(house, service).map_or_else(|| Arc::clone(service), Arc::new);
        let old = in_force.services.get(name).filter(|old| **old == service);
        (name.clone(), old.cloned().unwrap_or(service))
    });
    Model { node: written.node.clone(), services: services.collect() }
}

/// What was heard of the directory of a service, if it has one.
pub fn history(house: &House, service: &ServiceName) -> Option<History> {
    discoverers(house).get(service).map(|hired| hired.heard.history())
}

/// Tells how the targets of services that find them differ from before.
pub fn tell(old: &Model, new: &Model) {
    for service in new.services.values().filter(|service| service.discovery.is_some()) {
        let before = old.services.get(&service.name);
        if before.is_some_and(|before| before.pool.targets == service.pool.targets) {
            continue;
        }
        let keys = |service: &Service| -> Vec<TargetKey> {
            service.pool.targets.iter().map(|target| target.key.clone()).collect()
        };
        let (before, now) = (before.map(|it| keys(it)).unwrap_or_default(), keys(service));
        let (before, now) = (before.into_iter().collect(), now.into_iter().collect());
        let count = |a: &BTreeSet<_>, b| a.difference(b).count();
        let (joined, left) = (count(&now, &before), count(&before, &now));
        let plural = if now.len() == 1 { "" } else { "s" };
        log::info!(service = service.name.as_str(); "discovery: {} target{plural}, +{joined}, -{left}", now.len());
    }
}

fn found(house: &House, service: &Service) -> Option<Service> {
    let discovery = service.discovery.as_ref()?;
    let listed = discoverers(house).get(&service.name)?.heard.listed()?;
    Some(discovery.mould.cast(service, &listed.targets))
}

/// Starts a discoverer, in the place of the one that this service may have.
fn start(house: &House, service: &ServiceName, hired: Hired) {
    stop(house, service);
    let args = DiscovererArgs {
        service: service.clone(),
        listen: hired.listen.clone(),
        discovery: Arc::clone(&hired.discovery),
        heard: Arc::clone(&hired.heard),
        means: Means {
            look_ups: LookUps::of_the_system(),
            connectors: house.connectors.clone(),
            reading: Reading::default(),
        },
        keeper: house.keeper.clone(),
        changed: house.lists_changed.clone(),
    };
    let handle: Ref<Discoverer> = Ref::vacant(name_of(service));
    let spec = ChildSpec::new(&handle, SlotId::Control, move |_| Discoverer::new(args.clone()))
        .intensity(house.intensity)
        .on_give_up(GiveUp::Park);
    house.discovery.tell(StartChild(spec));
    discoverers(house).insert(service.clone(), hired);
}

fn stop(house: &House, service: &ServiceName) {
    if discoverers(house).remove(service).is_some() {
        house.discovery.tell(StopChild(name_of(service)));
    }
}

fn name_of(service: &ServiceName) -> ComponentName {
    ComponentName::from(&*format!("discovery/{service}"))
}

/// Every change under this lock is one call of `BTreeMap`: sound whatever panicked.
fn discoverers(house: &House) -> MutexGuard<'_, BTreeMap<ServiceName, Hired>> {
    house.discoverers.lock().unwrap_or_else(PoisonError::into_inner)
}
