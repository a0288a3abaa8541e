//! The script interpreter: bytes in, what to do next out. Pure: no socket and no clock.
//!
//! The verdict is a function of what the target says, never of how its bytes were cut into reads:
//! whatever ends a wait (`health/wait`) does so at one byte of the stream, and the earliest wins.
//! Of two at the same byte a reject wins over an expect, and an expect over the reply's end.
//!
//! What follows the last question of a script cannot change the verdict: it comes as the farewell
//! of `Do::Done`, to be sent on a best effort.

use std::sync::Arc;
use std::time::Duration;

use crate::config::check::{Action, Comparison, Matcher, Script};
use crate::config::names::TargetAddress;
use crate::health::fault::{Fault, FaultKind, FaultStep};
use crate::health::fill::{Facts, NoCapture, describe, holds, symbol};
use crate::health::framing::{Exchange, Known};
use crate::health::rank::Rank;
use crate::health::search::Search;
use crate::health::shown::{Masker, useful};
use crate::health::starttls::Talk;
use crate::health::verdict::{OwnTrouble, Verdict};
use crate::health::wait::{Goal, Outcome, Unread, Wait};

mod upgrading;

/// Of what was heard, a fault shows this many bytes.
const HEARD: usize = 64;

/// One run of a script.
#[derive(Debug)]
pub struct Interpreter<'a> {
    script: &'a Script,
    /// The step whose answer says who leads.
    deciding: Option<usize>,
    /// The last step that can fail the check.
    last: Option<usize>,
    masker: Masker,
    facts: Facts,
    exchange: Exchange,
    /// The next step.
    at: usize,
    /// Rejects that wait for the next expect.
    rejects: Vec<usize>,
    waiting: Option<Wait>,
    /// What is said before TLS, while it is said.
    talk: Option<Talk>,
    unread: Vec<u8>,
    /// The position of `unread` in the whole stream.
    base: u64,
    /// The last byte that a step has read.
    last_read: Option<u8>,
    /// No more will come, and why.
    end: Option<FaultKind>,
    /// A send that failed. What the target said before may still decide.
    unsent: Option<(usize, FaultKind)>,
    met: Vec<usize>,
    verdict: Option<Verdict>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Do {
    /// Send all of this, then ask again.
    Send {
        /// The step that says so.
        step: usize,
        /// What to send.
        bytes: Vec<u8>,
        /// The step's own deadline.
        within: Option<Duration>,
    },
    /// Read something and report it, then ask again.
    Read {
        /// The step that waits; its own deadline runs from when this step was first named.
        step: usize,
        /// The step's own deadline.
        within: Option<Duration>,
    },
    /// Begin TLS, report it, then ask again.
    Upgrade {
        /// The step that says so; its own deadline runs from when it was first named.
        step: usize,
        /// The step's own deadline.
        within: Option<Duration>,
    },
    /// Pause, then ask again.
    Wait {
        /// The step that says so.
        step: usize,
        /// For this long.
        pause: Duration,
    },
    /// The verdict stands.
    Done {
        /// The verdict.
        verdict: Verdict,
        /// Sends that follow the last question: step and bytes. To be tried, not waited for.
        farewell: Vec<(usize, Vec<u8>)>,
    },
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The step's own.
    Step,
    /// The whole check's.
    Check,
}

impl<'a> Interpreter<'a> {
    /// Begins `script` on an established connection to `target`.
    pub fn new(script: &'a Script, target: &TargetAddress) -> Self {
        Self {
            script,
            deciding: script.deciding_step(),
            last: script.last_question(),
            masker: Masker::of(script),
            facts: Facts::of(target),
            exchange: Exchange::new(script.framing),
            at: 0,
            rejects: Vec::new(),
            waiting: None,
            talk: None,
            unread: Vec::new(),
            base: 0,
            last_read: None,
            end: None,
            unsent: None,
            met: Vec::new(),
            verdict: None,
        }
    }

