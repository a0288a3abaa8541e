//! The registry: every live session, where it leads, and the means to cut it.
//!
//! It holds the sockets themselves (weakly) and aborts them from whatever thread asks: a hung
//! arbiter cannot keep a session to a demoted leader alive. A session is entered *before* it
//! dials, so that none can slip past a cut.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::config::names::{ServiceName, TargetKey};
use crate::net::socket::Socket;
use crate::proxy::meter::Meter;
use crate::proxy::relay::Cut;

/// Every live session, a shard a worker.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<Shard>,
    next: AtomicU64,
}

type Shard = Mutex<HashMap<u64, Arc<Entry>>>;

/// A session's place in the registry; leaving is dropping it.
#[derive(Debug)]
pub struct Pass {
    registry: Arc<Registry>,
    shard: usize,
    id: u64,
    entry: Arc<Entry>,
}

/// Why a session is cut by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// Its target went down or lost the lead.
    TargetDown,
    /// Its target left the pool by a reload.
    TargetRemoved,
    /// The process is ending and the drain took too long.
    Shutdown,
    /// A person cut it.
    Killed,
}

#[derive(Debug)]
struct Entry {
    service: ServiceName,
    client: Weak<Socket>,
    course: Mutex<Course>,
    told: Notify,
    /// Ends the relay; set before the sockets are aborted.
    relay: Cut,
    meter: Arc<Meter>,
}

/// Where a session leads. Replaced as a whole by its own session; read by whoever cuts.
#[derive(Debug, Default)]
struct Course {
    target: Option<TargetKey>,
    socket: Weak<Socket>,
    cut: Option<CutReason>,
}

// === impl Registry ===

impl Registry {
    /// A registry for this many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        let shards = (0..workers).map(|_| Shard::default()).collect();
        Arc::new(Self { shards, next: AtomicU64::new(1) })
    }

    /// Enters a session that `worker` serves.
    pub fn enter(
        self: &Arc<Self>,
        worker: usize,
        service: &ServiceName,
        client: &Arc<Socket>,
    ) -> Pass {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            service: service.clone(),
            client: Arc::downgrade(client),
            course: Mutex::default(),
            told: Notify::new(),
            relay: Cut::default(),
            meter: Arc::default(),
        });
        let shard = worker % self.shards.len();
        lock(&self.shards[shard]).insert(id, Arc::clone(&entry));
        Pass { registry: Arc::clone(self), shard, id, entry }
    }

    /// Live sessions.
    pub fn live(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Sessions of `service` that lead (or are being led) to `target` right now.
    pub fn on_target(&self, service: &ServiceName, target: &TargetKey) -> Vec<u64> {
        self.select(|entry| entry.leads_to(service, target)).into_iter().map(|(id, _)| id).collect()
    }

    /// Cuts every session of `service` to `target`: both sockets are reset, unsent bytes are
    /// discarded. Returns how many there were, those not counted that only dial it still and are
    /// sent back to choose again. None of them relays another byte after that.
    pub fn cut_target(&self, service: &ServiceName, target: &TargetKey, why: CutReason) -> usize {
        let entries = self.select(|entry| entry.leads_to(service, target));
        entries.iter().filter(|(_, entry)| entry.cut(Some(target), why)).count()
    }

    /// Cuts every session of `service` that leads to anybody but `leader`.
    pub fn cut_others(&self, service: &ServiceName, leader: &TargetKey, why: CutReason) -> usize {
        let entries = self.select(|entry| entry.service == *service);
        let cut = |entry: &Entry| {
            let other = entry.target().filter(|target| target != leader);
            other.is_some_and(|other| entry.cut(Some(&other), why))
        };
        entries.iter().filter(|(_, entry)| cut(entry)).count()
    }

    /// Cuts those of the sessions `ids` that still lead to `target` of their service.
    pub fn cut_sessions(&self, ids: &[u64], target: &TargetKey, why: CutReason) -> usize {
        let mut entries = Vec::with_capacity(ids.len());
        for shard in &self.shards {
            let shard = lock(shard);
            entries.extend(ids.iter().filter_map(|id| shard.get(id)).map(Arc::clone));
        }
        entries.iter().filter(|entry| entry.cut(Some(target), why)).count()
    }

    /// Cuts every session there is.
    pub fn cut_all(&self, why: CutReason) -> usize {
        self.select(|_| true).iter().filter(|(_, entry)| entry.cut(None, why)).count()
    }

    fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<(u64, Arc<Entry>)> {
        let mut selected = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let some = shard.iter().filter(|(_, entry)| wanted(entry));
            selected.extend(some.map(|(id, entry)| (*id, Arc::clone(entry))));
        }
        selected
    }
}

