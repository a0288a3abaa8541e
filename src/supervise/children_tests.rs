//! The decisions of a supervisor, one by one.

use std::time::Duration;

use crate::supervise::children_world::{PATIENCE, WINDOW, World, boom};
use crate::supervise::effect::{Decision, Effect, Ending};
use crate::supervise::exit::Exit;
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::{History, Intensity};
use crate::supervise::policy::{GiveUp, Policy, Restart};
use crate::supervise::slot::{Loss, SlotId};
use crate::supervise::view::ChildState;

#[test]
fn a_failed_child_starts_again_after_its_back_off_and_nobody_else_notices() {
    let mut world = World::with(&[("a", GiveUp::Park), ("b", GiveUp::Park)]);
    let b = world.epoch_of(&"b".into());
    world.fall("a", boom());
    assert!(matches!(world.state("a"), ChildState::BackingOff(_)));
    world.pass(Duration::from_millis(13));
    assert_eq!(world.state("a"), ChildState::Running);
    assert_eq!(world.epoch_of(&"b".into()), b);
}

#[test]
fn one_failure_too_many_parks_a_child_which_is_tried_again_until_it_lives_quietly() {
    let mut world = World::with(&[("noisy", GiveUp::Park)]);
    for _ in 0..3 {
        world.fall("noisy", boom());
        world.pass(Duration::from_secs(1));
    }
    assert!(!world.view("noisy").gave_up);
    for _ in 0..5 {
        world.fall("noisy", boom());
        assert!(matches!(world.state("noisy"), ChildState::Parked(_)));
        world.pass(Duration::from_secs(5));
        assert_eq!(world.state("noisy"), ChildState::Running);
    }
    world.pass(WINDOW);
    world.fall("noisy", boom());
    assert!(matches!(world.last_decision(), Decision::Restart(..)));
    assert!(world.given_up.is_empty());
}

#[test]
fn one_failure_too_many_restarts_the_group_in_order_once_all_have_ended() {
    let mut world =
        World::with(&[("a", GiveUp::RestartGroup), ("b", GiveUp::Park), ("c", GiveUp::Park)]);
    for _ in 0..3 {
        world.fall("a", boom());
        world.pass(Duration::from_secs(1));
    }
    world.fall("b", boom());
    world.fall("a", boom());
    assert!(matches!(world.last_decision(), Decision::RestartGroup(_)));
    assert_eq!(world.state("c"), ChildState::Ending);
    assert_eq!(world.state("a"), ChildState::Waiting);
    world.live.sort_by_key(|(name, ..)| name.clone());
    world.obey();
    world.pass(Duration::from_secs(1));
    let order: Vec<&str> = world.live.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(order, ["a", "b", "c"]);
}

#[test]
fn a_group_that_fails_too_often_gives_up_to_the_one_above_once() {
    let mut world = World::with(&[("a", GiveUp::RestartGroup), ("noisy", GiveUp::Park)]);
    world.children.group = History::new(Intensity { restarts: 2, window: WINDOW });
    for _ in 0..10 {
        world.fall("noisy", boom());
        world.pass(Duration::from_secs(5));
    }
    assert!(world.given_up.is_empty(), "a child that parks never brings its group down");
    for _ in 0..5 {
        world.fall("a", boom());
        world.pass(Duration::from_secs(5));
    }
    assert_eq!(world.given_up, ["a panicked: boom (more than 2 restarts in 1m)"]);
    assert_eq!(world.state("a"), ChildState::Running, "it is tried further meanwhile");
}

#[test]
fn a_supervisor_below_that_gives_up_is_renewed_with_its_children() {
    let mut world = World::with(&[("below", GiveUp::Escalate)]);
    world.children.gave_up(&"below".into(), "why".to_owned(), world.now);
    let effects: Vec<Effect> = std::iter::from_fn(|| world.children.next_effect()).collect();
    let end = Effect::End { name: "below".into(), how: Ending::Renew };
    assert!(effects.contains(&end), "{effects:?}");
}

