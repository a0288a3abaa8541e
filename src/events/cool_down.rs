//! The cool-down of a handler: the same event of the same target is not sent again within a time.
//! Pure.
//!
//! What comes within it is held, and let out at its end if it is still true: whoever is told is
//! never left with what is true no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::events::event::{Event, Subject};

/// What is known of the last events of one kind.
#[derive(Debug, Default)]
pub struct CoolDown {
    /// When an event about each was let out last.
    let_out: BTreeMap<Subject, Instant>,
    /// What waits for the end of its cool-down: of each the last one.
    held: BTreeMap<Subject, Arc<Event>>,
}

// === impl CoolDown ===

impl CoolDown {
    /// An event has come: returns it if it is to be sent now.
    pub fn offer(&mut self, event: Arc<Event>, time: Duration, now: Instant) -> Option<Arc<Event>> {
        let held = &self.held;
        let is_cooling = |at: &Instant| now.saturating_duration_since(*at) < time;
        self.let_out.retain(|subject, at| held.contains_key(subject) || is_cooling(at));
        let subject = event.subject.clone();
        if self.let_out.contains_key(&subject) {
            self.held.insert(subject, event);
            return None;
        }
        if !time.is_zero() {
            self.let_out.insert(subject, now);
        }
        Some(event)
    }

    /// What was said about this one last is true no more. Returns whether it was still held.
    pub fn overturned(&mut self, subject: &Subject) -> bool {
        self.held.remove(subject).is_some()
    }

    /// What was held, and is to be sent now.
    pub fn due(&mut self, time: Duration, now: Instant) -> Vec<Arc<Event>> {
        let is_over = |subject: &Subject| {
            let at = self.let_out.get(subject);
            at.is_none_or(|at| now.saturating_duration_since(*at) >= time)
        };
        let due: Vec<Subject> = self.held.keys().filter(|it| is_over(it)).cloned().collect();
        let due = due.iter().filter_map(|subject| self.held.remove(subject));
        let due: Vec<Arc<Event>> = due.collect();
        self.let_out.extend(due.iter().map(|event| (event.subject.clone(), now)));
        due
    }

    /// When something is due next.
    pub fn next(&self, time: Duration) -> Option<Instant> {
        self.held.keys().filter_map(|subject| Some(*self.let_out.get(subject)? + time)).min()
    }

    /// So many are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Forgets whoever is not there any more.
    pub fn keep_only(&mut self, is_there: impl Fn(&Subject) -> bool) {
        self.let_out.retain(|subject, _| is_there(subject));
        self.held.retain(|subject, _| is_there(subject));
    }
}
