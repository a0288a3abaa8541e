//! One slot: the arbiter that lives there now, its heartbeat, moving in a new one, and clearing out
//! those that were replaced.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::supervise::backoff::Backoff;
use crate::supervise::beat::BeatWatch;
use crate::supervise::intensity::{History, Intensity};
use crate::supervise::slot::{Generation, Loss, SlotId, SlotReplaced};
use crate::supervise::tenants::Tenants;

/// Threads that a runtime may keep for blocking calls. tokio's default is 512 for each of them.
const MAX_BLOCKING_THREADS: usize = 4;

/// A seat on the arbiter that a slot has at this moment.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    generation: Generation,
    newest: Arc<AtomicU64>,
    arbiter: ArbiterHandle,
}

/// One slot.
#[derive(Debug)]
pub(super) struct Residence {
    pub(super) slot: SlotId,
    newest: Arc<AtomicU64>,
    /// Somebody asked for a replacement.
    requested: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    arbiter: ArbiterHandle,
    pulse: Arc<Pulse>,
    watch: BeatWatch,
    history: History,
    /// Replacements without a quiet time between them, and when the next may be.
    attempt: u32,
    not_before: Instant,
    since: Instant,
    tenants: Arc<Tenants>,
    /// Replaced, and not known to have ended.
    former: Vec<Former>,
}

/// An arbiter that was replaced. It hangs, or somebody still lives on it.
#[derive(Debug)]
struct Former {
    arbiter: ArbiterHandle,
    pulse: Arc<Pulse>,
    tenants: Arc<Tenants>,
    /// It was asked since it was replaced: whatever had been sent to it before, it has taken when
    /// it answers.
    asked: bool,
}

/// Shared with the arbiter's thread.
#[derive(Debug)]
struct Pulse {
    dead: AtomicBool,
    /// It was asked, and has not yet answered.
    asked: AtomicBool,
    answered_at: Mutex<Instant>,
}

/// Lives as a task on the arbiter, and is dropped with it.
struct Tombstone {
    pulse: Arc<Pulse>,
    attention: Arc<Notify>,
}

// === impl Residence ===

impl Residence {
    /// A slot with a new arbiter in it.
    pub(super) fn open(slot: SlotId, attention: &Arc<Notify>) -> io::Result<Self> {
        let (arbiter, pulse, tenants) = move_in(slot, attention)?;
        let now = Instant::now();
        Ok(Self {
            slot,
            newest: Arc::default(),
            requested: AtomicBool::new(false),
            state: Mutex::new(State {
                arbiter,
                pulse,
                watch: BeatWatch::default(),
                history: History::new(Intensity::default()),
                attempt: 0,
                not_before: now,
                since: now,
                tenants,
                former: Vec::new(),
            }),
        })
    }

    /// A seat on the newest arbiter.
    pub(super) fn seat(&self) -> Seat {
        let state = self.lock();
        // Only ever changed under the lock that is held here.
        let generation = Generation(self.newest.load(Ordering::Acquire));
        Seat { generation, newest: Arc::clone(&self.newest), arbiter: state.arbiter.clone() }
    }

