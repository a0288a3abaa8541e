//! What a child's supervisor may do when it ends.

use std::time::Duration;

use crate::supervise::backoff::Backoff;
use crate::supervise::intensity::Intensity;

/// After which ends a child is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// After every end; even if it stopped itself.
    #[default]
    Permanent,
    /// Unless it stopped itself.
    Transient,
    /// Never.
    Temporary,
}

/// What happens when a child was restarted more often than its intensity allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GiveUp {
    /// It alone is tried further, at the longest back-off, until it lives quietly again. Its
    /// restarts never count against its group.
    Park,
    /// Every child of the group is ended and started again: state shared among them may be the
    /// cause.
    #[default]
    RestartGroup,
    /// The supervisor above decides.
    Escalate,
}

/// The rules for one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// After which ends it is started again.
    pub restart: Restart,
    /// How long before.
    pub backoff: Backoff,
    /// How often is still fine.
    pub intensity: Intensity,
    /// And past that.
    pub give_up: GiveUp,
    /// How long it may take to end when told to, before it is abandoned. `None`: as long as it
    /// takes, as for supervisors, who end their own children first.
    pub grace: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            backoff: Backoff::default(),
            intensity: Intensity::default(),
            give_up: GiveUp::default(),
            grace: Some(Duration::from_secs(5)),
        }
    }
}
