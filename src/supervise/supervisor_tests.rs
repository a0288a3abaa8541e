//! Supervisors under supervisors: restarts that leave the children alone, giving up, stopping.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::dev::SendError;
use actix::{Actor, Context, Handler};

use crate::supervise::backoff::Backoff;
use crate::supervise::child::ChildSpec;
use crate::supervise::exit::Exit;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::panics::guarded;
use crate::supervise::policy::GiveUp;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{
    Group, ListChildren, RestartChild, StartChild, StopAll, StopChild,
};
use crate::supervise::trial::{Chart, DATA, House, Knock, Patient, Trap, eventually, patient};
use crate::supervise::view::ChildKind;

const FEW: Intensity = Intensity { restarts: 2, window: Duration::from_secs(60) };

/// A group under the root with two patients in it, the first of which may fall twice.
async fn admit_group(house: &House, give_up: GiveUp) -> [(Ref<Patient>, Arc<Chart>); 2] {
    let group = Group::new("data", &house.slots, Intensity { restarts: 50, ..FEW }, 3);
    assert!(house.root.ask(StartChild(group.spec())).await.unwrap());
    let patients = ["first", "second"].map(|name| (Ref::vacant(name), Arc::default()));
    for (number, (handle, chart)) in patients.iter().enumerate() {
        let mut spec = patient(handle, DATA, chart).on_give_up(give_up);
        if number == 0 {
            spec = spec.intensity(FEW);
        }
        assert!(group.handle().ask(StartChild(spec)).await.unwrap());
    }
    patients
}

#[test]
fn children_live_on_while_their_supervisor_is_restarted() {
    House::run(|house| async move {
        let [(handle, chart), _] = admit_group(&house, GiveUp::Park).await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!(house.root.ask(RestartChild("data".into())).await, Ok(true));
        // Asked of a supervisor that is being made anew: the question waits in its mailbox.
        assert_eq!(house.root.ask(RestartChild("second".into())).await, Ok(true));
        assert_eq!(handle.ask(Knock).await, Ok(2));
        assert_eq!((chart.makes(), chart.drops()), (1, 0));
        handle.tell(Trap::PanicInHandler);
        assert_eq!(handle.ask(Knock).await, Ok(1), "and are looked after by the new one");
    });
}

#[test]
fn one_that_falls_too_often_has_its_group_restarted_and_nobody_beyond() {
    House::run(|house| async move {
        let (beyond, unharmed) = house.admit("beyond").await;
        let [(first, _), (second, chart)] = admit_group(&house, GiveUp::RestartGroup).await;
        assert_eq!(second.ask(Knock).await, Ok(1));
        for _ in 0..3 {
            first.tell(Trap::PanicInHandler);
            assert_eq!(first.ask(Knock).await, Ok(1));
        }
        eventually("the second was restarted", || chart.makes() == 2 && chart.drops() == 1).await;
        assert_eq!(beyond.ask(Knock).await, Ok(1));
        assert_eq!(unharmed.makes(), 1);
        assert!(house.given_up.lock().unwrap().is_empty());
    });
}

#[test]
fn a_group_that_gives_up_is_renewed_by_the_one_above_and_the_root_tells_the_process() {
    House::run(|house| async move {
        let group = Group::new("data", &house.slots, FEW, 3);
        assert!(house.root.ask(StartChild(group.spec().intensity(FEW))).await.unwrap());
        let (handle, chart) = (Ref::vacant("patient"), Arc::new(Chart::default()));
        let (quiet, other) = (Ref::vacant("quiet"), Arc::new(Chart::default()));
        let backoff = Backoff { max: Duration::from_millis(50), ..Backoff::default() };
        let spec = patient(&handle, DATA, &chart).backoff(backoff);
        group.handle().ask(StartChild(spec)).await.unwrap();
        group.handle().ask(StartChild(patient(&quiet, DATA, &other))).await.unwrap();
        assert_eq!(quiet.ask(Knock).await, Ok(1));
        while house.given_up.lock().unwrap().is_empty() {
            handle.tell(Trap::PanicInHandler);
            assert!(handle.ask(Knock).await.is_ok());
        }
        let told = house.given_up.lock().unwrap()[0].clone();
        assert_eq!(told.name.as_str(), "root");
        assert!(told.reason.contains("data gave up: patient panicked"), "{}", told.reason);
        assert!(other.makes() > 1, "the group was renewed before it came to that");
        assert!(quiet.ask(Knock).await.is_ok(), "what runs goes on, so that it can be drained");
    });
}

