//! A worker: one data arbiter as seen from outside: its queue of new connections, its live count.
//!
//! Both outlive the arbiter and its router. Listeners put connections in, the router takes them
//! out; between the two nothing is lost when either is restarted.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::endpoint::Endpoint;
use crate::proxy::live::LivePort;
use crate::proxy::permits::Permit;

/// Connections that may wait in one queue.
const QUEUE: usize = 4096;
/// A connection that has waited this long is anybody's: its own router is stuck or gone.
const STALE: Duration = Duration::from_millis(100);

/// All workers, in slot order.
pub type Workers = Arc<[Arc<Worker>]>;

/// One data arbiter's queue and count.
#[derive(Debug, Default)]
pub struct Worker {
    queue: Mutex<VecDeque<Incoming>>,
    live: AtomicUsize,
    woken: AtomicBool,
}

/// A connection that was accepted and has no session yet.
#[derive(Debug)]
pub struct Incoming {
    /// The connection.
    pub fd: OwnedFd,
    /// The port it came to, as it was in force then.
    pub port: Arc<LivePort>,
    /// Its place among the sessions of the process.
    pub permit: Permit,
    /// Its place among those of its worker.
    pub seat: Seat,
    /// The client.
    pub peer: Endpoint,
    /// When it was queued.
    pub queued: Instant,
}

/// One session of a worker: made by the listener, so that a burst is spread evenly before any
/// router has seen it; lowers the count wherever it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Worker>);

// === impl Worker ===

impl Worker {
    /// This many workers.
    pub fn crew(count: usize) -> Workers {
        (0..count).map(|_| Arc::default()).collect()
    }

    /// The worker with the fewest live sessions, of those whose routers take what they are given.
    pub fn least_busy(workers: &Workers, now: Instant) -> Arc<Self> {
        let ready = workers.iter().filter(|worker| !worker.is_stuck(now));
        let best = ready.min_by_key(|worker| worker.live());
        let any = || workers.iter().min_by_key(|worker| worker.live());
        Arc::clone(best.or_else(any).expect("there is at least one worker"))
    }

    /// Takes a seat at this worker.
    pub fn seat(self: &Arc<Self>) -> Seat {
        self.live.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(self))
    }

    /// Sessions, those in the queue included.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Queues a connection. True: the router has to be woken for it.
    ///
    /// # Errors
    /// Gives it back when the queue is full.
    pub fn push(&self, incoming: Incoming) -> Result<bool, Incoming> {
        let mut queue = self.lock();
        if queue.len() >= QUEUE {
            return Err(incoming);
        }
        queue.push_back(incoming);
        drop(queue);
        Ok(!self.woken.swap(true, Ordering::AcqRel))
    }

    /// Takes up to `most` connections out of the queue, oldest first.
    pub fn take(&self, most: usize) -> Vec<Incoming> {
        self.woken.store(false, Ordering::Release);
        let mut queue = self.lock();
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }

    /// Takes what has waited so long that its own router must be stuck, and moves it to `seat`.
    pub fn rescue(&self, now: Instant, to: &Arc<Self>) -> Vec<Incoming> {
        if !self.is_stuck(now) {
            return Vec::new();
        }
        let stale = |incoming: &Incoming| now.duration_since(incoming.queued) >= STALE;
        let mut queue = self.lock();
        let count = queue.iter().take_while(|incoming| stale(incoming)).count();
        queue.drain(..count).map(|incoming| Incoming { seat: to.seat(), ..incoming }).collect()
    }

    fn is_stuck(&self, now: Instant) -> bool {
        let oldest = self.lock().front().map(|incoming| incoming.queued);
        oldest.is_some_and(|queued| now.duration_since(queued) >= STALE)
    }

    /// A queue is sound whatever panicked beside it: every change is one call of `VecDeque`.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Incoming>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::live::tests::live_port;
    use crate::proxy::permits::Permits;

    fn incoming(worker: &Arc<Worker>, permits: &Permits) -> Incoming {
        let (fd, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Incoming {
            fd: fd.into(),
            port: live_port(),
            peer: Endpoint::Unix(None),
            permit: permits.try_take().unwrap(),
            seat: worker.seat(),
            queued: Instant::now(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_spread_before_any_router_has_seen_it() {
        let (workers, permits) = (Worker::crew(4), Permits::new(None));
        for _ in 0..40 {
            let worker = Worker::least_busy(&workers, Instant::now());
            assert!(worker.push(incoming(&worker, &permits)).is_ok());
        }
        assert!(workers.iter().all(|worker| worker.live() == 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_router_is_woken_once_for_all_that_wait() {
        let (workers, permits) = (Worker::crew(1), Permits::new(None));
        let worker = &workers[0];
        let woken = [0; 3].map(|_| worker.push(incoming(worker, &permits)).unwrap());
        assert_eq!(woken, [true, false, false]);
        assert_eq!(worker.take(2).len(), 2);
        assert!(worker.push(incoming(worker, &permits)).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stuck_router_leaves_is_taken_by_another_and_nothing_new_goes_there() {
        let (workers, permits) = (Worker::crew(2), Permits::new(None));
        assert!(workers[0].push(incoming(&workers[0], &permits)).is_ok());
        assert!(workers[0].rescue(Instant::now(), &workers[1]).is_empty());
        tokio::time::advance(STALE).await;
        let busy: Vec<Seat> = (0..5).map(|_| workers[1].seat()).collect();
        let chosen = Worker::least_busy(&workers, Instant::now());
        assert!(Arc::ptr_eq(&chosen, &workers[1]), "a stuck worker gets nothing, however idle");
        drop(busy);
        let rescued = workers[0].rescue(Instant::now(), &workers[1]);
        assert_eq!((rescued.len(), workers[0].live(), workers[1].live()), (1, 0, 1));
    }
}
