//! The account of a failover: what became of every write, and what must be true of it.

use std::collections::BTreeSet;
use std::fmt;

use tokio::time::Instant;

use crate::failover::moments::Moments;
use crate::failover::writers::{Crossing, Outcome, Write};

/// What is known after a failover.
pub(crate) struct Account {
    /// What went wrong.
    pub(crate) title: String,
    /// The ports of the two servers.
    pub(crate) old: u16,
    pub(crate) new: u16,
    pub(crate) moments: Moments,
    /// Since when a write to the old master is one too many: from the promotion on; or, if the
    /// proxy could not know of it, from the healing on.
    pub(crate) counted_from: Instant,
    pub(crate) writes: Vec<Write>,
    pub(crate) crossing: Option<Crossing>,
    /// What the server has that is left as master.
    pub(crate) kept: BTreeSet<String>,
}

impl Account {
    /// Writes that the server at this port acknowledged, and that are in force nowhere.
    pub(crate) fn lost(&self, by: u16, since: Instant) -> usize {
        let is_lost = |write: &&Write| {
            write.outcome == Outcome::Acknowledged(by)
                && write.ended >= since
                && !self.kept.contains(&write.name)
        };
        self.writes.iter().filter(is_lost).count()
    }

    /// What must be true of every failover, however long anything took. At most `bound` writes that
    /// the old master acknowledged when it was one no more may be lost.
    #[track_caller]
    pub(crate) fn check(&self, bound: usize) {
        self.check_nobody_writes_to_the_old();
        self.check_nobody_fails_under_hold();
        let lost = self.lost(self.old, self.counted_from);
        assert!(lost <= bound, "{lost} writes lost, at most {bound} may be: {self}");
        assert_eq!(self.lost(self.new, self.moments.fault), 0, "a promoted server forgets: {self}");
    }

    /// The same where the leader stays: nobody notices anything.
    #[track_caller]
    pub(crate) fn check_nothing_happened(&self) {
        let well = |write: &&Write| write.outcome == Outcome::Acknowledged(self.old);
        let others: Vec<&Write> = self.writes.iter().filter(|write| !well(write)).collect();
        assert!(others.is_empty(), "not written to the leader: {others:#?} {self}");
        assert_eq!(self.lost(self.old, self.moments.fault), 0, "the leader forgets: {self}");
        assert_eq!(self.moments.marked, None, "the leader was given up: {self}");
    }

    #[track_caller]
    fn check_nobody_writes_to_the_old(&self) {
        let switched = self.moments.switched.expect("the new server leads");
        let answered = |write: &&Write| match &write.outcome {
            Outcome::Acknowledged(by) | Outcome::Refused(by, _) => *by == self.old,
            Outcome::Failed(_) => false,
        };
        let late = self.writes.iter().filter(|write| write.sent > switched);
        let late: Vec<&Write> = late.filter(answered).collect();
        assert!(late.is_empty(), "sent after the switch, answered by the old: {late:#?} {self}");
        let crossing = self.crossing.as_ref().expect("the new server has answered");
        assert!(crossing.alive.is_empty(), "sessions to the old one live: {crossing:?} {self}");
        // A check of the old one may be under way.
        assert!(crossing.connected <= 1, "connections to the old one live: {crossing:?} {self}");
    }

    #[track_caller]
    fn check_nobody_fails_under_hold(&self) {
        // The old leader was marked down; or, if it died, from then on, as every dial is refused.
        let since = self.moments.dead.or(self.moments.marked).expect("the old leader was marked");
        let failed = |write: &&Write| matches!(write.outcome, Outcome::Failed(_));
        let late = self.writes.iter().filter(|write| write.opened > since);
        let late: Vec<&Write> = late.filter(failed).collect();
        assert!(late.is_empty(), "opened later, and failed: {late:#?} {self}");
        let by_new =
            |write: &&Write| matches!(write.outcome, Outcome::Refused(by, _) if by == self.new);
        let refused: Vec<&Write> = self.writes.iter().filter(by_new).collect();
        assert!(refused.is_empty(), "led to a replica: {refused:#?} {self}");
    }
}

impl fmt::Display for Account {
    /// In one line, times from the fault on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.figures())?;
        for (at, what) in self.timeline() {
            write!(f, "; {:.3} s {what}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
