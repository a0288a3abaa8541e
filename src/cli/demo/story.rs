//! The failovers: what happens in each, when, and in which words. Pure.

use std::time::Duration;

use crate::cli::demo::pair::Act;
use crate::cli::demo::side::Side;

/// A kind of failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An operator has the two change places.
    Planned,
    /// The master's process dies, and is started again without its data.
    Killed,
    /// The master hangs, and wakes up later.
    Frozen,
    /// Master and replica do not hear each other; everybody else hears both.
    Parted,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, as a share of the time between two failovers.
    pub at: f64,
    /// What.
    pub act: Act,
    /// The same for people.
    pub says: String,
}

// === impl Kind ===

impl Kind {
    /// One of each, and then again.
    pub fn nth(index: usize) -> Self {
        [Self::Planned, Self::Killed, Self::Frozen, Self::Parted][index % 4]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned swap",
            Self::Killed => "master killed",
            Self::Frozen => "master frozen",
            Self::Parted => "master cut off",
        }
    }

    /// What happens, from the master `old` to its replica.
    pub fn steps(self, old: Side) -> Vec<Step> {
        let new = old.other();
        let step = |at, act, says: String| Step { at, act, says };
        let promote =
            |at, says: &str| step(at, Act::Promote(new), format!("{new} is promoted{says}"));
        let demote = |at, says: &str| {
            let says = format!("{says}{old} is made {new}'s replica and forgets what {new} lacks");
            step(at, Act::Demote(old), says)
        };
        match self {
            Self::Planned => {
                let says = format!("an operator swaps {old} and {new}, both at one instant");
                vec![step(0.0, Act::Swap, says)]
            }
            Self::Killed => vec![
                step(
                    0.0,
                    Act::Kill(old),
                    format!("{old} is killed: connections reset, port closed, no master left"),
                ),
                promote(0.14, ""),
                step(
                    0.30,
                    Act::Restart(old),
                    format!("{old} is back, empty, and says role:master: there are two now"),
                ),
                demote(0.62, ""),
            ],
            Self::Frozen => vec![
                step(
                    0.0,
                    Act::Freeze(old),
                    format!("{old} hangs: it accepts, and answers nothing"),
                ),
                promote(0.16, ""),
                step(
                    0.34,
                    Act::Thaw(old),
                    format!("{old} wakes up and still says role:master: there are two now"),
                ),
                demote(0.66, ""),
            ],
            Self::Parted => vec![
                step(
                    0.0,
                    Act::Cut,
                    format!("the network between {old} and {new} fails; clients still reach both"),
                ),
                promote(0.06, ": two masters, and both take writes"),
                demote(0.60, "the network heals: "),
            ],
        }
    }
}

/// When a step is due, at a failover every so often.
pub fn due(step: &Step, every: Duration) -> Duration {
    every.mul_f64(step.at)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::cli::demo::pair::{Condition, Pair};

    #[test]
    fn each_ends_with_the_other_one_as_the_only_master_and_time_to_spare() {
        for old in Side::BOTH {
            for kind in (0..4).map(Kind::nth) {
                let mut pair = Pair::new(
                    ["127.0.0.1:1", "127.0.0.1:2"].map(|it| it.parse().unwrap()),
                    Instant::now(),
                );
                if old == Side::B {
                    pair.perform(Act::Swap, Instant::now());
                }
                let steps = kind.steps(old);
                assert!(steps.is_sorted_by(|one, next| one.at < next.at));
                assert!(steps.iter().all(|step| step.at < 0.7), "{steps:?}");
                for step in &steps {
                    pair.perform(step.act, Instant::now());
                }
                assert!(pair.is_master(old.other()) && !pair.is_master(old), "{kind:?}");
                assert_eq!(pair.condition(old), Condition::Running);
            }
        }
    }
}
