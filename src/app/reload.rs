//! The reloader: reads the configuration again and has it applied, one reload at a time.
//!
//! Requests that come meanwhile are answered together by one more reload, so that a storm costs
//! two. A configuration with a problem is refused whole: what runs goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::sync::oneshot;

use crate::admin::view::ReloadView;
use crate::app::closing::Closer;
use crate::app::force::{Put, put_in_force};
use crate::app::house::House;
use crate::config::load::{Sources, load};
use crate::config::origin::Configuration;
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
        self.args.house.manager.reloading();
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
        let services = self.args.house.services_in_words();
        let refused = if result.is_err() { "; the last reload was refused" } else { "" };
        self.args.house.manager.ready(&format!("{services}{refused}"));
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
    let mut loaded = loaded.await.map_err(|_| "reading the configuration crashed".to_owned())?;
    let remarks = render::text(&loaded.problems, false);
    let Some(configuration) = Configuration::of(&mut loaded) else { return Err(remarks) };
    let put = put_in_force(&args.house, &args.closer, configuration, None).await?;
    let changes = match put {
        Put::Done { changes, renewals } => {
            changes.into_iter().chain(renewals.iter().map(ToString::to_string)).collect()
        }
        Put::Overtaken => Vec::new(),
    };
    let generation = args.house.generation.load(Ordering::Relaxed);
    Ok(ReloadView { generation, changes, remarks })
}
