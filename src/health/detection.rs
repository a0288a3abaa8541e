//! Detection: how long it takes at worst until it is known what has become of a target. Pure.
//!
//! From the moment of the event to the verdict that changes the target's health. The worst moment
//! is mostly just after a run has had its last answer: the next run begins an interval and its
//! jitter later. Then as many runs as it takes, at the pace and with the counts that the board goes by
//! (`state`), each as long as it can last. Timers are late by up to a millisecond.
//!
//! A healthy target is taken to answer at once: round trips, and the time it takes to answer, come
//! on top. What only makes it sooner is left out: sessions that fail and have the target checked,
//! and the fast pace after the lead was lost.

use std::time::Duration;

use crate::config::check::{Action, Check, CheckKind, Script, Step};
use crate::config::replies::{Ends, ends};
use crate::config::thresholds::Thresholds;
use crate::health::checker::pause;
use crate::health::fault::{Fault, FaultKind};
use crate::health::snapshot::Health;
use crate::health::state::Standing;
use crate::health::verdict::Verdict;

/// A timer fires up to so much late.
pub const TICK: Duration = Duration::from_millis(1);

/// How long each takes at worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Its process died: connections are refused.
    pub killed: Duration,
    /// It answers what the check does not want; `None`: the check asks nothing.
    pub wrong: Option<Wrong>,
    /// It does not answer at all.
    pub silent: Duration,
    /// A target that was down is well again, and up.
    pub back: Duration,
    /// One that said that it does not lead says that it does; `None`: nobody leads here, or the
    /// check asks nothing.
    pub promoted: Option<Wrong>,
}

/// A time that depends on whether a wrong answer is known by its end, or by waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// At worst.
    pub within: Duration,
    /// `within` holds if the target answers in RESP; otherwise it is this.
    pub unless_resp: Option<Duration>,
}

/// How long each takes at worst with this check; `led`: at most one target gets traffic.
pub fn bounds(check: &Check, thresholds: &Thresholds, led: bool) -> Bounds {
    let Course { asked, told, passes, .. } = Course::of(check);
    let walk = Walk::by(thresholds, led);
    let wrong = |answer: &Answer| walk.down(passes.saturating_sub(told), passes, answer);
    let promoted = |answer: &Answer| walk.up(answer.took.saturating_sub(told), answer.took, passes);
    let answers = wrong_answers(check);
    let dies = |answer| walk.down(passes.saturating_sub(asked), passes, &answer);
    Bounds {
        killed: dies(refused()).max(walk.killed_within_a_run(passes)),
        wrong: answers.as_ref().map(|answers| answers.each(wrong)),
        silent: dies(Answer { kind: FaultKind::TimedOut, took: check.timeout }),
        // A run that had just begun when it was well again may be lost.
        back: walk.up(check.timeout, check.timeout, passes),
        promoted: answers.filter(|_| led).map(|answers| answers.each(promoted)),
    }
}

fn refused() -> Answer {
    Answer { kind: FaultKind::Refused, took: Duration::ZERO }
}

/// The times within a run whose target answers at once.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// Its last question has been asked: what becomes of the target later, it may not notice.
    asked: Duration,
    /// The question has been asked that decides.
    told: Duration,
    /// The answer to that is looked at.
    decides: Duration,
    /// It has passed.
    passes: Duration,
}

/// A failed run.
#[derive(Debug, Clone)]
struct Answer {
    kind: FaultKind,
    took: Duration,
}

/// How a wrong answer shows, and how if it is not RESP, where that makes a difference.
#[derive(Debug, Clone)]
struct Answers {
    usual: Answer,
    unless_resp: Option<Answer>,
}

/// The runs of a check, one after the other.
#[derive(Debug)]
struct Walk {
    thresholds: Thresholds,
    /// Between two runs of a target that is down.
    down_interval: Duration,
}

// === impl Course ===

impl Course {
    fn of(check: &Check) -> Self {
        let (zero, timeout) = (Duration::ZERO, check.timeout);
        let nothing = Self { asked: zero, told: zero, decides: zero, passes: zero };
        let CheckKind::Script(script) = &check.kind else { return nothing };
        let (Some(last), Some(deciding)) = (script.last_question(), script.deciding_step()) else {
            return nothing;
        };
        // A reject is watched for by the wait that follows it.
        let looked_at = match &script.steps[deciding].action {
            Action::Reject(_) => last,
            Action::Expect(_)
            | Action::Compare(_)
            | Action::ExpectClose
            | Action::Send(_)
            | Action::SendResp(_)
            | Action::Wait(_)
            | Action::Starttls(_) => deciding,
        };
        let at = |index| waits(&script.steps[..index]).min(timeout);
        Self {
            asked: at(question(script, last)),
            told: at(question(script, deciding)),
            decides: at(looked_at),
            passes: (at(last) + quiet(script, last, timeout)).min(timeout),
        }
    }
}

