//! The herald: makes events of what is heard of targets and leads, and tells the handlers of each
//! service: the log at once, webhooks by way of their outboxes.
//!
//! It is no actor: it lives above all of them, is asked on whatever thread something happened, and
//! waits for nobody. An event is told once: it knows what it has said of each target.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::config::events::{Action, EventKind, Webhook};
use crate::config::model::{Balance, Model, Service, Target};
use crate::config::names::{ServiceName, TargetKey};
use crate::events::courier::Called;
use crate::events::event::{Event, Finding, Named, Subject, capped};
use crate::events::outbox::{Outbox, OutboxId};
use crate::health::effect::{TargetChanged, Transition};
use crate::health::lapse::LeaderChanged;
use crate::health::snapshot::{Health, Snapshot, SnapshotCell};
use crate::state::wall_clock::WallTime;
use crate::supervise::handle::Recipient;

/// Tells handlers what happened.
#[derive(Debug)]
pub struct Herald {
    /// Who empties outboxes.
    courier: Recipient<Called>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Of whom it was said last that they are down.
    down: BTreeSet<(ServiceName, TargetKey)>,
    leads: HashMap<ServiceName, Lead>,
    outboxes: BTreeMap<OutboxId, Arc<Outbox>>,
}

/// What was said last of who leads a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lead {
    now: Option<TargetKey>,
    /// The last one that led.
    last: Option<TargetKey>,
}

// === impl Herald ===

impl Herald {
    /// One with nothing to tell yet.
    pub fn new(courier: Recipient<Called>) -> Self {
        Self { courier, book: Mutex::default() }
    }

    /// A target's health has changed.
    pub fn target_changed(&self, changed: &TargetChanged) {
        let TargetChanged { service, transition } = changed;
        let Transition { target, name, from, to, transcript, .. } = transition;
        let mut book = self.book();
        let of = (service.name.clone(), target.clone());
        let kind = match to {
            Health::Down if book.down.insert(of) => EventKind::HostDown,
            Health::Up if book.down.remove(&(service.name.clone(), target.clone())) => {
                EventKind::HostUp
            }
            // It has been told, or there is nothing to tell: who is up was never said to be down.
            Health::Down | Health::Up | Health::Unknown => return,
        };
        let in_pool = service.pool.targets.iter().find(|it| it.key == *target);
        let event = Event {
            kind,
            service: service.name.clone(),
            api_id: Arc::clone(&service.events.api_id),
            subject: Some(target.clone()),
            target: Some(
                in_pool.map_or(Named { name: Arc::clone(name), address: None }, Named::from),
            ),
            from: from.to_string(),
            to: to.to_string(),
            reason: capped(transcript.verdict.to_string()),
            finding: Finding::of(transition),
            since: WallTime::now(),
        };
        self.tell(&mut book, service, event);
    }

    /// Another target leads, or none does. Who leads first after the start is no event.
    pub fn leader_changed(&self, service: &Service, changed: &LeaderChanged) {
        let LeaderChanged { change, lapse, .. } = changed;
        let mut book = self.book();
        let before = book.leads.get(&service.name).cloned();
        let led = change.from.clone();
        let led = before.as_ref().map_or(led, |before| before.last.clone());
        let lead = Lead { now: change.to.clone(), last: change.to.clone().or(led.clone()) };
        book.leads.insert(service.name.clone(), lead);
        if before.is_some_and(|before| before.now == change.to) || led.is_none() {
            return;
        }
        let in_pool = |key: &TargetKey| service.pool.targets.iter().find(|it| it.key == *key);
        let named = |key: TargetKey| match in_pool(&key) {
            Some(target) => Named::from(target),
            None => Named { name: key.as_str().into(), address: None },
        };
        let (from, to) = (led.map(named), change.to.clone().map(named));
        let name = |named: &Option<Named>| named.as_ref().map_or("", |it| &it.name).to_owned();
        let why = change.why.to_string();
        let reason = match &lapse.first_bad {
            Some((_, verdict)) => format!("{why}: {verdict}"),
            None => why,
        };
        let event = Event {
            kind: EventKind::LeaderChanged,
            service: service.name.clone(),
            api_id: Arc::clone(&service.events.api_id),
            subject: None,
            from: name(&from),
            to: name(&to),
            target: to,
            reason: capped(reason),
            finding: Finding::default(),
            since: WallTime::now(),
        };
        self.tell(&mut book, service, event);
    }

