//! Every way in which an actor of actix is known to break, on real arbiters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use crate::supervise::exit::Exit;
use crate::supervise::handle::Ref;
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::GiveUp;
use crate::supervise::supervisor::{RestartChild, StartChild, StopChild};
use crate::supervise::trial::{
    AnswerLater, Bomb, Chart, DATA, HANG, House, Knock, Trap, eventually, patient,
};
use crate::supervise::view::ChildState;

/// Springs the trap with ten messages behind it: the actor is made anew, the ten are answered by
/// it, and its neighbour on the same arbiter notices nothing.
fn check(trap: Trap) {
    House::run(|house| async move {
        let (neighbour, healthy) = house.admit("neighbour").await;
        let (handle, chart) = house.admit("patient").await;
        assert_eq!(handle.ask(Knock).await, Ok(1));

        assert!(handle.tell(trap));
        let answers = join_all((0..10).map(|_| handle.ask(Knock))).await;
        assert_eq!(answers, (1..=10).map(Ok).collect::<Vec<_>>(), "{trap:?}: of one new actor");

        assert_eq!((chart.makes(), chart.drops()), (2, 1), "{trap:?}");
        assert_eq!(chart.drops_in_panic.load(Ordering::SeqCst), 0, "{trap:?}");
        let view = house.view("patient").unwrap();
        assert_eq!((view.restarts, view.state), (1, ChildState::Running), "{trap:?}");
        assert_eq!(neighbour.ask(Knock).await, Ok(1));
        assert_eq!((healthy.makes(), healthy.drops()), (1, 0), "{trap:?}: the neighbour");
    });
}

#[test]
fn actix_closes_the_mailbox_for_good_when_a_handler_panics_and_we_do_not() {
    check(Trap::PanicInHandler);
}

#[test]
fn actix_kills_the_actor_when_a_future_of_its_context_panics_and_we_restart_it() {
    check(Trap::PanicInWait);
}

#[test]
fn actix_keeps_the_value_when_an_actor_stops_and_we_make_it_anew() {
    check(Trap::Stop);
    check(Trap::Terminate);
}

#[test]
fn a_panic_in_stopping_or_in_drop_is_a_panic_like_any_other() {
    check(Trap::PanicInStopping);
    check(Trap::PanicInDrop);
}

#[test]
fn a_second_panic_while_unwinding_would_abort_the_process_and_never_happens() {
    check(Trap::PanicEverywhere);
}

#[test]
fn a_payload_that_panics_when_dropped_does_no_harm() {
    check(Trap::PanicWithPayloadThatPanics);
}

#[test]
fn an_actor_stuck_in_a_wait_is_found_and_made_anew() {
    check(Trap::WaitForEver);
}

#[test]
fn panics_of_futures_that_run_beside_the_messages_restart_the_actor() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        for (number, trap) in [Trap::PanicInSpawned, Trap::PanicInInterval].into_iter().enumerate()
        {
            assert!(handle.tell(trap));
            let makes = u32::try_from(number).unwrap() + 2;
            eventually("it is made anew", || chart.makes() == makes).await;
        }
        assert!(handle.ask(AnswerLater).await.is_err(), "its question died with it");
        eventually("it is made anew", || chart.makes() == 4).await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
    });
}

#[test]
fn a_panic_when_made_or_in_started_is_a_failed_start_and_tried_again() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        chart.panics_when_made.store(2, Ordering::SeqCst);
        chart.panics_in_started.store(2, Ordering::SeqCst);
        assert!(handle.tell(Trap::PanicInHandler));
        assert_eq!(handle.ask(Knock).await, Ok(1), "asked while it could not start");
        assert_eq!(house.view("patient").unwrap().restarts, 5);
        assert_eq!(chart.makes() - chart.drops(), 1);
    });
}

#[test]
fn a_stop_in_started_does_not_storm_as_it_does_in_actix() {
    House::run(|house| async move {
        let (neighbour, _) = house.admit("neighbour").await;
        let (handle, chart) = (Ref::vacant("patient"), Arc::new(Chart::default()));
        let intensity = Intensity { restarts: 3, window: Duration::from_secs(60) };
        chart.stops_in_started.store(u32::MAX, Ordering::SeqCst);
        let spec = patient(&handle, DATA, &chart).intensity(intensity).on_give_up(GiveUp::Park);
        house.root.ask(StartChild(spec)).await.unwrap();
        eventually("it is parked", || house.view("patient").unwrap().gave_up).await;
        assert_eq!(chart.makes(), 4);
        assert_eq!(neighbour.ask(Knock).await, Ok(1));
    });
}

#[test]
fn a_thousand_restarts_leave_nothing_behind() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        for number in 1..=1000 {
            assert_eq!(house.root.ask(RestartChild("patient".into())).await, Ok(true));
            eventually("it is made anew", || chart.makes() == number + 1).await;
            assert_eq!(chart.drops(), number, "the old one was dropped before");
        }
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!(house.root.ask(StopChild("patient".into())).await, Ok(true));
        eventually("all are dropped", || chart.makes() == chart.drops()).await;
        eventually("the handle is vacant", || handle.is_vacant()).await;
        assert!(!handle.tell(Trap::Stop));
    });
}

#[test]
fn a_restart_on_request_reaches_an_actor_that_is_stuck() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        assert!(handle.tell(Trap::WaitForEver));
        eventually("it is stuck", || chart.traps.load(Ordering::SeqCst) == 1).await;
        assert_eq!(house.root.ask(RestartChild("patient".into())).await, Ok(true));
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!((chart.makes(), chart.drops()), (2, 1));
        let view = house.view("patient").unwrap();
        assert_eq!((view.restarts, view.last_exit), (1, Some(Exit::Requested)), "it did not fail");
        assert_eq!(house.root.ask(RestartChild("nobody".into())).await, Ok(false));
    });
}

#[test]
fn an_actor_on_a_slow_arbiter_is_not_taken_for_stuck() {
    House::run(|house| async move {
        let (slow, _) = house.admit("slow").await;
        let (handle, chart) = (Ref::vacant("patient"), Arc::new(Chart::default()));
        let spec = patient(&handle, DATA, &chart).hang(HANG / 16);
        assert_eq!(house.root.ask(StartChild(spec)).await, Ok(true));
        for _ in 0..6 {
            // Longer than the patient may be silent, shorter than its arbiter may.
            slow.tell(Trap::Block(HANG / 8));
            assert!(handle.ask(Knock).await.is_ok());
        }
        assert_eq!(chart.makes(), 1);
    });
}

#[test]
fn what_waits_in_a_mailbox_is_told_when_the_component_is_stopped_for_good() {
    House::run(|house| async move {
        let (handle, _) = house.admit("patient").await;
        handle.tell(Trap::WaitForEver);
        let waiting = handle.ask(Knock);
        // Its drop panics, on the supervisor's thread.
        handle.tell(Bomb);
        assert_eq!(house.root.ask(StopChild("patient".into())).await, Ok(true));
        assert!(waiting.await.is_err());
        let (next, _) = house.admit("patient").await;
        assert_eq!(next.ask(Knock).await, Ok(1), "the name is free again, the supervisor well");
    });
}
