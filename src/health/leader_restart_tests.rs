//! What was remembered before a start of the process, and what it changes: nothing until everybody
//! has been heard, and then who leads. Words as in the leader's tests.

use proptest::prelude::*;

use crate::health::leader::remembered::Remembered;
use crate::health::leader::{Alarm, Change, Said, Why};
use crate::health::leader_tests::{Play, key, master_and_replica};

/// `a` leads, and `b` waits: both claim to be master.
fn two_masters() -> Play {
    Play::of("ab").then("a+ b. b+", "- a a")
}

#[test]
fn of_two_masters_the_one_that_led_before_leads_without_contention() {
    let mut play = two_masters().restarted("ab").then("b+", "-");
    let ruling = play.says('a', '+');
    let change = Change { from: None, to: Some(key('a')), why: Why::LedBefore };
    assert_eq!((ruling.change, ruling.alarm), (Some(change), None));
    play.then("b+ a+ b+", "a a a");
    // Without a memory nobody would.
    Play::of("ab").then("b+ a+ b+ a+", "- - - -");
}

#[test]
fn everybody_is_awaited_as_ever() {
    let play = two_masters().restarted("abc").then("a+ a+ b+ a+", "- - - -");
    assert_eq!(play.rule.remembered(), None, "a start adds nothing to what is known");
    play.then("c.", "a");
}

#[test]
fn who_was_promoted_while_nobody_listened_leads() {
    for order in ["b+ a+", "a+ b+"] {
        let play = master_and_replica().restarted("ab").then(order, "- b");
        play.then("a+ b+ a+", "b b b");
    }
}

#[test]
fn who_was_promoted_is_so_also_when_it_is_heard_only_after_the_start() {
    master_and_replica().restarted("ab").then("b. a+ b+ a+", "- a b b");
}

#[test]
fn of_several_that_were_promoted_while_nobody_listened_nobody_knows_the_later() {
    let mut play = Play::of("abc").then("a+ b- c-", "- - a").restarted("abc").then("a+ b+", "- -");
    let all = Alarm::Contended(vec![key('a'), key('b'), key('c')]);
    assert_eq!(play.says('c', '+').alarm, Some(all));
    play.then("a+ b+ c+ b- c+", "- - - c c");
}

#[test]
fn who_is_promoted_during_the_start_is_later_than_who_was_before_it() {
    let play = Play::of("abcd").then("a+ b- c. d.", "- - - a").restarted("abcd");
    play.then("b+ c- c+ a+ d.", "- - - - c");
}

#[test]
fn who_led_and_was_refused_or_contradicts_has_lost_its_claim() {
    // It came back while others were still awaited: as a master that may be empty.
    Play::of("abc")
        .then("a+ b. c. b+ c-", "- - a a a")
        .restarted("abc")
        .then("ax a+ b+ c-", "- - - -");
    Play::of("ab").then("a+ b. b+", "- a a").restarted("ab").then("a- b+ a+", "- b a");
}

#[test]
fn who_led_and_is_silent_is_replaced_as_ever() {
    two_masters().restarted("ab").then("a. b+ a+ b+", "- b b b");
    // Alone, it leads when it is back.
    master_and_replica().restarted("ab").then("a. b- a+", "- - a");
}

#[test]
fn whose_last_word_was_leader_or_none_waits_as_ever() {
    let play = Play::of("abc").then("a+ b. c. b+ cx", "- - a a a").restarted("abc");
    play.then("c+ b+ a+ c+ b+", "- - a a a");
}

#[test]
fn a_silence_that_lasts_over_the_restart_keeps_what_was_said() {
    let play = master_and_replica().then("b. b. a+", "a a a").restarted("ab");
    let play = play.then("a+ b. a+", "- a a").restarted("ab");
    assert_eq!(play.rule.said(&key('b')), Some(Said::NotLeader));
    play.then("a+ b+", "- b");
}

