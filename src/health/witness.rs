//! The witnesses of a led service: who of them agrees that which target leads. Pure.
//!
//! A witness agrees about a target where its last run about it passed. A whole answer that
//! contradicts withdraws its agreement at once; its silence (a timeout, a refused connection, an
//! error reply) leaves an agreement standing until it has been silent `fall` times in a row. So a
//! target comes to lead only by those that agree now, and a leader keeps the lead by those whose
//! agreement stands. Trouble of our own changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::check::{Action, Check, CheckKind, Template, Witnesses};
use crate::config::names::TargetKey;
use crate::config::thresholds::Thresholds;
use crate::health::fault::FaultKind;
use crate::health::record::{CheckRecord, GRACE};
use crate::health::support::Support;
use crate::health::transcript::Transcript;
use crate::health::verdict::{Verdict, Word};

/// What the witnesses say of every target.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    agree: u32,
    /// Shared with the panel before: what one verdict does not touch is not copied for it.
    testimonies: BTreeMap<TargetKey, Arc<Vec<Testimony>>>,
}

/// What one witness says of one target.
#[derive(Debug, Clone)]
pub struct Testimony {
    /// Its check, and the last run of it.
    pub run: CheckRecord,
    /// It has agreed, has not contradicted since, and has not been silent for long.
    stands: bool,
    /// It contradicted when it last said anything.
    contradicts: bool,
    /// Silent runs in a row.
    silent: u32,
    /// The first step whose answer must name the target.
    asks_from: Option<usize>,
    /// Its first word is waited for until then; `None`: it is in, or overdue.
    awaited_until: Option<Instant>,
}

/// What a witness says, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// This target leads.
    Agrees,
    /// Another one does, or none.
    Disagrees,
    /// Nothing, and its agreement still stands.
    SilentAfterYes,
    /// Nothing.
    Silent,
    /// It has not been heard yet.
    Unheard,
}

// === impl Panel ===

impl Panel {
    /// The witnesses of a definition. What is known of those that stay is kept.
    pub fn adopt(before: Option<&Self>, witnesses: &Witnesses, now: Instant) -> Self {
        let mut testimonies: BTreeMap<TargetKey, Vec<Testimony>> = BTreeMap::new();
        for check in &witnesses.checks {
            let Some(target) = &check.target else { continue };
            let known = before.and_then(|before| before.find(check));
            let testimony = known.cloned().unwrap_or_else(|| Testimony::awaited(check, now));
            testimonies.entry(target.clone()).or_default().push(testimony);
        }
        let testimonies = testimonies.into_iter().map(|(key, list)| (key, Arc::new(list)));
        Self { agree: witnesses.agree, testimonies: testimonies.collect() }
    }

    /// So many must agree.
    pub fn agree(&self) -> u32 {
        self.agree
    }

    /// What each witness says of a target, in the order written.
    pub fn about(&self, target: &TargetKey) -> &[Testimony] {
        self.testimonies.get(target).map_or(&[], |list| list.as_slice())
    }

    /// How many back each target.
    pub fn supports(&self) -> Vec<(TargetKey, Support)> {
        self.testimonies.keys().map(|target| (target.clone(), self.support(target))).collect()
    }

    /// How many back this target.
    pub fn support(&self, target: &TargetKey) -> Support {
        let mut support = Support::default();
        for testimony in self.about(target) {
            support.now += u32::from(testimony.run.passing);
            support.standing += u32::from(testimony.stands);
            support.awaited += u32::from(testimony.awaited_until.is_some());
        }
        support
    }

    /// A run is over. Did it end the wait for this witness? `None`: it is of no witness here.
    pub fn record(
        &mut self,
        check: &Check,
        transcript: &Arc<Transcript>,
        thresholds: &Thresholds,
        now: Instant,
    ) -> Option<bool> {
        let list = self.testimonies.get_mut(check.target.as_ref()?)?;
        let index = list.iter().position(|testimony| *testimony.run.check == *check)?;
        let testimony = &mut Arc::make_mut(list)[index];
        testimony.run.saw(transcript, thresholds, now);
        if matches!(transcript.verdict, Verdict::CouldNotRun(_)) {
            return Some(false);
        }
        testimony.hear(testimony.word(&transcript.verdict), thresholds.fall);
        Some(testimony.awaited_until.take().is_some())
    }

