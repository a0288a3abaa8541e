//! What of a led service outlives the process: what each target last said, and who leads. Pure.
//!
//! A start with a memory is a start all the same: everybody is awaited. Then whoever last said *not
//! leader* and passes was promoted while nobody listened, and leads; else whoever led before, if it
//! passes. One whose connection was refused or reset meanwhile, or that contradicted, has lost its
//! claim, as ever. Of several that were promoted meanwhile nobody knows the later: they contend.

use std::collections::BTreeMap;

use crate::config::names::TargetKey;
use crate::health::leader::{LeaderRule, Phase, Said};

/// What is remembered of a led service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Who leads.
    pub leader: Option<TargetKey>,
    /// The last conclusive word of each target; `None`: there is none, or it was wiped.
    pub said: BTreeMap<TargetKey, Option<Said>>,
}

// === impl LeaderRule ===

impl LeaderRule {
    /// What was remembered before this process was started. Only a rule that starts can be told.
    pub fn remember(&mut self, remembered: &Remembered) {
        if self.phase != Phase::Starting {
            return;
        }
        for (target, said) in &remembered.said {
            if let Some(member) = self.members.get_mut(target) {
                (member.said, member.said_before) = (*said, true);
            }
        }
        let heir = remembered.leader.as_ref();
        self.heir = heir.filter(|heir| self.members.contains_key(*heir)).cloned();
    }

    /// What is to be remembered; nothing during a start, which adds nothing to what was.
    ///
    /// A promotion that has not led to the lead yet is still news: its target is remembered as one
    /// that does not lead, so that its next pass is a promotion again.
    pub fn remembered(&self) -> Option<Remembered> {
        if self.phase == Phase::Starting {
            return None;
        }
        let said = self.members.iter().map(|(target, member)| {
            let said = if member.promoted.is_some() { Some(Said::NotLeader) } else { member.said };
            (target.clone(), said)
        });
        Some(Remembered { leader: self.incumbent.clone(), said: said.collect() })
    }

    /// Everybody has been heard: who led before, if it still may. Asked once.
    pub(super) fn returning(&mut self) -> Option<TargetKey> {
        let heir = self.heir.take()?;
        let mut ready = self.members.values().filter(|member| member.may_lead(self.terms));
        let passes = self.members.get(&heir).is_some_and(|heir| heir.may_lead(self.terms));
        (passes && ready.all(|member| member.promoted.is_none())).then_some(heir)
    }
}
