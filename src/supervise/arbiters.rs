//! The arbiters of the process, in slots: stable places whose threads are watched and replaced.
//!
//! An arbiter that dies, or does not answer for as long as `hang`, is replaced. One that only hangs
//! is stopped when nobody is left on it: what it still carries (detached tasks) lives on if it
//! wakes, and its thread ends with the last of it. Replacing has two
//! phases: first every mailbox of the slot is out of reach for the old arbiter, then whoever owns
//! actors there is told and starts them on the new one. Who that is, is not known here.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_rt::{ArbiterHandle, System};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::supervise::beat::BeatWatch;
use crate::supervise::handle::Recipient;
use crate::supervise::panics::guarded;
use crate::supervise::residence::{Residence, Seat};
use crate::supervise::slot::{Generation, Loss, SlotId, SlotReplaced};
use crate::supervise::tenants;

/// The arbiters of the process.
#[derive(Debug)]
pub struct Slots {
    residences: Vec<Residence>,
    system: Seat,
    hang: Duration,
    /// When the keeper last looked, on the system arbiter.
    looked_at: Mutex<Instant>,
    /// Whoever is told of a replacement, while they keep their `Subscription`.
    listeners: Mutex<Vec<Weak<Recipient<SlotReplaced>>>>,
    /// Something happened that the keeper should look at before its next round.
    attention: Arc<Notify>,
}

/// Keeps a listener told; once every clone of it is dropped, it is told no more.
#[derive(Debug, Clone)]
pub struct Subscription {
    #[expect(dead_code, reason = "held for its drop")]
    listener: Arc<Recipient<SlotReplaced>>,
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotView {
    /// Which.
    pub slot: SlotId,
    /// How many arbiters it had before this one.
    pub generation: Generation,
    /// How long ago it last answered; the system arbiter counts too, though it is never replaced.
    pub silent_for: Duration,
}

impl Slots {
    /// Makes an arbiter for each of these slots, and watches over them from the system arbiter,
    /// where this must be called. The system's own slot is always there.
    pub fn open(slots: impl IntoIterator<Item = SlotId>, hang: Duration) -> io::Result<Arc<Self>> {
        let attention = Arc::new(Notify::new());
        let residences = slots
            .into_iter()
            .filter(|slot| *slot != SlotId::System)
            .map(|slot| Residence::open(slot, &attention))
            .collect::<io::Result<Vec<_>>>()?;
        let slots = Arc::new(Self {
            residences,
            system: Seat::forever(System::current().arbiter().clone()),
            hang,
            looked_at: Mutex::new(Instant::now()),
            listeners: Mutex::default(),
            attention,
        });
        slots.system.arbiter().spawn(keep(Arc::downgrade(&slots)));
        Ok(slots)
    }

    /// Runs a detached task on the slot's arbiter. `false`: there is no such slot, or its arbiter
    /// has just died; the task is gone.
    pub fn spawn(&self, slot: SlotId, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let start = move || tenants::spawn(task);
        self.seat(slot).is_some_and(|seat| seat.arbiter().spawn_fn(start))
    }

    /// The slot's arbiter at this moment. Not for keeping: it may be replaced.
    pub fn arbiter(&self, slot: SlotId) -> Option<ArbiterHandle> {
        self.seat(slot).map(|seat| seat.arbiter().clone())
    }

    /// Replaces the slot's arbiter, as if it hung; the old one's detached tasks live on until they
    /// end. `false`: there is no such slot, or it is the system's.
    pub fn restart(&self, slot: SlotId) -> bool {
        let Some(residence) = self.residence(slot) else { return false };
        residence.request();
        self.attention.notify_one();
        true
    }

    /// Stops the slot's arbiter, and with it everything on it. `false`: there is no such slot, or
    /// it is the system's.
    #[cfg(feature = "chaos")]
    pub fn kill(&self, slot: SlotId) -> bool {
        self.residence(slot).is_some_and(|residence| residence.seat().arbiter().stop())
    }