    /// Time has passed: who has not been heard by now is not waited for any more.
    pub fn tick(&mut self, now: Instant) -> bool {
        let is_overdue = |one: &Testimony| one.awaited_until.is_some_and(|until| until <= now);
        let mut any = false;
        for list in self.testimonies.values_mut().filter(|list| list.iter().any(is_overdue)) {
            for testimony in Arc::make_mut(list).iter_mut().filter(|one| is_overdue(one)) {
                (testimony.awaited_until, any) = (None, true);
            }
        }
        any
    }

    /// Nobody ran us for so long: whoever is waited for has that much longer.
    pub fn overslept(&mut self, pause: Duration) {
        let waited_for = |one: &Testimony| one.awaited_until.is_some();
        for list in self.testimonies.values_mut().filter(|list| list.iter().any(waited_for)) {
            for testimony in Arc::make_mut(list).iter_mut() {
                testimony.awaited_until = testimony.awaited_until.map(|until| until + pause);
            }
        }
    }

    /// When `tick` is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.testimonies
            .values()
            .flat_map(|list| list.iter())
            .filter_map(|it| it.awaited_until)
            .min()
    }

    /// How long until a witness's next run, before jitter; `None`: it is no witness here.
    pub fn pace(&self, check: &Check, thresholds: &Thresholds) -> Option<Duration> {
        let testimony = self.find(check)?;
        let is_changing =
            testimony.awaited_until.is_some() || testimony.says() == Says::SilentAfterYes;
        Some(if is_changing { thresholds.fast_interval } else { thresholds.interval })
    }

    fn find(&self, check: &Check) -> Option<&Testimony> {
        let own = self.about(check.target.as_ref()?);
        own.iter().find(|testimony| *testimony.run.check == *check)
    }
}

// === impl Testimony ===

impl Testimony {
    /// What it says, for people.
    pub fn says(&self) -> Says {
        if self.run.passing {
            Says::Agrees
        } else if self.contradicts {
            Says::Disagrees
        } else if self.stands {
            Says::SilentAfterYes
        } else if self.silent > 0 {
            Says::Silent
        } else {
            Says::Unheard
        }
    }

    fn awaited(check: &Arc<Check>, now: Instant) -> Self {
        Self {
            run: CheckRecord::new(Arc::clone(check)),
            stands: false,
            contradicts: false,
            silent: 0,
            asks_from: asks_from(check),
            awaited_until: Some(now + check.timeout + GRACE),
        }
    }

    /// The word of a run. A target has a host and a port, which are two questions: a whole answer
    /// with another host is as conclusive as one with another port, though only the last decides.
    fn word(&self, verdict: &Verdict) -> Word {
        let Verdict::Failed(fault) = verdict else { return verdict.word() };
        let is_other = match fault.kind {
            FaultKind::Rejected | FaultKind::Contradicted | FaultKind::Compare => {
                let step = fault.step.as_ref().map(|step| step.index);
                self.asks_from.is_some_and(|first| step >= Some(first))
            }
            FaultKind::Refused
            | FaultKind::Reset
            | FaultKind::Unreachable
            | FaultKind::TimedOut
            | FaultKind::Undecided
            | FaultKind::Closed
            | FaultKind::ErrorReply
            | FaultKind::Limit
            | FaultKind::TooCostly
            | FaultKind::NoCapture(_)
            | FaultKind::CannotLogIn(_)
            | FaultKind::HttpStatus(_)
            | FaultKind::Malformed
            | FaultKind::Tls(_)
            | FaultKind::Io(_) => false,
        };
        if is_other { Word::NotLeader } else { verdict.word() }
    }

    fn hear(&mut self, word: Word, fall: u32) {
        match word {
            Word::Leader => (self.stands, self.contradicts, self.silent) = (true, false, 0),
            Word::NotLeader => (self.stands, self.contradicts, self.silent) = (false, true, 0),
            Word::Wipe | Word::Silence => {
                self.contradicts = false;
                self.silent = self.silent.saturating_add(1);
                self.stands &= self.silent < fall;
            }
        }
    }
}

fn asks_from(check: &Check) -> Option<usize> {
    let CheckKind::Script(script) = &check.kind else { return None };
    script.steps.iter().position(|step| {
        let asks = match step.action {
            Action::Expect(_) | Action::Reject(_) | Action::Compare(_) => true,
            Action::Send(_)
            | Action::SendResp(_)
            | Action::Wait(_)
            | Action::ExpectClose
            | Action::Starttls(_) => false,
        };
        asks && step.action.templates().into_iter().any(Template::names_target)
    })
}

impl std::fmt::Display for Says {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agrees => "agrees",
            Self::Disagrees => "disagrees",
            Self::SilentAfterYes => "silent, agreed before",
            Self::Silent => "silent",
            Self::Unheard => "not heard yet",
        })
    }
}
