//! What the board makes of verdicts where at most one may lead.

use std::time::Duration;

use crate::config::check::Script;
use crate::config::model::Balance;
use crate::health::board::ServiceBoard;
use crate::health::board_harness::{Desk, brief, check_of, key, service, with_checks};
use crate::health::script_harness::{script, send};
use crate::health::snapshot::{Health, Leadership};

fn led(targets: &str) -> Desk {
    Desk::of(service(targets, Balance::Leader))
}

#[test]
fn nobody_leads_until_everybody_has_been_heard() {
    let mut desk = led("ab");
    assert_eq!(desk.board.health().leadership, Leadership::Nobody);
    assert_eq!(brief(&desk.says("a+")), ["publish nobody", "first a:1 up"]);
    assert_eq!(
        brief(&desk.says("b-")),
        ["publish leader a:1", "first b:1 down", "leader a:1: it alone claims the lead"]
    );
    assert!(!desk.board.health().awaiting_first);
}

#[test]
fn a_silent_target_delays_the_first_leader_by_its_timeout_only() {
    let mut desk = led("ab");
    desk.says("a+ bo");
    let due = desk.board.next_deadline().unwrap() - desk.now;
    assert_eq!(
        brief(&desk.after(due)),
        ["publish leader a:1", "leader a:1: it alone claims the lead"]
    );
}

#[test]
fn a_change_goes_through_nobody_and_ends_the_old_sessions_first() {
    let mut desk = led("ab");
    desk.says("a+ b-");
    assert_eq!(
        brief(&desk.says("b+")),
        [
            "publish nobody",
            "changed b:1 down to up",
            "lost a:1",
            "publish leader b:1",
            "leader b:1: it was promoted: it last said that it does not lead, and passes now",
        ]
    );
    assert_eq!(desk.health('a'), Health::Up);
    assert!(desk.board.health().is_eligible(&key('b')));
    assert!(!desk.board.health().is_eligible(&key('a')));
}

#[test]
fn a_demoted_leader_is_down_at_once_and_nobody_leads() {
    let mut desk = led("ab");
    desk.says("a+ b-");
    assert_eq!(
        brief(&desk.says("a-")),
        [
            "publish nobody",
            "changed a:1 up to down",
            "lost a:1",
            "no leader: the leader is down and nobody takes its place",
        ]
    );
    desk.says("a+");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')), "one pass is enough");
}

#[test]
fn who_claims_beside_the_leader_is_told_once() {
    let mut desk = led("ab");
    desk.says("a+ b.");
    assert_eq!(
        brief(&desk.says("b+")),
        [
            "publish leader a:1",
            "changed b:1 down to up",
            "alarm: b:1 claims the lead too; a:1 leads and stays",
        ]
    );
    assert_eq!(brief(&desk.says("b+ a+ b+")), [""; 0]);
}

#[test]
fn several_claimants_at_the_start_are_an_alarm_that_says_what_helps() {
    let mut desk = led("ab");
    let effects = brief(&desk.says("a+ b+"));
    assert_eq!(effects[..2], ["publish nobody", "first b:1 up"]);
    assert!(
        effects[2].starts_with("alarm: nobody leads: a:1, b:1 all claim the lead"),
        "{effects:?}"
    );
    assert!(!effects[2].contains("round_robin"), "the user wrote leader: {effects:?}");
}

#[test]
fn under_an_inferred_leader_several_claimants_hear_of_round_robin() {
    let mut inferred = service("ab", Balance::Leader);
    inferred.pool.balance_inferred = true;
    let mut desk = Desk::of(inferred.clone());
    assert!(brief(&desk.says("a+ b+"))[2].contains("balance = \"round_robin\""));
    let mut desk = Desk::of(inferred);
    desk.says("a+ b. b+");
    assert_eq!(desk.board.next_deadline(), Some(desk.now + Duration::from_secs(30)));
    let effects = brief(&desk.after(Duration::from_secs(30)));
    assert!(effects[0].starts_with("alarm: a:1, b:1 have claimed the lead together for 30s"));
    assert!(effects[0].contains("balance = \"round_robin\""));
    assert_eq!(brief(&desk.after(Duration::from_secs(300))), [""; 0], "it is told once");
    assert_eq!(desk.board.next_deadline(), None);
}

#[test]
fn the_word_of_a_target_with_several_checks_needs_all_of_them() {
    let two = service("ab", Balance::Leader);
    let checks = vec![
        check_of('a', 'a', Script::default()),
        check_of('b', 'b', Script::default()),
        check_of('b', 'z', Script::default()),
    ];
    let mut desk = Desk::of(with_checks(&two, checks));
    let (role, port) = (desk.check('b', 0), desk.check('b', 1));
    desk.says("a+ b-");
    desk.ran(port.clone(), '+');
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')));
    desk.ran(port.clone(), '.');
    desk.ran(role, '+');
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')));
    desk.ran(port, '+');
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('b')));
}

