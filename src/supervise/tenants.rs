//! Who lives on an arbiter: what has to have ended before one that was replaced may be stopped.
//!
//! Actors in their cells are counted by the cells, detached tasks by `spawn` here. What is spawned
//! past it is dropped when its arbiter is replaced and everybody else has left.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;

thread_local! {
    /// Those of this thread, if it is an arbiter's in a slot.
    static HERE: RefCell<Option<Arc<Tenants>>> = const { RefCell::new(None) };
}

/// How many tasks live on one arbiter.
#[derive(Debug, Default)]
pub(super) struct Tenants(AtomicUsize);

/// One of them, while it lives.
#[derive(Debug)]
pub(super) struct Tenancy(Option<Arc<Tenants>>);

/// Runs a detached task on the arbiter of this thread. It outlives whoever started it, and keeps
/// the arbiter alive if that is replaced meanwhile.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let tenancy = Tenancy::begin();
    // Not by an async block: that would have room for the task twice.
    actix_rt::spawn(task.map(move |()| drop(tenancy)));
}

// === impl Tenants ===

impl Tenants {
    /// From now on, they are those of this thread.
    pub(super) fn move_in(self: Arc<Self>) {
        HERE.set(Some(self));
    }

    /// Has everybody left?
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

// === impl Tenancy ===

impl Tenancy {
    /// One more on this thread's arbiter.
    pub(super) fn begin() -> Self {
        let here = HERE.with_borrow(Clone::clone);
        if let Some(tenants) = &here {
            tenants.0.fetch_add(1, Ordering::AcqRel);
        }
        Self(here)
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        if let Some(tenants) = &self.0 {
            tenants.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
