//! What witnesses change in who leads, as words in a row.
//!
//! A target's words are as in the leader's tests. A witness's word is its number and whom it names:
//! it agrees about that target and contradicts about all others; `-` names nobody, `.` is silence,
//! `x` a refused connection, `o` trouble of our own. Targets and witnesses fall with three failures.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::config::check::{Check, Script, Witnesses};
use crate::config::thresholds::Thresholds;
use crate::health::board_harness::{address, check_of};
use crate::health::leader::{Alarm, Change, Ruling, Why};
use crate::health::leader_tests::{Play, key, verdict};
use crate::health::rank::Rank;
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Verdict};
use crate::health::witness::{Panel, Says};

/// The rule, and witnesses.
pub(crate) struct Court {
    play: Play,
    panel: Panel,
    targets: String,
}

/// The check by which a witness is asked about a target.
pub(crate) fn asked(witness: char, target: char) -> Check {
    Check {
        about: Some(address(target)),
        ..(*check_of(target, witness, Script::default())).clone()
    }
}

/// Of three witnesses, `agree` must agree.
pub(crate) fn three(agree: u32, targets: &str) -> Witnesses {
    let checks = "123"
        .chars()
        .flat_map(|witness| targets.chars().map(move |target| asked(witness, target).into()));
    Witnesses { agree, count: 3, checks: checks.collect() }
}

impl Court {
    fn of(agree: u32, targets: &str) -> Self {
        let mut play = Play::of(targets);
        let panel = Panel::adopt(None, &three(agree, targets), play.now);
        assert_eq!(play.rule.attested(agree, panel.supports()), Ruling::default());
        Self { play, panel, targets: targets.to_owned() }
    }

    /// One word; the ruling of the last target that it speaks of.
    fn says(&mut self, word: &str) -> Ruling {
        let (who, what) = (word.chars().next().unwrap(), word.chars().nth(1).unwrap());
        if !who.is_ascii_digit() {
            if what == '+' {
                self.play.rule.ranked(&key(who), Rank::parse(&word.as_bytes()[2..]));
            }
            return self.play.says(who, what);
        }
        let mut ruling = Ruling::default();
        for target in self.targets.clone().chars() {
            let verdict = match what {
                'o' => Verdict::CouldNotRun(OwnTrouble::Descriptors),
                '.' | 'x' => verdict(what),
                named => verdict(if named == target { '+' } else { '-' }),
            };
            let transcript = Transcript::of_verdict(verdict, Duration::ZERO).into();
            let thresholds = Thresholds { fall_refused: 1, ..Thresholds::default() };
            let heard =
                self.panel.record(&asked(who, target), &transcript, &thresholds, self.play.now);
            assert!(heard.is_some());
            let support = (key(target), self.panel.support(&key(target)));
            ruling = ruling.then(self.play.rule.attested(self.panel.agree(), [support]));
        }
        ruling
    }

    /// Words, and who leads after each.
    fn then(mut self, words: &str, leaders: &str) -> Self {
        let mut led = String::new();
        for word in words.split_whitespace() {
            self.says(word);
            led.push(self.play.leader());
        }
        let expected: String = leaders.split_whitespace().collect();
        assert_eq!(led, expected, "after {words}");
        self
    }
}

/// Master `a` leads by the agreement of all three, and `b` (and `c`) are its replicas.
fn led_by_a(targets: &str) -> Court {
    let mut court = Court::of(2, targets);
    for target in targets.chars().skip(1) {
        court.says(&format!("{target}-"));
    }
    court.then("a+ 1a 2a 3a", "- - - a")
}

#[test]
fn at_the_start_nobody_leads_until_the_witnesses_too_have_spoken() {
    Court::of(2, "ab").then("a+ b- 1a 2a 3. a+", "- - - - a a");
    Court::of(2, "ab").then("1a 2a 3x b- a+", "- - - - a");
}

