//! The resolver: looks target names up in the background and publishes the name book.
//!
//! A name that no longer resolves keeps its last address; only a name that never did has none.
//! `getaddrinfo` blocks and tells no time to live, so that it runs on the blocking pool, at most
//! once at a time for each name, every 30 s, and every second while a name has no address.

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use arc_swap::ArcSwap;
use futures_util::future::join_all;

use crate::net::names::NameBook;
use crate::supervise::handle::Recipient;

const EVERY: Duration = Duration::from_secs(30);
const WHILE_MISSING: Duration = Duration::from_secs(1);
/// A look-up that takes longer is taken for failed; it ends when the system lets it.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What the resolver works with; all of it outlives the actor.
#[derive(Clone)]
pub struct ResolverArgs {
    /// Where the book is published.
    pub book: Arc<ArcSwap<NameBook>>,
    /// The names wanted now.
    pub wanted: Arc<ArcSwap<BTreeSet<Arc<str>>>>,
    /// Told when a name stands for another address than before.
    pub moved: Recipient<NameMoved>,
}

/// The actor.
pub struct Resolver {
    args: ResolverArgs,
}

/// Look these names up from now on; answers when each has been tried once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Want(pub BTreeSet<Arc<str>>);

/// A name stands for another address than before: whoever is there is a new target.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct NameMoved {
    /// The name.
    pub host: Arc<str>,
}

/// It is time to look everything up again.
#[derive(Message)]
#[rtype(result = "()")]
struct Refresh;

// === impl Resolver ===

impl Resolver {
    /// A resolver with these means.
    pub fn new(args: ResolverArgs) -> Self {
        Self { args }
    }

    fn next_round(&self) -> Duration {
        let book = self.args.book.load();
        let missing = |host: &Arc<str>| !matches!(book.names.get(host), Some(Ok(_)));
        if self.args.wanted.load().iter().any(missing) { WHILE_MISSING } else { EVERY }
    }
}

impl Actor for Resolver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.notify_later(Refresh, self.next_round());
    }
}

impl Handler<Want> for Resolver {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, want: Want, _: &mut Self::Context) -> Self::Result {
        let book = self.args.book.load_full();
        let new = want.0.iter().filter(|host| !book.names.contains_key(*host)).cloned().collect();
        self.args.wanted.store(Arc::new(want.0));
        Box::pin(look_up_all(self.args.clone(), new))
    }
}

impl Handler<Refresh> for Resolver {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Refresh, ctx: &mut Self::Context) -> Self::Result {
        ctx.notify_later(Refresh, self.next_round());
        Box::pin(look_up_all(self.args.clone(), BTreeSet::clone(&self.args.wanted.load())))
    }
}

/// Looks names up side by side, publishes what came of it, and tells of those that moved.
async fn look_up_all(args: ResolverArgs, hosts: BTreeSet<Arc<str>>) {
    let found = join_all(hosts.into_iter().map(async |host| {
        let address = look_up(&host).await;
        (host, address)
    }))
    .await;
    if found.is_empty() {
        return;
    }
    let mut moved = Vec::new();
    args.book.rcu(|old| {
        moved.clear();
        let mut book = NameBook::clone(old);
        book.names.retain(|host, _| args.wanted.load().contains(host));
        for (host, address) in &found {
            match (book.names.get(host), address) {
                // The last good address stays.
                (Some(Ok(_)), Err(why)) => log::warn!(host = &**host; "name kept: {why}"),
                (Some(Ok(before)), Ok(now)) if before != now => {
                    moved.push(NameMoved { host: Arc::clone(host) });
                    book.names.insert(Arc::clone(host), Ok(*now));
                }
                (Some(_) | None, _) => {
                    book.names.insert(Arc::clone(host), address.clone());
                }
            }
        }
        book
    });
    for name in moved {
        log::warn!(host = &*name.host; "name has a new address");
        args.moved.tell(name);
    }
}

/// One look-up. Of several addresses the least is taken, so that the order in which a name server
/// turns them does not look like a change; several targets of one name are `dns` discovery's.
async fn look_up(host: &Arc<str>) -> Result<IpAddr, String> {
    let name = Arc::clone(host);
    let resolved = actix_rt::task::spawn_blocking(move || {
        (&*name, 0).to_socket_addrs().map(|addresses| addresses.map(|a| a.ip()).min())
    });
    match tokio::time::timeout(LOOK_UP, resolved).await {
        Ok(Ok(Ok(Some(address)))) => Ok(address),
        Ok(Ok(Ok(None))) => Err(format!("`{host}` has no address")),
        Ok(Ok(Err(error))) => Err(format!("`{host}` cannot be looked up: {error}")),
        Ok(Err(_)) => Err(format!("looking `{host}` up crashed")),
        Err(_) => Err(format!("looking `{host}` up took more than {} s", LOOK_UP.as_secs())),
    }
}