#[test]
fn a_promotion_that_was_not_acted_on_is_news_for_the_next_process() {
    // Lost twice: one pass is not enough for it any more.
    let play = Play::of("ab").then("a+ b. a- a+ a- a+", "- a - a - -");
    let said = play.rule.remembered().unwrap().said;
    assert_eq!(said[&key('a')], Some(Said::NotLeader));
    play.restarted("ab").then("a+ b.", "- a");
}

#[test]
fn a_target_that_is_gone_or_new_is_nobody() {
    let play = two_masters().restarted("bc").then("b+ c+", "- -");
    let remembered = play.rule.remembered().unwrap();
    assert_eq!(remembered.said.keys().cloned().collect::<Vec<_>>(), [key('b'), key('c')]);
    let mut play = two_masters().restarted("abc");
    assert_eq!(play.rule.reconfigure(&[key('b'), key('c')].into(), 2).change, None);
    play.standings.remove(&'a');
    play.then("b+ c-", "- b");
}

/// The targets become these; those that are new have not been heard.
fn become_targets(play: &mut Play, targets: &str) {
    let keys = targets.chars().map(key).collect();
    assert_eq!(play.rule.reconfigure(&keys, 2).alarm, None);
    play.standings.retain(|target, _| targets.contains(*target));
    for target in targets.chars() {
        play.standings.entry(target).or_default();
    }
}

#[test]
fn a_start_whose_targets_come_late_awaits_all_of_them_and_remembers() {
    let remembered = two_masters().rule.remembered().unwrap();
    let mut late = Play::of("");
    become_targets(&mut late, "");
    assert_eq!(late.rule.remembered(), None, "what is on disk stays");
    become_targets(&mut late, "ab");
    late.rule.remember(&remembered);
    let late = late.then("b+", "-");
    late.then("a+ b+", "a a");
    // Without a memory they contend, as at any start.
    let mut late = Play::of("");
    become_targets(&mut late, "ab");
    late.then("b+ a+ b+", "- - -");
}

#[test]
fn who_comes_when_all_have_left_comes_to_a_start() {
    let mut play = two_masters();
    let remembered = play.rule.remembered().unwrap();
    become_targets(&mut play, "");
    assert_eq!((play.leader(), play.rule.remembered()), ('-', None));
    become_targets(&mut play, "abc");
    // Nobody listened meanwhile, as over a restart.
    play.rule.remember(&remembered);
    play.then("a+ b+ c.", "- - a");
}

#[test]
fn a_rule_that_is_past_its_start_takes_nothing_over() {
    let mut play = master_and_replica();
    let other = Remembered { leader: Some(key('b')), said: [(key('a'), None)].into() };
    play.rule.remember(&other);
    assert_eq!(play.rule.said(&key('a')), Some(Said::Leader));
    play.then("a+ b-", "a a");
}

fn words() -> impl Strategy<Value = Vec<(char, char)>> {
    let targets = prop::sample::select(vec!['a', 'b', 'c']);
    let letters = prop::sample::select(vec!['+', '+', '-', 'x', '.']);
    prop::collection::vec((targets, letters), 3..40)
}

proptest! {
    #[test]
    fn whoever_led_and_passes_still_leads_unless_another_was_promoted(before in words()) {
        let mut play = Play::of("abc");
        for (target, letter) in before {
            play.says(target, letter);
        }
        let Some(remembered) = play.rule.remembered() else { return Ok(()) };
        let mut next = play.restarted("abc");
        for target in "abc".chars() {
            prop_assert_eq!(next.leader(), '-');
            next.says(target, '+');
        }
        let promoted: Vec<char> = "abc"
            .chars()
            .filter(|target| remembered.said[&key(*target)] == Some(Said::NotLeader))
            .collect();
        match promoted[..] {
            [] => prop_assert_eq!(next.rule.leader(), remembered.leader.as_ref()),
            [one] => prop_assert_eq!(next.leader(), one),
            _ => prop_assert_eq!(next.leader(), '-'),
        }
    }
}
