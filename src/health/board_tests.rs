//! What the board makes of verdicts where traffic is balanced.

use std::sync::Arc;
use std::time::Duration;

use crate::config::check::{Check, HealthSpec, Script};
use crate::config::model::{Balance, Service, Target};
use crate::config::thresholds::Thresholds;
use crate::health::board::ServiceBoard;
use crate::health::board_harness::{Desk, brief, check_of, key, service, with_checks};
use crate::health::script_harness::{script, send};
use crate::health::snapshot::Health;
use crate::health::suspicion::Failure;
use crate::health::verdict::Verdict;

fn balanced(targets: &str) -> Desk {
    Desk::of(service(targets, Balance::RoundRobin))
}

/// Another script than the default one.
fn other_script() -> Script {
    script(vec![send("x")])
}

#[test]
fn at_a_start_nothing_is_known_and_first_verdicts_are_awaited() {
    let desk = balanced("ab");
    assert_eq!((desk.health('a'), desk.health('b')), (Health::Unknown, Health::Unknown));
    assert!(desk.board.health().awaiting_first);
    assert!(!desk.board.health().is_eligible(&key('a')));
}

#[test]
fn first_verdicts_are_published_and_told() {
    let mut desk = balanced("ab");
    assert_eq!(brief(&desk.says("a+")), ["publish", "first a:1 up"]);
    assert!(desk.board.health().awaiting_first);
    assert_eq!(brief(&desk.says("b.")), ["publish", "first b:1 down"]);
    assert!(!desk.board.health().awaiting_first);
    assert_eq!(brief(&desk.says("a+ b.")), [""; 0], "nothing is news");
}

#[test]
fn a_target_that_goes_down_loses_its_sessions_after_it_was_published() {
    let mut desk = balanced("ab");
    desk.says("a+ b+ a. a.");
    assert_eq!(brief(&desk.says("a.")), ["publish", "changed a:1 up to down", "lost a:1"]);
    desk.says("a+");
    assert_eq!(brief(&desk.says("a+")), ["publish", "changed a:1 down to up"]);
}

#[test]
fn trouble_of_our_own_changes_nothing_and_is_shown() {
    let mut desk = balanced("a");
    let told = "trouble a:1 unknown: this process has no file descriptor left";
    assert_eq!(brief(&desk.says("ao")), [told]);
    assert!(desk.board.health().awaiting_first);
    desk.says("a+ ao ao ao ao");
    assert_eq!(desk.health('a'), Health::Up);
    let last = desk.board.targets().next().unwrap().checks[0].last.clone().unwrap();
    assert!(matches!(last.verdict, Verdict::CouldNotRun(_)));
}

#[test]
fn nobody_is_waited_for_longer_than_its_timeout_and_a_little() {
    let mut desk = balanced("ab");
    desk.says("a+");
    let due = desk.board.next_deadline().unwrap();
    assert_eq!(due, desk.now + Duration::from_millis(1190));
    assert_eq!(brief(&desk.after(Duration::from_millis(1189))), [""; 0]);
    assert_eq!(brief(&desk.after(Duration::from_millis(1))), ["publish"]);
    assert!(!desk.board.health().awaiting_first);
    assert_eq!(desk.health('b'), Health::Unknown);
    assert_eq!(desk.board.next_deadline(), None);
}

#[test]
fn time_in_which_nobody_ran_us_is_no_time_in_which_a_target_was_silent() {
    let mut desk = balanced("ab");
    desk.says("a+");
    let due = desk.board.next_deadline().unwrap();
    desk.board.overslept(Duration::from_secs(30));
    assert_eq!(desk.board.next_deadline(), Some(due + Duration::from_secs(30)));
    assert_eq!(brief(&desk.after(Duration::from_secs(30))), [""; 0]);
    assert!(desk.board.health().awaiting_first);
    // Whoever has been heard is not waited for again.
    desk.says("b+");
    desk.board.overslept(Duration::from_secs(30));
    assert_eq!(desk.board.next_deadline(), None);
}