#[test]
fn a_witness_that_has_used_up_its_time_is_not_waited_for() {
    let mut court = Court::of(2, "ab").then("a+ b- 1a 2a 3o", "- - - - -");
    let due = court.panel.next_deadline().unwrap();
    assert!(!court.panel.tick(due - Duration::from_millis(1)));
    assert!(court.panel.tick(due));
    let ruling = court.play.rule.attested(2, court.panel.supports());
    assert_eq!(ruling.change.unwrap().to, Some(key('a')));
    assert_eq!(court.panel.next_deadline(), None);
}

#[test]
fn an_only_claimant_without_enough_witnesses_waits() {
    Court::of(2, "ab").then("a+ b- 1a 2b 3- a+ 2a", "- - - - - - a");
}

#[test]
fn several_claimants_are_told_apart_by_the_witnesses() {
    let mut court = Court::of(2, "ab").then("a+ b+ 1b 2b", "- - - -");
    let change = Change { from: None, to: Some(key('b')), why: Why::Witnessed };
    assert_eq!(court.says("3a"), Ruling { change: Some(change), alarm: None });
}

#[test]
fn the_word_of_witnesses_counts_before_any_rank() {
    Court::of(2, "ab").then("a+9 b+1 1b 2b 3b", "- - - - b");
}

#[test]
fn where_several_have_enough_witnesses_the_rank_decides_or_nobody() {
    Court::of(1, "ab").then("a+1 b+2 1a 2b 3-", "- - - - b");
    let mut court = Court::of(1, "ab").then("a+ b+ 1a 2b", "- - - -");
    let contended = Alarm::Contended(vec![key('a'), key('b')]);
    assert_eq!(court.says("3-").alarm, Some(contended));
    // Who has lost its last witness is no contender any more, and silence does not make it none.
    court = court.then("b. b. b.", "- - -");
    court.then("2-", "a");
}

#[test]
fn a_promoted_target_leads_when_enough_witnesses_name_it() {
    let mut court = led_by_a("ab").then("b+ 1b b+", "a a a");
    let change = Change { from: Some(key('a')), to: Some(key('b')), why: Why::Promoted };
    assert_eq!(court.says("2b").change, Some(change).filter(|_| court.play.leader() == 'b'));
    court.then("a+ 3b a-", "b b b");
}

#[test]
fn a_promotion_that_waits_for_its_witnesses_is_not_forgotten() {
    led_by_a("ab").then("b+ b. b+ a+ b+ 1b 2b", "a a a a a a b");
    // A later one is not overtaken by an earlier one that was confirmed first.
    let court = Court::of(1, "abc").then("b- c- a+ 1a 2a 3a", "- - - - - a");
    court.then("b+ c+ 1b 3c", "a a b c");
}

#[test]
fn a_witness_that_names_another_withdraws_its_agreement_at_once() {
    let mut court = led_by_a("ab").then("1b", "a");
    let change = Change { from: Some(key('a')), to: None, why: Why::Unwitnessed };
    assert_eq!(court.says("2b").change, Some(change));
    court.then("a+ b+", "- b");
}

#[test]
fn a_silent_witness_counts_by_fall_and_a_refused_one_is_silent() {
    led_by_a("ab").then("1. 2. 1. 2. 1. 2.", "a a a a a -");
    led_by_a("ab").then("1x 2x 1x 2x 1x 2x", "a a a a a -");
    led_by_a("ab").then("1. 2. 1. 2. 1a 2. 1. 2. 1.", "a a a a a a a a a");
}

#[test]
fn cut_off_together_with_the_old_leader_it_leads_no_more_until_witnesses_are_back() {
    let court = led_by_a("ab").then("b. 1. 2. b. 1. 2. b. 1. 2.", "a a a a a a a a -");
    // Healed: the others have promoted `b` meanwhile.
    court.then("a+ 3a 1b b+ 2b a-", "- - - - b b");
    // Or they have not.
    let court = led_by_a("ab").then("1. 2. 1. 2. 1. 2.", "a a a a a -");
    court.then("a+ 1a", "- a");
}