fn waits(steps: &[Step]) -> Duration {
    let wait = |step: &Step| match &step.action {
        Action::Wait(pause) => *pause,
        Action::Send(_)
        | Action::SendResp(_)
        | Action::Expect(_)
        | Action::Reject(_)
        | Action::ExpectClose
        | Action::Compare(_)
        | Action::Starttls(_) => Duration::ZERO,
    };
    steps.iter().map(wait).fold(Duration::ZERO, Duration::saturating_add)
}

/// The send whose answer step `index` looks at; the start, if the target speaks first.
fn question(script: &Script, index: usize) -> usize {
    let is_send = |step: &Step| matches!(step.action, Action::Send(_) | Action::SendResp(_));
    script.steps[..index].iter().rposition(is_send).unwrap_or(0)
}

/// How long a script that ends with a reject goes on listening for it.
fn quiet(script: &Script, last: usize, timeout: Duration) -> Duration {
    let is_reject = |step: &&Step| matches!(step.action, Action::Reject(_));
    let rejects = script.steps[..=last].iter().rev().take_while(is_reject);
    if rejects.clone().count() == 0 || ends(script) == Ends::Known {
        return Duration::ZERO;
    }
    rejects.filter_map(|step| step.timeout).min().unwrap_or(timeout)
}

// === impl Answers ===

impl Answers {
    fn each(&self, within: impl Fn(&Answer) -> Duration) -> Wrong {
        let unless_resp = self.unless_resp.as_ref().map(&within);
        Wrong { within: within(&self.usual), unless_resp }
    }
}

/// What a wrong answer at the deciding step comes to.
fn wrong_answers(check: &Check) -> Option<Answers> {
    let whole = |kind| Answers { usual: Answer { kind, took: Duration::ZERO }, unless_resp: None };
    let script = match &check.kind {
        CheckKind::Script(script) => script,
        CheckKind::Http(_) => return Some(whole(FaultKind::HttpStatus(503))),
        CheckKind::Postgres(asked) => {
            let expected = asked.question.as_ref()?.expect.as_ref();
            return expected.map(|_| whole(FaultKind::Contradicted));
        }
    };
    let deciding = script.deciding_step()?;
    let decides = Course::of(check).decides;
    let at_once = |kind| Answer { kind, took: decides };
    let step = &script.steps[deciding];
    let own = step.timeout.map_or(check.timeout, |own| decides.saturating_add(own));
    let waited_out = Answer { kind: FaultKind::TimedOut, took: own.min(check.timeout) };
    let (usual, unless_resp) = match &step.action {
        Action::Reject(_) => (at_once(FaultKind::Rejected), None),
        Action::Compare(_) => (at_once(FaultKind::Compare), None),
        Action::Expect(_) if is_watched(script, deciding) => (at_once(FaultKind::Rejected), None),
        Action::Expect(_) => match ends(script) {
            Ends::Known => (at_once(FaultKind::Contradicted), None),
            Ends::IfResp => (at_once(FaultKind::Contradicted), Some(waited_out)),
            Ends::Unknown => (waited_out, None),
        },
        Action::ExpectClose
        | Action::Send(_)
        | Action::SendResp(_)
        | Action::Wait(_)
        | Action::Starttls(_) => return None,
    };
    Some(Answers { usual, unless_resp })
}

/// Does an expect have a reject in the same wait?
fn is_watched(script: &Script, expect: usize) -> bool {
    let before = script.steps[..expect].iter().rev();
    let mut same_wait = before.take_while(|step| match &step.action {
        Action::Expect(_) | Action::ExpectClose => false,
        Action::Send(_)
        | Action::SendResp(_)
        | Action::Reject(_)
        | Action::Compare(_)
        | Action::Wait(_)
        | Action::Starttls(_) => true,
    });
    same_wait.any(|step| matches!(step.action, Action::Reject(_)))
}

// === impl Walk ===

