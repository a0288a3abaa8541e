//! Look-ups of names, apart from everything else: on threads of their own, a bounded number at
//! once, and no name twice at the same time.
//!
//! `getaddrinfo` blocks, and in an outage it blocks for long: it must not use up the threads that
//! a reload needs, nor may look-ups pile up behind it. What to do with an answer is the resolver's
//! to say.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A look-up that takes longer is taken for failed; it ends when the system lets it.
const LOOK_UP: Duration = Duration::from_secs(5);
/// So many threads look up at most.
const AT_ONCE: usize = 16;

/// How one name is looked up: its addresses, in any order. It may block.
pub type How = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Looks names up; a clone shares the bounds.
#[derive(Clone)]
pub struct LookUps {
    how: How,
    turns: Arc<Semaphore>,
    in_flight: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

/// A look-up that has begun and not ended, on whatever thread; it ends by being dropped.
struct InFlight {
    host: Arc<str>,
    all: Arc<Mutex<BTreeSet<Arc<str>>>>,
    _turn: OwnedSemaphorePermit,
}

// === impl LookUps ===

impl LookUps {
    /// Look-ups in this way.
    pub fn new(how: How) -> Self {
        Self { how, turns: Arc::new(Semaphore::new(AT_ONCE)), in_flight: Arc::default() }
    }

    /// The look-up of this machine, with its hosts file and its name servers.
    pub fn of_the_system() -> Self {
        let addresses =
            |name: &str| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        Self::new(Arc::new(addresses))
    }

    /// One look-up. Of several addresses the least is taken, so that the order in which a name
    /// server turns them does not look like a change; several targets of one name are `dns`
    /// discovery's. `None`: an earlier one of that name has not ended.
    pub async fn look_up(&self, host: &Arc<str>) -> Option<Result<IpAddr, String>> {
        let all = self.look_up_all(host).await?;
        let none = || format!("`{host}` has no address");
        Some(all.and_then(|all| all.into_iter().min().ok_or_else(none)))
    }

    /// The same, with every address that there is, in any order.
    pub async fn look_up_all(&self, host: &Arc<str>) -> Option<Result<Vec<IpAddr>, String>> {
        let answer = tokio::time::timeout(LOOK_UP, self.answer(host)).await;
        let late = |_| format!("looking `{host}` up took more than {} s", LOOK_UP.as_secs());
        Some(match answer.map_err(late) {
            Ok(answer) => {
                answer?.map_err(|error| format!("`{host}` cannot be looked up: {}", plain(&error)))
            }
            Err(late) => Err(late),
        })
    }

    async fn answer(&self, host: &Arc<str>) -> Option<io::Result<Vec<IpAddr>>> {
        if lock(&self.in_flight).contains(host) {
            return None;
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let in_flight = InFlight::begin(host, &self.in_flight, turn)?;
        let (reply, answer) = oneshot::channel();
        let how = Arc::clone(&self.how);
        let thread = std::thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let addresses = how(&in_flight.host);
            drop(in_flight);
            // Whoever asked may have waited long enough.
            drop(reply.send(addresses));
        });
        Some(match thread {
            Ok(_detached) => answer.await.unwrap_or_else(|_| Err(io::Error::other("it crashed"))),
            Err(error) => Err(error),
        })
    }
}

// === impl InFlight ===

impl InFlight {
    fn begin(
        host: &Arc<str>,
        all: &Arc<Mutex<BTreeSet<Arc<str>>>>,
        turn: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let is_first = lock(all).insert(Arc::clone(host));
        is_first.then(|| Self { host: Arc::clone(host), all: Arc::clone(all), _turn: turn })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.host);
    }
}

/// What the system says, without what the standard library says before it.
fn plain(error: &io::Error) -> String {
    let words = error.to_string();
    words.strip_prefix("failed to lookup address information: ").unwrap_or(&words).to_owned()
}

/// Every change under this lock is one call of `BTreeSet`: sound whatever panicked.
fn lock(set: &Mutex<BTreeSet<Arc<str>>>) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    /// Look-ups that all wait until the sender is dropped, and how many have begun.
    fn outage() -> (LookUps, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (end, ended) = mpsc::channel::<()>();
        let (ended, begun) = (Mutex::new(ended), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&begun);
        let how = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            assert!(lock_end(&ended).recv().is_err(), "nobody sends");
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        };
        (LookUps::new(Arc::new(how)), end, begun)
    }

    fn lock_end(end: &Mutex<mpsc::Receiver<()>>) -> MutexGuard<'_, mpsc::Receiver<()>> {
        end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn in_an_outage_no_name_is_looked_up_twice_at_once_and_no_more_than_so_many_at_all() {
        actix_rt::System::new().block_on(async {
            let (look_ups, end, begun) = outage();
            let hosts: Vec<Arc<str>> =
                (0..2 * AT_ONCE).map(|n| format!("host-{n}").into()).collect();
            let mut first: Vec<_> =
                hosts.iter().map(|host| Box::pin(look_ups.look_up(host))).collect();
            assert!(first.iter_mut().all(|one| one.now_or_never().is_none()));
            for host in &hosts[..AT_ONCE] {
                assert_eq!(look_ups.look_up(host).await, None, "it has not ended");
            }
            assert_eq!(lock(&look_ups.in_flight).len(), AT_ONCE);
            drop(end);
            let found = join_all(first).await;
            assert!(found.iter().all(|one| matches!(one, Some(Ok(_)))), "{found:?}");
            assert_eq!(begun.load(Ordering::SeqCst), hosts.len());
            assert!(lock(&look_ups.in_flight).is_empty());
        });
    }

    #[test]
    fn one_that_crashes_is_a_failure_and_the_name_can_be_asked_again() {
        actix_rt::System::new().block_on(async {
            let look_ups = LookUps::new(Arc::new(|_| panic!("oops")));
            for _ in 0..2 {
                let found = look_ups.look_up(&"db".into()).await;
                let crashed = "`db` cannot be looked up: it crashed".to_owned();
                assert_eq!(found, Some(Err(crashed)));
            }
        });
    }
}
