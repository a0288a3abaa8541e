//! What became of the clients' writes: which were acknowledged, which of those are lost, and what
//! the clients met. Pure.
//!
//! A write is lost if it was acknowledged and the server that is the master afterwards does not
//! have it. Nothing else decides that; the rest of this file says when it was taken.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cli::demo::pair::Landed;
use crate::cli::demo::side::Side;
use crate::cli::demo::story::Kind;

/// Why a client had to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection ended before the answer.
    Cut,
    /// The answer was an error: the server is a replica.
    Refused,
    /// There was no connection to be had.
    Unreachable,
    /// No answer for so long that the client gave the write up.
    GivenUp,
}

/// How often each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Connections that ended before the answer.
    pub cut: u64,
    /// Error answers.
    pub refused: u64,
    /// Connections that could not be had.
    pub unreachable: u64,
    /// Writes that were given up.
    pub given_up: u64,
}

/// How many writes were lost, by when they were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Before there was another master: nothing in front of the servers could have known better.
    pub before: usize,
    /// With the other one promoted, until its first write: before the next check, that is.
    pub until: usize,
    /// After the first write on the new master. The proxy promises that this does not happen.
    pub after: usize,
}

/// What a failover was, as the servers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// Counts from 1.
    pub number: usize,
    /// Which.
    pub kind: Kind,
    /// The master before.
    pub old: Side,
    /// The stamp of the last write before the other one was a master.
    pub promoted: u64,
    /// From then to its first write.
    pub first_write: Option<Duration>,
    /// How long both called themselves master.
    pub two_masters: Duration,
    /// Did the proxy lead to the new master, and to nobody else, in the end?
    pub settled: bool,
}

/// A failover and what it meant for the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub failover: Failover,
    /// Writes acknowledged meanwhile.
    pub acknowledged: usize,
    /// Writes that each server took meanwhile.
    pub landed: [usize; 2],
    /// Acknowledged writes that are gone.
    pub lost: Lost,
    /// What clients met, and tried again after.
    pub troubles: Troubles,
    /// The longest that one write took, with all its tries.
    pub longest: Duration,
    /// What the proxy says of it itself, with the servers named as here.
    pub proxy_says: Option<String>,
}

/// The accounts of a whole demo.
#[derive(Debug, Default)]
pub struct Tally {
    /// Acknowledged, and there when it was last looked at, or not looked at yet.
    kept: BTreeSet<u64>,
    lost: usize,
    /// Since the last report.
    acknowledged: usize,
    troubles: Troubles,
    longest: Duration,
}

// === impl Tally ===

impl Tally {
    /// A write was acknowledged, this long after its first try.
    pub fn acknowledged(&mut self, number: u64, took: Duration) {
        self.kept.insert(number);
        self.acknowledged += 1;
        self.longest = self.longest.max(took);
    }

    /// A client met this.
    pub fn met(&mut self, trouble: Trouble) {
        let count = match trouble {
            Trouble::Cut => &mut self.troubles.cut,
            Trouble::Refused => &mut self.troubles.refused,
            Trouble::Unreachable => &mut self.troubles.unreachable,
            Trouble::GivenUp => &mut self.troubles.given_up,
        };
        *count += 1;
    }

