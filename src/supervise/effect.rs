//! What a supervisor decided: things to do, and what to say about them. Pure.

use std::fmt;
use std::time::Duration;

use crate::supervise::exit::{Epoch, Exit};
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::Tally;

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start this incarnation.
    Start { name: ComponentName, epoch: Epoch },
    /// End the one that runs.
    End { name: ComponentName, how: Ending },
    /// It is gone for good: close its mailbox.
    Close { name: ComponentName },
    /// Say what happened, and what was decided.
    Report { name: ComponentName, exit: Exit, decision: Decision },
    /// Tell the supervisor above.
    GiveUp { reason: String },
    /// Every child has ended after `stop_all`.
    AllStopped,
}

/// What an end is for; it matters if the child is a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It starts again; its own children live on.
    Restart,
    /// It starts again, and with it its own children.
    Renew,
    /// It does not start again: its own children end first.
    Last,
}

/// What was decided about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Restart(Duration, Tally),
    Park(Duration, Tally),
    RestartGroup(Tally),
    Escalate(Tally),
    /// It starts on its slot's new arbiter.
    Move,
    /// Nothing: the end was asked for.
    Expected,
    /// It never confirmed its end, and is thought to be gone.
    Abandon,
    /// It is not to be restarted.
    Forget,
}

// === impl Effect ===

impl Effect {
    /// Would doing it start this incarnation?
    pub(super) fn starts(&self, child: &ComponentName, incarnation: Epoch) -> bool {
        matches!(self, Self::Start { name, epoch } if name == child && *epoch == incarnation)
    }
}

impl Decision {
    /// How loudly to speak of it, if the exit itself is nothing special.
    pub(super) fn level(self) -> log::Level {
        match self {
            Self::Park(..) | Self::RestartGroup(_) | Self::Escalate(_) => log::Level::Error,
            Self::Restart(..) | Self::Abandon => log::Level::Warn,
            Self::Move | Self::Expected | Self::Forget => log::Level::Info,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = Duration::as_millis;
        match self {
            Self::Restart(after, tally) => write!(f, "restart in {} ms, {tally}", ms(after)),
            Self::Park(after, tally) => write!(
                f,
                "given up, tried again every {} ms until it lives quietly, {tally}",
                ms(after)
            ),
            Self::RestartGroup(tally) => write!(f, "restart the whole group, {tally}"),
            Self::Escalate(tally) => write!(f, "give up to the supervisor above, {tally}"),
            Self::Move => f.write_str("start on the slot's new arbiter"),
            Self::Expected => f.write_str("as asked"),
            Self::Abandon => f.write_str("it never answered: leave it alone and go on without it"),
            Self::Forget => f.write_str("not to be restarted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::intensity::Intensity;

    #[test]
    fn a_decision_says_when_it_goes_on_and_how_much_more_is_allowed() {
        let tally = Tally { count: 3, intensity: Intensity::default() };
        let restart = Decision::Restart(Duration::from_millis(41), tally);
        assert_eq!(restart.to_string(), "restart in 41 ms, 3 of 10 restarts in 1m");
    }
}