    /// How long ago its arbiter last answered.
    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.lock().pulse.answered_at())
    }

    /// Has it replaced at the next look.
    pub(super) fn request(&self) {
        self.requested.store(true, Ordering::Release);
    }

    /// Is there reason to replace the arbiter? `beat`: a beat is due as well. An arbiter that is
    /// lost again and again is replaced more and more slowly.
    pub(super) fn examine(&self, beat: bool, now: Instant) -> Option<Loss> {
        let mut state = self.lock();
        let why = if self.requested.load(Ordering::Acquire) {
            return Some(Loss::Requested);
        } else if state.pulse.is_dead() || !state.arbiter.alive() {
            Loss::Dead
        } else if beat && state.is_silent() {
            Loss::Hung
        } else {
            return None;
        };
        (now >= state.not_before).then_some(why)
    }

    /// Moves a new arbiter in. From the moment that the generation counts up, no mailbox feeds
    /// an actor on the old one.
    pub(super) fn replace(
        &self,
        why: Loss,
        attention: &Arc<Notify>,
        now: Instant,
    ) -> io::Result<SlotReplaced> {
        let (arbiter, pulse, tenants) = move_in(self.slot, attention)?;
        self.requested.store(false, Ordering::Release);
        let mut state = self.lock();
        let backoff = Backoff::default();
        if now.duration_since(state.since) >= backoff.reset_after {
            state.attempt = 0;
        }
        // No jitter: a slot competes with nobody.
        let delay = backoff.delay(state.attempt, &mut fastrand::Rng::with_seed(0));
        state.attempt += 1;
        state.not_before = now + delay;
        state.since = now;
        let former = Former {
            arbiter: std::mem::replace(&mut state.arbiter, arbiter),
            pulse: std::mem::replace(&mut state.pulse, pulse),
            tenants: std::mem::replace(&mut state.tenants, tenants),
            asked: false,
        };
        state.former.push(former);
        state.watch = BeatWatch::default();
        let generation = Generation(self.newest.fetch_add(1, Ordering::AcqRel) + 1);
        Ok(SlotReplaced {
            slot: self.slot,
            generation,
            why,
            recent: state.history.record(now).count,
            hung: state.former.iter().filter(|former| former.hangs()).count(),
        })
    }

    /// Stops the arbiters that were replaced, answer, and carry nobody any more.
    pub(super) fn clear_out(&self) {
        self.lock().former.retain_mut(Former::is_needed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that may panic runs between two writes under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One look, and the next question if the last one was answered.
    fn is_silent(&mut self) -> bool {
        let answered = self.pulse.has_answered();
        if answered {
            self.pulse.ask(&self.arbiter);
        }
        self.watch.look(answered)
    }
}

// === impl Former ===

impl Former {
    fn hangs(&self) -> bool {
        !self.pulse.is_dead() && !self.pulse.has_answered()
    }

    /// One look. `false`: it has ended, or been told to.
    fn is_needed(&mut self) -> bool {
        if self.pulse.is_dead() || !self.arbiter.alive() {
            return false;
        }
        if !self.pulse.has_answered() {
            return true;
        }
        // No mailbox leads there any more: once empty, it stays so.
        if self.asked && self.tenants.is_empty() {
            return !self.arbiter.stop();
        }
        self.asked = true;
        self.pulse.ask(&self.arbiter);
        true
    }
}

// === impl Seat ===

impl Seat {
    /// A seat that nobody ever takes away.
    pub(super) fn forever(arbiter: ArbiterHandle) -> Self {
        Self { generation: Generation::default(), newest: Arc::default(), arbiter }
    }

    pub(super) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Has the slot still this arbiter?
    pub(super) fn is_current(&self) -> bool {
        self.newest.load(Ordering::Acquire) == self.generation.0
    }
}

// === impl Pulse ===

impl Pulse {
    fn ask(self: &Arc<Self>, arbiter: &ArbiterHandle) {
        self.asked.store(true, Ordering::Release);
        let pulse = Arc::clone(self);
        arbiter.spawn_fn(move || pulse.answer());
    }

    fn has_answered(&self) -> bool {
        !self.asked.load(Ordering::Acquire)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    fn answer(&self) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.asked.store(false, Ordering::Release);
    }

    fn answered_at(&self) -> Instant {
        // A moment cannot be half-written.
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tombstone {
    fn drop(&mut self) {
        self.pulse.dead.store(true, Ordering::Release);
        self.attention.notify_one();
    }
}

type NewArbiter = (ArbiterHandle, Arc<Pulse>, Arc<Tenants>);

fn move_in(slot: SlotId, attention: &Arc<Notify>) -> io::Result<NewArbiter> {
    let tenants = Arc::<Tenants>::default();
    let here = Arc::clone(&tenants);
    let arbiter = Arbiter::try_with_tokio_rt(move || {
        // actix names the thread after the system, the same for every arbiter once cut to 15
        // bytes. Where this file does not exist, it keeps that name.
        drop(std::fs::write("/proc/thread-self/comm", slot.thread_name()));
        here.move_in();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name(slot.thread_name())
            .build()
    })?;
    let pulse = Arc::new(Pulse {
        dead: AtomicBool::new(false),
        asked: AtomicBool::new(false),
        answered_at: Mutex::new(Instant::now()),
    });
    let tombstone = Tombstone { pulse: Arc::clone(&pulse), attention: Arc::clone(attention) };
    arbiter.spawn(async move {
        let _tombstone = tombstone;
        std::future::pending::<()>().await;
    });
    Ok((arbiter.handle(), pulse, tenants))
}
