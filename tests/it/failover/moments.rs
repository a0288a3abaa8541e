//! When what happened in a failover.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::eventually::eventually;

/// Between two looks at a server.
const LOOK: Duration = Duration::from_millis(2);

/// When what happened.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    /// The fault, or the command.
    pub(crate) fault: Instant,
    /// The new server says itself that it is promoted.
    pub(crate) promoted: Option<Instant>,
    /// A server that was killed is dead.
    pub(crate) dead: Option<Instant>,
    /// A network that was cut is whole again.
    pub(crate) healed: Option<Instant>,
    /// The log says that the old leader is down, or leads no more.
    pub(crate) marked: Option<Instant>,
    /// The log says that the new one leads.
    pub(crate) switched: Option<Instant>,
}

/// Looks at a server until it is promoted.
pub(crate) struct Watch {
    seen: Arc<OnceLock<Instant>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn start(mut is_promoted: impl FnMut() -> bool + Send + 'static) -> Self {
        let (seen, over) = (Arc::<OnceLock<_>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Acquire) {
                    if is_promoted() {
                        seen.get_or_init(Instant::now);
                        return;
                    }
                    std::thread::park_timeout(LOOK);
                }
            }
        });
        Self { seen, over, thread: Some(thread) }
    }

    /// When it was, if it was.
    pub(crate) fn seen(&self) -> Option<Instant> {
        self.seen.get().copied()
    }

    /// Waits until it is.
    #[track_caller]
    pub(crate) fn wait(&self) -> Instant {
        eventually("the server is promoted", || self.seen())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It may have been interrupted by the end of a test that failed.
            thread.join().ok();
        }
    }
}

/// A part of a scenario that lasts so long by its definition.
pub(crate) fn lasts(duration: Duration) {
    until(Instant::now() + duration);
}

/// The same, up to a moment; it may be past.
pub(crate) fn until(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
