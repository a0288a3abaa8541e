//! The reloader: reads the configuration again and has it applied, one reload at a time.
//!
//! Requests that come meanwhile are answered together by one more reload, so that a storm costs
//! two. A configuration with a problem is refused whole: what runs goes on. One that is being put
//! in force is so whole, whoever falls meanwhile: that is done on the main arbiter.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::sync::oneshot;

use crate::admin::view::ReloadView;
use crate::app::apply::apply;
use crate::app::changes::in_words;
use crate::app::closing::Closer;
use crate::app::house::House;
use crate::config::diff::diff;
use crate::config::load::{Loaded, Sources, load};
use crate::config::model::Model;
use crate::config::render;

/// What the reloader works with.
#[derive(Clone)]
pub struct ReloaderArgs {
    /// Where the configuration is read from.
    pub sources: Arc<Sources>,
    /// What it is applied to.
    pub house: House,
    /// Who closes the sessions of removed targets.
    pub closer: Closer,
}

/// The actor.
pub struct Reloader {
    args: ReloaderArgs,
    /// Who waits for the reload that runs.
    served: Vec<Reload>,
    /// Who came after it had begun.
    waiting: Vec<Reload>,
}

/// Read the configuration again.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Reload {
    /// What came of it: the changes, or every problem as text.
    pub reply: oneshot::Sender<Result<ReloadView, String>>,
}

// === impl Reloader ===

impl Reloader {
    /// A reloader with these means.
    pub fn new(args: ReloaderArgs) -> Self {
        Self { args, served: Vec::new(), waiting: Vec::new() }
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        if !self.served.is_empty() || self.waiting.is_empty() {
            return;
        }
        self.served = std::mem::take(&mut self.waiting);
        let reloading = reload(self.args.clone()).into_actor(self);
        ctx.spawn(reloading.map(|result, reloader, ctx| reloader.finish(&result, ctx)));
    }

    fn finish(&mut self, result: &Result<ReloadView, String>, ctx: &mut Context<Self>) {
        match result {
            Ok(view) if view.changes.is_empty() => log::info!("reload: nothing has changed"),
            Ok(view) => {
                if !view.remarks.is_empty() {
                    log::warn!("reload:\n{}", view.remarks);
                }
                log::info!("reload: {}", view.changes.join("; "));
            }
            Err(problems) => log::error!("reload refused, nothing was changed:\n{problems}"),
        }
        for request in std::mem::take(&mut self.served) {
            // Whoever asked may have gone away.
            drop(request.reply.send(result.clone()));
        }
        self.begin(ctx);
    }
}

impl Actor for Reloader {
    type Context = Context<Self>;
}

impl Handler<Reload> for Reloader {
    type Result = ();

    fn handle(&mut self, request: Reload, ctx: &mut Self::Context) {
        self.waiting.push(request);
        self.begin(ctx);
    }
}

async fn reload(args: ReloaderArgs) -> Result<ReloadView, String> {
    let sources = Arc::clone(&args.sources);
    let loaded = actix_rt::task::spawn_blocking(move || load(&sources));
    let Loaded { model, problems, .. } =
        loaded.await.map_err(|_| "reading the configuration crashed".to_owned())?;
    let remarks = render::text(&problems, false);
    let Some(model) = model else { return Err(remarks) };
    let changes = put_in_force(&args, Arc::new(model)).await?;
    let generation = args.house.generation.load(Ordering::Relaxed);
    Ok(ReloadView { generation, changes, remarks })
}

/// Has the model applied by somebody who is there to the end. Returns what it changes.
async fn put_in_force(args: &ReloaderArgs, model: Arc<Model>) -> Result<Vec<String>, String> {
    let (done, result) = oneshot::channel();
    let (house, closer) = (args.house.clone(), args.closer.clone());
    args.closer.main.spawn(async move {
        let _turn = house.applying.lock().await;
        let changes = in_words(&diff(&house.model.load(), &model));
        let applied = match changes.is_empty() {
            true => Ok(()),
            false => apply(&house, &closer, model).await.map_err(|error| error.to_string()),
        };
        // Whoever asked may have fallen.
        drop(done.send(applied.map(|()| changes)));
    });
    result.await.map_err(|_| "putting the configuration in force crashed".to_owned())?
}
