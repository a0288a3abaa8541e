//! What one directory has said so far, and what follows: which list counts, what is worth a line of
//! log, when to ask next.
//!
//! Pure: `now` and chance come in. The last good list stays through whatever comes after it.

use std::time::Duration;

use log::Level;
use tokio::time::Instant;

use crate::config::discovery::Discovery;
use crate::discovery::list::{ListFault, Listed};

/// After a first failure it is asked again this soon; then after twice the time.
const AGAIN: Duration = Duration::from_secs(1);

/// What a directory has said.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The list that counts; `None`: there has never been a good one.
    pub listed: Option<Listed>,
    /// When that was said last.
    pub good: Option<Instant>,
    /// Set while the list that counts is one that an earlier process heard.
    pub inherited: Option<Inherited>,
    /// What is wrong since then, if anything.
    pub trouble: Option<Trouble>,
}

/// How old a list is that an earlier process heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// How old it was when it was taken over.
    pub age: Duration,
    /// When that was.
    pub at: Instant,
}

/// Questions that came to nothing, since the last good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The last of them, in words.
    pub fault: ListFault,
    /// When it began.
    pub since: Instant,
    /// How many there were.
    pub times: u32,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Another list counts.
    pub is_other: bool,
    /// What people want to know.
    pub line: Option<(Level, String)>,
}

// === impl History ===

impl History {
    /// Takes an answer, or its want, into account.
    pub fn heard(&mut self, answer: Result<Listed, ListFault>, now: Instant) -> News {
        match answer {
            Ok(listed) => self.good(listed, now),
            Err(fault) => News { is_other: false, line: self.bad(fault, now) },
        }
    }

    /// Takes over a list that an earlier process heard `age` ago. Whatever this one has heard wins.
    pub fn inherit(&mut self, listed: Listed, age: Duration, now: Instant) {
        if self.listed.is_none() {
            self.listed = Some(listed);
            self.inherited = Some(Inherited { age, at: now });
        }
    }

