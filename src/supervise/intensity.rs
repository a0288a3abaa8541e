//! How many restarts are too many. Pure: `now` comes in.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// At most `restarts` within any `window`; one more is too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Still fine.
    pub restarts: u32,
    /// How far back they count.
    pub window: Duration,
}

/// The restarts that still count, and the bound they are held to.
#[derive(Debug, Clone)]
pub struct History {
    intensity: Intensity,
    /// Oldest first; never longer than one more than is allowed.
    moments: VecDeque<Instant>,
}

/// How far a history is from its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Restarts within the window, this one included.
    pub count: u32,
    /// The bound.
    pub intensity: Intensity,
}

// === impl History ===

impl History {
    /// Nothing has happened yet.
    pub fn new(intensity: Intensity) -> Self {
        Self { intensity, moments: VecDeque::new() }
    }

    /// Counts one more at `now`.
    pub fn record(&mut self, now: Instant) -> Tally {
        self.moments.push_back(now);
        self.forget_old(now);
        let allowed = usize::try_from(self.intensity.restarts).unwrap_or(usize::MAX);
        while self.moments.len() > allowed.saturating_add(1) {
            self.moments.pop_front();
        }
        let count = u32::try_from(self.moments.len()).unwrap_or(u32::MAX);
        Tally { count, intensity: self.intensity }
    }

    /// Starts over.
    pub fn clear(&mut self) {
        self.moments.clear();
    }

    fn forget_old(&mut self, now: Instant) {
        let window = self.intensity.window;
        while self.moments.front().is_some_and(|moment| now.duration_since(*moment) >= window) {
            self.moments.pop_front();
        }
    }
}

// === impl Tally ===

impl Tally {
    /// One restart too many.
    pub fn is_exceeded(&self) -> bool {
        self.count > self.intensity.restarts
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, intensity: Intensity { restarts, window } } = self;
        let window = humantime::format_duration(*window);
        if self.is_exceeded() {
            write!(f, "more than {restarts} restarts in {window}")
        } else {
            write!(f, "{count} of {restarts} restarts in {window}")
        }
    }
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts: 10, window: Duration::from_secs(60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records at each of these seconds; says at which ones the bound was exceeded.
    fn check(restarts: u32, seconds: &[u64], exceeded: &[u64]) {
        let start = Instant::now();
        let mut history = History::new(Intensity { restarts, window: Duration::from_secs(10) });
        let found: Vec<u64> = seconds
            .iter()
            .copied()
            .filter(|second| history.record(start + Duration::from_secs(*second)).is_exceeded())
            .collect();
        assert_eq!(found, exceeded);
    }

    #[test]
    fn as_many_as_allowed_are_fine_and_one_more_is_not() {
        check(3, &[0, 1, 2, 3], &[3]);
        check(3, &[0, 1, 2], &[]);
        check(0, &[5], &[5]);
    }

    #[test]
    fn what_lies_a_window_back_no_longer_counts() {
        check(3, &[0, 1, 2, 10, 11, 12], &[]);
        check(3, &[0, 1, 2, 9, 11], &[9]);
    }

    #[test]
    fn memory_is_bounded_however_often_it_falls() {
        let mut history =
            History::new(Intensity { restarts: 5, window: Duration::from_secs(1000) });
        let start = Instant::now();
        for second in 0..100 {
            assert!(history.record(start + Duration::from_secs(second)).count <= 6);
        }
        assert_eq!(history.moments.len(), 6);
    }
}
