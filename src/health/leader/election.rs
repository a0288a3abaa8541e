//! Who takes the lead: whoever was promoted last, else the one claimant, else the one of several
//! that its rank tells apart. Pure.

use std::collections::BTreeSet;

use crate::config::names::TargetKey;
use crate::health::leader::{Alarm, LeaderRule, Phase, Why};

// === impl LeaderRule ===

impl LeaderRule {
    /// The latest of those that were promoted and may lead.
    pub(super) fn latest_promoted(&self) -> Option<TargetKey> {
        let ready = self.members.iter().filter(|(_, member)| member.may_lead(self.terms));
        let mut promoted: Vec<(u64, &TargetKey)> =
            ready.filter_map(|(target, member)| Some((member.promoted?, target))).collect();
        promoted.sort_unstable();
        match promoted[..] {
            // Nobody knows which of them is the later: they are claimants like any others.
            [.., (second, _), (latest, _)] if second == latest => None,
            [.., (_, latest)] => Some(latest.clone()),
            [] => None,
        }
    }

    /// Nobody leads: the one claimant does from now on, or the one with the highest rank; says why.
    /// Several that nothing tells apart are contenders, which is an alarm when it is new.
    pub(super) fn elect(&mut self) -> (Option<Why>, Option<Alarm>) {
        let (claimants, known) = match &self.phase {
            Phase::Contended(contenders) => (contenders.clone(), true),
            Phase::Starting | Phase::Settled => {
                let ready = self.members.iter().filter(|(_, member)| member.may_lead(self.terms));
                (ready.map(|(target, _)| target.clone()).collect(), false)
            }
        };
        let (first, why) = match claimants.len() {
            0 => return (None, None),
            1 if self.terms.agree > 0 && self.claimants().count() > 1 => {
                (claimants.first(), Why::Witnessed)
            }
            1 => (claimants.first(), Why::OnlyClaimant),
            _ => (self.highest(&claimants), Why::HighestRank),
        };
        if let Some(first) = first.cloned() {
            self.take_over(first);
            return (Some(why), None);
        }
        let alarm = (!known).then(|| Alarm::Contended(claimants.iter().cloned().collect()));
        self.phase = Phase::Contended(claimants);
        (None, alarm)
    }

    /// The one with the highest rank, if all of them may lead now and have one.
    fn highest<'a>(&self, claimants: &'a BTreeSet<TargetKey>) -> Option<&'a TargetKey> {
        let rank =
            |target| self.members.get(target).filter(|member| member.may_lead(self.terms))?.rank;
        let ranked = claimants.iter().map(|target| Some((rank(target)?, target)));
        let mut ranked = ranked.collect::<Option<Vec<_>>>()?;
        ranked.sort_unstable();
        match ranked[..] {
            [.., (second, _), (highest, first)] if highest > second => Some(first),
            [] | [_, ..] => None,
        }
    }

    /// It leads from now on.
    pub(super) fn take_over(&mut self, target: TargetKey) {
        let promoted = self.members.get(&target).and_then(|member| member.promoted);
        // An older promotion has been overtaken: it is no news any more. Not so a later one that
        // waits for its witnesses.
        for member in self.members.values_mut() {
            let waits = !member.support.is_enough(self.terms.agree) && member.promoted > promoted;
            member.promoted = member.promoted.filter(|_| waits);
        }
        if let Some(member) = self.members.get_mut(&target) {
            member.flapping = false;
        }
        self.phase = Phase::Settled;
        self.heir = None;
        self.incumbent = Some(target);
    }
}
