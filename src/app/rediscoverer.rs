//! The rediscoverer: puts in force what discoverers have found.
//!
//! Lists that change at once are put in force together, and one walk at a time. What is being put in
//! force is so whole, whoever falls meanwhile: that is done on the main arbiter. What could not be
//! is tried again. It also looks whether names stand for other addresses: one may have come to be
//! ours, and close a circle.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use tokio::sync::oneshot;

use crate::app::apply::{ApplyError, put};
use crate::app::circling;
use crate::app::closing::Closer;
use crate::app::discovering;
use crate::app::house::House;
use crate::discovery::discoverer::ListChanged;
use crate::net::names::NameBook;

/// Lists that change within this time are one change.
const GATHER: Duration = Duration::from_millis(100);
/// From one look at the names to the next.
const NAMES: Duration = Duration::from_secs(1);
/// After a walk that came to nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// What the rediscoverer works with.
#[derive(Clone)]
pub struct RediscovererArgs {
    /// What it is applied to.
    pub house: House,
    /// Who closes the sessions of targets that have left.
    pub closer: Closer,
}

/// The actor.
pub struct Rediscoverer {
    args: RediscovererArgs,
    /// A walk is about to begin: it will see all that has been found by then.
    is_armed: bool,
    /// The names as they were at the last look.
    names: Arc<NameBook>,
}

// === impl Rediscoverer ===

impl Rediscoverer {
    /// A rediscoverer with these means.
    pub fn new(args: RediscovererArgs) -> Self {
        Self { args, is_armed: false, names: Arc::default() }
    }

    fn arm(&mut self, after: Duration, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_armed, true) {
            ctx.run_later(after, Self::begin);
        }
    }

    fn look_at_names(&mut self, ctx: &mut Context<Self>) {
        let names = self.args.house.names.load_full();
        let before = std::mem::replace(&mut self.names, names);
        if !Arc::ptr_eq(&before, &self.names) && before != self.names {
            self.arm(GATHER, ctx);
        }
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.is_armed = false;
        let walk = put_in_force(self.args.clone()).into_actor(self);
        ctx.spawn(walk.map(|result, rediscoverer, ctx| {
            if let Err(why) = result {
                log::error!("what was found is not in force yet: {why}");
                rediscoverer.arm(AGAIN, ctx);
            }
        }));
    }
}

impl Actor for Rediscoverer {
    type Context = Context<Self>;

    /// The one before may have fallen over what it was told.
    fn started(&mut self, ctx: &mut Self::Context) {
        self.arm(GATHER, ctx);
        ctx.run_interval(NAMES, Self::look_at_names);
    }
}

impl Handler<ListChanged> for Rediscoverer {
    type Result = ();

    fn handle(&mut self, _: ListChanged, ctx: &mut Self::Context) {
        self.arm(GATHER, ctx);
    }
}

async fn put_in_force(args: RediscovererArgs) -> Result<(), String> {
    let (done, result) = oneshot::channel();
    let main = args.closer.main.clone();
    main.spawn(async move {
        // Whoever asked may have fallen.
        drop(done.send(rediscover(&args).await.map_err(|error| error.to_string())));
    });
    result.await.map_err(|_| "it crashed".to_owned())?
}

async fn rediscover(args: &RediscovererArgs) -> Result<(), ApplyError> {
    let RediscovererArgs { house, closer } = args;
    let _turn = house.applying.lock().await;
    let new = Arc::new(discovering::effective(house, &house.written.load()));
    let cut = circling::cut(house, &new);
    if *house.model.load_full() == cut.model {
        circling::tell(house, cut.left_out);
        return Ok(());
    }
    put(house, closer, &new).await
}
