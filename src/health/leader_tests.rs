//! Every row of the tables in SERVICE ("The leader"), and the failovers that the rule was measured
//! over, as words in a row.
//!
//! A word is a target's letter and what its run found: `+` it passed, `-` it contradicted at the
//! deciding step, `x` refused or reset, `.` silence (a timeout, an error reply, an early failure).
//! Targets rise with one pass and fall with three failures, one refusal or one contradiction.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::{TargetAddress, TargetKey};
use crate::config::thresholds::Thresholds;
use crate::health::fault::{Fault, FaultKind, FaultStep};
use crate::health::leader::{Alarm, Change, LeaderRule, Ruling, Said, Why};
use crate::health::snapshot::Health;
use crate::health::state::Standing;
use crate::health::verdict::Verdict;

/// Between two words.
const STEP: Duration = Duration::from_millis(125);

pub(crate) fn key(name: char) -> TargetKey {
    let host = name.to_string().into();
    TargetKey::of(&TargetAddress::Name { host, port: 1 })
}

fn name(key: &TargetKey) -> char {
    key.as_str().chars().next().unwrap()
}

/// What a run found, by its letter.
pub(crate) fn verdict(letter: char) -> Verdict {
    let (kind, deciding) = match letter {
        '+' => return Verdict::Passed,
        '-' => (FaultKind::Contradicted, true),
        'x' => (FaultKind::Refused, false),
        '.' => (FaultKind::TimedOut, true),
        other => panic!("no run is called {other}"),
    };
    let step = FaultStep { index: 3, command: "expect \"role:master\"".into(), deciding };
    Verdict::Failed(Fault { step: Some(step), kind, heard: String::new() })
}

/// The rule, with targets that rise and fall.
pub(crate) struct Play {
    pub(crate) rule: LeaderRule,
    pub(crate) standings: BTreeMap<char, Standing>,
    pub(crate) now: Instant,
}

impl Play {
    pub(crate) fn of(targets: &str) -> Self {
        Self {
            rule: LeaderRule::starting(targets.chars().map(key), 2),
            standings: targets.chars().map(|name| (name, Standing::default())).collect(),
            now: Instant::now(),
        }
    }

    /// The process is started anew, over these targets, with what this one kept.
    pub(crate) fn restarted(&self, targets: &str) -> Self {
        let mut next = Self { now: self.now, ..Self::of(targets) };
        next.rule.remember(&self.rule.remembered().unwrap());
        next
    }

    /// One word.
    pub(crate) fn says(&mut self, target: char, letter: char) -> Ruling {
        let thresholds = Thresholds { rise: 1, fall: 3, fall_refused: 1, ..Thresholds::default() };
        let standing = self.standings.get_mut(&target).unwrap();
        standing.saw(&verdict(letter), &thresholds);
        self.now += STEP;
        let up = standing.health() == Health::Up;
        self.rule.heard(&key(target), verdict(letter).word(), up, self.now)
    }

    pub(crate) fn leader(&self) -> char {
        self.rule.leader().map_or('-', name)
    }

    /// Words, and who leads after each.
    pub(crate) fn then(mut self, words: &str, leaders: &str) -> Self {
        let mut led = String::new();
        for word in words.split_whitespace() {
            let mut letters = word.chars();
            self.says(letters.next().unwrap(), letters.next().unwrap());
            led.push(self.leader());
        }
        let expected: String = leaders.split_whitespace().collect();
        assert_eq!(led, expected, "after {words}");
        self
    }
}

/// A master `a` that leads, and its replica `b`.
pub(crate) fn master_and_replica() -> Play {
    Play::of("ab").then("a+ b- a+ b-", "- a a a")
}

// === at a pass ===

#[test]
fn who_was_promoted_takes_over_at_once_also_from_an_incumbent_that_passes() {
    let mut play = master_and_replica();
    let ruling = play.says('b', '+');
    let change = Change { from: Some(key('a')), to: Some(key('b')), why: Why::Promoted };
    assert_eq!(ruling, Ruling { change: Some(change), alarm: None });
    play.then("a+ b+ a+", "b b b");
}

