//! The meter: live byte counts of one relay, written by it and read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes relayed so far, each way.
#[derive(Debug, Default)]
pub struct Meter {
    /// What the target has been given.
    pub to_target: Counter,
    /// What the client has been given.
    pub to_client: Counter,
}

/// A count with one writer and any readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to it. With its one writer this needs no locked instruction.
    pub(super) fn add(&self, bytes: usize) {
        self.0.store(self.get() + bytes as u64, Ordering::Relaxed);
    }
}