// === impl Pass ===

impl Pass {
    /// Notes the target that the session is about to dial. Must come before the dial.
    pub fn aim(&self, target: &TargetKey) {
        let mut course = lock(&self.entry.course);
        course.target = Some(target.clone());
        course.socket = Weak::new();
        // A cut of the target aimed at before says nothing of this one.
        course.cut = course.cut.filter(|cut| !cut.is_of_target());
    }

    /// Hands in the connected socket, so that a cut can reach it.
    ///
    /// # Errors
    /// The cut that came while dialling; the socket must not be used.
    pub fn connected(&self, socket: &Arc<Socket>) -> Result<(), CutReason> {
        let mut course = lock(&self.entry.course);
        course.socket = Arc::downgrade(socket);
        course.cut.map_or(Ok(()), Err)
    }

    /// Has the session been cut, and why?
    pub fn why_cut(&self) -> Option<CutReason> {
        lock(&self.entry.course).cut
    }

    /// The flag that ends its relay.
    pub fn relay_cut(&self) -> &Cut {
        &self.entry.relay
    }

    /// Its live byte counts.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.entry.meter
    }

    /// Waits until the session is cut.
    pub async fn cut(&self) -> CutReason {
        loop {
            let told = self.entry.told.notified();
            if let Some(cut) = self.why_cut() {
                return cut;
            }
            told.await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        lock(&self.registry.shards[self.shard]).remove(&self.id);
    }
}

// === impl Entry ===

impl Entry {
    fn leads_to(&self, service: &ServiceName, target: &TargetKey) -> bool {
        self.service == *service && lock(&self.course).target.as_ref() == Some(target)
    }

    fn target(&self) -> Option<TargetKey> {
        lock(&self.course).target.clone()
    }

    /// Cuts the session, unless it has left `target` meanwhile or is cut already. While it still
    /// dials, its client is left alone if only the target is at fault: it is routed again. Were
    /// its sockets reset?
    fn cut(&self, target: Option<&TargetKey>, why: CutReason) -> bool {
        let mut course = lock(&self.course);
        if course.cut.is_some() || target.is_some_and(|key| course.target.as_ref() != Some(key)) {
            return false;
        }
        course.cut = Some(why);
        let socket = course.socket.upgrade();
        let resets = socket.is_some() || !why.is_of_target();
        if resets {
            self.relay.set();
            for socket in [socket, self.client.upgrade()].into_iter().flatten() {
                socket.abort();
            }
        }
        drop(course);
        self.told.notify_one();
        resets
    }
}

// === impl CutReason ===

impl CutReason {
    /// Is it the target's fault, so that a client that has seen nothing yet may go elsewhere?
    pub fn is_of_target(self) -> bool {
        match self {
            Self::TargetDown | Self::TargetRemoved => true,
            Self::Shutdown | Self::Killed => false,
        }
    }
}

impl fmt::Display for CutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TargetDown => "target went down or lost the lead",
            Self::TargetRemoved => "target was removed",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
        })
    }
}

/// Locks; every change under these locks is a single assignment, so that the value is sound even
/// if a thread panicked while it held one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