#[test]
fn a_changed_second_check_does_not_silence_the_first() {
    let one = service("a", Balance::Leader);
    let second = |script| with_checks(&one, vec![check_of('a', 'a', Script::default()), script]);
    let mut desk = Desk::of(second(check_of('a', 'z', Script::default())));
    desk.ran(desk.check('a', 1), '+');
    desk.says("a+");
    let changed = check_of('a', 'z', script(vec![send("x")]));
    desk.reconfigured(second(changed));
    desk.says("a+");
    assert_eq!(desk.board.leader().unwrap().claimants().collect::<Vec<_>>(), [&key('a')]);
}

#[test]
fn the_leader_and_all_memory_outlive_a_reload() {
    let mut desk = led("ab");
    desk.says("a+ b-");
    let effects = desk.reconfigured(service("bac", Balance::Leader));
    assert_eq!(brief(&effects), ["publish leader a:1"]);
    desk.says("c+");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')));
    desk.says("b+");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('b')));
}

#[test]
fn a_leader_that_is_removed_loses_its_sessions_before_another_leads() {
    let mut desk = led("ab");
    desk.says("a+ b. b+");
    assert_eq!(
        brief(&desk.reconfigured(service("b", Balance::Leader))),
        [
            "publish nobody",
            "lost a:1",
            "publish leader b:1",
            "leader b:1: it alone claims the lead",
        ]
    );
}

#[test]
fn a_leader_that_somebody_else_is_now_is_lost_once() {
    let mut desk = led("ab");
    desk.says("a+ b-");
    let effects = desk.board.forget(&desk.service, |target| target.key == key('a'), desk.now);
    let lost = brief(&effects).iter().filter(|effect| *effect == "lost a:1").count();
    assert_eq!((lost, &desk.board.health().leadership), (1, &Leadership::Nobody));
}

#[test]
fn a_service_that_is_led_from_now_on_hears_everybody_first() {
    let mut desk = Desk::of(service("ab", Balance::RoundRobin));
    desk.says("a+ b+");
    let effects = desk.reconfigured(service("ab", Balance::Leader));
    assert_eq!(brief(&effects), ["publish nobody", "lost a:1", "lost b:1"]);
    desk.says("b-");
    desk.says("a+");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')));
    let effects = desk.reconfigured(service("ab", Balance::RoundRobin));
    assert_eq!(brief(&effects), ["publish"]);
}

#[test]
fn after_the_lead_was_lost_everybody_is_asked_faster_for_a_while() {
    let mut desk = led("ab");
    desk.says("a+ b- b-");
    let of_b = desk.check('b', 0);
    let pace = |desk: &Desk, later: u64| {
        desk.board.pace(&of_b, desk.now + Duration::from_secs(later)).as_millis()
    };
    assert_eq!(pace(&desk, 0), 1000);
    desk.says("ax");
    assert_eq!((pace(&desk, 0), pace(&desk, 29), pace(&desk, 30)), (100, 100, 1000));
    desk.says("b+");
    assert_eq!(pace(&desk, 0), 1000);
}

/// The board made anew from what was published last.
fn restored(desk: &mut Desk) -> Vec<String> {
    let published = desk.board.health().clone();
    let (board, effects) = ServiceBoard::restored(&desk.service, published, desk.now);
    desk.board = board;
    brief(&effects)
}

#[test]
fn a_board_made_anew_keeps_the_leader_and_publishes_nothing() {
    let mut desk = led("abc");
    desk.says("a- b+ c.");
    assert_eq!(restored(&mut desk), [""; 0]);
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('b')));
    assert_eq!(desk.health('a'), Health::Down);
    assert_eq!(brief(&desk.says("b+")), [""; 0]);
    // That `a` said it does not lead is forgotten: it waits while the leader stands.
    desk.says("a+");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('b')));
    assert_eq!(
        brief(&desk.says("b-")),
        [
            "publish nobody",
            "changed b:1 up to down",
            "lost b:1",
            "publish leader a:1",
            "leader a:1: it alone claims the lead",
        ]
    );
}

#[test]
fn a_board_made_anew_under_nobody_hears_everybody_first() {
    let mut desk = led("ab");
    desk.says("a+");
    assert_eq!(restored(&mut desk), [""; 0]);
    desk.says("a+");
    assert_eq!(desk.board.health().leadership, Leadership::Nobody);
    desk.says("b-");
    assert_eq!(desk.board.health().leadership, Leadership::Leader(key('a')));
}

#[test]
fn a_leader_that_left_the_pool_meanwhile_is_lost_when_the_board_is_made_anew() {
    let mut desk = led("ab");
    desk.says("a+ b-");
    desk.service = service("b", Balance::Leader);
    assert_eq!(restored(&mut desk), ["publish nobody", "lost a:1"]);
}
