//! How one incarnation of a component came to its end, and the report of it.

use std::fmt;

use actix::Message;

use crate::supervise::handle::ComponentName;

/// Numbers the incarnations of a component: 1 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// Why an incarnation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It stopped itself.
    Normal,
    /// It panicked, with this message; its state was thrown away.
    Panic(String),
    /// Its supervisor ended it: a restart somebody asked for, a restart of the group, a stop.
    Requested,
    /// It heard nothing for too long while its arbiter was well: stuck in a `ctx.wait`.
    Wedged,
    /// Its arbiter was stopped, hung or replaced under it.
    ArbiterLost,
    /// A supervisor that could not keep its children running, with the reason.
    GaveUp(String),
}

/// The report of an end, to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Down {
    /// Whose end.
    pub name: ComponentName,
    /// Of which incarnation; a report about any but the current one is old news.
    pub epoch: Epoch,
    /// Why.
    pub exit: Exit,
}

// === impl Epoch ===

impl Epoch {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

// === impl Exit ===

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped itself"),
            // A panic message may quote what a peer sent.
            Self::Panic(message) => write!(f, "panicked: {}", message.escape_debug()),
            Self::Requested => f.write_str("was ended on request"),
            Self::Wedged => f.write_str("was stuck"),
            Self::ArbiterLost => f.write_str("lost its arbiter"),
            Self::GaveUp(reason) => write!(f, "gave up: {}", reason.escape_debug()),
        }
    }
}