#[test]
fn a_target_with_several_checks_is_up_only_if_all_of_them_pass() {
    let one = service("a", Balance::RoundRobin);
    let checks = vec![check_of('a', 'a', Script::default()), check_of('a', 'z', Script::default())];
    let mut desk = Desk::of(with_checks(&one, checks));
    desk.ran(desk.check('a', 0), '+');
    assert_eq!(desk.health('a'), Health::Unknown);
    let second = desk.check('a', 1);
    desk.ran(second.clone(), '+');
    assert_eq!(desk.health('a'), Health::Up);
    let effects = desk.ran(second, 'x');
    assert_eq!(brief(&effects), ["publish", "changed a:1 up to down", "lost a:1"]);
}

#[test]
fn a_check_that_is_written_twice_is_one_check() {
    let check = || check_of('a', 'a', Script::default());
    let mut desk =
        Desk::of(with_checks(&service("a", Balance::RoundRobin), vec![check(), check()]));
    desk.says("a+");
    assert_eq!(desk.health('a'), Health::Up);
}

#[test]
fn the_last_run_and_the_one_that_changed_something_are_kept() {
    let mut desk = balanced("a");
    desk.says("a+ ax a. a.");
    let record = &desk.board.targets().next().unwrap().checks[0];
    let of = |transcript: &Option<Arc<crate::health::transcript::Transcript>>| {
        transcript.as_ref().unwrap().verdict.to_string()
    };
    assert!(of(&record.at_transition).ends_with("connection refused"));
    assert!(of(&record.last).contains("not in time"));
}

#[test]
fn a_check_of_nobodys_is_shown_and_decides_nothing() {
    let one = service("a", Balance::RoundRobin);
    let stray =
        Arc::new(Check { target: None, ..(*check_of('z', 'z', Script::default())).clone() });
    let lost = check_of('y', 'y', Script::default());
    let own = check_of('a', 'a', Script::default());
    let mut desk = Desk::of(with_checks(&one, vec![own, stray.clone(), lost.clone()]));
    assert_eq!(brief(&desk.ran(stray, 'x')), [""; 0]);
    assert_eq!(brief(&desk.ran(lost, '+')), [""; 0]);
    let shown: Vec<Health> = desk.board.strays().iter().map(|run| run.standing.health()).collect();
    assert_eq!(shown, [Health::Down, Health::Up]);
    assert_eq!(desk.board.health().targets.len(), 1);
}

#[test]
fn a_run_of_a_check_that_is_gone_is_ignored() {
    let mut desk = balanced("ab");
    desk.says("a+ b+");
    let (of_a, of_b) = (desk.check('a', 0), desk.check('b', 0));
    let mut next = service("a", Balance::RoundRobin);
    next = with_checks(&next, vec![check_of('a', 'a', other_script())]);
    desk.reconfigured(next);
    for check in [of_a, of_b] {
        assert_eq!(brief(&desk.ran(check, 'x')), [""; 0]);
    }
    assert_eq!(desk.health('a'), Health::Up);
}

#[test]
fn what_stays_keeps_its_verdict_and_its_counts() {
    let mut desk = balanced("ab");
    desk.says("a+ b+ a. a.");
    let effects = desk.reconfigured(service("bac", Balance::RoundRobin));
    assert_eq!(brief(&effects), ["publish"]);
    assert_eq!((desk.health('a'), desk.health('c')), (Health::Up, Health::Unknown));
    desk.says("a.");
    assert_eq!(desk.health('a'), Health::Down, "the third failure in a row");
    desk.reconfigured(service("b", Balance::RoundRobin));
    assert!(!desk.board.health().targets.contains_key(&key('a')));
}

#[test]
fn a_target_that_a_reload_removes_is_not_lost_but_removed() {
    let mut desk = balanced("ab");
    desk.says("a+ b+");
    assert_eq!(brief(&desk.reconfigured(service("b", Balance::RoundRobin))), ["publish"]);
}

#[test]
fn a_target_that_somebody_else_is_now_is_lost_and_unknown() {
    let mut desk = balanced("ab");
    desk.says("a+ b+");
    let is_a = |target: &Target| target.key == key('a');
    let effects = desk.board.forget(&desk.service, is_a, desk.now);
    assert_eq!(brief(&effects), ["publish", "lost a:1", "publish"]);
    assert_eq!((desk.health('a'), desk.health('b')), (Health::Unknown, Health::Up));
    let effects = desk.board.forget(&desk.service, is_a, desk.now);
    assert!(!brief(&effects).contains(&"lost a:1".to_owned()), "it has no traffic to lose");
}

