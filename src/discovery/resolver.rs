//! The resolver: looks target names up in the background and publishes the name book.
//!
//! A name that no longer resolves keeps its last address; only a name that never did has none.
//! The system tells no time to live, so that it is asked every 30 s, and every second while a name
//! has no address; for a name that it has not answered for yet, it is not asked again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::discovery::look_up::LookUps;
use crate::net::names::NameBook;
use crate::supervise::handle::Recipient;

const EVERY: Duration = Duration::from_secs(30);
const WHILE_MISSING: Duration = Duration::from_secs(1);

/// What the resolver works with; all of it outlives the actor.
#[derive(Clone)]
pub struct ResolverArgs {
    /// Where the book is published.
    pub book: Arc<ArcSwap<NameBook>>,
    /// The names wanted now.
    pub wanted: Arc<ArcSwap<BTreeSet<Arc<str>>>>,
    /// Told when a name stands for another address than in the book. Whoever hears it puts the
    /// new one there, when nobody is routed to its targets any more; until then it is told again.
    pub moved: Recipient<NameMoved>,
    /// How names are looked up.
    pub look_ups: LookUps,
}

/// The actor.
pub struct Resolver {
    args: ResolverArgs,
    /// When all of them are looked up again.
    next: Instant,
}

/// Look these names up from now on; answers when each has been tried once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Want(pub BTreeSet<Arc<str>>);

/// A name stands for another address than in the book: whoever is there is a new target.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct NameMoved {
    /// The name.
    pub host: Arc<str>,
    /// Its new address.
    pub to: IpAddr,
}

// === impl Resolver ===

impl Resolver {
    /// A resolver with these means.
    pub fn new(args: ResolverArgs) -> Self {
        Self { args, next: Instant::now() + EVERY }
    }

    /// Who is to be looked up now.
    fn due(&mut self) -> BTreeSet<Arc<str>> {
        let wanted = self.args.wanted.load();
        let now = Instant::now();
        if now >= self.next {
            self.next = now + EVERY;
            return BTreeSet::clone(&wanted);
        }
        let book = self.args.book.load();
        let missing = |host: &&Arc<str>| !matches!(book.names.get(*host), Some(Ok(_)));
        wanted.iter().filter(missing).cloned().collect()
    }
}

impl Actor for Resolver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(WHILE_MISSING, |resolver, ctx| {
            let due = resolver.due();
            if !due.is_empty() {
                ctx.spawn(look_up_all(resolver.args.clone(), due).into_actor(resolver));
            }
        });
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

/// Looks names up side by side, publishes what came of it, and tells of those that moved.
async fn look_up_all(args: ResolverArgs, hosts: BTreeSet<Arc<str>>) {
    let looking = hosts
        .into_iter()
        .map(async |host| Some((host.clone(), args.look_ups.look_up(&host).await?)));
    let found: Vec<_> = join_all(looking).await.into_iter().flatten().collect();
    if found.is_empty() {
        return;
    }
    let wanted = args.wanted.load();
    let before = args.book.rcu(|old| {
        let mut book = NameBook::clone(old);
        book.names.retain(|host, _| wanted.contains(host));
        for (host, now) in &found {
            // The last good address stays, until its targets have left it.
            if !matches!(book.names.get(host), Some(Ok(_))) {
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
            args.moved.tell(NameMoved { host, to: new });
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::supervise::handle::Ref;

    type Addresses = Arc<Mutex<io::Result<Vec<IpAddr>>>>;

    /// For a resolver to which every name stands for what `addresses` says; and who has moved.
    fn args(addresses: &Addresses) -> (ResolverArgs, Arc<Mutex<Vec<String>>>) {
        let (addresses, moved) = (Arc::clone(addresses), Arc::<Mutex<Vec<String>>>::default());
        let book = Arc::<ArcSwap<NameBook>>::default();
        let args = ResolverArgs {
            book: Arc::clone(&book),
            wanted: Arc::default(),
            moved: Recipient::from_fn({
                let (moved, book) = (Arc::clone(&moved), Arc::clone(&book));
                move |NameMoved { host, to }| {
                    book.rcu(|old| old.moved(&host, to));
                    moved.lock().unwrap().push(host.to_string());
                    true
                }
            }),
            look_ups: LookUps::new(Arc::new(move |_| match &*addresses.lock().unwrap() {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(error.kind().into()),
            })),
        };
        (args, moved)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_keeps_its_last_good_address_and_a_new_one_is_told() {
        actix_rt::System::new().block_on(async {
            let addresses: Addresses = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound.into())));
            let (args, moved) = args(&addresses);
            let handle = Ref::unsupervised("resolver", |_| Resolver::new(args.clone()));
            let host: Arc<str> = "db".into();
            let becomes = async |answer: io::Result<Vec<IpAddr>>| {
                *addresses.lock().unwrap_or_else(PoisonError::into_inner) = answer;
                look_up_all(args.clone(), BTreeSet::clone(&args.wanted.load())).await;
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
            look_up_all(args.clone(), BTreeSet::new()).await;
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_address_is_looked_up_each_second_and_others_with_all() {
        let addresses: Addresses = Arc::new(Mutex::new(Ok(Vec::new())));
        let (args, _) = args(&addresses);
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        args.wanted.store(Arc::new(names(&["known", "missing", "new"])));
        args.book.rcu(|book| {
            let mut book = book.moved(&"known".into(), ip(1));
            book.names.insert("missing".into(), Err("it has none".to_owned()));
            book
        });
        let mut resolver = Resolver::new(args.clone());
        assert_eq!(resolver.due(), names(&["missing", "new"]));
        tokio::time::advance(EVERY).await;
        assert_eq!(resolver.due(), names(&["known", "missing", "new"]));
        assert_eq!(resolver.due(), names(&["missing", "new"]));
        args.wanted.store(Arc::new(names(&["known"])));
        assert_eq!(resolver.due(), names(&[]));
    }
}
