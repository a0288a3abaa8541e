//! A cell: the task that runs one incarnation of an actor and reports its end.
//!
//! All code that is not ours (the actor, its hooks, its futures, its drop) runs here, under
//! `catch_unwind`, one poll at a time. A panic therefore reaches neither the arbiter nor actix's
//! context, which would poll the dead actor while unwinding: a second panic there would abort the
//! process. A new incarnation is a new value in a new context, made by the spec. Whether and when
//! there is one is the supervisor's business.

use std::cell::Cell as Flag;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, ActorContext, AsyncContext, Context};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Sleep, sleep};

use crate::supervise::beat::BeatWatch;
#[cfg(feature = "chaos")]
use crate::supervise::chaos::Fault;
use crate::supervise::exit::{Down, Epoch, Exit};
use crate::supervise::handle::{ComponentName, Recipient};
use crate::supervise::inbox::{Inbox, Pump};
use crate::supervise::panics::guarded;
use crate::supervise::residence::Seat;
use crate::supervise::tenants::Tenancy;

/// Makes the actor, in its context, for each incarnation anew.
pub(super) type Make<A> = dyn Fn(&mut Context<A>) -> A + Send + Sync;

/// What a supervisor may tell a running incarnation.
#[derive(Debug)]
pub(super) enum Order {
    /// End now: `stopping` and `stopped` run, and cannot refuse.
    End,
    /// Break in this way.
    #[cfg(feature = "chaos")]
    Break(Fault),
}

/// A supervisor's hold on a running incarnation. Let go of, it ends.
#[derive(Debug)]
pub(super) struct Leash(UnboundedSender<Order>);

/// Where, as which incarnation, and under whose eyes to run.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) name: ComponentName,
    pub(super) epoch: Epoch,
    pub(super) seat: Seat,
    /// How long it may hear nothing.
    pub(super) hang: Duration,
    pub(super) parent: Recipient<Down>,
}

/// Runs an incarnation on its arbiter. However it ends, there is exactly one `Down`.
pub(super) fn launch<A>(run: Run, make: Arc<Make<A>>, inbox: Arc<Inbox<A>>) -> Leash
where
    A: Actor<Context = Context<A>>,
{
    let (leash, orders) = unbounded_channel();
    inbox.hand_to(run.epoch);
    let arbiter = run.seat.arbiter().clone();
    // Travels with the task: an arbiter that is dead, or dies before it gets there, drops it.
    let report = Report { parent: run.parent, name: Some(run.name), epoch: run.epoch };
    arbiter.spawn_fn(move || {
        actix_rt::spawn(Cell {
            body: Body::Unborn(make, inbox),
            seat: run.seat,
            orders,
            heard: Rc::new(Flag::new(false)),
            watch: WedgeWatch::new(run.hang),
            #[cfg(feature = "chaos")]
            fault: None,
            report,
            tenancy: Tenancy::begin(),
        });
    });
    Leash(leash)
}

struct Cell<A: Actor<Context = Context<A>>> {
    body: Body<A>,
    seat: Seat,
    orders: UnboundedReceiver<Order>,
    heard: Rc<Flag<bool>>,
    watch: WedgeWatch,
    #[cfg(feature = "chaos")]
    fault: Option<Fault>,
    report: Report,
    #[expect(dead_code, reason = "held for its drop, which comes last")]
    tenancy: Tenancy,
}

enum Body<A: Actor<Context = Context<A>>> {
    /// The actor is made at the first poll, where a panic is caught.
    Unborn(Arc<Make<A>>, Arc<Inbox<A>>),
    Alive(Box<ContextFut<A, Context<A>>>),
    Gone,
}

/// Notices that an actor hears nothing. Only looks while there was something to look at: a cell
/// at rest has no timer.
struct WedgeWatch {
    interval: Duration,
    beat: BeatWatch,
    look: Option<Pin<Box<Sleep>>>,
    /// Polls of the actor since the timer was set.
    polls: u32,
}

/// Reports the end, once; dropped before that, the arbiter is gone.
struct Report {
    parent: Recipient<Down>,
    /// `None`: reported.
    name: Option<ComponentName>,
    epoch: Epoch,
}

// === impl Cell ===

