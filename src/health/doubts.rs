//! Doubts about a lead that needs witnesses: shown for as long as they are there, and told once one
//! has lasted. In every failover there are some for a moment. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::leader::LeaderRule;
use crate::health::witness::{Panel, Says, Testimony};

/// A doubt that is there for this long is told.
const LASTING: Duration = Duration::from_secs(10);

/// What there is to doubt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// This one claims the lead, and its witnesses do not confirm it.
    Unconfirmed(TargetKey),
    /// This one leads, and fewer witnesses agree now than it needs.
    Thin(TargetKey),
    /// Each agrees about another.
    Divided,
}

/// Which doubts there are, since when, and which of them have been told.
#[derive(Debug, Clone, Default)]
pub struct Doubts(BTreeMap<Doubt, (Instant, bool)>);

// === impl Doubts ===

impl Doubts {
    /// Looks again; what is to be told now, each doubt once for as long as it is there.
    pub fn look(&mut self, rule: &LeaderRule, panel: &Panel, now: Instant) -> Vec<String> {
        let found = find(rule, panel);
        self.0.retain(|doubt, _| found.iter().any(|(there, _)| there == doubt));
        let mut told = Vec::new();
        for (doubt, text) in found {
            let (since, is_told) = self.0.entry(doubt).or_insert((now, false));
            if !*is_told && now.duration_since(*since) >= LASTING {
                *is_told = true;
                told.push(text);
            }
        }
        told
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        let untold = self.0.values().filter(|(_, is_told)| !is_told);
        untold.map(|(since, _)| *since + LASTING).min()
    }
}

/// Everything that there is to doubt now, in words.
pub fn standing(rule: &LeaderRule, panel: &Panel) -> Vec<String> {
    find(rule, panel).into_iter().map(|(_, text)| text).collect()
}

fn find(rule: &LeaderRule, panel: &Panel) -> Vec<(Doubt, String)> {
    let mut found = Vec::new();
    if panel.next_deadline().is_some() {
        // Some have not been heard yet.
        return found;
    }
    let agree = panel.agree();
    let leader = rule.leader();
    for target in rule.claimants().filter(|target| !rule.is_backed(target)) {
        let (now, said) = (panel.support(target).now, said(panel.about(target)));
        if leader == Some(target) {
            let text = format!(
                "{target} leads, and only {now} of the {agree} witnesses that it needs agree now: \
                 if it stays so it loses the lead ({said})"
            );
            found.push((Doubt::Thin(target.clone()), text));
        } else if leader.is_none() || rule.is_promoted(target) {
            let lead = if leader.is_none() { "nobody leads: " } else { "" };
            let claim = if rule.is_promoted(target) { "was promoted" } else { "claims the lead" };
            let text = format!(
                "{lead}{target} {claim}, and waits: only {now} of the {agree} witnesses that it \
                 needs agree about it ({said})"
            );
            found.push((Doubt::Unconfirmed(target.clone()), text));
        }
    }
    found.extend(divided(panel).map(|text| (Doubt::Divided, text)));
    found
}

/// The witnesses agree about several targets, and enough of them about none.
fn divided(panel: &Panel) -> Option<String> {
    let supports = panel.supports();
    let mut backed: Vec<&TargetKey> = Vec::new();
    for (target, support) in &supports {
        if support.is_enough(panel.agree()) {
            return None;
        }
        if support.now > 0 {
            backed.push(target);
        }
    }
    (backed.len() > 1).then(|| {
        let each = backed.into_iter().map(|target| {
            let agrees = |one: &&Testimony| one.says() == Says::Agrees;
            let who = panel.about(target).iter().filter(agrees);
            let who: Vec<String> = who.map(|one| one.run.check.address.to_string()).collect();
            format!("{} about {target}", who.join(", "))
        });
        let each: Vec<String> = each.collect();
        format!("the witnesses disagree, each about another: {}", each.join("; "))
    })
}

/// What each says.
fn said(testimonies: &[Testimony]) -> String {
    let each = testimonies.iter().map(|one| format!("{} {}", one.run.check.address, one.says()));
    each.collect::<Vec<_>>().join(", ")
}
