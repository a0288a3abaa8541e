//! The spread of a mass close: when which of many sessions is cut. Pure.
//!
//! Each session has a share of the window of its own and falls somewhere in it, so that clients
//! come back evenly and not in step. Few are cut at once, whatever the window: whoever cuts is to
//! let others have their turn in between.

use std::collections::VecDeque;
use std::time::Duration;

/// At most so many are cut in one go: a millisecond or two.
const AT_ONCE: usize = 128;
/// Those that fall into the same few milliseconds are cut together.
const STEP: Duration = Duration::from_millis(5);

/// Sessions and their times, from the beginning of the window.
#[derive(Debug)]
pub struct Spread(VecDeque<(Duration, u64)>);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Cut these.
    Cut(Vec<u64>),
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing any more.
    Done,
}

// === impl Spread ===

impl Spread {
    /// Sessions in this order over `window`; `chance` draws numbers from 0 to 1.
    pub fn over(window: Duration, sessions: &[u64], mut chance: impl FnMut() -> f64) -> Self {
        let share = window.div_f64(sessions.len().max(1) as f64);
        let mut begins = Duration::ZERO;
        let due = sessions.iter().map(|session| {
            let at = begins + share.mul_f64(chance().clamp(0.0, 1.0));
            begins += share;
            (at, *session)
        });
        Self(due.collect())
    }

    /// What there is to do `since` the window began.
    pub fn next(&mut self, since: Duration) -> Step {
        let Some((first, _)) = self.0.front() else { return Step::Done };
        if *first > since {
            return Step::Wait((*first - since).max(STEP));
        }
        let due = self.0.iter().take(AT_ONCE).take_while(|(at, _)| *at <= since).count();
        Step::Cut(self.0.drain(..due).map(|(_, session)| session).collect())
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is cut, by time, when each wait is kept to the millisecond.
    fn walk(window: Duration, count: u64, mut chance: impl FnMut() -> f64) -> Vec<(Duration, u64)> {
        let sessions: Vec<u64> = (0..count).collect();
        let mut spread = Spread::over(window, &sessions, &mut chance);
        let (mut now, mut cut) = (Duration::ZERO, Vec::new());
        loop {
            match spread.next(now) {
                Step::Cut(some) => {
                    assert!(!some.is_empty() && some.len() <= AT_ONCE, "{}", some.len());
                    cut.extend(some.into_iter().map(|session| (now, session)));
                }
                Step::Wait(time) => now += time,
                Step::Done => return cut,
            }
            assert_eq!(spread.left() + cut.len(), sessions.len());
        }
    }

    #[test]
    fn each_session_is_cut_once_and_evenly_over_the_window() {
        let window = Duration::from_secs(10);
        let mut random = fastrand::Rng::with_seed(7);
        let cut = walk(window, 10_000, || random.f64());
        let sessions: Vec<u64> = cut.iter().map(|(_, session)| *session).collect();
        assert_eq!(sessions, (0..10_000).collect::<Vec<_>>());
        for second in 0..10 {
            let within = |at: &Duration| at.as_secs() == second;
            let count = cut.iter().filter(|(at, _)| within(at)).count();
            assert!((980..=1_020).contains(&count), "{count} in second {second}");
        }
        assert!(cut.last().unwrap().0 <= window + STEP);
    }

    #[test]
    fn each_falls_somewhere_in_its_own_share() {
        let window = Duration::from_secs(4);
        let at = |chance: f64| -> Vec<u128> {
            let cut = walk(window, 4, || chance);
            cut.iter().map(|(at, _)| at.as_millis()).collect()
        };
        assert_eq!(at(0.0), [0, 1_000, 2_000, 3_000]);
        assert_eq!(at(0.5), [500, 1_500, 2_500, 3_500]);
        assert_eq!(at(1.0), [1_000, 2_000, 3_000, 4_000]);
    }

    #[test]
    fn without_a_window_all_are_cut_now_but_never_many_in_one_go() {
        let cut = walk(Duration::ZERO, 1_000, || 0.5);
        assert_eq!(cut.len(), 1_000);
        assert!(cut.iter().all(|(at, _)| at.is_zero()));
        assert_eq!(walk(Duration::from_secs(1), 0, || 0.5), []);
    }

    #[test]
    fn whoever_comes_late_cuts_what_is_due_in_goes() {
        let sessions: Vec<u64> = (0..300).collect();
        let mut spread = Spread::over(Duration::from_secs(3), &sessions, || 0.0);
        let mut cut = Vec::new();
        while let Step::Cut(some) = spread.next(Duration::from_secs(2)) {
            assert!(some.len() <= AT_ONCE);
            cut.extend(some);
        }
        assert_eq!((cut.len(), spread.left()), (201, 99));
    }
}
