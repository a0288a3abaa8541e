//! The discoverer: one for each service whose targets are found. Asks its directory in the
//! background, and tells when another list counts.
//!
//! It holds nothing that matters: what was heard lies in the `Heard` above it, and stays through its
//! crashes. No connection ever waits for it.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Message, WrapFuture};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::discovery::Discovery;
use crate::config::names::{ListenAddress, ServiceName};
use crate::discovery::fetch::{Means, ask};
use crate::discovery::history::History;
use crate::discovery::kept::{self, KeptList};
use crate::discovery::list::{Entries, ListFault, Listed, settle};
use crate::discovery::own;
use crate::state::keeper::Keeper;
use crate::state::page::Owner;
use crate::state::wall_clock::WallTime;
use crate::supervise::handle::Recipient;

/// What a discoverer works with; all of it outlives the actor.
#[derive(Clone)]
pub struct DiscovererArgs {
    /// The service whose targets it finds.
    pub service: ServiceName,
    /// Where that listens: it is no target of its own.
    pub listen: ListenAddress,
    /// How they are found.
    pub discovery: Arc<Discovery>,
    /// What was heard.
    pub heard: Arc<Heard>,
    /// What it asks with.
    pub means: Means,
    /// Who writes the last good list to disk.
    pub keeper: Keeper,
    /// Told when another list counts.
    pub changed: Recipient<ListChanged>,
}

/// What was heard of one directory. It outlives the discoverer.
#[derive(Debug)]
pub struct Heard {
    history: Mutex<History>,
    asked: watch::Sender<bool>,
}

/// Another list counts for this service.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct ListChanged(pub ServiceName);

/// The actor.
pub struct Discoverer {
    args: DiscovererArgs,
}

// === impl Heard ===

impl Heard {
    /// What has been said so far.
    pub fn history(&self) -> History {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The list that counts, if there has ever been one.
    pub fn listed(&self) -> Option<Listed> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).listed.clone()
    }

    /// Waits until it has been asked once, with whatever result.
    pub async fn asked(&self) {
        // The sender is this value's own.
        drop(self.asked.subscribe().wait_for(|asked| *asked).await);
    }

    /// Begins with a list that an earlier process heard.
    pub fn inherit(&self, kept: KeptList) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.inherit(kept.listed, kept.age, Instant::now());
    }

    /// Replaced whole, so that a panic leaves the history of before.
    fn hear(&self, args: &DiscovererArgs, answer: Result<Listed, ListFault>) -> bool {
        let mut history = self.history();
        let news = history.heard(answer, Instant::now());
        if let Some((level, line)) = news.line {
            let directory = &args.discovery.directory;
            log::log!(level, service = args.service.as_str(), directory:% = directory; "discovery: {line}");
        }
        *self.history.lock().unwrap_or_else(PoisonError::into_inner) = history;
        self.asked.send_replace(true);
        news.is_other
    }
}

impl Default for Heard {
    fn default() -> Self {
        Self { history: Mutex::default(), asked: watch::Sender::new(false) }
    }
}

// === impl Discoverer ===

impl Discoverer {
    /// A discoverer with these means.
    pub fn new(args: DiscovererArgs) -> Self {
        Self { args }
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        let began = Instant::now();
        let args = self.args.clone();
        let asking = async move {
            let last = args.heard.listed().unwrap_or_default();
            ask(&args.discovery, &args.means, &last.targets).await
        };
        let asking = asking.into_actor(self);
        ctx.spawn(asking.map(move |answer, discoverer, ctx| {
            discoverer.finish(answer, began, ctx);
        }));
    }

    fn finish(
        &mut self,
        answer: Result<Entries, ListFault>,
        began: Instant,
        ctx: &mut Context<Self>,
    ) {
        let DiscovererArgs { listen, discovery, heard, service, changed, .. } = &self.args;
        let answer = answer.map(|entries| own::leave_out(entries, listen, own::is_of_this_machine));
        let answer = answer.and_then(|entries| settle(entries, discovery));
        let listed = answer.as_ref().ok().cloned();
        let is_other = heard.hear(&self.args, answer);
        if let Some(listed) = listed.filter(|_| self.args.keeper.keeps()) {
            let of = Owner::new(service, listen);
            self.args.keeper.keep(kept::page(of, discovery, &listed, WallTime::now()));
        }
        if is_other {
            changed.tell(ListChanged(service.clone()));
        }
        let pause = heard.history().pause(discovery, fastrand::f64());
        // A question that takes its whole time is not followed by the next at once.
        let pause = pause.saturating_sub(began.elapsed()).max(pause / 10);
        ctx.run_later(pause, Self::begin);
    }
}

impl Actor for Discoverer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The one before may have fallen between hearing a list and telling of it.
        if self.args.heard.listed().is_some() {
            self.args.changed.tell(ListChanged(self.args.service.clone()));
        }
        self.begin(ctx);
    }
}
