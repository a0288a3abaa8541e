//! What a rank decides, and what it does not. Words are as in the leader's tests; a pass is followed
//! by the rank that it gives, if it gives one.

use crate::health::leader::{Alarm, Change, Ruling, Why};
use crate::health::leader_tests::{Play, key};
use crate::health::rank::Rank;

/// One word, such as `a+10`.
fn say(play: &mut Play, word: &str) -> Ruling {
    let (target, letter) = (word.chars().next().unwrap(), word.chars().nth(1).unwrap());
    if letter == '+' {
        play.rule.ranked(&key(target), Rank::parse(&word.as_bytes()[2..]));
    }
    play.says(target, letter)
}

/// Words over targets, and who leads after each.
fn check(targets: &str, words: &str, leaders: &str) -> Play {
    let mut play = Play::of(targets);
    let mut led = String::new();
    for word in words.split_whitespace() {
        say(&mut play, word);
        led.push(play.leader());
    }
    let expected: String = leaders.split_whitespace().collect();
    assert_eq!(led, expected, "after {words}");
    play
}

#[test]
fn at_the_start_the_claimant_with_the_highest_rank_leads() {
    check("ab", "a+9 b+10", "- b");
    check("abc", "a+7 b- c+3", "- - a");
    let mut play = check("ab", "a+18446744073709551615", "-");
    let change = Change { from: None, to: Some(key('a')), why: Why::HighestRank };
    let ruling = say(&mut play, "b+18446744073709551614");
    assert_eq!(ruling, Ruling { change: Some(change), alarm: None });
}

#[test]
fn the_highest_alone_counts_and_the_others_may_be_equal() {
    check("abc", "a+1 b+1 c+2", "- - c");
}

#[test]
fn equal_ranks_on_top_are_nobody_and_an_alarm_told_once() {
    let mut play = check("abc", "a+1 b+5", "- -");
    let contended = vec![key('a'), key('b'), key('c')];
    assert_eq!(say(&mut play, "c+5").alarm, Some(Alarm::Contended(contended)));
    assert_eq!(say(&mut play, "c+5"), Ruling::default());
    assert_eq!(play.leader(), '-');
}

#[test]
fn a_later_pass_with_another_rank_decides() {
    check("ab", "a+5 b+5 a+5 b+6", "- - - b");
    check("ab", "a+5 b+ b+4", "- - a");
}

#[test]
fn a_claimant_without_a_rank_cannot_be_told_apart() {
    check("ab", "a+5 b+ a+6 b+", "- - - -");
    check("ab", "a+ b+", "- -");
}

#[test]
fn an_old_rank_says_nothing_of_a_contender_that_is_silent_or_dead() {
    check("ab", "a+5 b+5 b. a+9 b+5", "- - - - a");
    check("ab", "a+5 b+5 bx a+9 b+1", "- - - - a");
}

#[test]
fn one_that_says_no_is_compared_no_more() {
    check("abc", "a+5 b+5 c+4 b- a+5", "- - - a a");
}

#[test]
fn the_incumbent_stands_whatever_the_rank_of_others() {
    check("ab", "a+1 b. b+1000 a+1 b+1001", "- a a a a");
}

#[test]
fn when_the_incumbent_goes_down_the_highest_of_those_waiting_leads() {
    check("abc", "a+9 b. c. b+1 c+2 ax", "- - a a a c");
    check("abc", "a+9 b. c. b+2 c+2 ax c+3", "- - a a a - c");
}

#[test]
fn a_promotion_counts_more_than_any_rank() {
    check("ab", "a+1000 b- b+1 a+1001", "- a b b");
    check("abc", "a+5 b+5 c- c+1", "- - - c");
}

#[test]
fn who_is_held_back_is_not_compared_yet() {
    // `a` lost the lead twice by its own word, and needs two passes to be counted again.
    check("ab", "a+1 b. a- a+1 a- a+9 b+1", "- a - a - - b");
}

#[test]
fn a_contender_that_comes_back_into_service_contends_again() {
    let mut play = check("abc", "a+1 b+ c+1", "- - -");
    play.rule.withdraw(&key('b'), true);
    play.rule.withdraw(&key('b'), false);
    // It has a claim and no rank: nobody can be told apart from it.
    say(&mut play, "c+2");
    assert_eq!(play.leader(), '-');
    say(&mut play, "b+3");
    assert_eq!(play.leader(), 'b');
}
