//! What is recalled of a service for people: its targets' checks, those of nobody, and alarms.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::{ServiceName, TargetKey};
use crate::health::board::ServiceBoard;
use crate::health::claims::standing_alarm;
use crate::health::rank::Rank;
use crate::health::record::{CheckRecord, TargetRecord};
use crate::health::witness::{Panel, Says, Testimony};

/// Everything, by service.
pub type Known = HashMap<ServiceName, KnownService>;

/// What is known of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownService {
    /// Its targets that have checks.
    pub targets: HashMap<TargetKey, KnownTarget>,
    /// Checks that belong to no target.
    pub strays: Vec<KnownCheck>,
    /// What a person should look at.
    pub alarms: Vec<String>,
    /// Witnesses that must agree before a target may lead, where any are asked.
    pub agree: Option<u32>,
}

/// What is known of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTarget {
    /// How long its health has been what it is.
    pub since: Duration,
    /// The rank that its last pass gave it.
    pub rank: Option<Rank>,
    /// Its checks, in the order written.
    pub checks: Vec<KnownCheck>,
    /// What each witness says of it, in the order written.
    pub witnesses: Vec<KnownWitness>,
}

/// What a witness says of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownWitness {
    /// Its word.
    pub says: Says,
    /// The check of it.
    pub check: KnownCheck,
}

/// What is known of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCheck {
    /// The address that it asks.
    pub address: String,
    /// Its last run.
    pub last: Option<KnownRun>,
    /// How the run went that last changed its target's health.
    pub at_transition: Option<String>,
}

/// The last run of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    /// How long ago it ended.
    pub ago: Duration,
    /// How long it took.
    pub took: Duration,
    /// Its verdict, in words.
    pub verdict: String,
    /// How it went, step by step.
    pub transcript: String,
}

/// What a board knows.
pub fn recall(board: &ServiceBoard, now: Instant) -> KnownService {
    let target = |record: &TargetRecord| KnownTarget {
        since: now.duration_since(record.since),
        rank: record.rank(),
        checks: record.checks.iter().map(|record| check(record, now)).collect(),
        witnesses: witnesses(board, &record.target, now),
    };
    let claims = board.leader().and_then(standing_alarm);
    KnownService {
        targets: board.targets().map(|record| (record.target.clone(), target(record))).collect(),
        strays: board.strays().iter().map(|record| check(record, now)).collect(),
        alarms: claims.into_iter().chain(board.doubts()).collect(),
        agree: board.panel().map(Panel::agree),
    }
}

fn witnesses(board: &ServiceBoard, target: &TargetKey, now: Instant) -> Vec<KnownWitness> {
    let testimonies = board.panel().map_or(&[][..], |panel| panel.about(target));
    let known = |one: &Testimony| KnownWitness { says: one.says(), check: check(&one.run, now) };
    testimonies.iter().map(known).collect()
}

fn check(record: &CheckRecord, now: Instant) -> KnownCheck {
    let last = record.last.as_ref().zip(record.ran).map(|(run, ran)| KnownRun {
        ago: now.duration_since(ran),
        took: run.took,
        verdict: run.verdict.to_string(),
        transcript: run.to_string(),
    });
    KnownCheck {
        address: record.check.address.to_string(),
        last,
        at_transition: record.at_transition.as_ref().map(ToString::to_string),
    }
}
