//! The children of a group as they really are: their specs, and a hold on each that runs.
//!
//! Kept above the supervisor, so that it survives it. Code of a component never runs under the lock
//! of the table, so that whatever a component does, its supervisor can still be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::supervise::arbiters::Slots;
use crate::supervise::cell::{Leash, Order, Run};
use crate::supervise::child::{ChildSpec, Subtree};
use crate::supervise::children::{Children, Mode};
use crate::supervise::effect::Ending;
use crate::supervise::entry::NewChild;
use crate::supervise::exit::{Down, Epoch};
use crate::supervise::handle::{ComponentName, Recipient};
use crate::supervise::panics::guarded;
use crate::supervise::view::{ChildKind, ChildView};

/// The children of one group.
pub(super) struct Table {
    slots: Arc<Slots>,
    state: Mutex<State>,
}

struct State {
    children: Children,
    specs: HashMap<ComponentName, Arc<ChildSpec>>,
    leashes: HashMap<ComponentName, (Epoch, Leash)>,
    /// Children that wait until another one of their name, which was told to stop, is gone.
    successors: HashMap<ComponentName, ChildSpec>,
    /// Whoever waits for every child to be stopped.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Table {
    pub(super) fn new(children: Children, slots: Arc<Slots>) -> Self {
        let state = State {
            children,
            specs: HashMap::new(),
            leashes: HashMap::new(),
            successors: HashMap::new(),
            waiting: Vec::new(),
        };
        Self { slots, state: Mutex::new(state) }
    }

    /// Tells the decisions what happened.
    pub(super) fn decide<T>(&self, happened: impl FnOnce(&mut Children, Instant) -> T) -> T {
        happened(&mut self.lock().children, Instant::now())
    }

    /// Adds a child and opens its mailbox; one whose name is still that of a child which was told
    /// to stop starts when that is gone. `false`: there is no such slot, there is one of that name,
    /// or the group is being stopped.
    pub(super) fn add(&self, spec: ChildSpec) -> bool {
        let mut state = self.lock();
        let mut entries = state.children.entries().iter();
        if entries.any(|entry| entry.child.name == spec.name && entry.is_leaving())
            && self.slots.seat(spec.slot).is_some()
            && !matches!(state.children.mode, Mode::Stopping | Mode::Stopped)
        {
            let replaced = state.successors.insert(spec.name.clone(), spec);
            drop(state);
            // The spec holds a closure that is not ours.
            drop(guarded(move || drop(replaced)));
            return true;
        }
        let child = NewChild {
            name: spec.name.clone(),
            kind: spec.kind(),
            slot: spec.slot,
            policy: spec.policy,
        };
        if self.slots.seat(spec.slot).is_none() || !state.children.add(child, Instant::now()) {
            return false;
        }
        spec.launcher.open(spec.mailbox_capacity);
        state.specs.insert(spec.name.clone(), Arc::new(spec));
        true
    }

    /// Stops a child for good, and whoever waits to take its name. `false`: there is none.
    pub(super) fn stop(&self, name: &ComponentName) -> bool {
        let mut state = self.lock();
        let successor = state.successors.remove(name);
        let found = state.children.stop(name, Instant::now());
        drop(state);
        drop(guarded(move || drop(successor)));
        found
    }

    /// Launches an incarnation, unless another one is wanted by now.
    pub(super) fn launch(&self, name: &ComponentName, epoch: Epoch, parent: Recipient<Down>) {
        let mut state = self.lock();
        let Some(spec) = state.specs.get(name).map(Arc::clone) else { return };
        let Some(seat) = self.slots.seat(spec.slot) else { return };
        if !state.children.wants(name, epoch) {
            return;
        }
        state.children.launched(name, seat.generation());
        let hang = spec.hang.unwrap_or_else(|| self.slots.hang());
        let leash = spec.launcher.launch(Run { name: name.clone(), epoch, seat, hang, parent });
        state.leashes.insert(name.clone(), (epoch, leash));
    }