    /// Tells `listener` of every replacement, from the system arbiter's thread, as long as the
    /// subscription is kept.
    pub fn subscribe(&self, listener: Recipient<SlotReplaced>) -> Subscription {
        let listener = Arc::new(listener);
        self.with_listeners(|listeners| listeners.push(Arc::downgrade(&listener)));
        Subscription { listener }
    }

    /// Every slot, the system's first. May be asked from any thread, also while an arbiter hangs.
    pub fn views(&self) -> Vec<SlotView> {
        let now = Instant::now();
        let system = SlotView {
            slot: SlotId::System,
            generation: Generation::default(),
            silent_for: now.saturating_duration_since(self.looked_at()),
        };
        let others = self.residences.iter().map(|residence| SlotView {
            slot: residence.slot,
            generation: residence.seat().generation(),
            silent_for: residence.silent_for(now),
        });
        std::iter::once(system).chain(others).collect()
    }

    /// For how long silence is no hang yet.
    pub fn hang(&self) -> Duration {
        self.hang
    }

    pub(super) fn seat(&self, slot: SlotId) -> Option<Seat> {
        match slot {
            SlotId::System => Some(self.system.clone()),
            SlotId::Control | SlotId::Admin | SlotId::Data(_) => {
                self.residence(slot).map(Residence::seat)
            }
        }
    }

    /// The generation of the slot's arbiter at this moment.
    pub(super) fn generation(&self, slot: SlotId) -> Generation {
        self.seat(slot).map_or_else(Generation::default, |seat| seat.generation())
    }

    fn residence(&self, slot: SlotId) -> Option<&Residence> {
        self.residences.iter().find(|residence| residence.slot == slot)
    }

    /// One look at every slot. `beat`: the time for a beat has come as well.
    fn look(&self, beat: bool) {
        let now = Instant::now();
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
        for residence in &self.residences {
            if let Some(why) = residence.examine(beat, now) {
                self.replace(residence, why, now);
            }
            if beat {
                residence.clear_out();
            }
        }
    }

    fn replace(&self, residence: &Residence, why: Loss, now: Instant) {
        let slot = residence.slot;
        match residence.replace(why, &self.attention, now) {
            Ok(news) => {
                let SlotReplaced { generation, recent, hung, .. } = news;
                let level = match why {
                    Loss::Dead | Loss::Hung => log::Level::Error,
                    Loss::Requested => log::Level::Info,
                };
                log::log!(
                    level,
                    slot:% = slot, why:? = why, generation = generation.0, recent, hung;
                    "arbiter replaced"
                );
                self.announce(news);
            }
            // Out of threads or descriptors; the next look tries again.
            Err(error) => {
                log::error!(slot:% = slot, why:? = why, error:%; "arbiter cannot be replaced")
            }
        }
    }

    fn announce(&self, news: SlotReplaced) {
        let mut listeners = Vec::new();
        self.with_listeners(|all| {
            all.retain(|listener| listener.strong_count() > 0);
            listeners = all.iter().filter_map(Weak::upgrade).collect();
        });
        for listener in listeners {
            if let Err(message) = guarded(|| listener.tell(news)) {
                log::error!(slot:% = news.slot, message; "a listener panicked over a new arbiter");
            }
        }
    }

    fn looked_at(&self) -> Instant {
        // A moment cannot be half-written.
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_listeners(&self, change: impl FnOnce(&mut Vec<Weak<Recipient<SlotReplaced>>>)) {
        // A list of weak pointers is good however far a change of it came.
        change(&mut self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The keeper: looks at every slot four times within `hang`, and at once when one dies. It ends
/// with the slots.
async fn keep(slots: Weak<Slots>) {
    let Some((attention, hang)) =
        slots.upgrade().map(|slots| (Arc::clone(&slots.attention), slots.hang))
    else {
        return;
    };
    let interval = BeatWatch::interval(hang);
    let mut next = Instant::now() + interval;
    loop {
        let beat = timeout_at(next, attention.notified()).await.is_err();
        if beat {
            // From now, not from when it was due: a keeper that was late gives others their time.
            next = Instant::now() + interval;
        }
        let Some(slots) = slots.upgrade() else { return };
        if let Err(message) = guarded(|| slots.look(beat)) {
            log::error!(message; "looking after the arbiters panicked");
        }
    }
}
