//! Any component can be broken without its cooperation, and heals.

use crate::supervise::chaos::{Fault, Inject};
use crate::supervise::exit::Exit;
use crate::supervise::handle::Ref;
use crate::supervise::intensity::Intensity;
use crate::supervise::supervisor::{Group, StartChild};
use crate::supervise::trial::{DATA, HANG, House, Knock, eventually, patient};

fn check(fault: Fault, last_exit: &Exit) {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
        let inject = Inject { component: "patient".into(), fault };
        assert_eq!(house.root.ask(inject).await, Ok(true));
        eventually("it was made anew", || chart.makes() == 2 && chart.drops() == 1).await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
        let exit = house.view("patient").unwrap().last_exit.unwrap();
        assert_eq!(std::mem::discriminant(&exit), std::mem::discriminant(last_exit), "{exit}");
    });
}

#[test]
fn an_injected_panic_heals() {
    check(Fault::Panic, &Exit::Panic(String::new()));
}

#[test]
fn an_injected_wedge_is_seen_as_one_and_heals() {
    check(Fault::Wedge, &Exit::Wedged);
}

#[test]
fn an_injected_hang_is_seen_as_the_arbiters_and_heals() {
    check(Fault::Hang(HANG * 5), &Exit::ArbiterLost);
}

#[test]
fn an_injected_stop_heals() {
    check(Fault::Stop, &Exit::Normal);
}

#[test]
fn a_killed_arbiter_heals() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert!(house.slots.kill(DATA));
        eventually("it was made anew", || chart.makes() == 2).await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
    });
}

#[test]
fn supervisors_break_and_heal_too_and_their_children_never_notice() {
    House::run(|house| async move {
        let group = Group::new("data", &house.slots, Intensity::default(), 3);
        house.root.ask(StartChild(group.spec())).await.unwrap();
        let (handle, chart) = (Ref::vacant("patient"), std::sync::Arc::default());
        group.handle().ask(StartChild(patient(&handle, DATA, &chart))).await.unwrap();
        for (number, fault) in [Fault::Panic, Fault::Wedge, Fault::Stop].into_iter().enumerate() {
            assert_eq!(house.root.ask(Inject { component: "data".into(), fault }).await, Ok(true));
            eventually("it was restarted", || {
                house.view("data").unwrap().restarts == number as u64 + 1
            })
            .await;
            // Heard by whichever incarnation is next.
            let nobody = Inject { component: "nobody".into(), fault };
            assert_eq!(group.handle().ask(nobody).await, Ok(false));
        }
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!((chart.makes(), chart.drops()), (1, 0));
        let inject = Inject { component: "patient".into(), fault: Fault::Panic };
        assert_eq!(house.root.ask(inject).await, Ok(true), "however deep it is");
        eventually("it was made anew", || chart.makes() == 2).await;
    });
}
