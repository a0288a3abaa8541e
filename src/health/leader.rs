//! The leader: of the targets that claim the role, the one that gets all traffic, or none. Pure.
//!
//! The rule is the last conclusive word of a target. Who passes after it said *not leader* was
//! promoted and takes over at once; who passes otherwise waits while the incumbent stands. A
//! refused or reset connection wipes the memory, silence keeps it (`Word`).
//!
//! Where SERVICE is silent:
//!
//! - The incumbent stands as long as it is up: within its fall allowance a failure changes nothing.
//! - A claimant is up and passed its last run. Who waited is elected only as a claimant.
//! - Several claimants and nothing to tell them apart are *contenders*: none leads until all but
//!   one have said *not leader* or left the pool, or somebody is promoted. A contender that falls
//!   silent or dies has not withdrawn its claim: fail closed.
//! - At the end of the start, of several claimants one that was promoted meanwhile leads.
//! - What was remembered before a start of the process (`leader/remembered`) takes effect at the
//!   end of the start: one that was promoted meanwhile leads, else whoever led before, if it passes.
//! - A rank tells contenders apart only where every one of them passes now and has one, and one is
//!   the highest: an old rank says nothing of what its target has done since.
//! - Where there are witnesses, nobody comes to lead, however promoted, without the agreement of
//!   enough of them now, and a leader that too few agreements stand for loses the lead (`witness`).
//!   A promotion that they do not confirm yet is not forgotten.

mod election;
pub mod remembered;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::rank::Rank;
use crate::health::support::Support;
use crate::health::verdict::Word;

/// Two losses by contradiction within this time make a target's next claim wait for `rise` passes.
const FLAPPING: Duration = Duration::from_secs(10);

/// What is remembered of all targets, and who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderRule {
    members: BTreeMap<TargetKey, Member>,
    incumbent: Option<TargetKey>,
    /// Who led before this process was started, until everybody has been heard.
    heir: Option<TargetKey>,
    phase: Phase,
    terms: Terms,
    promotions: u64,
}

/// What a claimant must meet to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    /// Passes in a row, if it is flapping.
    rise: u32,
    /// Witnesses that agree; 0: none are asked.
    agree: u32,
}

/// What is remembered of one target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Member {
    said: Option<Said>,
    /// It said so to the process before this one.
    said_before: bool,
    /// It was promoted and has not led since; a higher number is later. 0: while nobody listened.
    promoted: Option<u64>,
    /// It has been heard, or has used up its time.
    first_done: bool,
    up: bool,
    /// Passes in a row.
    passes: u32,
    /// A person took it out of service.
    withdrawn: bool,
    /// When it last lost the lead by its own word.
    lost: Option<Instant>,
    /// It lost the lead so twice in a short time.
    flapping: bool,
    /// The rank that its last pass gave it.
    rank: Option<Rank>,
    /// How many witnesses back it.
    support: Support,
}

/// The last conclusive word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It passed.
    Leader,
    /// It contradicted.
    NotLeader,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Not everybody has been heard.
    Starting,
    /// Whoever alone claims the lead has it.
    Settled,
    /// These claim it, and nothing tells them apart.
    Contended(BTreeSet<TargetKey>),
}

/// What an event led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    /// Another leads now, or nobody any more.
    pub change: Option<Change>,
    /// A person should know.
    pub alarm: Option<Alarm>,
}

/// A change of the lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who led.
    pub from: Option<TargetKey>,
    /// Who leads.
    pub to: Option<TargetKey>,
    /// Why.
    pub why: Why,
}

/// Why the lead changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It last said that it was no leader, and passes now.
    Promoted,
    /// It alone claims the lead.
    OnlyClaimant,
    /// It led before the start, and passes.
    LedBefore,
    /// Of several that claim the lead, it has the highest rank.
    HighestRank,
    /// Of several that claim the lead, enough witnesses agree about it alone.
    Witnessed,
    /// Too few witnesses back the incumbent any more, and nobody takes its place.
    Unwitnessed,
    /// The incumbent is down, and nobody takes its place.
    IncumbentDown,
    /// The incumbent left the pool or was taken out of service, and nobody takes its place.
    IncumbentGone,
}

/// What a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Several claim the lead and nothing tells them apart: nobody leads.
    Contended(Vec<TargetKey>),
    /// This one claims the lead beside the incumbent.
    Waiting(TargetKey),
}