    /// What to do next.
    pub fn proceed(&mut self) -> Do {
        loop {
            if let Some(verdict) = self.verdict.clone() {
                return Do::Done { farewell: self.farewell(&verdict), verdict };
            }
            let next = match (self.waiting.take(), self.talk.take()) {
                (Some(wait), _) => self.look(wait),
                (None, Some(talk)) => self.talk_on(talk),
                (None, None) => self.step(),
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// The target said this.
    pub fn received(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The target closed its side.
    pub fn closed(&mut self) {
        self.end = Some(FaultKind::Closed);
    }

    /// Reading failed.
    pub fn read_failed(&mut self, why: Result<FaultKind, OwnTrouble>) {
        match why {
            Ok(kind) => self.end = Some(kind),
            Err(trouble) => self.verdict = Some(Verdict::CouldNotRun(trouble)),
        }
    }

    /// The last `Do::Send` failed. What the target has said before may still decide, so the script
    /// goes on to hear it.
    pub fn send_failed(&mut self, why: Result<FaultKind, OwnTrouble>) {
        match why {
            Ok(kind) => self.unsent = Some((self.at.saturating_sub(1), kind)),
            Err(trouble) => self.verdict = Some(Verdict::CouldNotRun(trouble)),
        }
    }

    /// A deadline passed.
    pub fn expired(&mut self, which: Expired) {
        match self.waiting.take() {
            Some(Wait { goal: Goal::Quiet, .. }) if which == Expired::Step => self.rejects.clear(),
            Some(wait) => {
                let undecided = wait.is_undecided(&self.unread);
                let kind = if undecided { FaultKind::Undecided } else { FaultKind::TimedOut };
                let heard = useful(&self.unread).to_vec();
                self.fail(wait.step, kind, &heard);
            }
            None => {
                let heard = self.talk.take().map(|_| self.unread.clone()).unwrap_or_default();
                self.fail(self.at.saturating_sub(1), FaultKind::TimedOut, &heard);
            }
        }
    }

    /// The steps that were met since this was asked last.
    pub fn take_met(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.met)
    }

    /// The rank that a pass gives the target, or why it gives none; `None`: nobody asks for one.
    pub fn rank(&self) -> Option<Result<Rank, String>> {
        let template = self.script.rank.as_ref().filter(|_| self.verdict == Some(Verdict::Passed));
        template.map(|template| Rank::of(template, &self.facts, &self.masker))
    }

    /// A step's command as a person would write it.
    pub fn describe(&self, step: usize) -> String {
        self.script
            .steps
            .get(step)
            .map_or_else(|| "connect".to_owned(), |step| describe(&step.action, &self.masker))
    }

    /// Takes the next step.
    fn step(&mut self) -> Option<Do> {
        let script = self.script;
        if self.last.is_none_or(|last| self.at > last) {
            match self.rejects.last() {
                Some(last) => self.wait(*last, Ok(Goal::Quiet)),
                None => self.verdict = Some(Verdict::Passed),
            }
            return None;
        }
        let index = self.at;
        self.at += 1;
        let step = script.steps.get(index)?;
        match &step.action {
            Action::Send(text) => return self.send(index, self.facts.fill(text), step.timeout),
            Action::SendResp(words) => {
                return self.send(index, self.facts.command(words), step.timeout);
            }
            Action::Wait(pause) => return Some(Do::Wait { step: index, pause: *pause }),
            Action::Reject(_) => self.rejects.push(index),
            Action::Starttls(asking) => self.talk = Some(Talk::new(*asking, self.last_read)),
            Action::ExpectClose => self.wait(index, Ok(Goal::Close)),
            Action::Compare(comparison) => self.compare(index, comparison),
            Action::Expect(matcher) => {
                let goal = Search::new(matcher, &self.facts).map(Goal::Expect);
                self.wait(index, goal);
            }
        }
        None
    }

    fn send(
        &mut self,
        index: usize,
        filled: Result<Vec<u8>, NoCapture>,
        within: Option<Duration>,
    ) -> Option<Do> {
        match filled {
            Ok(bytes) => {
                self.exchange.sent(&bytes);
                Some(Do::Send { step: index, bytes, within })
            }
            Err(missing) => {
                self.fail(index, missing.into(), b"");
                None
            }
        }
    }

    fn compare(&mut self, index: usize, comparison: &Comparison) {
        let Comparison { left, operator, right } = comparison;
        match (self.facts.fill(left), self.facts.fill(right)) {
            (Ok(left), Ok(right)) if holds(&left, *operator, &right) => self.met.push(index),
            (Ok(left), Ok(right)) => {
                let show = |side: &[u8]| self.masker.excerpt(side, HEARD / 2);
                let heard = format!("{} {} {}", show(&left), symbol(*operator), show(&right));
                let step = Some(self.fault_step(index, index));
                let fault = Fault { step, kind: FaultKind::Compare, heard };
                self.verdict = Some(Verdict::Failed(fault));
            }
            (Err(missing), _) | (Ok(_), Err(missing)) => self.fail(index, missing.into(), b""),
        }
    }

    /// Begins to wait at `step`.
    fn wait(&mut self, step: usize, goal: Result<Goal, NoCapture>) {
        let script = self.script;
        let mut rejects = Vec::with_capacity(self.rejects.len());
        for index in &self.rejects {
            let Action::Reject(matcher) = &script.steps[*index].action else { continue };
            match Search::new(matcher, &self.facts) {
                Ok(search) => rejects.push((*index, search)),
                Err(missing) => return self.fail(*index, missing.into(), b""),
            }
        }
        match goal {
            Ok(goal) => self.waiting = Some(Wait { step, goal, rejects }),
            Err(missing) => self.fail(step, missing.into(), b""),
        }
    }

    /// Looks whether the wait is over.
    fn look(&mut self, mut wait: Wait) -> Option<Do> {
        let unread = Unread { bytes: &self.unread, base: self.base, end: self.end.as_ref() };
        match wait.look(unread, &mut self.exchange) {
            None => {
                let within = self.own_deadline(&wait);
                let step = wait.step;
                self.waiting = Some(wait);
                return Some(Do::Read { step, within });
            }
            Some(Outcome::Met { matched, needed }) => {
                for (name, value) in matched.iter().flat_map(|matched| &matched.captures) {
                    self.facts.capture(name, value);
                }
                self.consume(wait.step, needed, matched.map_or(0, |matched| matched.end));
            }
            Some(Outcome::Failed { step, kind, heard }) => {
                let heard = useful(&self.unread[heard]).to_vec();
                match self.unsent.take() {
                    Some((unsent, why))
                        if self.end.is_some() && Some(&kind) == self.end.as_ref() =>
                    {
                        self.fail(unsent, why, &heard);
                    }
                    Some(_) | None => {
                        let step = self.fault_step(step, wait.step);
                        self.fail_at(step, kind, &heard);
                    }
                }
            }
        }
        None
    }

    /// The script used `needed` unread bytes to know, and consumes those before `end`.
    fn consume(&mut self, step: usize, needed: usize, end: usize) {
        let known = self.exchange.used(&self.unread, self.base, self.base + needed as u64);
        if let Some(Known::Malformed { .. }) = known {
            let heard = self.unread[..needed].to_vec();
            return self.fail(step, FaultKind::Malformed, &heard);
        }
        self.last_read = self.unread[..end].last().copied().or(self.last_read);
        self.unread.drain(..end);
        self.base += end as u64;
        self.rejects.clear();
        self.met.push(step);
    }

    /// The earliest of the deadlines of the steps that wait together.
    fn own_deadline(&self, wait: &Wait) -> Option<Duration> {
        let steps = wait.rejects.iter().map(|(step, _)| *step).chain([wait.step]);
        steps.filter_map(|step| self.script.steps[step].timeout).min()
    }

    fn fail(&mut self, step: usize, kind: FaultKind, heard: &[u8]) {
        let step = self.fault_step(step, step);
        self.fail_at(step, kind, heard);
    }

    fn fail_at(&mut self, step: FaultStep, kind: FaultKind, heard: &[u8]) {
        let heard =
            if heard.is_empty() { String::new() } else { self.masker.excerpt(heard, HEARD) };
        self.verdict = Some(Verdict::Failed(Fault { step: Some(step), kind, heard }));
    }

    /// Step `index` failed while the script stood at `standing`.
    fn fault_step(&self, index: usize, standing: usize) -> FaultStep {
        let deciding = self.deciding == Some(index) || self.deciding == Some(standing);
        FaultStep { index, command: Arc::from(self.describe(index)), deciding }
    }

    /// The sends behind the last question, if the check passed.
    fn farewell(&self, verdict: &Verdict) -> Vec<(usize, Vec<u8>)> {
        if *verdict != Verdict::Passed {
            return Vec::new();
        }
        let from = self.last.map_or(0, |last| last + 1);
        let rest = self.script.steps.iter().enumerate().skip(from);
        rest.filter_map(|(index, step)| match &step.action {
            Action::Send(template) => Some((index, self.facts.fill(template).ok()?)),
            Action::SendResp(words) => Some((index, self.facts.command(words).ok()?)),
            Action::Expect(Matcher::Bytes(_) | Matcher::Regex(_))
            | Action::Reject(_)
            | Action::ExpectClose
            | Action::Compare(_)
            | Action::Wait(_)
            | Action::Starttls(_) => None,
        })
        .collect()
    }
}

impl From<NoCapture> for FaultKind {
    fn from(NoCapture(name): NoCapture) -> Self {
        Self::NoCapture(name)
    }
}
