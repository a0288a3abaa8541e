//! The courier: sends what is in the outboxes, one event of each at a time, in order.
//!
//! It holds nothing: outboxes and what is in them live above it. A webhook that hangs keeps nobody
//! waiting but itself.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::time::{Instant, sleep_until};

use crate::events::delivery::Means;
use crate::events::outbox::{Outbox, Task, Ticket};

/// What the courier works with; all of it outlives the actor.
#[derive(Clone)]
pub struct CourierArgs {
    /// The outboxes that there are.
    pub outboxes: Arc<dyn Fn() -> Vec<Arc<Outbox>> + Send + Sync>,
    /// What is sent with.
    pub means: Means,
}

/// There is something in this outbox, and nobody looks after it.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub struct Called(pub Arc<Outbox>);

/// The actor.
pub struct Courier {
    args: CourierArgs,
}

// === impl Courier ===

impl Courier {
    /// A courier with these means.
    pub fn new(args: CourierArgs) -> Self {
        Self { args }
    }

    fn look_after(&self, outbox: Arc<Outbox>, ticket: Ticket, ctx: &mut Context<Self>) {
        ctx.spawn(empty(outbox, ticket, self.args.means.clone()).into_actor(self));
    }
}

impl Actor for Courier {
    type Context = Context<Self>;

    /// Whoever fell before it had them all in hand.
    fn started(&mut self, ctx: &mut Self::Context) {
        for outbox in (self.args.outboxes)() {
            if let Some(ticket) = outbox.tend() {
                self.look_after(outbox, ticket, ctx);
            }
        }
    }
}

impl Handler<Called> for Courier {
    type Result = ();

    fn handle(&mut self, Called(outbox): Called, ctx: &mut Self::Context) {
        if let Some(ticket) = outbox.answer() {
            self.look_after(outbox, ticket, ctx);
        }
    }
}

/// Sends what is in an outbox until there is nothing in it.
async fn empty(outbox: Arc<Outbox>, ticket: Ticket, means: Means) {
    loop {
        match outbox.next(ticket, Instant::now()) {
            Task::Nothing => return,
            Task::Wait(until) => tokio::select! {
                () = sleep_until(until) => {}
                () = outbox.changed.notified() => {}
            },
            Task::Send(delivery) => {
                let said = means.deliver(&delivery).await;
                outbox.settle(&delivery, &said, fastrand::f64(), Instant::now());
            }
        }
    }
}
