//! The time of one run of a check: it stands while we are not run ourselves.
//!
//! A machine that is suspended, or a processor that others have, takes time from whoever asks and
//! none from whoever answers: a target that could not be heard has not been late. So a wait is cut
//! into pulses; a pulse that ends late shows for how long nobody ran us, and what a run may last is
//! counted without that. It is bounded all the same: whoever is run at all gets on by a pulse.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// So many pulses make the time of a run: what is shorter than one may be taken from the target.
const PULSES: u32 = 20;
/// But none is shorter: many silent targets must not keep us busy.
const SHORTEST: Duration = Duration::from_millis(5);
/// Every timer is late by as much.
const USUAL: Duration = Duration::from_millis(2);

/// How long a run has lasted, and may.
#[derive(Debug)]
pub struct AwakeTime {
    started: Instant,
    timeout: Duration,
    pulse: Duration,
    overslept: Cell<Duration>,
    /// We were awake then, and have waited for nothing since.
    awake: Cell<Instant>,
}

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue;

// === impl AwakeTime ===

impl AwakeTime {
    /// The time of a run that begins now.
    pub fn of(timeout: Duration) -> Self {
        let pulse = (timeout / PULSES).max(SHORTEST);
        let started = Instant::now();
        Self { started, timeout, pulse, overslept: Cell::default(), awake: Cell::new(started) }
    }

    /// Now, in this time.
    pub fn now(&self) -> Instant {
        let now = self.woke(self.awake.get());
        now.checked_sub(self.overslept.get()).unwrap_or(now)
    }

    /// When the run must be over, in this time.
    pub fn deadline(&self) -> Instant {
        self.started + self.timeout
    }

    /// When that is on the clock, if nothing keeps us from running until then.
    pub fn deadline_on_the_clock(&self) -> Instant {
        self.deadline() + self.overslept.get()
    }

    /// Since the run began, on the clock.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// For how long nobody ran us.
    pub fn overslept(&self) -> Duration {
        self.overslept.get()
    }

    /// Waits for `future` until `due` in this time. What has come by then counts, however late we
    /// are to look at it.
    ///
    /// # Errors
    /// It did not come.
    pub async fn wait<F: Future>(&self, due: Instant, future: F) -> Result<F::Output, Overdue> {
        let mut future = pin!(future);
        loop {
            let pulse = due.saturating_duration_since(self.now()).min(self.pulse);
            let ends = Instant::now() + pulse;
            let outcome = timeout_at(ends, future.as_mut()).await;
            self.woke(ends);
            if let Ok(output) = outcome {
                return Ok(output);
            }
            if self.now() >= due {
                break;
            }
        }
        // Let the system report what has long arrived, and look once more.
        yield_now().await;
        timeout_at(Instant::now(), future).await.map_err(|_elapsed| Overdue)
    }

    /// Something is over that had to end by then. Returns when that is, on the clock.
    fn woke(&self, ends: Instant) -> Instant {
        let now = Instant::now();
        let late = now.saturating_duration_since(ends);
        if late > USUAL {
            self.overslept.set(self.overslept.get() + late);
        }
        self.awake.set(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// As if nobody had run us for so long.
    async fn stopped(pause: Duration) {
        advance(pause).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_takes_its_time_and_no_more() {
        let time = AwakeTime::of(SECOND);
        assert_eq!(time.wait(time.deadline(), pending::<()>()).await, Err(Overdue));
        assert_eq!((time.elapsed(), time.overslept()), (SECOND, Duration::ZERO));
        // And what is over gives another wait one look.
        assert_eq!(time.wait(time.deadline(), pending::<()>()).await, Err(Overdue));
        assert_eq!(time.wait(time.deadline(), async { 1 }).await, Ok(1));
        assert_eq!(time.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_we_were_not_run_does_not_count() {
        let time = AwakeTime::of(SECOND);
        let wait = time.wait(time.deadline(), pending::<()>());
        let trouble = async {
            sleep(SECOND / 2).await;
            stopped(30 * SECOND).await;
        };
        assert_eq!(tokio::join!(wait, trouble).0, Err(Overdue));
        let (elapsed, overslept) = (time.elapsed(), time.overslept());
        let pulse = SECOND / PULSES;
        assert!(overslept > 30 * SECOND - pulse - USUAL, "{overslept:?}");
        assert!((elapsed - overslept).abs_diff(SECOND) <= USUAL, "{elapsed:?} {overslept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_after_a_stop_is_heard_and_leaves_time_for_the_next() {
        let time = AwakeTime::of(SECOND);
        let (tell, told) = oneshot::channel();
        let trouble = async {
            stopped(30 * SECOND).await;
            tell.send(7).unwrap();
        };
        assert_eq!(tokio::join!(time.wait(time.deadline(), told), trouble).0, Ok(Ok(7)));
        assert!(time.deadline() - time.now() > SECOND * 9 / 10, "{time:?}");
        let next = sleep(SECOND / 2);
        assert_eq!(time.wait(time.deadline(), next).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nor_does_it_between_two_waits() {
        let time = AwakeTime::of(SECOND);
        stopped(30 * SECOND).await;
        assert_eq!(time.wait(time.deadline(), async { 1 }).await, Ok(1));
        stopped(30 * SECOND).await;
        assert_eq!(time.deadline() - time.now(), SECOND);
        assert_eq!((time.elapsed(), time.overslept()), (60 * SECOND, 60 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_run_seldom_gets_on_all_the_same() {
        let time = AwakeTime::of(SECOND);
        let starving = async {
            loop {
                sleep(Duration::from_millis(1)).await;
                stopped(SECOND / 5).await;
            }
        };
        tokio::select! {
            outcome = time.wait(time.deadline(), pending::<()>()) => assert_eq!(outcome, Err(Overdue)),
            () = starving => {}
        }
        assert!(time.overslept() > SECOND && time.elapsed() < 30 * SECOND, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_the_last_moment_has_come() {
        let time = AwakeTime::of(SECOND);
        let mut looks = 0;
        let reluctant = std::future::poll_fn(|cx| {
            looks += 1;
            cx.waker().wake_by_ref();
            if looks == 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        assert_eq!(time.wait(time.now(), reluctant).await, Ok(()));
    }
}