impl LeaderRule {
    /// At a start: nobody leads until every target has been heard.
    pub fn starting(targets: impl IntoIterator<Item = TargetKey>, rise: u32) -> Self {
        let members = targets.into_iter().map(|target| (target, Member::default())).collect();
        let (incumbent, heir) = (None, None);
        let terms = Terms { rise, agree: 0 };
        Self { members, incumbent, heir, phase: Phase::Starting, terms, promotions: 0 }
    }

    /// The start is over: this one leads, and nothing else is known of anybody.
    pub fn resume(&mut self, leader: &TargetKey) {
        let Some(member) = self.members.get_mut(leader) else { return };
        (member.said, member.up, member.passes) = (Some(Said::Leader), true, 1);
        for member in self.members.values_mut() {
            member.first_done = true;
        }
        self.phase = Phase::Settled;
        self.incumbent = Some(leader.clone());
    }

    /// Who leads.
    pub fn leader(&self) -> Option<&TargetKey> {
        self.incumbent.as_ref()
    }

    /// The last conclusive word of a target.
    pub fn said(&self, target: &TargetKey) -> Option<Said> {
        self.members.get(target).and_then(|member| member.said)
    }

    /// Everyone who claims the lead now, the incumbent included.
    pub fn claimants(&self) -> impl Iterator<Item = &TargetKey> {
        self.members.iter().filter(|(_, member)| member.claims()).map(|(target, _)| target)
    }

    /// Everybody has been heard, and there are no contenders.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// It lost the lead by its own word twice in a short time, and must pass more than once.
    pub fn is_held_back(&self, target: &TargetKey) -> bool {
        self.members.get(target).is_some_and(|member| !member.may_lead(self.terms))
    }

    /// The rank that the last pass of `target` gave it: told before `heard` is of that pass.
    pub fn ranked(&mut self, target: &TargetKey, rank: Option<Rank>) {
        if let Some(member) = self.members.get_mut(target) {
            member.rank = rank;
        }
    }

    /// The rank of a target, where its last pass gave it one.
    pub fn rank(&self, target: &TargetKey) -> Option<Rank> {
        self.members.get(target).and_then(|member| member.rank)
    }

    /// A run of `target` ended with this word; with it the target is `up` or not.
    pub fn heard(&mut self, target: &TargetKey, word: Word, up: bool, now: Instant) -> Ruling {
        let Some(member) = self.members.get_mut(target) else { return Ruling::default() };
        let claimed = member.claims();
        member.hear(word, up, &mut self.promotions);
        let claims_anew = !claimed && member.claims();
        let before = self.incumbent.clone();
        if self.incumbent.as_ref() == Some(target) && !up {
            self.incumbent = None;
            if word == Word::NotLeader {
                member.lost_by_word(now);
            }
        }
        if self.heir.as_ref() == Some(target) && matches!(word, Word::NotLeader | Word::Wipe) {
            self.heir = None;
        }
        if let Phase::Contended(contenders) = &mut self.phase {
            if word == Word::NotLeader {
                contenders.remove(target);
            } else if claims_anew {
                contenders.insert(target.clone());
            }
        }
        let mut ruling = self.rule(before, Why::IncumbentDown);
        let is_backed = self.is_backed(target);
        if claims_anew && is_backed && ruling == Ruling::default() && self.incumbent.is_some() {
            ruling.alarm = Some(Alarm::Waiting(target.clone()));
        }
        ruling
    }

    /// The first probe of `target` has used up its time.
    pub fn first_probe_overdue(&mut self, target: &TargetKey) -> Ruling {
        if let Some(member) = self.members.get_mut(target) {
            member.first_done = true;
        }
        self.rule(self.incumbent.clone(), Why::IncumbentDown)
    }

    /// A person takes a target out of service, or (`false`) gives it back: as down, meanwhile.
    pub fn withdraw(&mut self, target: &TargetKey, withdrawn: bool) -> Ruling {
        let before = self.incumbent.clone();
        if let Some(member) = self.members.get_mut(target) {
            member.withdrawn = withdrawn;
            member.promoted = None;
        }
        let claims = self.members.get(target).is_some_and(Member::claims);
        if withdrawn {
            self.leaves(target);
        } else if let Phase::Contended(contenders) = &mut self.phase
            && claims
        {
            // It has its claim back, and is one more to be told apart.
            contenders.insert(target.clone());
        }
        self.rule(before, Why::IncumbentGone)
    }

