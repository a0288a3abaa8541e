//! The supervisor: an actor that starts its children and starts them again, one for one.
//!
//! It owns nothing that matters: the table of children is its `Group`'s, which lives above it, so
//! that the children live on while their supervisor is itself restarted, by the supervisor above or
//! by `root`. What to do is decided in `children`; here it is done.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, ResponseFuture};
use tokio::time::Instant;

use crate::supervise::arbiters::{Slots, Subscription};
#[cfg(feature = "chaos")]
use crate::supervise::chaos::Inject;
use crate::supervise::child::{ChildSpec, Subtree};
use crate::supervise::children::Children;
use crate::supervise::effect::{Decision, Effect};
use crate::supervise::exit::{Down, Exit};
use crate::supervise::handle::{ComponentName, Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::GiveUp;
use crate::supervise::slot::{SlotId, SlotReplaced};
use crate::supervise::table::Table;
use crate::supervise::view::{ChildView, GaveUp};

/// A group of children under one supervisor.
pub struct Group {
    handle: Ref<Supervisor>,
    pub(super) table: Table,
    slots: Arc<Slots>,
    above: Mutex<Option<Recipient<GaveUp>>>,
    #[expect(dead_code, reason = "held for its drop")]
    subscription: Subscription,
}

/// The actor. Its `Group` makes it.
pub struct Supervisor {
    group: Arc<Group>,
    /// When the next timer rings.
    alarm: Option<Instant>,
}

/// Start this child; if one of its name has been told to stop, as soon as that is gone. `false`:
/// there is one of that name, its slot does not exist, or the
/// supervisor is stopping its children.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct StartChild(pub ChildSpec);

/// Stop the child of this name for good. `false`: there is none. It may take its grace to end.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct StopChild(pub ComponentName);

/// Somebody wants the component of this name restarted, however deep in the tree it is. `false`:
/// there is none.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct RestartChild(pub ComponentName);

/// The children, and theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Vec<ChildView>")]
pub struct ListChildren;

/// Stop every child for good, the last one started first, and then the supervisor itself. Answers
/// when the last child has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct StopAll;

/// A timer has rung.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct Tick;

// === impl Group ===

impl Group {
    /// A group with no children yet. `intensity` bounds the failures of all its children together,
    /// save those that park; `seed` makes the chance in its back-offs repeatable.
    pub fn new(
        name: impl Into<ComponentName>,
        slots: &Arc<Slots>,
        intensity: Intensity,
        seed: u64,
    ) -> Arc<Self> {
        let handle = Ref::vacant(name);
        let subscription = slots.subscribe(handle.recipient());
        Arc::new(Self {
            table: Table::new(Children::new(intensity, seed), Arc::clone(slots)),
            handle,
            slots: Arc::clone(slots),
            above: Mutex::default(),
            subscription,
        })
    }

    /// The handle of its supervisor.
    pub fn handle(&self) -> &Ref<Supervisor> {
        &self.handle
    }

    /// The children and theirs, asked of nobody: whatever state the supervisors are in.
    pub fn tree(&self) -> Vec<ChildView> {
        self.table.views()
    }

    /// Breaks a child, however deep, whatever state the supervisors are in. `false`: it does not
    /// run just now, or there is none.
    #[cfg(feature = "chaos")]
    pub fn break_child(&self, inject: &Inject) -> bool {
        Subtree::inject(self, inject)
    }

    /// Its supervisor as a child of the supervisor above. It escalates unless told otherwise.
    pub fn spec(self: &Arc<Self>) -> ChildSpec {
        let group = Arc::clone(self);
        ChildSpec::new(&self.handle, SlotId::System, move |_| Supervisor::of(&group))
            .on_give_up(GiveUp::Escalate)
            .above(Arc::clone(self) as Arc<dyn Subtree>)
    }

    /// Has every child been stopped for good, and none may be started any more?
    pub(super) fn is_stopped(&self) -> bool {
        self.table.decide(|children, _| children.is_stopped())
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    fn give_up(&self, reason: String) {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = self.handle.name().clone();
        log::error!(component:% = name, reason; "supervisor gave up");
        if let Some(above) = above {
            above.tell(GaveUp { name, reason });
        }
    }
}

impl Subtree for Group {
    fn adopt(&self, above: Recipient<GaveUp>) {
        // The one field is replaced whole: poison means nothing.
        *self.above.lock().unwrap_or_else(PoisonError::into_inner) = Some(above);
    }

    fn stop_all(&self) {
        self.handle.tell(StopAll);
    }

    fn renew(&self) {
        self.table.decide(|children, _| children.renew());
    }

    fn cut(&self) {
        self.table.cut();
        self.table.tell_stopped();
    }

    fn views(&self) -> Vec<ChildView> {
        self.tree()
    }

    fn restart(&self, name: &ComponentName) -> bool {
        if self.table.has(name) {
            return self.handle.tell(RestartChild(name.clone()));
        }
        self.table.subtrees().iter().any(|subtree| subtree.restart(name))
    }

    #[cfg(feature = "chaos")]
    fn inject(&self, inject: &Inject) -> bool {
        self.table.inject(inject)
            || self.table.subtrees().iter().any(|subtree| subtree.inject(inject))
    }
}

// === impl Supervisor ===

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Group { table, slots, .. } = &*self.group;
        let held = table.held();
        table.decide(|children, now| {
            let is_held = |name: &ComponentName, epoch| held.get(name) == Some(&epoch);
            children.resume(is_held, |slot| slots.generation(slot), now);
        });
        self.settle(ctx);
    }
}

