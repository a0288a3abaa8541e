//! The snapshot: what is known of every checked service at one moment, immutable and numbered.
//!
//! Only the health supervisor publishes one. Whoever routes reads the newest through a
//! `SnapshotCell`, in nanoseconds and without a lock, and never waits for a check.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::names::{ServiceName, TargetKey};

/// Where the newest snapshot is found.
pub type SnapshotCell = Arc<ArcSwap<Snapshot>>;

/// What is known of every checked service.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Grows by one with each that is published; 0 is the empty one.
    pub number: u64,
    /// The services that have checks.
    pub services: HashMap<ServiceName, Arc<ServiceHealth>>,
}

/// What is known of one service's targets.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ServiceHealth {
    /// Every target of the pool; one that has no check counts as up.
    pub targets: HashMap<TargetKey, Health>,
    /// Who leads, where at most one may.
    pub leadership: Leadership,
    /// Some target has not had its first verdict yet: new connections wait for it.
    pub awaiting_first: bool,
}

/// The health of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not yet passed and not yet failed: gets no traffic.
    #[default]
    Unknown,
    /// Passing.
    Up,
    /// Failing.
    Down,
}

/// Who leads a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// The service is balanced over all that are up.
    #[default]
    NotLed,
    /// It is led, and nobody leads now: nobody gets traffic.
    Nobody,
    /// This one gets all traffic.
    Leader(TargetKey),
}

// === impl ServiceHealth ===

impl ServiceHealth {
    /// May this target get a new connection?
    ///
    /// One that is not known here is not: it is new, and its first check is still to come.
    pub fn is_eligible(&self, target: &TargetKey) -> bool {
        match &self.leadership {
            Leadership::NotLed => self.targets.get(target) == Some(&Health::Up),
            Leadership::Nobody => false,
            Leadership::Leader(leader) => leader == target,
        }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