    /// The pool has these targets now. What is remembered of those that stay is kept.
    pub fn reconfigure(&mut self, targets: &BTreeSet<TargetKey>, rise: u32) -> Ruling {
        let before = self.incumbent.clone();
        self.terms.rise = rise;
        let gone: Vec<TargetKey> =
            self.members.keys().filter(|target| !targets.contains(*target)).cloned().collect();
        for target in &gone {
            self.members.remove(target);
            self.leaves(target);
        }
        if targets.is_empty() {
            // Whoever comes next comes to nobody, as at a start.
            self.phase = Phase::Starting;
        }
        for target in targets {
            // Waited for only if everybody still is: the start does not come back.
            self.members.entry(target.clone()).or_default();
        }
        self.rule(before, Why::IncumbentGone)
    }

    fn leaves(&mut self, target: &TargetKey) {
        if self.incumbent.as_ref() == Some(target) {
            self.incumbent = None;
        }
        if self.heir.as_ref() == Some(target) {
            self.heir = None;
        }
        if let Phase::Contended(contenders) = &mut self.phase {
            contenders.remove(target);
        }
    }

    /// Decides who leads; `before` did, and if nobody does now, then because of `if_nobody`.
    fn rule(&mut self, before: Option<TargetKey>, if_nobody: Why) -> Ruling {
        let mut alarm = None;
        let if_nobody = if self.drop_unwitnessed() { Why::Unwitnessed } else { if_nobody };
        let mut why = if_nobody;
        let is_heard = self.members.values().all(Member::is_heard) && !self.members.is_empty();
        if self.phase == Phase::Starting && is_heard {
            self.phase = Phase::Settled;
        }
        self.hear_witnesses();
        if matches!(&self.phase, Phase::Contended(contenders) if contenders.len() < 2) {
            self.phase = Phase::Settled;
        }
        if self.phase != Phase::Starting {
            if let Some(promoted) = self.latest_promoted() {
                self.take_over(promoted);
                why = Why::Promoted;
            } else if let Some(heir) = self.returning() {
                self.take_over(heir);
                why = Why::LedBefore;
            } else if self.incumbent.is_none() {
                let (elected, contended) = self.elect();
                (why, alarm) = (elected.unwrap_or(if_nobody), contended);
            }
        }
        let changed = before != self.incumbent;
        let change = changed.then(|| Change { from: before, to: self.incumbent.clone(), why });
        Ruling { change, alarm }
    }
}

impl Member {
    fn hear(&mut self, word: Word, up: bool, promotions: &mut u64) {
        match word {
            Word::Leader => {
                self.passes = self.passes.saturating_add(1);
                if self.said == Some(Said::NotLeader) {
                    *promotions += u64::from(!self.said_before);
                    self.promoted = Some(if self.said_before { 0 } else { *promotions });
                }
                self.said = Some(Said::Leader);
            }
            Word::NotLeader => (self.said, self.promoted) = (Some(Said::NotLeader), None),
            Word::Wipe => (self.said, self.promoted) = (None, None),
            Word::Silence => {}
        }
        if word != Word::Leader {
            self.passes = 0;
        }
        self.said_before &= word == Word::Silence;
        self.up = up;
        self.first_done = true;
    }

    fn claims(&self) -> bool {
        self.up && self.passes > 0 && !self.withdrawn
    }

    fn may_lead(&self, terms: Terms) -> bool {
        let is_steady = !self.flapping || self.passes >= terms.rise;
        self.claims() && is_steady && self.support.is_enough(terms.agree)
    }

    /// It has been heard, and so have its witnesses, or their time is used up.
    fn is_heard(&self) -> bool {
        self.first_done && self.support.awaited == 0
    }

    fn lost_by_word(&mut self, now: Instant) {
        let again = self.lost.is_some_and(|lost| now.duration_since(lost) <= FLAPPING);
        self.flapping |= again;
        self.lost = Some(now);
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Promoted => "it was promoted: it last said that it does not lead, and passes now",
            Self::OnlyClaimant => "it alone claims the lead",
            Self::LedBefore => "it led before the start, and passes",
            Self::HighestRank => "of those that claim the lead it has the highest rank",
            Self::Witnessed => "of those that claim the lead its witnesses agree about it alone",
            Self::Unwitnessed => {
                "too few witnesses agree about the leader, and nobody takes its place"
            }
            Self::IncumbentDown => "the leader is down and nobody takes its place",
            Self::IncumbentGone => "the leader was taken out and nobody takes its place",
        })
    }
}
