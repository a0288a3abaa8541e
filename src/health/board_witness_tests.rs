//! What the board makes of witnesses: who leads, whom clients wait for, and what people are told.

use std::sync::Arc;
use std::time::Duration;

use crate::config::check::HealthSpec;
use crate::config::model::{Balance, Service};
use crate::health::board_harness::{Desk, brief, key, service};
use crate::health::leader_witness_tests::{asked, three};
use crate::health::recall::recall;
use crate::health::snapshot::Leadership;

/// Of three witnesses, `agree` must agree; the targets lead.
fn witnessed(agree: u32, targets: &str) -> Service {
    let led = service(targets, Balance::Leader);
    let spec = led.health.as_deref().unwrap().clone();
    let spec = HealthSpec { witness: Some(three(agree, targets)), ..spec };
    Service { health: Some(Arc::new(spec)), ..led }
}

impl Desk {
    /// A witness is asked about each target, and names one; the effects about each in turn.
    fn witness(&mut self, who: char, names: char) -> Vec<String> {
        let targets: Vec<char> = self
            .service
            .pool
            .targets
            .iter()
            .map(|target| target.key.as_str().chars().next().unwrap())
            .collect();
        targets
            .into_iter()
            .flat_map(|target| {
                let letter = match names {
                    '.' => '.',
                    named if named == target => '+',
                    _ => '-',
                };
                brief(&self.ran(Arc::new(asked(who, target)), letter))
            })
            .collect()
    }

    fn alarms(&self) -> Vec<String> {
        recall(&self.board, self.now).alarms
    }

    fn leader(&self) -> Leadership {
        self.board.health().leadership.clone()
    }
}

/// `a` leads by the agreement of all three.
fn led_by_a() -> Desk {
    let mut desk = Desk::of(witnessed(2, "ab"));
    desk.says("a+ b-");
    for who in "123".chars() {
        desk.witness(who, 'a');
    }
    assert_eq!(desk.leader(), Leadership::Leader(key('a')));
    desk
}

#[test]
fn clients_wait_for_the_first_word_of_the_witnesses_too() {
    let mut desk = Desk::of(witnessed(2, "ab"));
    desk.says("a+ b-");
    assert!(desk.board.health().awaiting_first);
    desk.witness('1', 'a');
    desk.witness('2', 'a');
    assert_eq!((desk.leader(), desk.board.health().awaiting_first), (Leadership::Nobody, true));
    assert_eq!(
        desk.witness('3', '.'),
        ["publish leader a:1", "leader a:1: it alone claims the lead"]
    );
    assert!(!desk.board.health().awaiting_first);
}

#[test]
fn witnesses_that_never_speak_delay_the_start_by_their_timeout_only_and_then_fail_closed() {
    let mut desk = Desk::of(witnessed(2, "ab"));
    desk.says("a+ b-");
    let due = desk.board.next_deadline().unwrap() - desk.now;
    assert!(due <= Duration::from_millis(1200));
    assert_eq!(desk.alarms(), [""; 0], "it has only begun");
    assert_eq!(brief(&desk.after(due)), ["publish nobody"]);
    assert!(!desk.board.health().awaiting_first);
    let alarm = "nobody leads: a:1 claims the lead, and waits: only 0 of the 2 witnesses that it \
                 needs agree about it (1:1 not heard yet, 2:1 not heard yet, 3:1 not heard yet)";
    assert_eq!(desk.alarms(), [alarm]);
    assert_eq!(brief(&desk.after(Duration::from_secs(10))), [format!("alarm: {alarm}")]);
    assert_eq!(brief(&desk.after(Duration::from_secs(100))), [""; 0], "it is told once");
    assert_eq!(desk.board.next_deadline(), None);
}

#[test]
fn a_leader_that_its_witnesses_leave_loses_its_sessions_at_once() {
    let mut desk = led_by_a();
    assert_eq!(desk.witness('1', 'b'), [""; 0]);
    assert_eq!(
        desk.witness('2', 'b'),
        [
            "publish nobody",
            "lost a:1",
            "no leader: too few witnesses agree about the leader, and nobody takes its place",
        ]
    );
    let effects = brief(&desk.says("b+"));
    assert_eq!(effects[0], "publish leader b:1");
    assert!(effects.last().unwrap().starts_with("leader b:1: it was promoted"), "{effects:?}");
}

