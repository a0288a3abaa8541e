//! What a failover took: its timeline, and the figures that runs are compared by. Nobody asserts
//! them.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::failover::account::Account;
use crate::failover::moments::Moments;
use crate::failover::writers::{Outcome, Write};

/// Who waited for longer than this was held, or met a server that did not answer.
const NOTICED: Duration = Duration::from_millis(100);

/// The figures of one failover.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// From when the old master was one too many until the first write on the new one.
    pub(crate) lead: Option<Duration>,
    /// Writes lost since then.
    pub(crate) lost: usize,
    /// Writes whose connection failed.
    pub(crate) failed: usize,
    /// Writes that a server said no to.
    pub(crate) refused: usize,
    /// Writes that were done, but only after a while.
    pub(crate) held: usize,
    /// The longest of these.
    pub(crate) longest: Duration,
}

impl Account {
    /// Its figures.
    pub(crate) fn figures(&self) -> Figures {
        let waits = self.of(|outcome| matches!(outcome, Outcome::Acknowledged(_)));
        let waits = waits.map(|write| write.ended - write.sent).filter(|wait| *wait > NOTICED);
        let lead = self.acknowledged(self.new).min();
        Figures {
            lead: lead.map(|at| at.saturating_duration_since(self.counted_from)),
            lost: self.lost(self.old, self.counted_from),
            failed: self.of(|outcome| matches!(outcome, Outcome::Failed(_))).count(),
            refused: self.of(|outcome| matches!(outcome, Outcome::Refused(..))).count(),
            held: waits.clone().count(),
            longest: waits.max().unwrap_or_default(),
        }
    }

    /// What happened when, from the fault on.
    pub(crate) fn timeline(&self) -> Vec<(Duration, &'static str)> {
        let Moments { fault, dead, promoted, healed, marked, switched } = self.moments;
        let failed = || self.of(|outcome| matches!(outcome, Outcome::Failed(_)));
        let events = [
            (Some(fault), "the fault, or the command"),
            (dead, "the server is dead"),
            (self.acknowledged(self.old).max(), "the last write on the old master"),
            (promoted, "the new one says itself that it is master"),
            (healed, "the network is whole again"),
            (marked, "the log: the old leader is down, or leads no more"),
            (switched, "the log: the new one leads"),
            (self.acknowledged(self.new).min(), "the first write on the new master"),
            (failed().map(|write| write.ended).min(), "the first write that failed"),
            (failed().map(|write| write.ended).max(), "the last write that failed"),
        ];
        let mut events: Vec<_> = events
            .into_iter()
            .filter_map(|(at, what)| Some((at?.saturating_duration_since(fault), what)))
            .collect();
        events.sort();
        events
    }

    fn of(&self, is_it: impl Fn(&Outcome) -> bool + Clone) -> impl Iterator<Item = &Write> + Clone {
        self.writes.iter().filter(move |write| is_it(&write.outcome))
    }

    fn acknowledged(&self, by: u16) -> impl Iterator<Item = Instant> {
        self.of(move |outcome| *outcome == Outcome::Acknowledged(by)).map(|write| write.ended)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lead, lost, failed, refused, held, longest } = self;
        if let Some(lead) = lead {
            write!(f, "{:.3} s to the first write, ", lead.as_secs_f64())?;
        }
        write!(f, "{lost} lost, {failed} failed, {refused} refused, {held} held")?;
        write!(f, " for at most {:.2} s", longest.as_secs_f64())
    }
}
