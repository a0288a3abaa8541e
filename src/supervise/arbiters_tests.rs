//! Arbiters that die, hang, or are replaced on request, with actors and tasks on them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use tokio::time::sleep;

use crate::supervise::handle::Recipient;
use crate::supervise::slot::{Generation, Loss, SlotId, SlotReplaced};
use crate::supervise::trial::{Chart, DATA, HANG, House, Knock, Trap, eventually};

/// A detached task on the slot's arbiter, as a session is one: counts as long as it lives.
fn session(house: &House) -> Arc<AtomicU32> {
    let ticks = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&ticks);
    assert!(house.slots.spawn(DATA, async move {
        loop {
            sleep(Duration::from_millis(1)).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }));
    ticks
}

fn thread(chart: &Chart) -> Option<ThreadId> {
    *chart.thread.lock().unwrap()
}

fn generation(house: &House) -> Generation {
    house.slots.views().iter().find(|view| view.slot == DATA).unwrap().generation
}

#[test]
fn a_dead_arbiter_is_replaced_and_no_message_is_lost() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        let (other, _) = house.admit("other").await;
        assert_eq!(handle.ask(Knock).await, Ok(1));
        let before = thread(&chart);
        let news = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&news);
        let _subscription = house.slots.subscribe(Recipient::from_fn(move |replaced| {
            heard.lock().unwrap().push(replaced);
            true
        }));
        assert!(house.slots.arbiter(DATA).unwrap().stop());
        // While it dies, is dead, or is already replaced.
        for _ in 0..50 {
            assert!(handle.ask(Knock).await.is_ok());
            assert!(other.ask(Knock).await.is_ok());
        }
        eventually("it is made anew", || chart.makes() == 2 && chart.drops() == 1).await;
        assert!(handle.ask(Knock).await.is_ok());
        assert_ne!(thread(&chart), before);
        assert_eq!(house.view("patient").unwrap().restarts, 0, "not its fault");
        let generation = Generation(1);
        let replaced = SlotReplaced { slot: DATA, generation, why: Loss::Dead, recent: 1, hung: 0 };
        assert_eq!(*news.lock().unwrap(), [replaced]);
    });
}

#[test]
fn a_hung_arbiter_is_replaced_and_what_it_carries_lives_on_when_it_wakes() {
    House::run(|house| async move {
        let (culprit, blamed) = house.admit("culprit").await;
        let (handle, chart) = house.admit("patient").await;
        let ticks = session(&house);
        eventually("the session runs", || ticks.load(Ordering::SeqCst) > 0).await;
        let before = thread(&chart);

        culprit.tell(Trap::Block(HANG * 5));
        // Sent into the hung arbiter, answered by the new one.
        assert_eq!(handle.ask(Knock).await, Ok(1));
        assert_eq!(culprit.ask(Knock).await, Ok(1));
        assert_ne!(thread(&chart), before);
        let silent = ticks.load(Ordering::SeqCst);
        eventually("the session wakes", || ticks.load(Ordering::SeqCst) > silent).await;
        eventually("the old ones end", || chart.drops() == 1 && blamed.drops() == 1).await;
        assert_eq!((chart.makes(), blamed.makes()), (2, 2));
        assert_eq!(handle.ask(Knock).await, Ok(2), "the new one, not the old one");
        assert_eq!(generation(&house), Generation(1));
    });
}

#[test]
fn an_arbiter_is_replaced_on_request_while_its_sessions_go_on() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        let ticks = session(&house);
        let before = thread(&chart);
        assert!(house.slots.restart(DATA));
        eventually("it is made anew", || chart.makes() == 2).await;
        assert_eq!(chart.drops(), 1, "the old one had ended before");
        assert_ne!(thread(&chart), before);
        assert_eq!(handle.ask(Knock).await, Ok(1));
        let seen = ticks.load(Ordering::SeqCst);
        eventually("the session goes on", || ticks.load(Ordering::SeqCst) > seen).await;
        assert!(!house.slots.restart(SlotId::System));
        assert!(!house.slots.restart(SlotId::Data(77)));
    });
}

#[test]
fn an_arbiter_that_was_replaced_ends_with_the_last_session_on_it() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        let old = house.slots.arbiter(DATA).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        assert!(house.slots.spawn(DATA, async move { drop(ended.await) }));
        assert!(house.slots.restart(DATA));
        eventually("it is made anew", || chart.makes() == 2).await;
        sleep(HANG * 2).await;
        assert!(old.alive(), "a session is left");
        drop(end);
        eventually("the old one ends", || !old.alive()).await;
        assert_eq!(handle.ask(Knock).await, Ok(1), "the new one does not");
    });
}

#[test]
fn an_arbiter_that_hung_ends_when_it_wakes_with_nothing_left_on_it() {
    House::run(|house| async move {
        let (culprit, _) = house.admit("culprit").await;
        let old = house.slots.arbiter(DATA).unwrap();
        culprit.tell(Trap::Block(HANG * 3));
        assert_eq!(culprit.ask(Knock).await, Ok(1));
        assert!(old.alive(), "it hangs");
        eventually("the old one ends", || !old.alive()).await;
        assert_eq!(culprit.ask(Knock).await, Ok(2), "the new one does not");
    });
}

#[test]
fn a_slot_that_loses_its_arbiter_again_and_again_keeps_its_actors() {
    House::run(|house| async move {
        let (handle, chart) = house.admit("patient").await;
        for number in 0..5 {
            eventually("it runs", || chart.makes() == number + 1).await;
            assert!(house.slots.arbiter(DATA).unwrap().stop());
            eventually("it is made anew", || chart.makes() == number + 2).await;
        }
        eventually("only one is left", || chart.drops() == 5).await;
        assert!(handle.ask(Knock).await.is_ok());
    });
}

#[test]
fn threads_bear_the_names_of_their_slots() {
    House::run(|house| async move {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        house.slots.spawn(DATA, async move {
            drop(sender.send(std::fs::read_to_string("/proc/thread-self/comm")));
        });
        if let Ok(name) = receiver.await.unwrap() {
            assert_eq!(name.trim_end(), "stagedoor-data0");
        }
    });
}