#[test]
fn a_promoted_target_that_waits_is_an_alarm_after_a_while_and_shown_at_once() {
    let mut desk = led_by_a();
    assert_eq!(brief(&desk.says("b+")), ["publish leader a:1", "changed b:1 down to up"]);
    let alarms = desk.alarms();
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert!(alarms[1].starts_with("b:1 was promoted, and waits: only 0 of the 2"), "{alarms:?}");
    let told = brief(&desk.after(Duration::from_secs(10)));
    assert_eq!(told, [format!("alarm: {}", alarms[1])]);
    desk.witness('1', 'b');
    desk.witness('2', 'b');
    assert_eq!(desk.leader(), Leadership::Leader(key('b')));
    assert!(!desk.alarms().iter().any(|alarm| alarm.contains("waits")), "{:?}", desk.alarms());
}

#[test]
fn a_leader_that_stands_by_silent_witnesses_is_an_alarm() {
    let mut desk = led_by_a();
    desk.witness('1', '.');
    assert_eq!(desk.alarms(), [""; 0]);
    desk.witness('2', '.');
    assert_eq!(
        desk.alarms(),
        ["a:1 leads, and only 1 of the 2 witnesses that it needs agree now: if it stays so it \
          loses the lead (1:1 silent, agreed before, 2:1 silent, agreed before, 3:1 agrees)"]
    );
    desk.witness('2', 'a');
    assert_eq!(desk.alarms(), [""; 0]);
}

#[test]
fn witnesses_that_each_name_another_are_an_alarm() {
    let mut desk = Desk::of(witnessed(2, "ab"));
    desk.says("a+ b+");
    desk.witness('1', 'a');
    desk.witness('2', 'b');
    desk.witness('3', '-');
    let divided = "the witnesses disagree, each about another: 1:1 about a:1; 2:1 about b:1";
    assert!(desk.alarms().iter().any(|alarm| alarm == divided), "{:?}", desk.alarms());
    let told = brief(&desk.after(Duration::from_secs(10)));
    assert!(told.contains(&format!("alarm: {divided}")), "{told:?}");
    assert!(desk.witness('3', 'b').contains(
        &"leader b:1: of those that claim the lead its witnesses agree about it alone".to_owned()
    ));
    assert!(!desk.alarms().iter().any(|alarm| alarm == divided));
}

#[test]
fn what_witnesses_said_outlives_a_reload_and_new_ones_get_their_time() {
    let mut desk = led_by_a();
    assert_eq!(brief(&desk.reconfigured(witnessed(3, "ab"))), [""; 0]);
    assert_eq!(desk.leader(), Leadership::Leader(key('a')));
    let mut other = witnessed(2, "ab");
    let spec = other.health.as_deref().unwrap().clone();
    let mut witness = three(2, "ab");
    for check in &mut witness.checks {
        Arc::make_mut(check).timeout = Duration::from_secs(2);
    }
    other.health = Some(Arc::new(HealthSpec { witness: Some(witness), ..spec }));
    desk.reconfigured(other);
    assert_eq!(desk.leader(), Leadership::Leader(key('a')), "they have not spoken yet");
    let effects = brief(&desk.after(Duration::from_millis(2200)));
    assert!(effects.contains(&"lost a:1".to_owned()), "{effects:?}");
    assert_eq!(brief(&desk.reconfigured(service("ab", Balance::Leader)))[0], "publish leader a:1");
}

#[test]
fn a_witness_that_fell_silent_is_asked_faster() {
    let mut desk = led_by_a();
    let check = asked('1', 'a');
    assert_eq!(desk.board.pace(&check, desk.now), Duration::from_secs(1));
    desk.witness('1', '.');
    assert_eq!(desk.board.pace(&check, desk.now), Duration::from_millis(100));
    desk.witness('1', 'b');
    assert_eq!(desk.board.pace(&check, desk.now), Duration::from_secs(1));
}
