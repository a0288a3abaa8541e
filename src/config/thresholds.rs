//! How often targets are asked, and how many answers count.

use std::time::Duration;

/// `uptime_tests.config`: times and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds {
    /// Between two checks, ±10 %. Default 1 s; 250 ms for services with a leader.
    pub interval: Duration,
    /// While a state is changing. Default 100 ms, never more than `interval`.
    pub fast_interval: Duration,
    /// While the target is down. Default: `interval`.
    pub down_interval: Duration,
    /// Passes in a row that bring a target up that was down. Default 2.
    pub rise: u32,
    /// Failures in a row that take a target down. Default 3.
    pub fall: u32,
    /// The same for refused connections. Default 3; 1 with a leader.
    pub fall_refused: u32,
    /// The same for contradicted checks. Default 1.
    pub fall_rejected: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            fast_interval: Duration::from_millis(100),
            down_interval: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            fall_refused: 3,
            fall_rejected: 1,
        }
    }
}