#[test]
fn whose_last_word_was_leader_waits_while_the_incumbent_passes() {
    let mut play = Play::of("ab").then("a+ b-", "- a").then("b+ a+", "b b");
    assert_eq!(play.rule.said(&key('a')), Some(Said::Leader));
    play = play.then("a. a. a. a+ b+ a+", "b b b b b b");
    assert_eq!(play.rule.said(&key('a')), Some(Said::Leader));
}

#[test]
fn who_was_never_heard_waits_while_the_incumbent_passes() {
    let mut play = Play::of("ab").then("a+ b.", "- a");
    assert_eq!(play.says('b', '+').alarm, Some(Alarm::Waiting(key('b'))));
    assert_eq!(play.says('b', '+').alarm, None, "it is told once");
    play.then("a+ b+", "a a");
}

#[test]
fn whose_memory_was_wiped_waits_while_the_incumbent_passes() {
    let play = master_and_replica().then("bx b+ a+ b+", "a a a a");
    assert_eq!(play.rule.said(&key('b')), Some(Said::Leader));
}

#[test]
fn silence_keeps_what_was_last_said() {
    master_and_replica().then("b. b. b. b. a+ b+", "a a a a a b");
}

#[test]
fn the_incumbent_leads_on_within_its_fall_allowance() {
    let play = Play::of("ab").then("a+ b.", "- a").then("b+ a. a. a+ b+", "a a a a a");
    play.then("a. a. a.", "a a b");
}

// === who leads ===

#[test]
fn at_the_start_nobody_leads_until_everybody_has_been_heard() {
    Play::of("abc").then("a+ a+ b- b- c.", "- - - - a");
    let mut play = Play::of("abc").then("a+ b-", "- -");
    assert_eq!(play.rule.first_probe_overdue(&key('c')).change.unwrap().to, Some(key('a')));
}

#[test]
fn at_the_start_several_claimants_mean_none_until_all_but_one_said_not_leader() {
    let mut play = Play::of("abc").then("a+ b+", "- -");
    let contended = Alarm::Contended(vec![key('a'), key('b')]);
    assert_eq!(play.says('c', '-'), Ruling { change: None, alarm: Some(contended) });
    let play = play.then("a+ b+ c- a+ b. b. b. a+ bx a+ b+", "- - - - - - - - - - -");
    play.then("b- a+", "a a");
}

#[test]
fn who_joins_several_claimants_is_one_of_them() {
    Play::of("abc").then("a+ b+ c. c+ b- a+ c- ", "- - - - - - a");
    // It has not withdrawn its claim by falling silent.
    Play::of("abc").then("a+ b+ c. c+ c. b- a+ c- ", "- - - - - - - a");
}

#[test]
fn of_several_claimants_one_that_is_promoted_leads() {
    Play::of("abc").then("a+ b+ c- c+ a+ b+", "- - - c c c");
    Play::of("abc").then("a+ b- b+ c.", "- - - b");
}

#[test]
fn an_incumbent_that_was_down_and_returns_alone_leads_at_once() {
    master_and_replica().then("ax b- a+", "- - a");
    master_and_replica().then("a. a. a. b- a+", "a a - - a");
}

#[test]
fn when_the_incumbent_goes_down_the_one_claimant_waiting_leads() {
    Play::of("ab").then("a+ b. b+ ax", "- a a b");
    // But not while its own last run failed.
    Play::of("ab").then("a+ b. b+ b. ax b+", "- a a a - b");
}

#[test]
fn when_the_incumbent_goes_down_several_waiting_mean_none() {
    let mut play = Play::of("abc").then("a+ b. c. b+ c+", "- - a a a");
    let ruling = play.says('a', 'x');
    let change = Change { from: Some(key('a')), to: None, why: Why::IncumbentDown };
    let alarm = Alarm::Contended(vec![key('b'), key('c')]);
    assert_eq!(ruling, Ruling { change: Some(change), alarm: Some(alarm) });
    play.then("b+ c+ c- b+", "- - b b");
}

#[test]
fn of_two_that_are_promoted_the_later_leads() {
    Play::of("abc").then("a+ b- c- b+ c+ b+ a+", "- - a b c c c");
}

#[test]
fn who_lost_the_lead_by_its_own_word_twice_in_ten_seconds_needs_rise_passes() {
    let play = Play::of("ab").then("a+ b. a- a+ a- a+ a+ a+", "- a - a - - a a");
    // Again within ten seconds, and again; another target is not held to it.
    let play = play.then("a- a+ b- b+ a-", "- - - b b");
    play.then("a+ b+ a+", "b b a");
}

