//! How long a certificate is still good, and when that has to be said.

use std::collections::BTreeMap;

use x509_parser::time::ASN1Time;

/// A day in seconds.
pub const DAY: i64 = 86_400;

/// How near its end a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// It is good for more than 30 days.
    Far,
    /// For 30 days at most.
    Month,
    /// For 7 days at most.
    Week,
    /// For a day at most.
    Day,
    /// It is good no more.
    Past,
}

/// What has been said of each certificate, so that it is said once.
#[derive(Debug)]
pub struct Told<K>(BTreeMap<K, Expiry>);

// === impl Expiry ===

impl Expiry {
    /// That of a certificate that is good until `not_after`; both in seconds since 1970.
    pub fn of(not_after: i64, now: i64) -> Self {
        match not_after.saturating_sub(now) {
            left if left < 0 => Self::Past,
            left if left <= DAY => Self::Day,
            left if left <= 7 * DAY => Self::Week,
            left if left <= 30 * DAY => Self::Month,
            _ => Self::Far,
        }
    }

    /// As people and machines read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Far => "far",
            Self::Month => "30 days",
            Self::Week => "7 days",
            Self::Day => "1 day",
            Self::Past => "expired",
        }
    }
}

// === impl Told ===

impl<K: Ord + Clone> Told<K> {
    /// Which of these certificates have come nearer their end, by a step that is to be told. Those
    /// that are no more among them are forgotten.
    pub fn news(
        &mut self,
        certificates: impl IntoIterator<Item = (K, i64)>,
        now: i64,
    ) -> Vec<(K, Expiry)> {
        let (mut known, mut news) = (BTreeMap::new(), Vec::new());
        for (key, not_after) in certificates {
            let expiry = Expiry::of(not_after, now);
            let before = self.0.get(&key).copied().unwrap_or(Expiry::Far);
            if known.insert(key.clone(), expiry).is_none() && expiry > before {
                news.push((key, expiry));
            }
        }
        self.0 = known;
        news
    }
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// Whole days from now until then; less than none where it is past.
pub fn days_left(not_after: i64, now: i64) -> i64 {
    not_after.saturating_sub(now).div_euclid(DAY)
}

/// What stands behind the name of a certificate that has so many whole days left.
pub fn time_left(days_left: i64) -> String {
    match days_left {
        days if days < 0 => "which has expired".to_owned(),
        0 => "good for less than a day".to_owned(),
        1 => "good for a day".to_owned(),
        days => format!("good for {days} days"),
    }
}

/// What is to be said of a certificate whose end is near, behind its name: `expires in 3 days, on
/// 2026-12-24`; `None`: it is far.
pub fn near_end(not_after: i64, now: i64) -> Option<String> {
    let day = date(not_after);
    match (Expiry::of(not_after, now), days_left(not_after, now)) {
        (Expiry::Far, _) => None,
        (Expiry::Past, _) => Some(format!("has expired on {day}")),
        (Expiry::Day | Expiry::Week | Expiry::Month, 0) => {
            Some(format!("expires within a day, on {day}"))
        }
        (Expiry::Day | Expiry::Week | Expiry::Month, 1) => {
            Some(format!("expires in a day, on {day}"))
        }
        (Expiry::Day | Expiry::Week | Expiry::Month, days) => {
            Some(format!("expires in {days} days, on {day}"))
        }
    }
}

/// The day, in UTC: `2026-12-24`.
pub fn date(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(seconds);
    time.map_or_else(|_| format!("second {seconds}"), |time| time.to_datetime().date().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_is_near_at_30_days_at_7_at_1_and_when_it_has_come() {
        let check = |left: i64, expected| assert_eq!(Expiry::of(1_000 + left, 1_000), expected);
        check(30 * DAY + 1, Expiry::Far);
        check(30 * DAY, Expiry::Month);
        check(7 * DAY + 1, Expiry::Month);
        check(7 * DAY, Expiry::Week);
        check(DAY + 1, Expiry::Week);
        check(DAY, Expiry::Day);
        check(0, Expiry::Day);
        check(-1, Expiry::Past);
    }

    #[test]
    fn each_step_is_told_once() {
        let mut told = Told::default();
        let mut at = |day: i64| {
            let news = told.news([("a", 100 * DAY), ("b", 95 * DAY)], day * DAY);
            news.iter().map(|(key, expiry)| format!("{key} {}", expiry.as_str())).collect()
        };
        let mut check = |day, expected: &[&str]| {
            let news: Vec<String> = at(day);
            assert_eq!(news, expected, "on day {day}");
        };
        check(10, &[]);
        check(65, &["b 30 days"]);
        check(65, &[]);
        check(71, &["a 30 days"]);
        // The clock is set back, and goes on: that is said again.
        check(60, &[]);
        check(99, &["a 1 day", "b expired"]);
        check(99, &[]);
    }

    #[test]
    fn one_that_was_renewed_begins_anew() {
        let mut told = Told::default();
        assert_eq!(told.news([("old", DAY)], 0), [("old", Expiry::Day)]);
        assert_eq!(told.news([("new", 90 * DAY)], 0), []);
        assert_eq!(told.news([("old", DAY)], 0), [("old", Expiry::Day)], "it is back");
        assert_eq!(told.news([("old", DAY), ("old", DAY)], DAY + 1), [("old", Expiry::Past)]);
    }

    #[test]
    fn the_time_that_is_left_is_told_in_days() {
        let now = 1_798_761_600;
        assert_eq!(date(now), "2027-01-01");
        assert_eq!(date(i64::MAX), format!("second {}", i64::MAX));
        let check = |not_after, said| assert_eq!(time_left(days_left(not_after, now)), said);
        check(now - 5, "which has expired");
        check(now + 3600, "good for less than a day");
        check(now + DAY + 3600, "good for a day");
        check(now + 30 * DAY + 3600, "good for 30 days");
    }

    #[test]
    fn what_is_said_of_an_end_that_is_near() {
        let now = 1_798_761_600;
        let check = |left, expected: Option<&str>| {
            assert_eq!(near_end(now + left, now).as_deref(), expected);
        };
        check(30 * DAY + 1, None);
        check(30 * DAY, Some("expires in 30 days, on 2027-01-31"));
        check(DAY + 5, Some("expires in a day, on 2027-01-02"));
        check(5, Some("expires within a day, on 2027-01-01"));
        check(-1, Some("has expired on 2026-12-31"));
    }

    proptest! {
        #[test]
        fn any_time_is_told_without_a_panic(not_after: i64, now: i64) {
            let expiry = Expiry::of(not_after, now);
            prop_assert_eq!(expiry == Expiry::Past, days_left(not_after, now) < 0);
            prop_assert_eq!(near_end(not_after, now).is_none(), expiry == Expiry::Far);
            prop_assert!(!date(not_after).is_empty() && !time_left(days_left(not_after, now)).is_empty());
        }
    }
}
