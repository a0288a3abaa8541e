//! Several targets that claim one lead: what a person is told of it, and when.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::leader::{Alarm, LeaderRule};

/// Targets that claim the lead together for this long mean to: after a failover the old leader is
/// demoted earlier.
const STEADY: Duration = Duration::from_secs(30);

/// Watches for several steady claimants under a leader that nobody asked for by name.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// `balance = "leader"` was inferred, not written.
    pub inferred: bool,
    since: Option<Instant>,
    told: bool,
}

impl Claims {
    /// Looks again; what is to be told, once.
    pub fn look(&mut self, rule: &LeaderRule, now: Instant) -> Option<String> {
        let claimants: Vec<&TargetKey> = rule.claimants().collect();
        if claimants.len() < 2 {
            (self.since, self.told) = (None, false);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if !self.inferred || self.told || now.duration_since(since) < STEADY {
            return None;
        }
        self.told = true;
        Some(format!(
            "{} have claimed the lead together for {STEADY:?}; {HINT}",
            list(claimants.into_iter())
        ))
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.since.filter(|_| self.inferred && !self.told).map(|since| since + STEADY)
    }
}

const HINT: &str = "that at most one may lead was inferred from `role:master` in every check; \
     if traffic is meant for all of them, write `balance = \"round_robin\"`";

/// An alarm of the leader rule in words.
pub fn alarm_text(alarm: &Alarm, rule: Option<&LeaderRule>, inferred: bool) -> String {
    match alarm {
        Alarm::Contended(targets) => {
            let hint = if inferred { format!("; {HINT}") } else { String::new() };
            format!(
                "nobody leads: {} all claim the lead and {}; waiting until all but one say that \
                 they do not lead, or one is promoted{hint}",
                list(targets.iter()),
                likeness(targets.iter(), rule)
            )
        }
        Alarm::Waiting(target) => match rule.and_then(LeaderRule::leader) {
            Some(leader) => format!("{target} claims the lead too; {leader} leads and stays"),
            None => format!("{target} claims the lead too"),
        },
    }
}

/// What is wrong with the lead now, for as long as it is.
pub fn standing_alarm(rule: &LeaderRule) -> Option<String> {
    let claimants: Vec<&TargetKey> = rule.claimants().collect();
    if claimants.len() < 2 {
        return None;
    }
    let all = list(claimants.iter().copied());
    Some(match rule.leader() {
        Some(leader) => format!("{all} claim the lead together; {leader} has it and keeps it"),
        None => {
            let likeness = likeness(claimants.into_iter(), Some(rule));
            format!("nobody leads: {all} claim the lead together, and {likeness}")
        }
    })
}

/// Why several claimants cannot be told apart.
fn likeness<'a>(
    claimants: impl Iterator<Item = &'a TargetKey>,
    rule: Option<&LeaderRule>,
) -> String {
    let rank = |target| rule.and_then(|rule| rule.rank(target));
    let (ranked, unranked): (Vec<_>, Vec<_>) =
        claimants.map(|target| (rank(target), target)).partition(|(rank, _)| rank.is_some());
    let highest = ranked.iter().filter_map(|(rank, _)| *rank).max();
    match (highest, unranked.as_slice()) {
        (None, _) => "nothing tells them apart".to_owned(),
        (Some(_), [_, ..]) => {
            format!("{} gave no rank", list(unranked.into_iter().map(|(_, target)| target)))
        }
        (Some(rank), []) if ranked.iter().filter(|(own, _)| *own == highest).count() > 1 => {
            format!("several have the highest rank, {rank}")
        }
        (Some(_), []) => "not all of those that claimed it pass now".to_owned(),
    }
}

fn list<'a>(targets: impl Iterator<Item = &'a TargetKey>) -> String {
    targets.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