/// Says its name when it goes.
struct Leaving(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Actor for Leaving {
    type Context = Context<Self>;
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn everything_stops_in_reverse_order_however_deep_and_the_handles_are_vacant() {
    House::run(|house| async move {
        let (left, made) = (Arc::default(), Arc::new(AtomicU32::new(0)));
        let spec = |name: &'static str| {
            let (left, made) = (Arc::clone(&left), Arc::clone(&made));
            ChildSpec::new(&Ref::vacant(name), DATA, move |_| {
                made.fetch_add(1, Ordering::SeqCst);
                Leaving(name, Arc::clone(&left))
            })
        };
        let group = Group::new("group", &house.slots, FEW, 3);
        house.root.ask(StartChild(spec("a"))).await.unwrap();
        house.root.ask(StartChild(group.spec())).await.unwrap();
        group.handle().ask(StartChild(spec("group/b"))).await.unwrap();
        group.handle().ask(StartChild(spec("group/c"))).await.unwrap();
        house.root.ask(StartChild(spec("d"))).await.unwrap();
        eventually("all are made", || made.load(Ordering::SeqCst) == 4).await;

        house.root.ask(StopAll).await.unwrap();
        assert_eq!(*left.lock().unwrap(), ["d", "group/c", "group/b", "a"]);
        eventually("no handle leads anywhere", || {
            house.root.is_vacant() && group.handle().is_vacant()
        })
        .await;
        assert!(!house.root.tell(StartChild(spec("e"))));
    });
}

#[test]
fn the_tree_shows_every_child_at_every_depth() {
    House::run(|house| async move {
        let [(first, _), _] = admit_group(&house, GiveUp::Park).await;
        first.tell(Trap::PanicInHandler);
        first.ask(Knock).await.unwrap();
        let tree = house.root.ask(ListChildren).await.unwrap();
        assert_eq!(tree.len(), 1);
        assert_eq!((tree[0].kind, tree[0].slot), (ChildKind::Supervisor, SlotId::System));
        let child = &tree[0].children[0];
        assert_eq!(
            (child.name.as_str(), child.restarts, child.kind),
            ("first", 1, ChildKind::Worker)
        );
        assert!(matches!(&child.last_exit, Some(Exit::Panic(text)) if text.starts_with("trap")));
        assert_eq!(tree[0].children[1].name.as_str(), "second");
    });
}

#[test]
fn a_child_is_refused_whose_name_is_taken_or_whose_slot_does_not_exist() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        let again = patient(&Ref::vacant("patient"), DATA, &chart);
        assert_eq!(house.root.ask(StartChild(again)).await, Ok(false));
        let nowhere = patient(&Ref::vacant("nowhere"), SlotId::Data(99), &chart);
        assert_eq!(house.root.ask(StartChild(nowhere)).await, Ok(false));
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!(house.root.ask(StopChild("nobody".into())).await, Ok(false));
    });
}

#[test]
fn one_of_the_same_name_starts_as_soon_as_the_one_that_was_told_to_stop_is_gone() {
    House::run(|house| async move {
        let (old, chart) = house.admit("patient").await;
        assert!(old.tell(Trap::WaitForEver));
        eventually("it is stuck", || chart.traps.load(Ordering::SeqCst) == 1).await;
        // Both are asked at once, as a reload does: the old one cannot have ended in between.
        let new: Ref<Patient> = Ref::vacant("patient");
        let (stopped, started) = (
            house.root.ask(StopChild("patient".into())),
            house.root.ask(StartChild(patient(&new, DATA, &chart))),
        );
        assert_eq!((stopped.await, started.await), (Ok(true), Ok(true)));
        eventually("the new one runs", || !new.is_vacant()).await;
        assert_eq!(new.ask(Knock).await, Ok(1));
        assert_eq!((chart.makes(), old.is_vacant()), (2, true));
        assert_eq!(house.view("patient").map(|view| view.restarts), Some(0));
        // And one that is stopped before it could start never does.
        assert!(new.tell(Trap::WaitForEver));
        let third: Ref<Patient> = Ref::vacant("patient");
        let asked = (
            house.root.ask(StopChild("patient".into())),
            house.root.ask(StartChild(patient(&third, DATA, &chart))),
            house.root.ask(StopChild("patient".into())),
        );
        assert_eq!((asked.0.await, asked.1.await, asked.2.await), (Ok(true), Ok(true), Ok(true)));
        eventually("all are dropped", || chart.makes() == chart.drops()).await;
        eventually("the child is forgotten", || house.view("patient").is_none()).await;
        assert!(third.is_vacant());
    });
}

