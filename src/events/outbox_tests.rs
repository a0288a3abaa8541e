//! Outboxes: bounded, in order, and nothing of them is lost when whoever tends them falls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::address;
use crate::config::events::{BodyTemplate, EventKind, Webhook};
use crate::config::names::ServiceName;
use crate::events::event::tests::down;
use crate::events::outbox::{Delivery, MOST, Outbox, OutboxId, Tally, Task, Ticket};

const DELIVERED: Result<u16, String> = Ok(200);

pub(super) fn webhook(cool_down: Duration) -> Arc<Webhook> {
    Arc::new(Webhook {
        name: String::new(),
        address: address::target("127.0.0.1:1").unwrap().1,
        tls: None,
        method: "POST",
        host: "127.0.0.1:1".to_owned(),
        path: "/secret".to_owned(),
        headers: Vec::new(),
        body: BodyTemplate::default(),
        cool_down,
        timeout: Duration::from_secs(5),
    })
}

fn outbox(cool_down: Duration) -> Outbox {
    let (service, kind) = (ServiceName::new("redis"), EventKind::HostDown);
    Outbox::new(OutboxId { service, kind, index: 0 }, webhook(cool_down))
}

/// What is to be sent next: its delivery, and the number that is its reason.
fn send(outbox: &Outbox, ticket: Ticket, now: Instant) -> (Delivery, usize) {
    match outbox.next(ticket, now) {
        Task::Send(delivery) => {
            let number = delivery.event.reason.parse().unwrap();
            (delivery, number)
        }
        other @ (Task::Wait(_) | Task::Nothing) => panic!("{other:?}"),
    }
}

fn put(outbox: &Outbox, number: usize, now: Instant) -> bool {
    outbox.put(Arc::new(down(1, &number.to_string())), now)
}

fn tally(outbox: &Outbox) -> Tally {
    outbox.tally().1
}

#[test]
fn ten_thousand_events_leave_the_last_of_them_and_a_count() {
    let (outbox, now) = (outbox(Duration::ZERO), Instant::now());
    assert!(put(&outbox, 0, now), "somebody is sent for");
    let ticket = outbox.answer().unwrap();
    let (first, number) = send(&outbox, ticket, now);
    assert_eq!(number, 0);
    for number in 1..10_000 {
        assert!(!put(&outbox, number, now), "and only once");
    }
    assert_eq!((tally(&outbox).waiting, tally(&outbox).dropped), (MOST, 10_000 - MOST as u64));
    // What was under way is not called back.
    outbox.settle(&first, &DELIVERED, 0.0, now);
    for number in 10_000 - MOST + 1..10_000 {
        let (delivery, next) = send(&outbox, ticket, now);
        assert_eq!(next, number);
        outbox.settle(&delivery, &DELIVERED, 0.0, now);
    }
    assert!(matches!(outbox.next(ticket, now), Task::Nothing));
    assert_eq!((tally(&outbox).delivered, tally(&outbox).waiting), (MOST as u64, 0));
    assert!(put(&outbox, 1, now), "the next one is sent for again");
}

#[test]
fn an_event_that_is_tried_again_keeps_its_place_until_it_is_given_up() {
    let (outbox, now) = (outbox(Duration::ZERO), Instant::now());
    put(&outbox, 0, now);
    put(&outbox, 1, now);
    let ticket = outbox.answer().unwrap();
    let (mut at, failed) = (now, Err("refused".to_owned()));
    for pause in [1, 2, 4, 8, 16] {
        let (delivery, number) = send(&outbox, ticket, at);
        assert_eq!(number, 0);
        outbox.settle(&delivery, &failed, 0.5, at);
        let Task::Wait(until) = outbox.next(ticket, at) else { panic!("a pause") };
        assert_eq!(until, at + Duration::from_secs(pause));
        at = until;
    }
    let (delivery, _) = send(&outbox, ticket, at);
    outbox.settle(&delivery, &failed, 0.5, at);
    assert_eq!(send(&outbox, ticket, at).1, 1);
    let Tally { failed, delivered, failure, .. } = tally(&outbox);
    assert_eq!((failed, delivered), (1, 0));
    assert_eq!(failure, Some((at, "refused".to_owned())));
}

#[test]
fn whoever_takes_over_sends_what_was_under_way_and_its_forerunner_nothing_more() {
    let (outbox, now) = (outbox(Duration::ZERO), Instant::now());
    put(&outbox, 0, now);
    put(&outbox, 1, now);
    let old = outbox.answer().unwrap();
    let (under_way, _) = send(&outbox, old, now);
    let new = outbox.tend().unwrap();
    assert!(outbox.answer().is_none(), "who was sent for has come");
    assert!(matches!(outbox.next(old, now), Task::Nothing));
    let (again, number) = send(&outbox, new, now);
    assert_eq!(number, 0);
    outbox.settle(&again, &DELIVERED, 0.0, now);
    outbox.settle(&under_way, &Ok(404), 0.0, now);
    assert_eq!((tally(&outbox).delivered, tally(&outbox).failed), (1, 0));
    assert_eq!(send(&outbox, new, now).1, 1);
}

#[test]
fn what_is_held_is_waited_for_and_sent_where_it_stays_true() {
    let time = Duration::from_secs(60);
    let (outbox, now) = (outbox(time), Instant::now());
    put(&outbox, 0, now);
    let ticket = outbox.answer().unwrap();
    let (delivery, _) = send(&outbox, ticket, now);
    outbox.settle(&delivery, &DELIVERED, 0.0, now);
    assert!(matches!(outbox.next(ticket, now), Task::Nothing));
    assert!(put(&outbox, 1, now), "somebody has to wait for its end");
    let ticket = outbox.answer().unwrap();
    assert!(matches!(outbox.next(ticket, now), Task::Wait(until) if until == now + time));
    assert_eq!(send(&outbox, ticket, now + time).1, 1);
    put(&outbox, 2, now + time);
    outbox.overturned(&down(1, "").subject);
    assert_eq!((tally(&outbox).held, tally(&outbox).skipped), (0, 1));
}

#[test]
fn a_handler_that_is_gone_is_sent_nothing() {
    let (outbox, now) = (outbox(Duration::ZERO), Instant::now());
    put(&outbox, 0, now);
    put(&outbox, 1, now);
    let ticket = outbox.answer().unwrap();
    let (delivery, _) = send(&outbox, ticket, now);
    assert_eq!(outbox.close(), 2);
    outbox.settle(&delivery, &DELIVERED, 0.0, now);
    put(&outbox, 2, now);
    assert!(matches!(outbox.next(ticket, now), Task::Nothing));
    assert_eq!(tally(&outbox), Tally::default());
}
