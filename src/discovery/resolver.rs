//! The resolver: looks target names up in the background and publishes the name book.
//!
//! A name that no longer resolves keeps its last address; only a name that never did has none.
//! `getaddrinfo` blocks and tells no time to live, so that it runs on the blocking pool, at most
//! once at a time for each name, every 30 s, and every second while a name has no address.

use std::collections::BTreeSet;
use std::io;
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
    /// How one name is looked up: it blocks.
    pub look_up: LookUp,
}

/// A look-up of one name: its addresses, in any order.
pub type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

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
        let address = look_up(&host, Arc::clone(&args.look_up)).await;
        (host, address)
    }))
    .await;
    if found.is_empty() {
        return;
    }
    let wanted = args.wanted.load();
    let before = args.book.rcu(|old| {
        let mut book = NameBook::clone(old);
        book.names.retain(|host, _| wanted.contains(host));
        for (host, now) in &found {
            // The last good address stays.
            if now.is_ok() || !matches!(book.names.get(host), Some(Ok(_))) {
                book.names.insert(Arc::clone(host), now.clone());
            }
        }
        book
    });
    for (host, now) in found {
        tell(&host, before.names.get(&host), &now);
        if let (Some(Ok(old)), Ok(new)) = (before.names.get(&host), now)
            && *old != new
        {
            args.moved.tell(NameMoved { host });
        }
    }
}

/// Logs what is news about a name.
fn tell(host: &str, before: Option<&Result<IpAddr, String>>, now: &Result<IpAddr, String>) {
    match (before, now) {
        (Some(Ok(old)), Ok(new)) if old != new => {
            log::warn!(host = host; "name stands for {new} now, and no more for {old}");
        }
        (Some(Ok(old)), Err(why)) => log::warn!(host = host; "name kept at {old}: {why}"),
        (None, Err(why)) => {
            log::warn!(host = host; "its targets get no connections for now: {why}");
        }
        (Some(Err(_)), Ok(new)) => log::info!(host = host; "name stands for {new}"),
        (Some(Ok(_)) | None, Ok(_)) | (Some(Err(_)), Err(_)) => {}
    }
}

/// The look-up of this machine, with its hosts file and its name servers.
pub fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// One look-up. Of several addresses the least is taken, so that the order in which a name server
/// turns them does not look like a change; several targets of one name are `dns` discovery's.
pub async fn look_up(host: &Arc<str>, how: LookUp) -> Result<IpAddr, String> {
    let name = Arc::clone(host);
    let resolved = actix_rt::task::spawn_blocking(move || {
        how(&name).map(|addresses| addresses.into_iter().min())
    });
    match tokio::time::timeout(LOOK_UP, resolved).await {
        Ok(Ok(Ok(Some(address)))) => Ok(address),
        Ok(Ok(Ok(None))) => Err(format!("`{host}` has no address")),
        Ok(Ok(Err(error))) => Err(format!("`{host}` cannot be looked up: {}", plain(&error))),
        Ok(Err(_)) => Err(format!("looking `{host}` up crashed")),
        Err(_) => Err(format!("looking `{host}` up took more than {} s", LOOK_UP.as_secs())),
    }
}

/// What the system says, without what the standard library says before it.
fn plain(error: &io::Error) -> String {
    let words = error.to_string();
    words.strip_prefix("failed to lookup address information: ").unwrap_or(&words).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::supervise::handle::Ref;

    type Addresses = Arc<Mutex<io::Result<Vec<IpAddr>>>>;

    /// A resolver whose one name stands for what `addresses` says.
    fn resolver(addresses: &Addresses) -> (Ref<Resolver>, ResolverArgs, Arc<Mutex<Vec<String>>>) {
        let (addresses, moved) = (Arc::clone(addresses), Arc::<Mutex<Vec<String>>>::default());
        let args = ResolverArgs {
            book: Arc::default(),
            wanted: Arc::default(),
            moved: Recipient::from_fn({
                let moved = Arc::clone(&moved);
                move |NameMoved { host }| {
                    moved.lock().unwrap().push(host.to_string());
                    true
                }
            }),
            look_up: Arc::new(move |_| match &*addresses.lock().unwrap() {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(error.kind().into()),
            }),
        };
        let handle = Ref::unsupervised("resolver", |_| Resolver::new(args.clone()));
        (handle, args, moved)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_keeps_its_last_good_address_and_a_new_one_is_told() {
        actix_rt::System::new().block_on(async {
            let addresses: Addresses = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound.into())));
            let (handle, args, moved) = resolver(&addresses);
            let host: Arc<str> = "db".into();
            let becomes = async |answer: io::Result<Vec<IpAddr>>| {
                *addresses.lock().unwrap_or_else(PoisonError::into_inner) = answer;
                handle.ask(Refresh).await.unwrap();
                args.book.load().names[&host].clone().ok()
            };
            handle.ask(Want(BTreeSet::from([Arc::clone(&host)]))).await.unwrap();
            assert!(args.book.load().names[&host].is_err());
            assert_eq!(becomes(Ok(vec![ip(2), ip(1)])).await, Some(ip(1)));
            assert_eq!(becomes(Ok(vec![ip(1), ip(2)])).await, Some(ip(1)));
            assert_eq!(becomes(Err(io::ErrorKind::TimedOut.into())).await, Some(ip(1)));
            assert_eq!(becomes(Ok(Vec::new())).await, Some(ip(1)));
            assert!(moved.lock().unwrap().is_empty(), "it has stood for one address all the time");
            assert_eq!(becomes(Ok(vec![ip(7)])).await, Some(ip(7)));
            assert_eq!(*moved.lock().unwrap(), ["db"]);
            handle.ask(Want(BTreeSet::new())).await.unwrap();
            handle.ask(Refresh).await.unwrap();
        });
    }
}
