//! What the log says of health: transitions with their reason, and who leads.

use crate::config::names::ServiceName;
use crate::health::effect::{Transition, Trouble};
use crate::health::leader::{Change, Why};
use crate::health::snapshot::Health;

/// A target's first verdict, or another than before.
pub fn transition(service: &ServiceName, transition: &Transition) {
    let Transition { target, name, from, to, transcript, .. } = transition;
    let level = match to {
        Health::Up | Health::Unknown => log::Level::Info,
        Health::Down => log::Level::Warn,
    };
    log::log!(
        level, service = service.as_str(), target:% = target, from:% = from, to:% = to;
        "target {name} is {to}: {}", transcript.verdict
    );
}

/// Trouble of our own keeps a target from being checked, or does so no more.
pub fn trouble(service: &ServiceName, told: &Trouble) {
    let Trouble { target, name, trouble, health } = told;
    match trouble {
        Some(trouble) => log::warn!(
            service = service.as_str(), target:% = target;
            "target {name} could not be checked, and stays {health}: {trouble}"
        ),
        None => log::info!(
            service = service.as_str(), target:% = target; "target {name} can be checked again"
        ),
    }
}

/// Another target leads, or none does.
pub fn leader_changed(service: &ServiceName, change: &Change) {
    let why = match change.why {
        Why::Promoted => "it was promoted",
        Why::OnlyClaimant => "it alone claims the lead",
        Why::LedBefore => "it led before the start",
        Why::HighestRank => "it has the highest rank of those that claim the lead",
        Why::Witnessed => "its witnesses agree about it alone of those that claim the lead",
        Why::Unwitnessed => {
            "too few witnesses agree about the one before, and nobody can take its place"
        }
        Why::IncumbentDown => "the one before is down, and nobody can take its place",
        Why::IncumbentGone => "the one before was taken away, and nobody can take its place",
    };
    match (&change.from, &change.to) {
        (None, Some(to)) => log::info!(service = service.as_str(); "target {to} leads: {why}"),
        (Some(from), Some(to)) => {
            log::warn!(service = service.as_str(), before:% = from; "target {to} leads: {why}");
        }
        (from, None) => {
            let from = from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            log::error!(service = service.as_str(), before = from; "nobody leads: {why}");
        }
    }
}
