//! Rates as people write them: `50` (a second), `"100/10s"`, `"6/m"`.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many in each `per`; as many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long; not zero.
    pub per: Duration,
}

/// What is counted is kept for this long.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What would be right.
pub const FORM: &str = "write a number a second, such as 50, or a number in a time: \"100/10s\"";

// === impl Rate ===

impl Rate {
    /// So many a second.
    pub fn a_second(count: NonZeroU32) -> Self {
        Self { count, per: Duration::from_secs(1) }
    }

    /// Reads `"100/10s"`, `"100/s"` or `"100"`. `None`: 0, which is no limit.
    ///
    /// # Errors
    /// It is no rate.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let wrong = || format!("{text:?} is no rate");
        let (count, per) = match text.split_once('/') {
            Some((count, per)) => (count, Some(per.trim())),
            None => (text, None),
        };
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let per = match per {
            None => Duration::from_secs(1),
            Some(unit) if unit.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                humantime::parse_duration(&format!("1{unit}")).map_err(|_| wrong())?
            }
            Some(per) => humantime::parse_duration(per).map_err(|_| wrong())?,
        };
        if per.is_zero() || per > LONGEST {
            return Err(wrong());
        }
        Ok(NonZeroU32::new(count).map(|count| Self { count, per }))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per == Duration::from_secs(1) {
            return write!(f, "{} a second", self.count);
        }
        write!(f, "{} in {}", self.count, humantime::format_duration(self.per))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match Rate::parse(text) {
            Ok(Some(rate)) => rate.to_string(),
            Ok(None) => "none".to_owned(),
            Err(error) => error,
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        check("50", "50 a second");
        check("100/10s", "100 in 10s");
        check(" 100 / 10s ", "100 in 10s");
        check("5/s", "5 a second");
        check("6/m", "6 in 1m");
        check("0", "none");
        check("0/10s", "none");
        for wrong in [
            "",
            "x",
            "-1",
            "1.5",
            "1/",
            "1/0s",
            "1/10",
            "/s",
            "1/s/s",
            "1/x",
            "4294967296",
            "1/25h",
        ] {
            check(wrong, &format!("{wrong:?} is no rate"));
        }
    }
}
