//! The outbox of one webhook: what it is still to be sent, in order, and what became of the rest.
//!
//! It lives above whoever delivers, so that nothing that waits is lost when that falls; what was
//! under way then is sent again. It is bounded: of too many events the oldest are dropped, and
//! counted. Whoever puts something in never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::events::{EventKind, Webhook};
use crate::config::names::ServiceName;
use crate::events::cool_down::CoolDown;
use crate::events::event::{Event, Subject};
use crate::events::retry::{self, Said};
use crate::telemetry::standing_fault::StandingFault;

/// So many events wait for one webhook at most.
pub const MOST: usize = 100;

/// Which webhook it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxId {
    /// The service.
    pub service: ServiceName,
    /// What it is told of.
    pub kind: EventKind,
    /// Its place in the list of that kind.
    pub index: usize,
}

/// What is to be sent to one webhook.
#[derive(Debug)]
pub struct Outbox {
    /// Whose it is.
    pub id: OutboxId,
    /// Something has been put in, taken out, or is over.
    pub changed: Notify,
    content: Mutex<Content>,
}

/// What became of events so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent, and taken.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Dropped, as too many waited.
    pub dropped: u64,
    /// Not sent, as they were true no more at the end of a cool-down.
    pub skipped: u64,
    /// Still to be sent.
    pub waiting: usize,
    /// Held by a cool-down.
    pub held: usize,
    /// When a try failed last, and why.
    pub failure: Option<(Instant, String)>,
}

/// Numbers those who have tended an outbox. One that has been replaced, and wakes on an arbiter
/// that hung, takes nothing out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticket(u64);

/// What there is to do.
#[derive(Debug)]
pub enum Task {
    /// Send this.
    Send(Delivery),
    /// Nothing until then, or until something changes.
    Wait(Instant),
    /// Nothing at all: whoever puts something in sends for somebody.
    Nothing,
}

/// One event on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    number: u64,
    /// The event.
    pub event: Arc<Event>,
    /// Where it goes.
    pub webhook: Arc<Webhook>,
}

#[derive(Debug)]
struct Content {
    webhook: Arc<Webhook>,
    cool_down: CoolDown,
    waiting: VecDeque<Waiting>,
    /// Numbers what has been put in.
    number: u64,
    ticket: Ticket,
    care: Care,
    is_closed: bool,
    tally: Tally,
    /// Why nothing is delivered, as it was told.
    fault: StandingFault,
    /// Too many wait, as it was told.
    flood: StandingFault,
}

/// Who looks after an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    Nobody,
    /// Somebody has been sent for.
    Called,
    /// Somebody does.
    Tended,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    event: Arc<Event>,
    /// It has been tried so often.
    tries: u32,
    /// And is to be tried again then.
    again: Option<Instant>,
    /// Somebody has begun to send it.
    has_begun: bool,
}

// === impl Outbox ===

impl Outbox {
    /// An empty one.
    pub fn new(id: OutboxId, webhook: Arc<Webhook>) -> Self {
        let content = Content {
            webhook,
            cool_down: CoolDown::default(),
            waiting: VecDeque::new(),
            number: 0,
            ticket: Ticket::default(),
            care: Care::Nobody,
            is_closed: false,
            tally: Tally::default(),
            fault: StandingFault::default(),
            flood: StandingFault::default(),
        };
        Self { id, changed: Notify::new(), content: Mutex::new(content) }
    }

    /// What waits goes to this one from now on.
    pub fn redirect(&self, webhook: &Arc<Webhook>) {
        let mut content = self.content();
        if content.webhook != *webhook {
            content.webhook = Arc::clone(webhook);
            self.changed.notify_one();
        }
    }

    /// Puts an event in. `true`: nobody looks after it, and somebody is to be sent for.
    pub fn put(&self, event: Arc<Event>, now: Instant) -> bool {
        let mut content = self.content();
        let time = content.webhook.cool_down;
        if let Some(event) = content.cool_down.offer(event, time, now) {
            content.push(event, &self.id, now);
        }
        self.changed.notify_one();
        let is_called = content.care == Care::Nobody && !content.is_idle();
        if is_called {
            content.care = Care::Called;
        }
        is_called
    }

    /// What it was told of this one last is true no more.
    pub fn overturned(&self, subject: &Subject) {
        let mut content = self.content();
        if content.cool_down.overturned(subject) {
            content.tally.skipped += 1;
            self.changed.notify_one();
        }
    }

    /// Whoever is not there any more is forgotten; what has happened to them is sent all the same.
    pub fn keep_only(&self, is_there: impl Fn(&Subject) -> bool) {
        self.content().cool_down.keep_only(is_there);
    }