#[test]
fn a_replica_that_came_back_as_an_empty_master_does_not_lead() {
    led_by_a("ab").then("b+ a+ b+ 1a 2a 3a b+", "a a a a a a a");
}

#[test]
fn trouble_of_our_own_changes_nothing() {
    led_by_a("ab").then("1o 2o 3o 1o 2o 3o 1o 2o 3o 1o 2o 3o a+", "a a a a a a a a a a a a a");
}

#[test]
fn who_returns_needs_agreement_now_and_not_only_standing() {
    led_by_a("ab").then("1. 2. ax a+ 1a", "a a - - a");
}

#[test]
fn witnesses_of_a_new_definition_get_their_time_before_they_cost_a_leader_the_lead() {
    let mut play = Play::of("ab").then("a+ b-", "- a");
    let panel = Panel::adopt(None, &three(2, "ab"), play.now);
    assert_eq!(play.rule.attested(2, panel.supports()), Ruling::default());
    let court = Court { play, panel, targets: "ab".to_owned() };
    let court = court.then("1. 2- 1. 1.", "a - - -");
    let mut court = court.then("1a 3a", "- a");
    // Two of them are asked no more, and then none.
    let mut one = three(1, "ab");
    one.checks.retain(|check| check.address == address('2'));
    court.panel = Panel::adopt(Some(&court.panel), &one, court.play.now);
    let ruling = court.play.rule.attested(1, court.panel.supports());
    assert_eq!(ruling.change.unwrap().why, Why::Unwitnessed);
    assert_eq!(court.play.rule.unattested().change.unwrap().to, Some(key('a')));
}

#[test]
fn what_a_witness_says_is_told_to_people() {
    let says = |court: &Court| -> Vec<Says> {
        court.panel.about(&key('a')).iter().map(|one| one.says()).collect()
    };
    let court = Court::of(2, "ab").then("1a 2b", "- -");
    assert_eq!(says(&court), [Says::Agrees, Says::Disagrees, Says::Unheard]);
    let court = court.then("1. 2. 3.", "- - -");
    assert_eq!(says(&court), [Says::SilentAfterYes, Says::Silent, Says::Silent]);
    let court = court.then("1. 1.", "- -");
    assert_eq!(says(&court), [Says::Silent, Says::Silent, Says::Silent]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_comes_to_lead_or_stays_without_enough_witnesses(
        agree in 1..4_u32,
        words in prop::collection::vec("[abc][-+x.]|[123][abc.xo-]", 1..100),
    ) {
        let mut court = Court::of(agree, "abc");
        for word in words {
            let before = court.play.rule.leader().cloned();
            let ruling = court.says(&word);
            let after = court.play.rule.leader().cloned();
            prop_assert_eq!(ruling.change.is_some(), before != after);
            if let Some(leader) = &after {
                let support = court.panel.support(leader);
                prop_assert!(support.still_holds(agree), "{leader} stays by {support:?}");
                prop_assert!(before == after || support.now >= agree, "{leader} came by {support:?}");
            } else if court.panel.next_deadline().is_none() && court.play.rule.is_settled() {
                let claim = court.play.rule.claimants().find(|target| {
                    court.play.rule.is_backed(target) && !court.play.rule.is_held_back(target)
                });
                prop_assert_eq!(claim, None, "it is left out");
            }
        }
    }
}

/// A panel is a value: a copy of it does not change with it.
#[test]
fn a_copy_of_a_panel_is_its_own() {
    let now = Instant::now();
    let mut panel = Panel::adopt(None, &three(2, "a"), now);
    let copy = panel.clone();
    let passed = Transcript::of_verdict(Verdict::Passed, Duration::ZERO).into();
    panel.record(&asked('1', 'a'), &passed, &Thresholds::default(), now);
    assert_eq!((panel.support(&key('a')).now, copy.support(&key('a')).now), (1, 0));
    let stranger = asked('9', 'a');
    assert_eq!(panel.record(&stranger, &passed, &Thresholds::default(), now), None);
}