#[test]
fn a_restart_that_somebody_asks_for_is_done_at_once_and_forgives() {
    let mut world = World::with(&[("a", GiveUp::Park)]);
    for _ in 0..4 {
        world.fall("a", boom());
        world.pass(Duration::from_secs(1));
    }
    assert!(matches!(world.state("a"), ChildState::Parked(_)));
    assert!(world.children.restart(&"a".into(), world.now));
    world.perform();
    assert_eq!(world.state("a"), ChildState::Running);
    assert!(!world.view("a").gave_up);

    let before = world.epoch_of(&"a".into());
    assert!(world.children.restart(&"a".into(), world.now));
    world.perform();
    world.obey();
    assert!(world.epoch_of(&"a".into()) > before);
    assert!(!world.children.restart(&"nobody".into(), world.now));
}

#[test]
fn who_is_restarted_after_a_stop_of_its_own_depends_on_its_spec() {
    for (restart, exit, lives) in [
        (Restart::Permanent, Exit::Normal, true),
        (Restart::Transient, Exit::Normal, false),
        (Restart::Transient, boom(), true),
        (Restart::Temporary, boom(), false),
    ] {
        let mut world = World::new(0, 10);
        world.add("a", Policy { restart, ..Policy::default() }, SlotId::Data(0));
        world.fall("a", exit);
        world.pass(Duration::from_secs(1));
        assert_eq!(!world.live.is_empty(), lives);
        assert_eq!(world.closed.is_empty(), lives);
    }
}

#[test]
fn a_dead_arbiter_costs_its_children_no_restart_that_counts() {
    let mut world = World::with(&[("a", GiveUp::Park), ("b", GiveUp::Park)]);
    world.fall("a", Exit::ArbiterLost);
    assert_eq!(world.state("a"), ChildState::Waiting);
    world.replace(SlotId::Data(0), Loss::Dead);
    assert_eq!(world.state("a"), ChildState::Running);
    assert_eq!(world.state("b"), ChildState::Ending, "its own report is still on the way");
    world.fall("b", Exit::ArbiterLost);
    assert_eq!(world.state("b"), ChildState::Running);
    assert_eq!(world.view("a").restarts, 0);
}

#[test]
fn a_hung_arbiter_is_not_waited_for_and_one_replaced_on_request_is_but_not_for_ever() {
    let mut world = World::with(&[("a", GiveUp::Park)]);
    let first = world.epoch_of(&"a".into());
    world.replace(SlotId::Data(0), Loss::Hung);
    let second = world.epoch_of(&"a".into());
    assert!(second > first);
    world.replace(SlotId::Data(0), Loss::Requested);
    assert_eq!(world.state("a"), ChildState::Ending);
    world.pass(PATIENCE);
    assert_eq!(world.last_decision(), Decision::Abandon);
    assert!(world.epoch_of(&"a".into()) > second);
}

#[test]
fn all_stop_one_by_one_in_reverse_order_and_none_starts_again() {
    let mut world = World::with(&[("a", GiveUp::Park), ("b", GiveUp::Park), ("c", GiveUp::Park)]);
    world.fall("b", boom());
    world.children.stop_all(world.now);
    world.perform();
    assert_eq!(world.state("a"), ChildState::Running, "c has not ended yet");
    world.obey();
    assert_eq!(world.closed, ["c", "b", "a"].map(ComponentName::from));
    assert!(world.stopped && world.children.is_stopped());
    assert!(!world.add("d", Policy::default(), SlotId::Data(0)));
}

#[test]
fn a_child_that_never_confirms_its_end_does_not_hold_up_a_shutdown() {
    let mut world = World::with(&[("a", GiveUp::Park), ("stuck", GiveUp::Park)]);
    world.children.stop_all(world.now);
    world.perform();
    world.pass(Policy::default().grace.unwrap());
    world.obey();
    assert!(world.stopped);
}

#[test]
fn a_crash_of_the_supervisor_in_the_middle_of_a_start_is_made_good_by_the_next() {
    let mut world = World::with(&[("a", GiveUp::Park)]);
    world.fall("a", boom());
    world.now += Duration::from_secs(1);
    world.children.tick(world.now);
    assert!(matches!(world.children.next_effect(), Some(Effect::Start { .. })));
    world.resume();
    assert!(world.epoch_of(&"a".into()).is_some());
}
