//! Rise and fall: what a row of verdicts makes of a target's health. Pure.
//!
//! Only verdicts in a row count. Where SERVICE is silent:
//!
//! - The first verdict counts at once, whichever it is: a failure makes *unknown* *down* (which
//!   changes nothing for traffic, and shows that the target has been asked).
//! - As long as a target has not passed once, the first pass brings it up at once, also from down.
//! - After a change of its script the old health stands until the new script has spoken: its first
//!   pass brings the target up at once; its failures count as ever.

use std::time::Duration;

use crate::config::thresholds::Thresholds;
use crate::health::fault::FaultKind;
use crate::health::snapshot::Health;
use crate::health::verdict::Verdict;

/// What the verdicts so far make of one check of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    health: Health,
    /// Its script has passed at least once: from then on `rise` counts.
    tried: bool,
    passes: u32,
    failures: u32,
    refused: u32,
    rejected: u32,
}

impl Standing {
    /// What is known while a new script has not spoken yet: what was known before.
    pub fn inherited(health: Health) -> Self {
        Self { health, ..Self::default() }
    }

    /// What it is now.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Passes in a row up to now.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Failures in a row up to now.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A verdict is in. Trouble of our own changes nothing.
    pub fn saw(&mut self, verdict: &Verdict, thresholds: &Thresholds) {
        match verdict {
            Verdict::CouldNotRun(_) => {}
            Verdict::Passed => self.passed(thresholds),
            Verdict::Failed(fault) => self.failed(&fault.kind, thresholds),
        }
    }

    /// Something has been seen that another verdict or two would make a change: look closely.
    pub fn is_changing(&self) -> bool {
        match self.health {
            Health::Unknown => true,
            Health::Up => self.failures > 0,
            Health::Down => self.passes > 0,
        }
    }

    /// How long until the next check, before jitter.
    pub fn pace(&self, thresholds: &Thresholds) -> Duration {
        if self.is_changing() {
            return thresholds.fast_interval;
        }
        match self.health {
            Health::Unknown | Health::Up => thresholds.interval,
            Health::Down => thresholds.down_interval,
        }
    }

    fn passed(&mut self, thresholds: &Thresholds) {
        self.passes = self.passes.saturating_add(1);
        (self.failures, self.refused, self.rejected) = (0, 0, 0);
        if !self.tried || self.passes >= thresholds.rise {
            self.health = Health::Up;
        }
        self.tried = true;
    }

    fn failed(&mut self, kind: &FaultKind, thresholds: &Thresholds) {
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        let refused = matches!(kind, FaultKind::Refused);
        let rejected = matches!(kind, FaultKind::Rejected | FaultKind::Contradicted);
        self.refused = if refused { self.refused.saturating_add(1) } else { 0 };
        self.rejected = if rejected { self.rejected.saturating_add(1) } else { 0 };
        if self.health == Health::Unknown
            || self.failures >= thresholds.fall
            || (refused && self.refused >= thresholds.fall_refused)
            || (rejected && self.rejected >= thresholds.fall_rejected)
        {
            self.health = Health::Down;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::fault::Fault;
    use crate::health::verdict::OwnTrouble;

    fn thresholds() -> Thresholds {
        Thresholds { rise: 2, fall: 3, fall_refused: 2, fall_rejected: 1, ..Thresholds::default() }
    }

    /// `+` passed, `t` timed out, `r` refused, `x` rejected, `c` contradicted, `o` our own trouble.
    fn verdict(letter: char) -> Verdict {
        let failed = |kind| Verdict::Failed(Fault::unstepped(kind));
        match letter {
            '+' => Verdict::Passed,
            't' => failed(FaultKind::TimedOut),
            'r' => failed(FaultKind::Refused),
            'x' => failed(FaultKind::Rejected),
            'c' => failed(FaultKind::Contradicted),
            'o' => Verdict::CouldNotRun(OwnTrouble::Descriptors),
            other => panic!("no verdict is called {other}"),
        }
    }

    fn walk(mut standing: Standing, verdicts: &str) -> String {
        let shown = verdicts.chars().map(|letter| {
            standing.saw(&verdict(letter), &thresholds());
            match standing.health() {
                Health::Unknown => '?',
                Health::Up => 'U',
                Health::Down => 'D',
            }
        });
        shown.collect()
    }

    fn check(verdicts: &str, healths: &str) {
        assert_eq!(walk(Standing::default(), verdicts), healths, "after {verdicts}");
    }

    #[test]
    fn the_first_verdict_counts_at_once() {
        check("+", "U");
        check("t", "D");
        check("r", "D");
    }

    #[test]
    fn a_target_that_never_passed_comes_up_with_its_first_pass() {
        check("ttt+", "DDDU");
        check("tot+", "DDDU");
    }

    #[test]
    fn only_failures_in_a_row_take_it_down() {
        check("+tt+tt+ttt", "UUUUUUUUUD");
    }

    #[test]
    fn only_passes_in_a_row_bring_it_up_again() {
        check("+ttt+t+t++", "UUUDDDDDDU");
    }

    #[test]
    fn refused_connections_have_a_count_of_their_own() {
        check("+rr", "UUD");
        check("+trr", "UUUD");
        check("+r+r", "UUUU");
        let patient = Thresholds { fall: 9, ..thresholds() };
        let mut standing = Standing::default();
        for (letter, expected) in "+rtrtxrr".chars().zip("UUUUUDDD".chars()) {
            standing.saw(&verdict(letter), &patient);
            let up = standing.health() == Health::Up;
            assert_eq!(up, expected == 'U', "only refusals in a row are counted together");
        }
    }

    #[test]
    fn a_contradiction_has_a_count_of_its_own() {
        check("+x", "UD");
        check("+c", "UD");
    }

    #[test]
    fn trouble_of_our_own_changes_nothing() {
        check("oo", "??");
        check("+oooo", "UUUUU");
        check("+ttot", "UUUUD");
        check("+ttt+o+", "UUUDDDU");
    }

    #[test]
    fn the_old_health_stands_until_the_new_script_has_spoken() {
        assert_eq!(walk(Standing::inherited(Health::Up), "ott+"), "UUUU");
        assert_eq!(walk(Standing::inherited(Health::Up), "x"), "D");
        assert_eq!(walk(Standing::inherited(Health::Down), "o+"), "DU");
    }

    #[test]
    fn it_is_asked_faster_while_its_state_is_changing() {
        let thresholds = Thresholds { down_interval: Duration::from_secs(5), ..thresholds() };
        for (verdicts, expected) in [
            ("", thresholds.fast_interval),
            ("+", thresholds.interval),
            ("+t", thresholds.fast_interval),
            ("+ttt", thresholds.down_interval),
            ("+ttt+", thresholds.fast_interval),
            ("+ttt++", thresholds.interval),
        ] {
            let mut standing = Standing::default();
            for letter in verdicts.chars() {
                standing.saw(&verdict(letter), &thresholds);
            }
            assert_eq!(standing.pace(&thresholds), expected, "after {verdicts:?}");
        }
    }
}
