//! The watch: keeps the report of a service's failovers while they happen, and the last ones after.
//!
//! Several tell it: whoever cuts the sessions of a lost leader, whoever publishes the next one,
//! the health supervisor with its reasons, and the first session that relays a byte to the new
//! leader. It outlives them and reloads, behind an `Arc`. Asking it costs one relaxed load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::{ServiceName, TargetKey};
use crate::events::failover::{Failover, Grounds, Report};
use crate::health::lapse::Lapse;
use crate::health::leader::Change;
use crate::telemetry::counts::ServiceCounts;

/// So many failovers of a service are remembered.
const REMEMBERED: usize = 8;

/// A report waits for its first byte so long; then no client has come.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Watches the failovers of one service.
#[derive(Debug)]
pub struct FailoverWatch {
    service: ServiceName,
    counts: Arc<ServiceCounts>,
    /// The next session that relays a byte is news.
    awaits_first_byte: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    open: Option<Open>,
    past: VecDeque<Report>,
    begun: u64,
}

/// The failover that is under way.
#[derive(Debug)]
struct Open {
    failover: Failover,
    /// Which one it is, by the order in which they began.
    number: u64,
    /// What the counts said when it began.
    held: u64,
    refused: u64,
}

// === impl FailoverWatch ===

impl FailoverWatch {
    /// A watch over a service that is counted so.
    pub fn new(service: ServiceName, counts: Arc<ServiceCounts>) -> Self {
        let (awaits_first_byte, book) = (AtomicBool::new(false), Mutex::default());
        Self { service, counts, awaits_first_byte, book }
    }

    /// The leader is a leader no more; to be told before its sessions are cut. So many clients are
    /// `waiting` already, because it refused them.
    pub fn lost(&self, leader: &TargetKey, waiting: u64, now: Instant) {
        let mut book = self.book();
        self.finish(&mut book);
        book.begun += 1;
        let held = self.counts.held.get().saturating_sub(waiting);
        let refused = self.counts.refused.get();
        let failover = Failover::begin(leader.clone(), now);
        book.open = Some(Open { failover, number: book.begun, held, refused });
    }

    /// So many of its sessions have been cut.
    pub fn cut(&self, sessions: usize) {
        if let Some(open) = &mut self.book().open {
            open.failover.cut += sessions;
        }
    }

    /// This one is about to lead. Returns the number to `settle` by, if it is part of a failover.
    pub fn leads(&self, leader: &TargetKey, now: Instant) -> Option<u64> {
        let mut book = self.book();
        let open = book.open.as_mut()?;
        open.failover.to = Some((leader.clone(), now));
        // Before anybody can be routed to it.
        self.awaits_first_byte.store(true, Ordering::Relaxed);
        Some(open.number)
    }

    /// The change is in force, and this is why it was made.
    pub fn changed(&self, change: &Change, lapse: &Lapse) {
        let mut book = self.book();
        let Some(open) = &mut book.open else { return };
        if change.from.as_ref() == Some(&open.failover.from) {
            open.failover.grounds.get_or_insert_with(|| Grounds::of(change, lapse));
        }
        if change.to.is_some() {
            open.failover.why = Some(change.why.to_string());
        }
        self.finish_if_complete(&mut book);
    }

    /// Is the first byte to a new leader still to come?
    pub fn awaits_first_byte(&self) -> bool {
        self.awaits_first_byte.load(Ordering::Relaxed)
    }

    /// A session with `target` is about to relay its first byte.
    pub fn first_byte(&self, target: &TargetKey, now: Instant) {
        let mut book = self.book();
        let Some(open) = &mut book.open else { return };
        if open.failover.to.as_ref().is_none_or(|(to, _)| to != target) {
            return;
        }
        open.failover.first_byte.get_or_insert(now);
        self.awaits_first_byte.store(false, Ordering::Relaxed);
        self.finish_if_complete(&mut book);
    }

    /// Nobody has come for long: the report of this failover is closed as it is.
    pub fn settle(&self, number: u64) {
        let mut book = self.book();
        if book.open.as_ref().is_some_and(|open| open.number == number) {
            self.finish(&mut book);
        }
    }

    /// The last failovers, the newest first; one that is under way among them.
    pub fn reports(&self) -> Vec<Report> {
        let book = self.book();
        let open = book.open.as_ref().map(|open| Arc::new(self.as_it_is(open)));
        open.into_iter().chain(book.past.iter().cloned()).collect()
    }

    fn finish_if_complete(&self, book: &mut Book) {
        if book.open.as_ref().is_some_and(|open| open.failover.is_complete()) {
            self.finish(book);
        }
    }

    fn finish(&self, book: &mut Book) {
        let Some(open) = book.open.take() else { return };
        self.awaits_first_byte.store(false, Ordering::Relaxed);
        let report = Arc::new(self.as_it_is(&open));
        self.tell(&report);
        book.past.push_front(report);
        book.past.truncate(REMEMBERED);
    }

