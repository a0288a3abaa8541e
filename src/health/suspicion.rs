//! Suspicion: sessions fail on a target, so it should be checked at once. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So many resets within `BURST` are a burst.
const RESETS: u32 = 3;
const BURST: Duration = Duration::from_secs(1);

/// What a session met at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It could not connect: that alone is suspicious.
    Unreachable,
    /// It was reset: some servers end every session so, and only a burst is suspicious.
    Reset,
}

/// What is remembered of sessions' failures on one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Suspicions {
    /// When a check was last asked for.
    asked: Option<Instant>,
    /// Resets since then, of one burst.
    resets: u32,
    first_reset: Option<Instant>,
}

impl Suspicions {
    /// A session failed: should the target be checked now? At most once per `fast_interval`.
    pub fn note(&mut self, failure: Failure, fast_interval: Duration, now: Instant) -> bool {
        if self.is_quiet(fast_interval, now) {
            return false;
        }
        if failure == Failure::Reset && !self.is_burst(now) {
            return false;
        }
        *self = Self { asked: Some(now), resets: 0, first_reset: None };
        true
    }

    /// A check has just been asked for: nothing that sessions say now changes anything.
    pub fn is_quiet(&self, fast_interval: Duration, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.duration_since(asked) < fast_interval)
    }

    /// Counts a reset.
    fn is_burst(&mut self, now: Instant) -> bool {
        if self.first_reset.is_none_or(|first| now.duration_since(first) >= BURST) {
            (self.first_reset, self.resets) = (Some(now), 0);
        }
        self.resets += 1;
        self.resets >= RESETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(100);

    /// Failures at these milliseconds: which of them ask for a check.
    fn check(failure: Failure, at: &[u64], expected: &[u64]) {
        let (mut suspicions, start) = (Suspicions::default(), Instant::now());
        let mut asks =
            |millis| suspicions.note(failure, FAST, start + Duration::from_millis(millis));
        let asked: Vec<u64> = at.iter().copied().filter(|millis| asks(*millis)).collect();
        assert_eq!(asked, expected, "{failure:?} at {at:?}");
    }

    #[test]
    fn a_failed_dial_asks_for_a_check_at_most_once_per_fast_interval() {
        check(Failure::Unreachable, &[0, 50, 99, 100, 199, 200], &[0, 100, 200]);
    }

    #[test]
    fn only_a_burst_of_resets_asks_for_a_check() {
        check(Failure::Reset, &[0, 10], &[]);
        check(Failure::Reset, &[0, 10, 20], &[20]);
        check(Failure::Reset, &[0, 600, 1_200, 1_800], &[]);
        check(Failure::Reset, &[0, 10, 20, 30, 40, 130, 140, 150, 160], &[20, 150]);
    }
}
