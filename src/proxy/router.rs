//! The router: one a worker. Opens a session for each connection it is handed, and tells each
//! session which target it gets: at once, or when there is one, or not at all.
//!
//! It reads the newest health snapshot and live services; it awaits nothing and nobody. Sessions
//! are detached tasks on its arbiter: they outlive it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::health::snapshot::ServiceHealth;
use crate::proxy::desk::{Desk, Route};
use crate::proxy::live::LiveService;
use crate::proxy::permits::Permit;
use crate::proxy::session;
use crate::proxy::worker::{Incoming, Worker};
use crate::routing::choice::{Choice, Refusal};
use crate::supervise::tenants;

/// Connections opened for one message, so that sessions get their turns in between.
const BATCH: usize = 64;
/// How often a held client whose every target refused is given another try.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it looks whether another router is stuck.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// The actor.
pub struct Router {
    desk: Arc<Desk>,
    choices: HashMap<ServiceName, Remembered>,
    held: Vec<Held>,
    /// When it looks at the held again, if nothing happens before.
    alarm: Option<(Instant, SpawnHandle)>,
}

/// There are connections in the worker's queue.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// There is a new snapshot, or the live services have changed.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct Reconsider;

/// A choice, and what it was made from.
struct Remembered {
    live: Arc<LiveService>,
    health: Option<Arc<ServiceHealth>>,
    choice: Choice,
}

/// A session that waits for a target.
struct Held {
    ask: Route,
    /// When its `hold` ends; `None` while it waits for first verdicts, which the board bounds.
    until: Option<Instant>,
    /// Its place among those that may wait.
    place: Option<Permit>,
}

// === impl Router ===

impl Router {
    /// A router at this desk.
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk, choices: HashMap::new(), held: Vec::new(), alarm: None }
    }

    fn open(&self, incoming: Incoming) {
        tenants::spawn(session::run(incoming, Arc::clone(&self.desk)));
    }

    /// Takes over what a stuck router has left lying.
    fn rescue(&self) {
        let (now, me) = (Instant::now(), &self.desk.workers[self.desk.index]);
        let others = self.desk.workers.iter().filter(|worker| !Arc::ptr_eq(worker, me));
        let rescued: Vec<Incoming> =
            others.flat_map(|worker: &Arc<Worker>| worker.rescue(now, me)).collect();
        for incoming in rescued {
            self.open(incoming);
        }
    }

    fn answer(&mut self, mut held: Held, now: Instant) {
        if held.ask.reply.is_closed() {
            return;
        }
        let name = held.ask.live.service().name.clone();
        let live = match self.desk.live.load().named(&name) {
            Some(live) => Arc::clone(live),
            // Removed by a reload. Those who came before are served while its targets are known.
            None if self.is_forgotten(&held.ask.live) => {
                return held.ask.answer(Err(Refusal::Removed));
            }
            None => Arc::clone(&held.ask.live),
        };
        let refusal = match self.choice(&live).pick(&held.ask.facts, &held.ask.tried) {
            Ok(lease) => return held.ask.answer(Ok(lease)),
            Err(refusal) => refusal,
        };
        if refusal != Refusal::AwaitingFirst {
            let since = held.ask.held_since.since(now);
            held.until = held.until.or(Some(since + live.service().pool.hold));
        }
        if held.until.is_some_and(|until| until <= now) {
            return held.ask.answer(Err(refusal));
        }
        held.place = held.place.or_else(|| live.try_hold());
        if held.place.is_none() {
            return held.ask.answer(Err(refusal));
        }
        held.ask.held_since.count(&live.counts.held);
        if refusal == Refusal::AllTried {
            held.ask.tried.clear();
        }
        self.held.push(held);
    }

    fn is_forgotten(&self, live: &LiveService) -> bool {
        let service = live.service();
        let snapshot = self.desk.snapshot.load();
        service.is_judged() && !snapshot.services.contains_key(&service.name)
    }

    /// The choice for a service under its newest health, made anew only if either has changed.
    fn choice(&mut self, live: &Arc<LiveService>) -> &Choice {
        let service = live.service();
        let known = self.desk.snapshot.load().services.get(&service.name).cloned();
        let health = match (service.is_judged(), known) {
            (false, _) => None,
            // Checked, and the board has not spoken of it yet.
            (true, None) => {
                Some(Arc::new(ServiceHealth { awaiting_first: true, ..ServiceHealth::default() }))
            }
            (true, known) => known,
        };
        let remembered = self.choices.get(&service.name);
        if !remembered.is_some_and(|old| old.is_of(live, health.as_ref())) {
            let choice = Choice::new(Arc::clone(live.table.pool()), health.as_deref());
            let new = Remembered { live: Arc::clone(live), health, choice };
            self.choices.insert(service.name.clone(), new);
        }
        &self.choices[&service.name].choice
    }

    fn reconsider(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for held in std::mem::take(&mut self.held) {
            self.answer(held, now);
        }
        self.wake_for_held(now, ctx);
    }

    /// Forgets the choices of services that have been removed, and with them their pools.
    fn forget_removed(&mut self) {
        let services = self.desk.live.load();
        self.choices.retain(|name, _| services.named(name).is_some());
    }

    /// Sees to it that the held are looked at again when the first of them has waited enough.
    /// One alarm for all of them, however many there are.
    fn wake_for_held(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let Some(until) = self.held.iter().filter_map(|held| held.until).min() else { return };
        let next = until.min(now + AGAIN);
        if self.alarm.is_some_and(|(armed, _)| armed <= next) {
            return;
        }
        let handle = ctx.run_later(next.saturating_duration_since(now), |router, ctx| {
            router.alarm = None;
            router.reconsider(ctx);
        });
        if let Some((_, later)) = self.alarm.replace((next, handle)) {
            ctx.cancel_future(later);
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What was queued while there was no router.
        ctx.notify(Wake);
        ctx.run_interval(LOOK_AROUND, |router, _| router.rescue());
    }
}

impl Handler<Wake> for Router {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        let batch = self.desk.workers[self.desk.index].take(BATCH);
        if batch.len() == BATCH {
            ctx.notify(Wake);
        }
        for incoming in batch {
            self.open(incoming);
        }
    }
}

impl Handler<Route> for Router {
    type Result = ();

    fn handle(&mut self, ask: Route, ctx: &mut Self::Context) {
        let (now, held) = (Instant::now(), self.held.len());
        self.answer(Held { ask, until: None, place: None }, now);
        if self.held.len() > held {
            self.wake_for_held(now, ctx);
        }
    }
}

impl Handler<Reconsider> for Router {
    type Result = ();

    fn handle(&mut self, _: Reconsider, ctx: &mut Self::Context) {
        self.reconsider(ctx);
        self.forget_removed();
    }
}

// === impl Remembered ===

impl Remembered {
    fn is_of(&self, live: &Arc<LiveService>, health: Option<&Arc<ServiceHealth>>) -> bool {
        Arc::ptr_eq(&self.live, live)
            && match (&self.health, health) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}
