//! What the board keeps of one target: its checks, where each stands, and what they said last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::check::Check;
use crate::config::names::TargetKey;
use crate::config::thresholds::Thresholds;
use crate::health::lapse::Lapse;
use crate::health::rank::Rank;
use crate::health::snapshot::Health;
use crate::health::state::Standing;
use crate::health::suspicion::Suspicions;
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Verdict, Word};

/// On top of a check's timeout, this long may its first verdict take to arrive.
pub const GRACE: Duration = Duration::from_millis(200);

/// What is kept of one target that has checks.
#[derive(Debug, Clone)]
pub struct TargetRecord {
    /// Whose record it is.
    pub target: TargetKey,
    /// What people call it.
    pub name: Arc<str>,
    /// Its checks, in the order written. It is up only if every one of them is.
    pub checks: Vec<CheckRecord>,
    /// New connections wait for its first verdict until then; `None`: it is in, or overdue.
    pub awaited_until: Option<Instant>,
    /// What sessions met at it.
    pub suspicions: Suspicions,
    /// Since when its health is what it is.
    pub since: Instant,
}

/// What is kept of one check.
#[derive(Debug, Clone)]
pub struct CheckRecord {
    /// The check.
    pub check: Arc<Check>,
    /// What its verdicts so far make of it.
    pub standing: Standing,
    /// Its last run that said anything about the target passed.
    pub passing: bool,
    /// Its last run.
    pub last: Option<Arc<Transcript>>,
    /// When that was over.
    pub ran: Option<Instant>,
    /// The run that last changed its target's health.
    pub at_transition: Option<Arc<Transcript>>,
    /// When it passed last.
    pub last_good: Option<Instant>,
    /// The first run that failed since.
    pub first_bad: Option<(Instant, Arc<Transcript>)>,
    /// The rank that its last pass gave the target.
    pub rank: Option<Rank>,
}

impl TargetRecord {
    /// A target that has not been asked yet.
    pub fn new(target: TargetKey, name: Arc<str>, checks: Vec<CheckRecord>, now: Instant) -> Self {
        let (awaited_until, suspicions) = (None, Suspicions::default());
        let mut record = Self { target, name, checks, awaited_until, suspicions, since: now };
        record.await_verdict(now);
        record
    }

    /// From now on its next verdict is waited for, as long as it may take.
    pub fn await_verdict(&mut self, now: Instant) {
        let longest = self.checks.iter().map(|record| record.check.timeout).max();
        self.awaited_until = Some(now + longest.unwrap_or_default() + GRACE);
    }

    /// Nothing is known of its checks but what was published of the target.
    pub fn resume(&mut self, health: Health) {
        if health == Health::Unknown {
            return;
        }
        self.awaited_until = None;
        for record in &mut self.checks {
            record.standing = Standing::inherited(health);
            record.passing = health == Health::Up;
        }
    }

    /// Up if all of its checks are, down if one is, else unknown.
    pub fn health(&self) -> Health {
        let mut healths = self.checks.iter().map(|record| record.standing.health());
        if healths.clone().any(|health| health == Health::Down) {
            Health::Down
        } else if healths.all(|health| health == Health::Up) {
            Health::Up
        } else {
            Health::Unknown
        }
    }

    /// The trouble of our own that the last run of one of its checks met.
    pub fn trouble(&self, check: &Check) -> Option<&OwnTrouble> {
        self.checks.iter().find(|record| *record.check == *check)?.trouble()
    }

    /// The same target under a changed definition: a check that stays keeps all it has, and a new
    /// one stands as the target stood, until it has spoken.
    pub fn reconfigured(&self, name: Arc<str>, checks: &[Arc<Check>]) -> Self {
        let health = self.health();
        let kept = |check: &Arc<Check>| {
            let record = self.checks.iter().find(|record| record.check == *check);
            record.cloned().unwrap_or_else(|| CheckRecord {
                standing: Standing::inherited(health),
                passing: health == Health::Up,
                ..CheckRecord::new(check.clone())
            })
        };
        Self { name, checks: checks.iter().map(kept).collect(), ..self.clone() }
    }

    /// What speaks against it, or did when it was last asked: of the check that failed first.
    pub fn lapse(&self) -> Lapse {
        let failed = self.checks.iter().filter(|run| run.first_bad.is_some());
        let first = failed.min_by_key(|run| run.first_bad.as_ref().map(|(at, _)| *at));
        let Some(run) = first else {
            let last_good = self.checks.iter().filter_map(|run| run.last_good).min();
            return Lapse { last_good, first_bad: None };
        };
        let first_bad = run.first_bad.as_ref();
        let first_bad = first_bad.map(|(at, run)| (*at, run.verdict.to_string()));
        Lapse { last_good: run.last_good, first_bad }
    }

    /// The rank that its last pass gave it: of the one check that gives any.
    pub fn rank(&self) -> Option<Rank> {
        self.checks.iter().find_map(|record| record.rank)
    }

    /// The word of a run of one of its checks. It leads only if all of its checks pass.
    pub fn word(&self, verdict: &Verdict) -> Word {
        match verdict.word() {
            Word::Leader if !self.checks.iter().all(|record| record.passing) => Word::Silence,
            word @ (Word::Leader | Word::NotLeader | Word::Wipe | Word::Silence) => word,
        }
    }
}

impl CheckRecord {
    /// A check that has not run yet.
    pub fn new(check: Arc<Check>) -> Self {
        let standing = Standing::default();
        Self {
            check,
            standing,
            passing: false,
            last: None,
            ran: None,
            at_transition: None,
            last_good: None,
            first_bad: None,
            rank: None,
        }
    }

    /// The trouble of our own that its last run met.
    pub fn trouble(&self) -> Option<&OwnTrouble> {
        match &self.last.as_deref()?.verdict {
            Verdict::CouldNotRun(trouble) => Some(trouble),
            Verdict::Passed | Verdict::Failed(_) => None,
        }
    }

    /// A run is over.
    pub fn saw(&mut self, transcript: &Arc<Transcript>, thresholds: &Thresholds, now: Instant) {
        self.standing.saw(&transcript.verdict, thresholds);
        match transcript.verdict {
            Verdict::Passed => {
                self.passing = true;
                (self.last_good, self.first_bad) = (Some(now), None);
                self.rank = transcript.rank;
            }
            Verdict::Failed(_) => {
                self.passing = false;
                self.first_bad.get_or_insert_with(|| (now, transcript.clone()));
            }
            Verdict::CouldNotRun(_) => {}
        }
        self.last = Some(transcript.clone());
        self.ran = Some(now);
    }
}