    /// Tells what runs to end.
    pub(super) fn end(&self, name: &ComponentName, how: Ending) {
        let state = self.lock();
        let subtree = state.specs.get(name).and_then(|spec| spec.subtree.clone());
        match (how, subtree) {
            (Ending::Last, Some(subtree)) => {
                drop(state);
                return subtree.stop_all();
            }
            (Ending::Renew, Some(subtree)) => subtree.renew(),
            (Ending::Last | Ending::Renew | Ending::Restart, _) => {}
        }
        if let Some((_, leash)) = state.leashes.get(name) {
            // `false`: it has ended, and its report is on the way.
            leash.order(Order::End);
        }
    }

    /// Forgets a child that is gone for good, and closes its mailbox.
    pub(super) fn close(&self, name: &ComponentName) {
        let mut state = self.lock();
        state.leashes.remove(name);
        let spec = state.specs.remove(name);
        let successor = state.successors.remove(name);
        drop(state);
        if let Some(spec) = spec {
            Self::put_away(name, spec);
        }
        if let Some(successor) = successor
            && !self.add(successor)
        {
            log::warn!(component:% = name; "not started again: its group is being stopped");
        }
    }

    fn put_away(name: &ComponentName, spec: Arc<ChildSpec>) {
        if let Some(subtree) = &spec.subtree {
            subtree.cut();
        }
        if let Err(message) = guarded(|| spec.launcher.close()) {
            log::error!(component:% = name, message; "a message panicked when it was dropped");
        }
        // The spec holds a closure that is not ours.
        drop(guarded(move || drop(spec)));
    }

    /// Is there a hold on this incarnation?
    pub(super) fn held(&self) -> HashMap<ComponentName, Epoch> {
        let state = self.lock();
        state.leashes.iter().map(|(name, (epoch, _))| (name.clone(), *epoch)).collect()
    }

    /// Lets go of every child at once: each one ends as soon as it notices.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        let names: Vec<ComponentName> = state.specs.keys().cloned().collect();
        state.children.clear();
        let successors = std::mem::take(&mut state.successors);
        drop(state);
        drop(guarded(move || drop(successors)));
        for name in names {
            self.close(&name);
        }
    }

    /// Is there a child of this name?
    pub(super) fn has(&self, name: &ComponentName) -> bool {
        self.lock().specs.contains_key(name)
    }

    /// The children that are supervisors.
    pub(super) fn subtrees(&self) -> Vec<Arc<dyn Subtree>> {
        self.lock().specs.values().filter_map(|spec| spec.subtree.clone()).collect()
    }

    /// The children and theirs, in the order in which they were started.
    pub(super) fn views(&self) -> Vec<ChildView> {
        let state = self.lock();
        let views = state.children.entries().iter().map(|entry| {
            let mut view = entry.view();
            let subtree = state.specs.get(&view.name).and_then(|spec| spec.subtree.clone());
            // Locks are only ever taken from the root down.
            view.children = subtree.map_or_else(Vec::new, |subtree| subtree.views());
            view
        });
        views.collect()
    }

    /// Breaks a child. `false`: it does not run.
    #[cfg(feature = "chaos")]
    pub(super) fn inject(&self, inject: &crate::supervise::chaos::Inject) -> bool {
        let state = self.lock();
        let leash = state.leashes.get(&inject.component);
        leash.is_some_and(|(_, leash)| leash.order(Order::Break(inject.fault)))
    }

    /// Will be told when every child is stopped.
    pub(super) fn wait_for_stop(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if !state.children.is_stopped() {
            state.waiting.push(sender);
        }
        receiver
    }

    /// Tells whoever waits that every child is stopped.
    pub(super) fn tell_stopped(&self) {
        // Dropping the senders is telling.
        self.lock().waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A decision that panicked is a bug here, not in a component; the supervisor is restarted
        // over it, and `resume` looks at every child again, so nothing is lost by going on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChildSpec {
    fn kind(&self) -> ChildKind {
        if self.subtree.is_some() { ChildKind::Supervisor } else { ChildKind::Worker }
    }
}