#[test]
fn who_lost_the_lead_twice_but_slowly_needs_one_pass() {
    let mut play = Play::of("ab").then("a+ b. a-", "- a -").then("a+", "a");
    play.now += Duration::from_secs(10);
    play.then("a- a+", "- a");
}

#[test]
fn an_incumbent_that_is_removed_counts_as_down() {
    let mut play = Play::of("ab").then("a+ b. b+", "- a a");
    let ruling = play.rule.reconfigure(&[key('b')].into(), 2);
    let change = Change { from: Some(key('a')), to: Some(key('b')), why: Why::OnlyClaimant };
    assert_eq!(ruling.change, Some(change));
}

#[test]
fn an_incumbent_in_maintenance_counts_as_down_until_it_is_given_back() {
    let mut play = master_and_replica();
    let ruling = play.rule.withdraw(&key('a'), true);
    let change = Change { from: Some(key('a')), to: None, why: Why::IncumbentGone };
    assert_eq!(ruling.change, Some(change));
    play = play.then("a+ b- a+", "- - -");
    assert_eq!(play.rule.withdraw(&key('a'), false).change.unwrap().to, Some(key('a')));
    play.rule.withdraw(&key('a'), true);
    play = play.then("b+ a+", "b b");
    assert_eq!(play.rule.withdraw(&key('a'), false).change, None);
    play.then("a+", "b");
}

#[test]
fn the_memory_outlives_a_new_definition() {
    let mut play = master_and_replica();
    assert_eq!(play.rule.reconfigure(&[key('a'), key('b'), key('c')].into(), 2), Ruling::default());
    assert_eq!(play.leader(), 'a');
    play.standings.insert('c', Standing::default());
    play.then("c+ a+ b+", "a a b");
}

#[test]
fn a_removed_contender_has_withdrawn_its_claim() {
    let mut play = Play::of("ab").then("a+ b+", "- -");
    let ruling = play.rule.reconfigure(&[key('a')].into(), 2);
    assert_eq!(ruling.change.unwrap().to, Some(key('a')));
}

// === the eight failovers of reliability.md 2.3 ===

#[test]
fn kill_the_old_master_returns_empty_after_the_promotion() {
    let play = master_and_replica().then("ax b- ax b- ax b+", "- - - - - b");
    // While it loads it answers PING with an error, then it says `role:master`, then it is demoted.
    play.then("a. b+ a+ b+ a+ b+ a- b+ a-", "b b b b b b b b b");
}

#[test]
fn kill_the_old_master_returns_before_anybody_is_promoted() {
    master_and_replica().then("ax b- a+ b- a+ b+ a+", "- - a a a b b");
}

#[test]
fn pause_the_old_master_wakes_up_after_the_promotion() {
    let play = master_and_replica().then("a. b- a. b- a. b- b+", "a a a a - - b");
    play.then("a+ b+ a+ b+ a- b+", "b b b b b b");
}

#[test]
fn partition_the_old_master_is_seen_by_the_proxy_all_the_time() {
    master_and_replica().then("a+ b- a+ b+ a+ b+ a+ a- b+", "a a a b b b b b b");
}

#[test]
fn isolate_the_old_master_is_back_after_five_seconds() {
    let play = master_and_replica().then("a. a. a. b- a. b+", "a a - - - b");
    play.then("a. a+ b+ a+ a-", "b b b b b");
}

#[test]
fn planned_both_claim_the_lead_for_a_while() {
    master_and_replica().then("b+ a+ b+ a+ a- b+", "b b b b b b");
}

#[test]
fn manual_in_either_order() {
    master_and_replica().then("b+ a+ b+ a-", "b b b b");
    master_and_replica().then("a- b- b+ a-", "- - b b");
}

#[test]
fn minority_the_proxy_was_cut_off_together_with_the_old_master() {
    let play = master_and_replica().then("b. a+ b. a+ b. a+ b. a+ b. a+", "a a a a a a a a a a");
    play.then("b+ a+ b+ a-", "b b b b");
}

#[test]
fn amnesia_the_replica_returns_as_an_empty_master() {
    master_and_replica().then("bx a+ bx a+ b+ a+ b+ a+", "a a a a a a a a");
}
