//! The mailbox of a component, which outlives its incarnations and the arbiters they run on.
//!
//! actix ties a mailbox to one incarnation on one thread: it is lost with either. So the public
//! mailbox is kept here, and each incarnation gets a `Pump`, a future in its context, that feeds it
//! from here. Only the current incarnation is fed; what it had not yet taken waits for the next.
//! A pump hands over a bounded number of messages at a time, so that a flood of one component does
//! not starve its arbiter, as actix's own mailboxes do.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll};

use actix::dev::channel::{AddressReceiver, channel};
use actix::dev::{Envelope, EnvelopeProxy};
use actix::fut::ActorFuture;
use actix::{Actor, AsyncContext, Context};
use futures_util::Stream;

use crate::supervise::exit::Epoch;
use crate::supervise::handle::Ref;
use crate::supervise::residence::Seat;

/// Messages handed over before the other tasks of the arbiter have their turn.
const BUDGET: usize = 64;

/// The kept mailbox.
pub(super) struct Inbox<A: Actor<Context = Context<A>>> {
    held: Mutex<Held<A>>,
}

struct Held<A: Actor<Context = Context<A>>> {
    /// `None`: closed for good.
    receiver: Option<AddressReceiver<A>>,
    /// The only incarnation that is fed.
    owner: Epoch,
}

/// Feeds one incarnation, from within its context.
pub(super) struct Pump<A: Actor<Context = Context<A>>> {
    pub(super) inbox: Arc<Inbox<A>>,
    pub(super) epoch: Epoch,
    pub(super) seat: Seat,
    /// Set whenever the actor was found ready to hear.
    pub(super) heard: Rc<Cell<bool>>,
}

// === impl Inbox ===

impl<A: Actor<Context = Context<A>>> Inbox<A> {
    /// A new mailbox that `handle` leads to from now on.
    pub(super) fn open(handle: &Ref<A>, capacity: usize) -> Self {
        let (sender, receiver) = channel(capacity);
        handle.occupy(sender);
        Self { held: Mutex::new(Held { receiver: Some(receiver), owner: Epoch::default() }) }
    }

    /// From now on only `epoch` is fed.
    pub(super) fn hand_to(&self, epoch: Epoch) {
        self.lock().owner = epoch;
    }

    /// Closes it for good. What nobody took is dropped, and whoever waits for an answer is told.
    pub(super) fn close(&self) {
        let receiver = self.lock().receiver.take();
        // Outside of the lock: messages are not ours, and dropping them may do anything.
        drop(receiver);
    }

    /// The next message for `epoch`; `None`: nothing now. Its task is woken when there is more.
    fn next(&self, epoch: Epoch, cx: &mut task::Context<'_>) -> Option<Envelope<A>> {
        let mut held = self.lock();
        if held.owner != epoch {
            return None;
        }
        match Pin::new(held.receiver.as_mut()?).poll_next(cx) {
            Poll::Ready(envelope) => envelope,
            Poll::Pending => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held<A>> {
        // No message runs under this lock, and its fields are each replaced whole: a panic while
        // it was held cannot have left anything half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pump ===

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        for _ in 0..BUDGET {
            if ctx.waiting() {
                return Poll::Pending;
            }
            // A slot that was replaced feeds nobody on its old arbiter: that takes every mailbox
            // of the slot away at once, before the first actor starts on the new one.
            let next = if self.seat.is_current() { self.inbox.next(self.epoch, cx) } else { None };
            let Some(mut envelope) = next else {
                self.heard.set(true);
                return Poll::Pending;
            };
            envelope.handle(actor, ctx);
        }
        self.heard.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
