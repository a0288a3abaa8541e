//! The description of a child: whom to start, where, and by which rules.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Context};

use crate::supervise::backoff::Backoff;
use crate::supervise::cell::{Leash, Make, Run, launch};
#[cfg(feature = "chaos")]
use crate::supervise::chaos::Inject;
use crate::supervise::handle::{ComponentName, Recipient, Ref};
use crate::supervise::inbox::Inbox;
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::{GiveUp, Policy, Restart};
use crate::supervise::slot::SlotId;
use crate::supervise::view::{ChildView, GaveUp};

/// Room in a mailbox before `offer` sheds.
const MAILBOX_CAPACITY: usize = 1024;

/// A child to be: give it to a supervisor with `StartChild`.
///
/// The actor needs nothing but `Actor`: each incarnation is made anew, so that nothing of a broken
/// one is left. What must survive a crash belongs behind an `Arc` that the closure hands in.
pub struct ChildSpec {
    pub(super) name: ComponentName,
    pub(super) slot: SlotId,
    pub(super) policy: Policy,
    pub(super) mailbox_capacity: usize,
    /// How long it may hear nothing; `None`: as long as its arbiter may be silent.
    pub(super) hang: Option<Duration>,
    pub(super) launcher: Box<dyn Launch>,
    /// The children of the child, if it is a supervisor.
    pub(super) subtree: Option<Arc<dyn Subtree>>,
}

/// A child of some type, to a supervisor that does not know the type.
pub(super) trait Launch: Send + Sync {
    /// Opens the mailbox: from now on the handle leads to it.
    fn open(&self, capacity: usize);
    /// Starts an incarnation.
    fn launch(&self, run: Run) -> Leash;
    /// Closes the mailbox for good: the handle is vacant again.
    fn close(&self);
}

/// A supervisor's children, to the supervisor above: reachable whatever state the one between is
/// in.
pub(super) trait Subtree: Send + Sync {
    /// Gives up to `above` from now on.
    fn adopt(&self, above: Recipient<GaveUp>);
    /// Ends its children, last first, and then the supervisor itself.
    fn stop_all(&self);
    /// Its next incarnation ends its children and starts them again.
    fn renew(&self);
    /// Lets go of whatever children are left.
    fn cut(&self);
    /// The children, as they are now.
    fn views(&self) -> Vec<ChildView>;
    /// Restarts the child of that name, however deep. `false`: there is none.
    fn restart(&self, name: &ComponentName) -> bool;
    /// Breaks the child of that name, however deep. `false`: there is none.
    #[cfg(feature = "chaos")]
    fn inject(&self, inject: &Inject) -> bool;
}

struct Recipe<A: Actor<Context = Context<A>>> {
    handle: Ref<A>,
    make: Arc<Make<A>>,
    inbox: Mutex<Option<Arc<Inbox<A>>>>,
}

// === impl ChildSpec ===

impl ChildSpec {
    /// A child that `make` makes, anew for each incarnation, on the arbiter of `slot`.
    ///
    /// It is named as its handle is. `make` may panic: that is a failed start, and backed off from.
    pub fn new<A>(
        handle: &Ref<A>,
        slot: SlotId,
        make: impl Fn(&mut Context<A>) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>>,
    {
        let launcher =
            Recipe { handle: handle.clone(), make: Arc::new(make), inbox: Mutex::new(None) };
        Self {
            name: handle.name().clone(),
            slot,
            policy: Policy::default(),
            mailbox_capacity: MAILBOX_CAPACITY,
            hang: None,
            launcher: Box::new(launcher),
            subtree: None,
        }
    }

    /// After which ends it is started again. Default: after every one.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// How long to wait before a restart. Default: 10 ms, doubling to 5 s.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// How many restarts are still fine. Default: 10 in 60 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy.intensity = intensity;
        self
    }

    /// What happens past the intensity. Default: the group is restarted.
    #[must_use]
    pub fn on_give_up(mut self, give_up: GiveUp) -> Self {
        self.policy.give_up = give_up;
        self
    }

    /// Room in the mailbox before `offer` sheds. Default: 1,024.
    #[must_use]
    pub fn mailbox_capacity(mut self, capacity: usize) -> Self {
        self.mailbox_capacity = capacity;
        self
    }

    /// How long it may hear nothing, in one `ctx.wait`, before it is taken for stuck. Default: as
    /// long as an arbiter may be silent.
    #[must_use]
    pub fn hang(mut self, hang: Duration) -> Self {
        self.hang = Some(hang);
        self
    }

    /// How long it may take to end when told to, before it is abandoned. Default: 5 s.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.policy.grace = Some(grace);
        self
    }

    /// The child is the supervisor of these, and may take its time to end.
    pub(super) fn above(mut self, subtree: Arc<dyn Subtree>) -> Self {
        self.subtree = Some(subtree);
        self.policy.grace = None;
        self
    }
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChildSpec({} on {})", self.name, self.slot)
    }
}

// === impl Recipe ===

impl<A: Actor<Context = Context<A>>> Recipe<A> {
    fn inbox(&self) -> std::sync::MutexGuard<'_, Option<Arc<Inbox<A>>>> {
        // The one field is replaced whole: a panic cannot have left it half-changed.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Actor<Context = Context<A>>> Launch for Recipe<A> {
    fn open(&self, capacity: usize) {
        *self.inbox() = Some(Arc::new(Inbox::open(&self.handle, capacity)));
    }

    fn launch(&self, run: Run) -> Leash {
        let inbox = self.inbox().clone().expect("a child is opened before it is launched");
        launch(run, Arc::clone(&self.make), inbox)
    }

    fn close(&self) {
        self.handle.vacate();
        let inbox = self.inbox().take();
        if let Some(inbox) = inbox {
            inbox.close();
        }
    }
}