impl Supervisor {
    pub(super) fn of(group: &Arc<Group>) -> Self {
        Self { group: Arc::clone(group), alarm: None }
    }

    /// Does whatever was decided: the end of every handler.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let group = Arc::clone(&self.group);
        let table = &group.table;
        while let Some(effect) = table.decide(|children, _| children.next_effect()) {
            match effect {
                Effect::Start { name, epoch } => {
                    table.launch(&name, epoch, group.handle.recipient());
                }
                Effect::End { name, how } => table.end(&name, how),
                Effect::Close { name } => table.close(&name),
                Effect::Report { name, exit, decision } => report(&name, &exit, decision),
                Effect::GiveUp { reason } => group.give_up(reason),
                Effect::AllStopped => {
                    table.tell_stopped();
                    ctx.stop();
                }
            }
        }
        self.set_alarm(ctx);
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let next = self.group.table.decide(|children, _| children.next_deadline());
        let Some(next) = next else { return };
        // An alarm that rings too early does no harm; one is set anew then.
        if self.alarm.is_none_or(|alarm| next < alarm) {
            self.alarm = Some(next);
            ctx.notify_later(Tick, next.saturating_duration_since(Instant::now()));
        }
    }
}

impl Handler<StartChild> for Supervisor {
    type Result = bool;

    fn handle(&mut self, StartChild(spec): StartChild, ctx: &mut Context<Self>) -> bool {
        if let Some(subtree) = &spec.subtree {
            subtree.adopt(self.group.handle.recipient());
        }
        let added = self.group.table.add(spec);
        self.settle(ctx);
        added
    }
}

impl Handler<StopChild> for Supervisor {
    type Result = bool;

    fn handle(&mut self, StopChild(name): StopChild, ctx: &mut Context<Self>) -> bool {
        let found = self.group.table.stop(&name);
        self.settle(ctx);
        found
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = bool;

    fn handle(&mut self, RestartChild(name): RestartChild, ctx: &mut Context<Self>) -> bool {
        let found = self.group.table.decide(|children, now| children.restart(&name, now))
            || self.group.table.subtrees().iter().any(|subtree| subtree.restart(&name));
        self.settle(ctx);
        found
    }
}

impl Handler<ListChildren> for Supervisor {
    type Result = Vec<ChildView>;

    fn handle(&mut self, ListChildren: ListChildren, _: &mut Context<Self>) -> Vec<ChildView> {
        self.group.tree()
    }
}

impl Handler<StopAll> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopAll: StopAll, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        let stopped = self.group.table.wait_for_stop();
        self.group.table.decide(Children::stop_all);
        self.settle(ctx);
        Box::pin(async move {
            // Told by dropping: there is nothing to say but that it is over.
            drop(stopped.await);
        })
    }
}

impl Handler<Down> for Supervisor {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Group { table, slots, .. } = &*self.group;
        table.decide(|children, now| {
            let newest = children.slot_of(&down.name).map(|slot| slots.generation(slot));
            children.down(down, newest.unwrap_or_default(), now);
        });
        self.settle(ctx);
    }
}

impl Handler<GaveUp> for Supervisor {
    type Result = ();

    fn handle(&mut self, GaveUp { name, reason }: GaveUp, ctx: &mut Context<Self>) {
        self.group.table.decide(|children, now| children.gave_up(&name, reason, now));
        self.settle(ctx);
    }
}

impl Handler<SlotReplaced> for Supervisor {
    type Result = ();

    fn handle(&mut self, news: SlotReplaced, ctx: &mut Context<Self>) {
        let patience = self.group.slots.hang();
        self.group.table.decide(|children, now| children.slot_replaced(news, patience, now));
        self.settle(ctx);
    }
}

impl Handler<Tick> for Supervisor {
    type Result = ();

    fn handle(&mut self, Tick: Tick, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.group.table.decide(Children::tick);
        self.settle(ctx);
    }
}

#[cfg(feature = "chaos")]
impl Handler<Inject> for Supervisor {
    type Result = bool;

    fn handle(&mut self, inject: Inject, _: &mut Context<Self>) -> bool {
        self.group.inject(&inject)
    }
}

/// The one log line of an end.
pub(super) fn report(name: &ComponentName, exit: &Exit, decision: Decision) {
    let level = match exit {
        Exit::Panic(_) | Exit::Wedged | Exit::GaveUp(_) => log::Level::Error,
        Exit::Normal | Exit::Requested | Exit::ArbiterLost => decision.level(),
    };
    log::log!(level, component:% = name, exit:% = exit, decision:% = decision; "component down");
}