    /// These services are in force now. Targets that have left are forgotten, and so are handlers;
    /// those that nobody holds to be down any more, as they are checked otherwise, are up.
    pub fn adopt(&self, model: &Model, snapshot: &SnapshotCell) {
        let mut book = self.book();
        let is_led = |name: &ServiceName| {
            model.services.get(name).is_some_and(|it| it.pool.balance == Balance::Leader)
        };
        book.leads.retain(|name, _| is_led(name));
        book.adopt_outboxes(model);
        book.down.retain(|(name, key)| target(model, name, key).is_some());
        // Under the lock: whoever is told of below has been published before.
        let snapshot = snapshot.load();
        let is_up = |of: &&(ServiceName, TargetKey)| health(&snapshot, &of.0, &of.1) == Health::Up;
        let up: Vec<_> = book.down.iter().filter(is_up).cloned().collect();
        for (name, key) in up {
            book.down.remove(&(name.clone(), key.clone()));
            let Some((service, target)) = target(model, &name, &key) else { continue };
            let event = Event {
                kind: EventKind::HostUp,
                service: name,
                api_id: Arc::clone(&service.events.api_id),
                subject: Some(key),
                target: Some(Named::from(target)),
                from: Health::Down.to_string(),
                to: Health::Up.to_string(),
                reason: "the check that failed is not made any more".to_owned(),
                finding: Finding::default(),
                since: WallTime::now(),
            };
            self.tell(&mut book, service, event);
        }
    }

    /// Every outbox.
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.book().outboxes.values().cloned().collect()
    }

    /// Those of one service, in the order of their kinds.
    pub fn outboxes_of(&self, service: &ServiceName) -> Vec<Arc<Outbox>> {
        let book = self.book();
        let own = book.outboxes.values().filter(|outbox| outbox.id.service == *service);
        own.cloned().collect()
    }

    /// So many events are still to be sent; held ones are not counted.
    pub fn waiting(&self) -> usize {
        self.outboxes().iter().map(|outbox| outbox.tally().1.waiting).sum()
    }

    fn tell(&self, book: &mut Book, service: &Service, event: Event) {
        let event = Arc::new(event);
        for handler in &service.events.handlers {
            match &handler.action {
                Action::Log(prefix) if handler.kind == event.kind => log(prefix, &event),
                Action::Log(_) => {}
                Action::Webhook(webhook) => {
                    let id = OutboxId {
                        service: service.name.clone(),
                        kind: handler.kind,
                        index: handler.index,
                    };
                    let outbox = book.outbox(id, webhook);
                    if handler.kind != event.kind {
                        outbox.overturned(&event.subject);
                    } else if outbox.put(Arc::clone(&event), Instant::now()) {
                        self.courier.tell(Called(Arc::clone(outbox)));
                    }
                }
            }
        }
    }

    /// Every change under this lock is sound by itself, whatever panicked.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(prefix: &str, event: &Event) {
    let colon = if prefix.is_empty() { "" } else { ": " };
    let target = event.subject.as_ref().map(TargetKey::as_str);
    log::log!(
        event.level(), service = event.service.as_str(), target = target, event = event.kind.as_str();
        "{prefix}{colon}{event}"
    );
}

/// A target of a service in force.
fn target<'a>(
    model: &'a Model,
    name: &ServiceName,
    key: &TargetKey,
) -> Option<(&'a Service, &'a Target)> {
    let service = model.services.get(name)?;
    Some((service, service.pool.targets.iter().find(|target| target.key == *key)?))
}

/// What is published of a target. One that nothing checks is up.
fn health(snapshot: &Snapshot, name: &ServiceName, key: &TargetKey) -> Health {
    let published = snapshot.services.get(name);
    published.and_then(|it| it.targets.get(key)).copied().unwrap_or(Health::Up)
}

// === impl Book ===

impl Book {
    fn outbox(&mut self, id: OutboxId, webhook: &Arc<Webhook>) -> &Arc<Outbox> {
        let new = || Arc::new(Outbox::new(id.clone(), Arc::clone(webhook)));
        let outbox = self.outboxes.entry(id.clone()).or_insert_with(new);
        outbox.redirect(webhook);
        outbox
    }

    fn adopt_outboxes(&mut self, model: &Model) {
        let mut wanted = BTreeSet::new();
        for service in model.services.values() {
            let keys: BTreeSet<&TargetKey> =
                service.pool.targets.iter().map(|target| &target.key).collect();
            let is_there = |subject: &Subject| subject.as_ref().is_none_or(|it| keys.contains(it));
            for (handler, webhook) in service.events.webhooks() {
                let (kind, index) = (handler.kind, handler.index);
                let id = OutboxId { service: service.name.clone(), kind, index };
                self.outbox(id.clone(), webhook).keep_only(is_there);
                wanted.insert(id);
            }
        }
        self.outboxes.retain(|id, outbox| {
            let stays = wanted.contains(id);
            let lost = if stays { 0 } else { outbox.close() };
            if lost > 0 {
                log::warn!(
                    service = id.service.as_str();
                    "{lost} events are not sent: their {} webhook has been taken out", id.kind
                );
            }
            stays
        });
    }
}