#[test]
fn the_old_verdict_stands_until_a_new_script_has_spoken() {
    let mut desk = balanced("ab");
    desk.says("a+ b.");
    let checks = vec![check_of('a', 'a', other_script()), check_of('b', 'b', other_script())];
    let next = with_checks(&service("ab", Balance::RoundRobin), checks);
    assert_eq!(brief(&desk.reconfigured(next)), [""; 0]);
    assert_eq!((desk.health('a'), desk.health('b')), (Health::Up, Health::Down));
    desk.says("a- b+");
    assert_eq!((desk.health('a'), desk.health('b')), (Health::Down, Health::Up));
}

#[test]
fn a_service_that_loses_its_checks_knows_nothing_of_its_targets() {
    let mut desk = balanced("a");
    desk.says("ax");
    let unchecked = Service { health: None, ..service("a", Balance::RoundRobin) };
    assert_eq!(brief(&desk.reconfigured(unchecked)), ["publish"]);
    assert!(desk.board.health().is_eligible(&key('a')));
}

#[test]
fn a_target_without_a_check_among_checked_ones_is_served() {
    let two = service("ab", Balance::RoundRobin);
    let mut desk = Desk::of(with_checks(&two, vec![check_of('a', 'a', Script::default())]));
    desk.says("a.");
    assert!(desk.board.health().is_eligible(&key('b')));
    assert!(!desk.board.health().awaiting_first);
}

#[test]
fn the_pace_follows_each_checks_own_state() {
    let mut one = service("ab", Balance::RoundRobin);
    let checks = one.health.as_ref().unwrap().checks.clone();
    let thresholds = Thresholds { down_interval: Duration::from_secs(5), ..Thresholds::default() };
    one.health =
        Some(Arc::new(HealthSpec { checks, thresholds: thresholds.clone(), witness: None }));
    let mut desk = Desk::of(one);
    desk.says("a+ b.");
    assert_eq!(desk.board.pace(&desk.check('a', 0), desk.now), thresholds.interval);
    assert_eq!(desk.board.pace(&desk.check('b', 0), desk.now), thresholds.down_interval);
    desk.says("a.");
    assert_eq!(desk.board.pace(&desk.check('a', 0), desk.now), thresholds.fast_interval);
}

#[test]
fn a_session_that_fails_asks_for_a_check_of_its_target() {
    let mut desk = balanced("ab");
    let (now, failure) = (desk.now, Failure::Unreachable);
    assert!(desk.board.note_failure(&key('a'), failure, now));
    assert!(desk.board.is_deaf_to(&key('a'), now) && !desk.board.is_deaf_to(&key('b'), now));
    assert!(!desk.board.note_failure(&key('z'), failure, now), "nobody's target");
}

#[test]
fn a_board_made_anew_goes_on_from_what_was_published() {
    let mut desk = Desk::of(service("abc", Balance::RoundRobin));
    desk.says("a+ b-");
    let published = desk.board.health().clone();
    let (board, effects) = ServiceBoard::restored(&desk.service, published, desk.now);
    desk.board = board;
    assert_eq!(brief(&effects), [""; 0]);
    let healths = ['a', 'b', 'c'].map(|name| desk.health(name));
    assert_eq!(healths, [Health::Up, Health::Down, Health::Unknown]);
    assert!(desk.board.health().awaiting_first, "of `c` nothing was known");
    assert_eq!(brief(&desk.says("a.")), [""; 0], "one failure of three");
    assert_eq!(brief(&desk.says("b+")), ["publish", "changed b:1 down to up"]);
}

#[test]
fn trouble_of_our_own_is_told_when_it_begins_and_when_it_ends() {
    let mut desk = balanced("a");
    assert_eq!(brief(&desk.says("a+")), ["publish", "first a:1 up"]);
    let trouble = "trouble a:1 up: this process has no file descriptor left";
    assert_eq!(brief(&desk.says("ao")), [trouble]);
    assert!(desk.says("ao").is_empty());
    assert_eq!(brief(&desk.says("a+")), ["no trouble a:1"]);
}