impl<A: Actor<Context = Context<A>>> Future for Cell<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let cell = self.get_mut();
        let end = cell.obey(cx).or_else(|| cell.advance(cx)).or_else(|| cell.look(cx));
        match end {
            Some(exit) => {
                let exit = cell.body.tear_down().map_or(exit, Exit::Panic);
                cell.report.send(exit);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Cell<A> {
    /// The arbiter is going away with the actor on it. Its drop must be over before the report.
    fn drop(&mut self) {
        drop(self.body.tear_down());
    }
}

impl<A: Actor<Context = Context<A>>> Cell<A> {
    /// Takes orders. Comes first, so that an actor that never rests can be ended.
    fn obey(&mut self, cx: &mut TaskContext<'_>) -> Option<Exit> {
        match self.orders.poll_recv(cx) {
            Poll::Pending => None,
            // None: no order can come any more; whoever owned this incarnation is gone.
            Poll::Ready(Some(Order::End) | None) => Some(self.body.end(cx)),
            #[cfg(feature = "chaos")]
            Poll::Ready(Some(Order::Break(fault))) => {
                self.fault = Some(fault);
                // There may be another order behind it.
                cx.waker().wake_by_ref();
                None
            }
        }
    }

    /// Lets the actor do what it can do now.
    fn advance(&mut self, cx: &mut TaskContext<'_>) -> Option<Exit> {
        self.heard.set(false);
        self.watch.polls += 1;
        let Self { body, heard, seat, report, .. } = self;
        let epoch = report.epoch;
        #[cfg(feature = "chaos")]
        let fault = &mut self.fault;
        let polled = guarded(|| {
            body.be_born(|inbox| Pump {
                inbox,
                epoch,
                seat: seat.clone(),
                heard: Rc::clone(heard),
            });
            #[cfg(feature = "chaos")]
            if crate::supervise::chaos::strike(fault, || body.stop()) {
                return Poll::Pending;
            }
            body.poll(cx)
        });
        match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => Some(Exit::Normal),
            Err(message) => Some(Exit::Panic(message)),
        }
    }

    /// Looks whether the actor still hears; after `advance`, which says whether it just did.
    fn look(&mut self, cx: &mut TaskContext<'_>) -> Option<Exit> {
        self.watch.look(self.heard.get(), cx).then_some(Exit::Wedged)
    }
}

// === impl Body ===

impl<A: Actor<Context = Context<A>>> Body<A> {
    fn be_born(&mut self, pump: impl FnOnce(Arc<Inbox<A>>) -> Pump<A>) {
        if let Self::Unborn(make, inbox) = self {
            let mut ctx = Context::new();
            ctx.spawn(pump(Arc::clone(inbox)));
            let actor = make(&mut ctx);
            *self = Self::Alive(Box::new(ctx.into_future(actor)));
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self {
            Self::Alive(future) => Pin::new(&mut **future).poll(cx),
            Self::Unborn(..) | Self::Gone => Poll::Ready(()),
        }
    }

    #[cfg(feature = "chaos")]
    fn stop(&mut self) {
        if let Self::Alive(future) = self {
            future.ctx().stop();
        }
    }

    /// Ends the actor in good order: its `stopping` and `stopped` run.
    fn end(&mut self, cx: &mut TaskContext<'_>) -> Exit {
        let ended = guarded(|| {
            if let Self::Alive(future) = self {
                future.ctx().stop();
                // Ready, or it would rather go on: it is not asked.
                Pin::new(&mut **future).poll(cx).is_ready()
            } else {
                true
            }
        });
        ended.map_or_else(Exit::Panic, |_| Exit::Requested)
    }

    /// Drops the actor. The message of a panic over it.
    fn tear_down(&mut self) -> Option<String> {
        let mut body = std::mem::replace(self, Self::Gone);
        let dropped = guarded(move || {
            if let Self::Alive(future) = &mut body {
                // Else the context's own drop would poll the actor once more.
                future.ctx().terminate();
            }
        });
        dropped.err()
    }
}

// === impl WedgeWatch ===

impl WedgeWatch {
    fn new(hang: Duration) -> Self {
        let interval = BeatWatch::interval(hang);
        Self { interval, beat: BeatWatch::default(), look: None, polls: 0 }
    }

    /// `true`: it has heard nothing for too long.
    fn look(&mut self, heard: bool, cx: &mut TaskContext<'_>) -> bool {
        loop {
            let interval = self.interval;
            let timer = self.look.get_or_insert_with(|| Box::pin(sleep(interval)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            // This poll may have been for the timer alone: then an actor that hears is at rest.
            let rests = heard && self.polls <= 1;
            self.look = None;
            self.polls = 0;
            if self.beat.look(heard) {
                return true;
            }
            if rests {
                return false;
            }
        }
    }
}

// === impl Report ===

impl Report {
    fn send(&mut self, exit: Exit) {
        if let Some(name) = self.name.take() {
            // `false`: the supervisor itself was stopped for good, and nobody needs to know.
            self.parent.tell(Down { name, epoch: self.epoch, exit });
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.send(Exit::ArbiterLost);
    }
}

// === impl Leash ===

impl Leash {
    /// Passes on an order. `false`: the incarnation has ended already.
    pub(super) fn order(&self, order: Order) -> bool {
        self.0.send(order).is_ok()
    }
}
