//! What witnesses change in who leads. Pure.

use crate::config::names::TargetKey;
use crate::health::leader::{Change, LeaderRule, Phase, Ruling, Why};
use crate::health::support::Support;

// === impl Ruling ===

impl Ruling {
    /// The same, and what was ruled right after it.
    pub fn then(self, later: Self) -> Self {
        let change = match (self.change, later.change) {
            (Some(first), Some(last)) => {
                Some(Change { from: first.from, ..last }).filter(|both| both.from != both.to)
            }
            (first, last) => last.or(first),
        };
        Self { change, alarm: later.alarm.or(self.alarm) }
    }
}

// === impl LeaderRule ===

impl LeaderRule {
    /// So many witnesses must agree (0: none are asked), and so many back these targets now.
    pub fn attested(
        &mut self,
        agree: u32,
        supports: impl IntoIterator<Item = (TargetKey, Support)>,
    ) -> Ruling {
        self.terms.agree = agree;
        for (target, support) in supports {
            if let Some(member) = self.members.get_mut(&target) {
                member.support = support;
            }
        }
        self.rule(self.incumbent.clone(), Why::Unwitnessed)
    }

    /// Nobody is asked for agreement any more.
    pub fn unattested(&mut self) -> Ruling {
        let targets: Vec<TargetKey> = self.members.keys().cloned().collect();
        self.attested(0, targets.into_iter().map(|target| (target, Support::default())))
    }

    /// It was promoted, and has not led since.
    pub fn is_promoted(&self, target: &TargetKey) -> bool {
        self.members.get(target).is_some_and(|member| member.promoted.is_some())
    }

    /// Enough witnesses agree about it now for it to lead.
    pub fn is_backed(&self, target: &TargetKey) -> bool {
        let agree = self.terms.agree;
        self.members.get(target).is_some_and(|member| member.support.is_enough(agree))
    }

    /// Takes the lead from an incumbent that too few agreements stand for.
    pub(super) fn drop_unwitnessed(&mut self) -> bool {
        let agree = self.terms.agree;
        let incumbent = self.incumbent.as_ref().and_then(|target| self.members.get(target));
        let drops = incumbent.is_some_and(|member| !member.support.still_holds(agree));
        if drops {
            self.incumbent = None;
        }
        drops
    }

    /// Where there are witnesses, contention is among those that enough of them agree about, and
    /// nobody else: whoever they have left has lost its claim, silent or not.
    pub(super) fn hear_witnesses(&mut self) {
        let terms = self.terms;
        let Phase::Contended(contenders) = &mut self.phase else { return };
        if terms.agree == 0 {
            return;
        }
        let members = &self.members;
        contenders.retain(|target| {
            members.get(target).is_some_and(|member| member.support.is_enough(terms.agree))
        });
        let ready = members.iter().filter(|(_, member)| member.may_lead(terms));
        contenders.extend(ready.map(|(target, _)| target.clone()));
    }
}
