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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::tests::down;

    const TIME: Duration = Duration::from_secs(60);

    fn offered(cool_down: &mut CoolDown, port: u16, now: Instant) -> bool {
        cool_down.offer(Arc::new(down(port, "why")), TIME, now).is_some()
    }

    #[test]
    fn the_same_event_of_the_same_target_waits_for_the_end_of_its_cool_down() {
        let (mut cool_down, now) = (CoolDown::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(offered(&mut cool_down, 1, now));
        assert!(offered(&mut cool_down, 2, after(1)), "another target's is another event");
        assert!(!offered(&mut cool_down, 1, after(2)) && !offered(&mut cool_down, 1, after(3)));
        assert_eq!((cool_down.held(), cool_down.next(TIME)), (1, Some(after(60))));
        assert!(cool_down.due(TIME, after(59)).is_empty());
        assert_eq!(cool_down.due(TIME, after(60)).len(), 1);
        assert_eq!((cool_down.held(), cool_down.next(TIME)), (0, None));
        assert!(!offered(&mut cool_down, 1, after(61)), "that was another one");
        assert!(offered(&mut cool_down, 2, after(61)));
    }

    #[test]
    fn what_is_true_no_more_is_not_sent() {
        let (mut cool_down, now) = (CoolDown::default(), Instant::now());
        let subject = down(1, "").subject;
        assert!(!cool_down.overturned(&subject), "nothing is held");
        assert!(offered(&mut cool_down, 1, now) && !offered(&mut cool_down, 1, now));
        assert!(cool_down.overturned(&subject));
        assert!(cool_down.due(TIME, now + TIME).is_empty());
    }

    #[test]
    fn one_that_waited_too_long_is_not_lost_and_whoever_left_is_forgotten() {
        let (mut cool_down, now) = (CoolDown::default(), Instant::now());
        assert!(offered(&mut cool_down, 1, now) && !offered(&mut cool_down, 1, now));
        // Somebody else's comes after the end, before anybody has looked.
        assert!(offered(&mut cool_down, 2, now + TIME * 2));
        assert!(cool_down.next(TIME).is_some_and(|next| next <= now + TIME * 2));
        assert_eq!(cool_down.due(TIME, now + TIME * 2).len(), 1);
        assert!(!offered(&mut cool_down, 1, now + TIME * 2));
        cool_down.keep_only(|subject| *subject != down(1, "").subject);
        assert_eq!(cool_down.held(), 0);
        assert!(
            offered(&mut cool_down, 1, now + TIME * 2)
                && !offered(&mut cool_down, 2, now + TIME * 2)
        );
    }

    #[test]
    fn without_a_time_nothing_is_held_or_remembered() {
        let (mut cool_down, now) = (CoolDown::default(), Instant::now());
        for port in 1..1_000 {
            let event = || Arc::new(down(port, ""));
            assert!(cool_down.offer(event(), Duration::ZERO, now).is_some());
            assert!(cool_down.offer(event(), Duration::ZERO, now).is_some());
        }
        assert!(cool_down.let_out.is_empty() && cool_down.held.is_empty());
    }
}
