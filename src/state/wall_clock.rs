//! The time of day, for what needs it: how old a file from another process is, and what people are
//! told of when something happened.
//!
//! It jumps. Nothing here ever waits by it, and whoever asks for an age is told when there is none.

#![expect(
    clippy::disallowed_types,
    reason = "no other clock outlives the process; no deadline is made of it"
)]

use std::fmt;
use std::fs::Metadata;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A clock that is set a little back now and then is no clock that has jumped.
const SLACK: Duration = Duration::from_secs(1);

/// A time of day, shown as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallTime(SystemTime);

// === impl WallTime ===

impl WallTime {
    /// Now.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// When a file was last written, where the system knows.
    pub fn of_file(metadata: &Metadata) -> Option<Self> {
        metadata.modified().ok().map(Self)
    }

    /// This much earlier.
    pub fn before(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(time).map(Self)
    }

    /// This much later.
    pub fn after(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }

    /// How long ago this was at `now`.
    ///
    /// # Errors
    /// It lies in the future, by this much: the clock has been set back since.
    pub fn age_at(self, now: Self) -> Result<Duration, Duration> {
        match now.0.duration_since(self.0) {
            Ok(age) => Ok(age),
            Err(ahead) if ahead.duration() <= SLACK => Ok(Duration::ZERO),
            Err(ahead) => Err(ahead.duration()),
        }
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies beyond the year 9999 or before 1970 has no such form.
        let shown = humantime::format_rfc3339_millis(self.0);
        if self.0 < SystemTime::UNIX_EPOCH { f.write_str("-") } else { shown.fmt(f) }
    }
}

impl FromStr for WallTime {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_future_has_no_age() {
        let at = |text: &str| text.parse::<WallTime>().unwrap();
        let now = at("2026-03-01T00:00:10.000Z");
        let check = |written, expected| assert_eq!(at(written).age_at(now), expected, "{written}");
        check("2026-03-01T00:00:00.500Z", Ok(Duration::from_millis(9_500)));
        check("2026-03-01T00:00:10.900Z", Ok(Duration::ZERO));
        check("2026-03-01T00:00:12.000Z", Err(Duration::from_secs(2)));
    }

    #[test]
    fn it_is_read_back_as_it_is_shown() {
        let text = "2026-11-23T04:28:20.690Z";
        assert_eq!(text.parse::<WallTime>().unwrap().to_string(), text);
    }
}