    /// Its handler is gone. Returns how many events will not be sent.
    pub fn close(&self) -> usize {
        let mut content = self.content();
        content.is_closed = true;
        self.changed.notify_one();
        content.waiting.drain(..).count()
    }

    /// Somebody who was sent for comes. `None`: somebody else has been there already.
    pub fn answer(&self) -> Option<Ticket> {
        let is_called = self.content().care == Care::Called;
        is_called.then(|| self.tend()).flatten()
    }

    /// Somebody begins to look after it; whoever did before takes nothing out any more. `None`:
    /// there is nothing to do.
    pub fn tend(&self) -> Option<Ticket> {
        let mut content = self.content();
        content.ticket = Ticket(content.ticket.0 + 1);
        content.care = if content.is_idle() { Care::Nobody } else { Care::Tended };
        (content.care == Care::Tended).then_some(content.ticket)
    }

    /// What there is to do now.
    pub fn next(&self, ticket: Ticket, now: Instant) -> Task {
        let mut content = self.content();
        if content.ticket != ticket {
            // Whoever has been woken instead of its successor passes it on.
            self.changed.notify_one();
            return Task::Nothing;
        }
        let time = content.webhook.cool_down;
        for event in content.cool_down.due(time, now) {
            content.push(event, &self.id, now);
        }
        let held_until = content.cool_down.next(time);
        let webhook = Arc::clone(&content.webhook);
        let Some(first) = content.waiting.front_mut() else {
            content.care = if held_until.is_some() { Care::Tended } else { Care::Nobody };
            return held_until.map_or(Task::Nothing, Task::Wait);
        };
        match first.again {
            Some(again) if again > now => {
                Task::Wait(held_until.map_or(again, |until| until.min(again)))
            }
            Some(_) | None => {
                first.has_begun = true;
                let event = Arc::clone(&first.event);
                Task::Send(Delivery { number: first.number, event, webhook })
            }
        }
    }

    /// A try has ended so; `chance` is from 0 to 1.
    pub fn settle(&self, delivery: &Delivery, said: &Said, chance: f64, now: Instant) {
        let mut content = self.content();
        let Some(first) = content.waiting.front_mut() else { return };
        if first.number != delivery.number {
            // Somebody else has sent it meanwhile.
            return;
        }
        first.tries += 1;
        let tries = first.tries;
        let next = retry::after(tries, said, chance);
        if next == retry::Next::Delivered {
            content.waiting.pop_front();
            content.tally.delivered += 1;
            content.fault.is_over();
            content.flood.is_over();
            return;
        }
        let why = retry::in_words(said);
        content.tally.failure = Some((now, why.clone()));
        if let retry::Next::Again(pause) = next {
            first_of(&mut content).again = Some(now + pause);
            return;
        }
        content.waiting.pop_front();
        content.tally.failed += 1;
        let Delivery { event, webhook, .. } = delivery;
        let level =
            if content.fault.is_news(&why, now) { log::Level::Warn } else { log::Level::Debug };
        let plural = if tries == 1 { "try" } else { "tries" };
        log::log!(
            level, service = event.service.as_str(), webhook:% = webhook, tries = tries;
            "not delivered after {tries} {plural}: {why}: {event}"
        );
    }

    /// What became of events so far, and where they go.
    pub fn tally(&self) -> (Arc<Webhook>, Tally) {
        let content = self.content();
        let (waiting, held) = (content.waiting.len(), content.cool_down.held());
        (Arc::clone(&content.webhook), Tally { waiting, held, ..content.tally.clone() })
    }

    /// Every change under this lock leaves sound content, whatever panicked.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_of(content: &mut Content) -> &mut Waiting {
    content.waiting.front_mut().expect("it has been looked at under this lock")
}

// === impl Content ===

impl Content {
    fn push(&mut self, event: Arc<Event>, id: &OutboxId, now: Instant) {
        if self.is_closed {
            return;
        }
        if self.waiting.len() >= MOST {
            // What is on its way is not called back.
            let oldest = usize::from(self.waiting.front().is_some_and(|first| first.has_begun));
            self.waiting.remove(oldest);
            self.tally.dropped += 1;
            if self.flood.is_news("", now) {
                log::warn!(
                    service = id.service.as_str(), webhook:% = self.webhook;
                    "{MOST} events wait to be sent: for each that comes the oldest is dropped"
                );
            }
        }
        self.number += 1;
        let number = self.number;
        self.waiting.push_back(Waiting { number, event, tries: 0, again: None, has_begun: false });
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.cool_down.held() == 0
    }
}