#[test]
fn a_group_that_is_stopped_takes_its_children_with_it() {
    House::run(|house| async move {
        let [(first, chart), (second, _)] = admit_group(&house, GiveUp::Park).await;
        assert_eq!(first.ask(Knock).await, Ok(1));
        assert_eq!(house.root.ask(StopChild("data".into())).await, Ok(true));
        eventually("its children are gone", || first.is_vacant() && second.is_vacant()).await;
        assert_eq!((chart.makes(), chart.drops()), (1, 1));
        eventually("it is gone", || house.group.tree().is_empty()).await;
    });
}

#[test]
fn a_handle_leads_nowhere_until_its_actor_is_started_and_sheds_beyond_its_capacity() {
    House::run(|house| async move {
        let (handle, chart) = (Ref::vacant("patient"), Arc::new(Chart::default()));
        let hears: Recipient<Knock> = handle.recipient();
        assert!(handle.is_vacant() && !hears.tell(Knock));
        assert!(matches!(handle.offer(Knock), Err(SendError::Closed(Knock))));
        assert!(handle.ask(Knock).await.is_err());

        let spec = patient(&handle, DATA, &chart).mailbox_capacity(8);
        house.root.ask(StartChild(spec)).await.unwrap();
        assert!(hears.tell(Knock));
        handle.tell(Trap::WaitForEver);
        assert!(handle.ask(Knock).await.is_ok(), "it is made anew meanwhile");
        handle.tell(Trap::WaitForEver);
        let taken = (0..100).take_while(|_| handle.offer(Knock).is_ok()).count();
        assert!((7..=10).contains(&taken), "{taken}");
    });
}

/// Tells itself without end.
struct Chatterbox(Ref<Self>);

impl Actor for Chatterbox {
    type Context = Context<Self>;
}

impl Handler<Trap> for Chatterbox {
    type Result = ();

    fn handle(&mut self, trap: Trap, _: &mut Context<Self>) {
        self.0.tell(trap);
    }
}

#[test]
fn a_flood_of_one_actor_does_not_starve_its_arbiter_as_it_does_in_actix() {
    House::run(|house| async move {
        let (neighbour, chart) = house.admit("neighbour").await;
        let handle = Ref::<Chatterbox>::vacant("chatterbox");
        let me = handle.clone();
        let spec = ChildSpec::new(&handle, DATA, move |_| Chatterbox(me.clone()));
        house.root.ask(StartChild(spec)).await.unwrap();
        assert!(handle.tell(Trap::Stop));
        for number in 1..=100 {
            assert_eq!(neighbour.ask(Knock).await, Ok(number));
        }
        assert_eq!(chart.makes(), 1, "its arbiter was not taken for hung");
        assert_eq!(house.root.ask(StopChild("chatterbox".into())).await, Ok(true));
        eventually("even it can be stopped", || handle.is_vacant()).await;
    });
}

#[test]
fn a_panic_under_the_lock_of_the_table_does_not_spread() {
    House::run(|house| async move {
        let (handle, _) = house.admit("patient").await;
        let group = Arc::clone(&house.group);
        let poisoned = guarded(|| group.table.decide(|_, _| panic!("trap: a poisoned mutex")));
        assert!(poisoned.is_err());
        assert_eq!(house.root.ask(RestartChild("patient".into())).await, Ok(true));
        assert_eq!(handle.ask(Knock).await, Ok(1));
    });
}

#[test]
fn a_test_may_run_an_actor_alone_under_a_handle() {
    actix_rt::System::new().block_on(async {
        let chart = Arc::new(Chart::default());
        let handle = Ref::unsupervised("patient", |_| Patient::make(&chart));
        assert_eq!(handle.ask(Knock).await, Ok(1));
    });
}
