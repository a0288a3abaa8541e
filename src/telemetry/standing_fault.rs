//! A fault that stands, found again at each of many tries: told once, again when it is another, and
//! every minute, so that it is not forgotten. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about the same fault.
const EVERY: Duration = Duration::from_secs(60);

/// What has been told of a fault, and when.
#[derive(Debug, Default)]
pub struct StandingFault(Option<(String, Instant)>);

impl StandingFault {
    /// It has been found: is that to be told?
    pub fn is_news(&mut self, why: &str, now: Instant) -> bool {
        let is_known = |(told, at): &(String, Instant)| {
            told == why && now.saturating_duration_since(*at) < EVERY
        };
        if self.0.as_ref().is_some_and(is_known) {
            return false;
        }
        self.0 = Some((why.to_owned(), now));
        true
    }

    /// It is no more: the next one is news, whatever it is.
    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_is_told_once_again_when_it_is_another_and_every_minute() {
        let mut fault = StandingFault::default();
        let mut told = Vec::new();
        for second in 0..150_u64 {
            let why = if (10..20).contains(&second) { "another" } else { "one" };
            if second == 140 {
                fault.is_over();
            }
            if fault.is_news(why, Instant::now()) {
                told.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [0, 10, 20, 80, 140]);
    }
}
