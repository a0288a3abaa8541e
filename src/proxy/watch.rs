//! The watch: when a relay has been silent, half-closed or alive for too long.
//!
//! Activity costs one reading of the clock, and only where a limit asks for it; the timer is left
//! to fire early and is then moved to where the last activity puts it.
//!
//! A timer that fires late tells that we were not run, or the machine was not: what the peers sent
//! meanwhile may be on its way to us. So silence is then listened to for a moment more.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::model::SessionLimits;

/// A timer that is late by no more is as usual.
const USUAL: Duration = Duration::from_millis(50);
/// The longest moment.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a relay may last.
#[derive(Debug, Clone, Copy, Default)]
pub struct RelayLimits {
    /// No byte either way for this long ends it.
    pub idle_timeout: Option<Duration>,
    /// The same once one side has finished sending; the shorter of the two counts then.
    pub half_close_timeout: Option<Duration>,
    /// The end of its longest life.
    pub until: Option<Instant>,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    Idle,
    HalfClosed,
    Age,
}

/// Watches over one relay.
#[derive(Debug)]
pub(super) struct Watch {
    limits: RelayLimits,
    is_half_closed: bool,
    /// Kept only while a limit counts from it.
    last_activity: Option<Instant>,
    /// No silence counts before, since we were late.
    listens_until: Option<Instant>,
    /// Made when first needed: most relays end without.
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl RelayLimits ===

impl RelayLimits {
    /// Those of a relay that begins now.
    pub fn of(limits: &SessionLimits) -> Self {
        Self {
            idle_timeout: limits.idle_timeout,
            half_close_timeout: limits.half_close_timeout,
            until: limits.max_session_age.map(|age| Instant::now() + age),
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(limits: RelayLimits) -> Self {
        let last_activity = limits.idle_timeout.map(|_| Instant::now());
        Self { limits, is_half_closed: false, last_activity, listens_until: None, timer: None }
    }

    /// Bytes have moved.
    pub(super) fn saw_activity(&mut self) {
        if self.last_activity.is_some() {
            self.last_activity = Some(Instant::now());
        }
    }

    /// One side has finished sending.
    pub(super) fn saw_half_close(&mut self) {
        self.is_half_closed = true;
        if self.limits.half_close_timeout.is_some() {
            self.last_activity = Some(Instant::now());
        }
    }

    /// Resolves when a limit is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reached> {
        let Some((mut deadline, reached)) = self.next() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                let now = Instant::now();
                let late = now.saturating_duration_since(deadline);
                if reached == Reached::Age || late <= USUAL {
                    return Poll::Ready(reached);
                }
                deadline = now + late.min(MOMENT);
                self.listens_until = Some(deadline);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// The limit that is reached next if nothing moves.
    fn next(&self) -> Option<(Instant, Reached)> {
        let silent = |limit: Option<Duration>| {
            let at = self.last_activity?.checked_add(limit?)?;
            Some(self.listens_until.map_or(at, |until| at.max(until)))
        };
        let idle = silent(self.limits.idle_timeout).map(|at| (at, Reached::Idle));
        let half_closed = silent(self.limits.half_close_timeout)
            .filter(|_| self.is_half_closed)
            .map(|at| (at, Reached::HalfClosed));
        let age = self.limits.until.map(|at| (at, Reached::Age));
        [idle, half_closed, age].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn reached(watch: &mut Watch) -> (Reached, Duration) {
        let start = Instant::now();
        let reached = poll_fn(|cx| watch.poll(cx)).await;
        (reached, start.elapsed())
    }

    /// Lets `time` pass with the watch being polled, as it is in a relay.
    async fn quiet(watch: &mut Watch, time: Duration) {
        tokio::time::timeout(time, reached(watch)).await.expect_err("nothing is reached yet");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_relay_that_long_after_the_last_byte() {
        let limits = RelayLimits { idle_timeout: Some(10 * SECOND), ..RelayLimits::default() };
        let mut watch = Watch::new(limits);
        for _ in 0..5 {
            quiet(&mut watch, 9 * SECOND).await;
            watch.saw_activity();
        }
        let (limit, after) = reached(&mut watch).await;
        assert_eq!(limit, Reached::Idle);
        assert!(after.abs_diff(10 * SECOND) < Duration::from_millis(5), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_of_ours_silence_is_listened_to_for_a_moment_more() {
        let limits = RelayLimits { idle_timeout: Some(10 * SECOND), ..RelayLimits::default() };
        let mut watch = Watch::new(limits);
        quiet(&mut watch, 5 * SECOND).await;
        tokio::time::advance(30 * SECOND).await;
        // What was sent meanwhile has not been fetched yet.
        quiet(&mut watch, SECOND / 2).await;
        watch.saw_activity();
        quiet(&mut watch, 9 * SECOND).await;
        tokio::time::advance(30 * SECOND).await;
        let (limit, after) = reached(&mut watch).await;
        assert_eq!(limit, Reached::Idle);
        assert!(after.abs_diff(MOMENT) < Duration::from_millis(5), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_close_shortens_the_wait_and_starts_it_anew() {
        let limits = RelayLimits {
            idle_timeout: Some(100 * SECOND),
            half_close_timeout: Some(10 * SECOND),
            until: None,
        };
        let mut watch = Watch::new(limits);
        quiet(&mut watch, 50 * SECOND).await;
        watch.saw_half_close();
        quiet(&mut watch, 9 * SECOND).await;
        watch.saw_activity();
        let (limit, after) = reached(&mut watch).await;
        assert_eq!(limit, Reached::HalfClosed);
        assert!(after.abs_diff(10 * SECOND) < Duration::from_millis(5), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn age_ends_a_relay_however_busy() {
        let until = Some(Instant::now() + 20 * SECOND);
        let mut watch = Watch::new(RelayLimits { until, ..RelayLimits::default() });
        for _ in 0..3 {
            quiet(&mut watch, 6 * SECOND).await;
            watch.saw_activity();
        }
        let (limit, after) = reached(&mut watch).await;
        assert_eq!(limit, Reached::Age);
        assert!(after.abs_diff(2 * SECOND) < Duration::from_millis(5), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_ever_reached_and_no_timer_made() {
        let mut watch = Watch::new(RelayLimits::default());
        watch.saw_half_close();
        quiet(&mut watch, 1_000_000 * SECOND).await;
        assert!(watch.timer.is_none());
    }
}
