//! What a supervisor says of its children, to people and to the supervisor above.

use actix::Message;
use tokio::time::Instant;

use crate::supervise::exit::Exit;
use crate::supervise::handle::ComponentName;
use crate::supervise::slot::SlotId;

/// One child, and its own children if it is a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildView {
    /// Its name.
    pub name: ComponentName,
    /// What it is.
    pub kind: ChildKind,
    /// How it is.
    pub state: ChildState,
    /// Since when it is in that state.
    pub since: Instant,
    /// How often it was started again after a failure or on request, ever.
    pub restarts: u64,
    /// How it ended the last time, if ever.
    pub last_exit: Option<Exit>,
    /// It failed more often than its intensity allows, and has not yet lived quietly again.
    pub gave_up: bool,
    /// Its arbiter.
    pub slot: SlotId,
    /// Its own children, in the order they were started.
    pub children: Vec<Self>,
}

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// It does something.
    Worker,
    /// It has children of its own.
    Supervisor,
}

/// How a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// Running.
    Running,
    /// Told to end, and not yet gone.
    Ending,
    /// Waiting to be started again at this moment.
    BackingOff(Instant),
    /// Given up; tried again at this moment, and then at the longest back-off.
    Parked(Instant),
    /// Waiting for its arbiter, or for its siblings to end.
    Waiting,
}

/// The report of a supervisor that it cannot keep its children running: to the supervisor above
/// it, or from the root to whoever ends the process.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct GaveUp {
    /// The supervisor.
    pub name: ComponentName,
    /// Which child, and why.
    pub reason: String,
}