    /// How long ago the list that counts was said last, if there is one.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let of_ours = self.good.map(|good| now.saturating_duration_since(good));
        self.inherited.map(|it| it.age + now.saturating_duration_since(it.at)).or(of_ours)
    }

    /// For how long nobody has said whether it still holds; `None`: it does.
    pub fn stale(&self, now: Instant) -> Option<Duration> {
        let troubled = self.trouble.as_ref().map(|it| now.saturating_duration_since(it.since));
        self.age(now).filter(|_| self.inherited.is_some()).or(troubled)
    }

    /// From the beginning of the last question to that of the next: what is said to hold for a
    /// time is asked for again then, else it is `interval`. In trouble it is asked again soon, and
    /// then ever later, but never later than usual.
    pub fn pause(&self, discovery: &Discovery, chance: f64) -> Duration {
        let times = self.trouble.as_ref().map_or(0, |trouble| trouble.times);
        let usual = discovery.interval;
        let lives = self.listed.as_ref().and_then(|listed| listed.lives);
        let pause = match times.checked_sub(1) {
            None => lives.unwrap_or(usual),
            Some(doublings) => AGAIN.saturating_mul(1 << doublings.min(16)).min(usual),
        };
        pause.mul_f64(0.9 + 0.2 * chance)
    }

    fn good(&mut self, listed: Listed, now: Instant) -> News {
        let before = self.listed.as_ref();
        let is_other = before.is_none_or(|before| before.targets != listed.targets);
        let remark = listed.remark.as_ref();
        let is_new_remark = remark != before.and_then(|before| before.remark.as_ref());
        let line = match (remark.filter(|_| is_new_remark), self.trouble.take()) {
            (Some(remark), _) => Some((Level::Warn, remark.clone())),
            (None, Some(Trouble { since, times, .. })) => {
                let since = now.saturating_duration_since(since).as_secs();
                let times =
                    if times == 1 { "1 failure".into() } else { format!("{times} failures") };
                Some((Level::Info, format!("it answers again, after {since} s and {times}")))
            }
            (None, None) => None,
        };
        self.good = Some(now);
        self.inherited = None;
        self.listed = Some(listed);
        News { is_other, line }
    }

    /// Each fault is told once, however often it comes.
    fn bad(&mut self, fault: ListFault, now: Instant) -> Option<(Level, String)> {
        let stays = match &self.listed {
            Some(listed) => match listed.targets.len() {
                1 => "the 1 target of the last good list stays".to_owned(),
                count => format!("the {count} targets of the last good list stay"),
            },
            None => "there has been no list yet, and the targets that are written serve".to_owned(),
        };
        match &mut self.trouble {
            Some(trouble) => {
                trouble.times = trouble.times.saturating_add(1);
                if trouble.fault == fault {
                    return None;
                }
                trouble.fault = fault;
            }
            None => self.trouble = Some(Trouble { fault, since: now, times: 1 }),
        }
        let fault = self.trouble.as_ref().map(|trouble| &trouble.fault)?;
        Some((Level::Warn, format!("{fault}; {stays}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::{self, Spoken};
    use crate::config::mould::Found;
    use crate::discovery::list::tests::spec;

    fn listed(targets: &str, remark: &str) -> Listed {
        let found = |text| Found::at(Spoken::Tcp, address::target(text).unwrap().1);
        let targets = targets.split_whitespace().map(found).collect();
        Listed { targets, remark: Some(remark.to_owned()).filter(|it| !it.is_empty()), lives: None }
    }

    fn check(history: &mut History, answer: Result<Listed, &str>, expected: (bool, Option<&str>)) {
        let answer = answer.map_err(ListFault::nonsense);
        let News { is_other, line } = history.heard(answer, Instant::now());
        let line = line.map(|(_, line)| line);
        assert_eq!((is_other, line.as_deref()), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_stays_through_whatever_comes_after_it_and_a_fault_is_told_once() {
        let mut history = History::default();
        let none = "no; there has been no list yet, and the targets that are written serve";
        check(&mut history, Err("no"), (false, Some(none)));
        check(&mut history, Err("no"), (false, None));
        tokio::time::advance(Duration::from_secs(3)).await;
        let again = "it answers again, after 3 s and 2 failures";
        check(&mut history, Ok(listed("a:1 b:1", "")), (true, Some(again)));
        check(&mut history, Ok(listed("a:1 b:1", "")), (false, None));
        let stay = "html; the 2 targets of the last good list stay";
        check(&mut history, Err("html"), (false, Some(stay)));
        check(&mut history, Err("html"), (false, None));
        check(&mut history, Err("500"), (false, Some(&stay.replace("html", "500"))));
        assert_eq!(history.listed, Some(listed("a:1 b:1", "")));
        assert_eq!(history.trouble.as_ref().map(|trouble| trouble.times), Some(3));
        let again = "it answers again, after 0 s and 3 failures";
        check(&mut history, Ok(listed("a:1 b:1", "")), (false, Some(again)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_inherited_list_counts_until_the_first_good_answer_and_is_stale_since_then() {
        let (mut history, hour) = (History::default(), Duration::from_secs(3_600));
        assert_eq!(history.age(Instant::now()), None);
        history.inherit(listed("a:1", ""), hour, Instant::now());
        check(
            &mut history,
            Err("no"),
            (false, Some("no; the 1 target of the last good list stays")),
        );
        tokio::time::advance(hour).await;
        let now = Instant::now();
        assert_eq!((history.age(now), history.stale(now)), (Some(2 * hour), Some(2 * hour)));
        let mut same = history.clone();
        let again = "it answers again, after 3600 s and 1 failure";
        check(&mut same, Ok(listed("a:1", "")), (false, Some(again)));
        check(&mut history, Ok(listed("b:1", "")), (true, Some(again)));
        for history in [&same, &history] {
            assert_eq!((history.age(now), history.stale(now)), (Some(Duration::ZERO), None));
        }
        history.inherit(listed("a:1", ""), hour, now);
        assert_eq!(history.listed, Some(listed("b:1", "")), "what was heard wins");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_whose_every_second_answer_is_broken_changes_nothing() {
        let mut history = History::default();
        history.heard(Ok(listed("a:1", "")), Instant::now());
        for _ in 0..100 {
            let bad = history.heard(Err(ListFault::nonsense("html")), Instant::now());
            let good = history.heard(Ok(listed("a:1", "")), Instant::now());
            assert!(!bad.is_other && !good.is_other);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_out_is_told_once() {
        let mut history = History::default();
        check(&mut history, Ok(listed("a:1", "x")), (true, Some("x")));
        check(&mut history, Ok(listed("a:1", "x")), (false, None));
        check(&mut history, Ok(listed("a:1", "y")), (false, Some("y")));
        check(&mut history, Ok(listed("a:1", "")), (false, None));
    }

    #[test]
    fn in_trouble_it_is_asked_again_soon_and_then_ever_later() {
        let discovery = Discovery { interval: Duration::from_secs(10), ..spec() };
        let mut history = History::default();
        let seconds = |history: &History, chance| history.pause(&discovery, chance).as_secs_f64();
        let mut pauses = vec![seconds(&history, 0.5)];
        for _ in 0..40 {
            history.heard(Err(ListFault::nonsense("no")), Instant::now());
            pauses.push(seconds(&history, 0.5));
        }
        assert_eq!(pauses[..6], [10.0, 1.0, 2.0, 4.0, 8.0, 10.0]);
        assert_eq!(pauses[40], 10.0);
        assert_eq!((seconds(&history, 0.0), seconds(&history, 1.0)), (9.0, 11.0));
    }

    #[test]
    fn what_holds_for_a_time_is_asked_for_again_then_and_after_a_failure_as_ever() {
        let discovery = Discovery { interval: Duration::from_secs(30), ..spec() };
        let mut history = History::default();
        let seconds = |history: &History, chance| history.pause(&discovery, chance).as_secs_f64();
        for holds in [1, 3600] {
            let lives = Some(Duration::from_secs(holds));
            let listed = Listed { lives, ..listed("a:1", "") };
            history.heard(Ok(listed), Instant::now());
            let pauses = (seconds(&history, 0.0), seconds(&history, 1.0));
            let of = |share: f64| Duration::from_secs(holds).mul_f64(share).as_secs_f64();
            assert_eq!(pauses, (of(0.9), of(1.1)));
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            history.heard(Err(ListFault::nonsense("no")), Instant::now());
            pauses.push(seconds(&history, 0.5));
        }
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        history.heard(Ok(listed("a:1", "")), Instant::now());
        assert_eq!(seconds(&history, 0.5), 30.0);
    }
}