    /// A write has been on its way for so long, and still is.
    pub fn waits(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// Every write acknowledged up to now.
    pub fn total(&self) -> usize {
        self.kept.len() + self.lost
    }

    /// What clients have met since the last report.
    pub fn troubles(&self) -> Troubles {
        self.troubles
    }

    /// Looks at every write that was ever acknowledged, says what is not there any more, and
    /// begins a new account. `has`: does the master have it now?
    pub fn close(
        &mut self,
        failover: Failover,
        landed: &[Landed],
        has: impl Fn(u64) -> bool,
    ) -> Report {
        let gone: BTreeSet<u64> = self.kept.iter().copied().filter(|it| !has(*it)).collect();
        self.kept.retain(|number| !gone.contains(number));
        self.lost += gone.len();
        let on = |side| landed.iter().filter(|it| it.side == side).count();
        let report = Report {
            lost: lost(&gone, landed, &failover),
            acknowledged: self.acknowledged,
            landed: Side::BOTH.map(on),
            troubles: self.troubles,
            longest: self.longest,
            proxy_says: None,
            failover,
        };
        let Self { kept, lost, .. } = std::mem::take(self);
        *self = Self { kept, lost, ..Self::default() };
        report
    }
}

fn lost(gone: &BTreeSet<u64>, landed: &[Landed], failover: &Failover) -> Lost {
    let new = failover.old.other();
    let first = landed.iter().find(|it| it.side == new && it.stamp > failover.promoted);
    let mut lost = Lost::default();
    for number in gone {
        // The last try is the one that was acknowledged. A write that nobody is known to have
        // taken meanwhile was taken long ago, and is not to be gone at all.
        let taken = landed.iter().rev().find(|it| it.number == *number);
        let count = match (taken, first) {
            (None, _) => &mut lost.after,
            (Some(taken), _) if taken.stamp <= failover.promoted => &mut lost.before,
            (Some(taken), Some(first)) if taken.stamp > first.stamp => &mut lost.after,
            (Some(_), _) => &mut lost.until,
        };
        *count += 1;
    }
    lost
}

// === impl Report ===

impl Report {
    /// Was it as the proxy promises? What no proxy can prevent is no breach; nor is how long
    /// anything took, which is shown and left to the reader.
    pub fn is_kept(&self) -> bool {
        self.failover.settled && self.lost.after == 0 && self.troubles.given_up == 0
    }
}

// === impl Lost ===

impl Lost {
    /// All of them.
    pub fn total(self) -> usize {
        self.before + self.until + self.after
    }
}

// === impl Troubles ===

impl Troubles {
    /// All that a client tried again after.
    pub fn retried(self) -> u64 {
        self.cut + self.refused + self.unreachable
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            cut: self.cut + other.cut,
            refused: self.refused + other.refused,
            unreachable: self.unreachable + other.unreachable,
            given_up: self.given_up + other.given_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::cli::demo::side::Side::{A, B};

    fn failover(promoted: u64) -> Failover {
        Failover {
            number: 1,
            kind: Kind::Parted,
            old: A,
            promoted,
            first_write: None,
            two_masters: Duration::ZERO,
            settled: true,
        }
    }

    /// Writes in the order in which they were taken; what the new master has in the end; the lost
    /// ones before the promotion, until the switch, and after it.
    fn check(landed: &[(u64, Side)], promoted: u64, has: &[u64], expected: [usize; 3]) -> Report {
        let mut tally = Tally::default();
        let landed: Vec<Landed> = (1..)
            .zip(landed)
            .map(|(stamp, (number, side))| Landed {
                number: *number,
                side: *side,
                stamp,
                at: Instant::now(),
            })
            .collect();
        landed.iter().for_each(|it| tally.acknowledged(it.number, Duration::ZERO));
        let report = tally.close(failover(promoted), &landed, |number| has.contains(&number));
        let Lost { before, until, after } = report.lost;
        assert_eq!([before, until, after], expected, "{report:?}");
        assert_eq!(report.lost.total(), tally.lost);
        report
    }

    #[test]
    fn what_the_new_master_has_is_not_lost_wherever_it_was_taken() {
        let report = check(&[(1, A), (2, A), (3, B)], 2, &[1, 2, 3], [0, 0, 0]);
        assert!(report.is_kept());
        assert_eq!((report.acknowledged, report.landed), (3, [2, 1]));
    }

    #[test]
    fn lost_writes_are_told_apart_by_when_they_were_taken() {
        let writes = [(1, A), (2, A), (3, A), (4, B)];
        assert!(check(&writes, 1, &[1, 4], [0, 2, 0]).is_kept());
        assert!(check(&writes, 2, &[4], [2, 1, 0]).is_kept());
        // One more on the old master, after the first on the new one.
        let writes = [(1, A), (2, B), (3, A)];
        assert!(!check(&writes, 1, &[1, 2], [0, 0, 1]).is_kept());
    }

    #[test]
    fn a_write_tried_twice_counts_where_it_was_tried_last() {
        // Taken by the old master, cut off before the answer, and taken by the new one.
        check(&[(1, A), (1, B)], 0, &[1], [0, 0, 0]);
    }

    #[test]
    fn a_write_that_was_there_and_vanishes_later_is_never_excused() {
        let mut tally = Tally::default();
        tally.acknowledged(7, Duration::from_millis(3));
        let landed = [Landed { number: 7, side: A, stamp: 1, at: Instant::now() }];
        assert_eq!(tally.close(failover(1), &landed, |_| true).lost.total(), 0);
        let report = tally.close(failover(1), &[], |_| false);
        assert_eq!(report.lost, Lost { before: 0, until: 0, after: 1 });
        assert_eq!((tally.total(), report.acknowledged), (1, 0));
    }

    #[test]
    fn a_report_begins_a_new_account() {
        let mut tally = Tally::default();
        tally.acknowledged(1, Duration::from_secs(2));
        tally.met(Trouble::Cut);
        tally.met(Trouble::GivenUp);
        let report = tally.close(failover(0), &[], |_| true);
        assert_eq!((report.troubles.cut, report.troubles.given_up), (1, 1));
        assert_eq!(report.longest, Duration::from_secs(2));
        assert!(!report.is_kept());
        let next = tally.close(failover(0), &[], |_| true);
        assert!(next.is_kept());
        assert_eq!((next.longest, next.troubles), (Duration::ZERO, Troubles::default()));
        assert_eq!(tally.total(), 1);
    }
}