impl Walk {
    fn by(thresholds: &Thresholds, led: bool) -> Self {
        let mut thresholds = thresholds.clone();
        let mut down_interval = thresholds.down_interval;
        if led {
            // Who leads is the leader rule's to say: one pass is enough for it, and while nobody
            // leads, all are asked at the fast pace.
            thresholds.rise = 1;
            down_interval = down_interval.max(thresholds.fast_interval);
        }
        Self { thresholds, down_interval }
    }

    /// From the event, which a run that passes does not notice for the `rest` of its time, until
    /// the target is down.
    fn down(&self, rest: Duration, took: Duration, answer: &Answer) -> Duration {
        let mut standing = Standing::inherited(Health::Up);
        standing.saw(&Verdict::Passed, &self.thresholds);
        let begins = late(rest) + longest(self.thresholds.interval, took);
        let verdict = Verdict::Failed(Fault::unstepped(answer.kind.clone()));
        self.until(standing, begins, &verdict, answer.took)
    }

    /// A process that dies just after a run began, whose script looks only at its end: that is one
    /// failure of any kind, and only the next run is refused.
    fn killed_within_a_run(&self, passes: Duration) -> Duration {
        let mut standing = Standing::inherited(Health::Up);
        standing.saw(&Verdict::Passed, &self.thresholds);
        standing.saw(&Verdict::Failed(Fault::unstepped(FaultKind::Closed)), &self.thresholds);
        if standing.health() == Health::Down {
            return late(passes);
        }
        let begins = late(passes) + longest(standing.pace(&self.thresholds), passes);
        let verdict = Verdict::Failed(Fault::unstepped(FaultKind::Refused));
        self.until(standing, begins, &verdict, Duration::ZERO)
    }

    /// From the event, in a run that fails for the `rest` of its time, until the target is up.
    fn up(&self, rest: Duration, took: Duration, passes: Duration) -> Duration {
        let mut standing = Standing::inherited(Health::Up);
        standing.saw(&Verdict::Passed, &self.thresholds);
        let verdict = Verdict::Failed(Fault::unstepped(FaultKind::TimedOut));
        while standing.health() != Health::Down {
            standing.saw(&verdict, &self.thresholds);
        }
        let begins = late(rest) + longest(self.down_interval, took);
        self.until(standing, begins, &Verdict::Passed, passes)
    }

    /// Runs that begin then, and all end so, until they have changed the target's health.
    fn until(
        &self,
        mut standing: Standing,
        begins: Duration,
        verdict: &Verdict,
        took: Duration,
    ) -> Duration {
        let wanted = if *verdict == Verdict::Passed { Health::Up } else { Health::Down };
        let mut at = begins;
        loop {
            at = at.saturating_add(late(took));
            standing.saw(verdict, &self.thresholds);
            if standing.health() == wanted {
                return at;
            }
            at = at.saturating_add(longest(standing.pace(&self.thresholds), took));
        }
    }
}

/// The longest pause after a run.
fn longest(interval: Duration, took: Duration) -> Duration {
    pause(interval, took, 1.0) + TICK
}

/// Something that takes this long by a timer.
fn late(time: Duration) -> Duration {
    if time.is_zero() { time } else { time.saturating_add(TICK) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{PostgresCheck, PostgresLogin, PostgresQuestion, Template};
    use crate::config::names::TargetAddress;

    fn asks(expect: Option<&str>) -> Check {
        let text = |text: &str| Template::literal(text);
        let login = PostgresLogin { user: text("a"), password: text(""), database: text("") };
        let question = PostgresQuestion { query: text("SELECT 1"), expect: expect.map(text) };
        let asked = PostgresCheck { login: Some(login), question: Some(question) };
        let address = TargetAddress::Ip("127.0.0.1:5432".parse().unwrap());
        let kind = CheckKind::Postgres(asked);
        Check {
            target: None,
            address,
            tls: None,
            header: None,
            about: None,
            kind,
            timeout: Duration::from_secs(1),
            keep_open: false,
        }
    }

    #[test]
    fn a_whole_answer_of_postgresql_is_known_wrong_at_once() {
        let thresholds = Thresholds::default();
        let of = |expect, led| bounds(&asks(expect), &thresholds, led);
        let Bounds { wrong, promoted, silent, .. } = of(Some("f"), true);
        let Some(Wrong { within, unless_resp: None }) = wrong else { panic!("{wrong:?}") };
        assert!(within < silent && promoted.is_some());
        assert_eq!((of(Some("f"), false).promoted, of(None, true).wrong), (None, None));
    }
}