    fn as_it_is(&self, open: &Open) -> Failover {
        Failover {
            held: self.counts.held.get().saturating_sub(open.held),
            refused: self.counts.refused.get().saturating_sub(open.refused),
            ..open.failover.clone()
        }
    }

    fn tell(&self, report: &Failover) {
        let to = report.to.as_ref().map_or("-".to_owned(), |(to, _)| to.to_string());
        let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
        let grounds = report.grounds.clone().unwrap_or_default();
        log::warn!(
            service = self.service.as_str(),
            from:% = report.from,
            to = to,
            last_good_ms = millis(grounds.last_good.map(|at| report.before(at))),
            first_bad_ms = millis(grounds.first_bad.map(|at| report.before(at))),
            leaderless_ms = millis(report.gap()),
            first_byte_ms = millis(report.first_byte.map(|at| report.after(at))),
            cut = report.cut,
            held = report.held,
            refused = report.refused;
            "failover: {report}"
        );
    }

    /// Every change under this lock leaves a sound book, whatever panicked.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address;
    use crate::health::leader::Why;

    fn target(port: u16) -> TargetKey {
        TargetKey::of(&address::target(&format!("127.0.0.1:{port}")).unwrap().1)
    }

    fn watch() -> FailoverWatch {
        FailoverWatch::new(ServiceName::new("any"), Arc::default())
    }

    fn lapse(now: Instant) -> Lapse {
        let before = |millis| now - Duration::from_millis(millis);
        let first_bad = Some((before(50), "refused".to_owned()));
        Lapse { last_good: Some(before(300)), first_bad }
    }

    fn change(from: Option<u16>, to: Option<u16>) -> Change {
        Change { from: from.map(target), to: to.map(target), why: Why::OnlyClaimant }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_is_told_from_the_last_good_answer_to_the_first_byte() {
        let (watch, now) = (watch(), Instant::now() + Duration::from_secs(1));
        let after = |millis| now + Duration::from_millis(millis);
        watch.counts.held.add(7);
        watch.lost(&target(1), 1, now);
        watch.cut(3);
        watch.changed(&change(Some(1), None), &lapse(now));
        watch.counts.held.add(2);
        watch.counts.refused.raise();
        assert!(!watch.awaits_first_byte(), "nobody leads");
        watch.leads(&target(2), after(20)).unwrap();
        assert!(watch.awaits_first_byte());
        watch.changed(&change(None, Some(2)), &Lapse::default());
        watch.first_byte(&target(2), after(25));
        assert!(!watch.awaits_first_byte());
        let [report] = &watch.reports()[..] else { panic!("one failover") };
        assert_eq!((report.cut, report.held, report.refused), (3, 3, 1));
        assert_eq!(
            report.to_string(),
            "from 127.0.0.1:1 to 127.0.0.1:2, nobody led for 20ms; last good answer 300ms before, \
             first bad one 50ms before: refused; 3 cut, 3 held, 1 refused; first byte 25ms after"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_of_another_target_brings_no_first_byte() {
        let (watch, now) = (watch(), Instant::now());
        watch.first_byte(&target(2), now);
        watch.lost(&target(1), 0, now);
        watch.first_byte(&target(1), now);
        watch.leads(&target(2), now);
        watch.first_byte(&target(1), now);
        assert_eq!(watch.reports()[0].first_byte, None);
        assert!(watch.awaits_first_byte());
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_waits_for_its_reasons_and_only_so_long_for_its_first_byte() {
        let (watch, now) = (watch(), Instant::now());
        watch.lost(&target(1), 0, now);
        let number = watch.leads(&target(2), now).unwrap();
        watch.first_byte(&target(2), now);
        assert!(watch.book().open.is_some(), "nobody has said why it leads");
        watch.changed(&change(Some(1), Some(2)), &Lapse::default());
        assert!(watch.book().open.is_none());
        watch.settle(number);
        watch.lost(&target(2), 0, now);
        let number = watch.leads(&target(2), now).unwrap();
        watch.changed(&change(Some(2), Some(2)), &Lapse::default());
        watch.settle(number - 1);
        assert!(watch.book().open.is_some(), "that was another one");
        watch.settle(number);
        assert!(watch.book().open.is_none());
        let shown: Vec<String> = watch.reports().iter().map(ToString::to_string).collect();
        assert!(shown[0].starts_with("127.0.0.1:2 leads again after"), "{shown:?}");
        assert!(shown[0].ends_with("no client has come since"), "{shown:?}");
        assert_eq!(shown.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_lost_again_before_anybody_came_is_a_failover_of_its_own() {
        let (watch, now) = (watch(), Instant::now());
        for round in 1..=20 {
            watch.lost(&target(round), 0, now);
            watch.leads(&target(round + 1), now);
        }
        let reports = watch.reports();
        assert_eq!(reports.len(), REMEMBERED + 1, "the last ones and the one under way");
        assert_eq!(reports[0].from, target(20));
        assert_eq!(reports[1].from, target(19));
    }
}
