//! Services and runs for tests of the board.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::check::{Check, CheckKind, HealthSpec, Script};
use crate::config::model::{Balance, Closing, Pool, Protocol, Service, SessionLimits, Target};
use crate::config::names::{ListenAddress, ServiceName, TargetAddress, TargetKey};
use crate::config::thresholds::Thresholds;
use crate::config::tls::Answers;
use crate::health::board::ServiceBoard;
use crate::health::effect::{Effect, Finished};
use crate::health::leader_tests::verdict;
use crate::health::snapshot::{Health, Leadership};
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Verdict};

pub(crate) fn address(name: char) -> TargetAddress {
    TargetAddress::Name { host: name.to_string().into(), port: 1 }
}

pub(crate) fn key(name: char) -> TargetKey {
    TargetKey::of(&address(name))
}

/// A check of `target` by `script`, asked at the address of `at`.
pub(crate) fn check_of(target: char, at: char, script: Script) -> Arc<Check> {
    let timeout = Duration::from_secs(1);
    let kind = CheckKind::Script(script);
    Arc::new(Check {
        target: Some(key(target)),
        address: address(at),
        tls: None,
        header: None,
        about: None,
        kind,
        timeout,
        keep_open: false,
    })
}

/// A service with these targets, each with one check; fall 3, refused and rejected 1, rise 2.
pub(crate) fn service(targets: &str, balance: Balance) -> Service {
    let checks = targets.chars().map(|name| check_of(name, name, Script::default())).collect();
    let thresholds = Thresholds { fall_refused: 1, ..Thresholds::default() };
    Service {
        name: ServiceName::new("redis"),
        source: Path::new("redis.json").into(),
        listen: ListenAddress::AnyOnPort(6379),
        protocol: Protocol::Tcp,
        answers: Answers::default(),
        receiving: None,
        access: None,
        pool: Pool {
            targets: targets.chars().map(|name| Target::at(address(name))).collect(),
            balance,
            balance_inferred: false,
            sending: None,
            check_health: true,
            connect_timeout: Duration::from_secs(3),
            retries: 2,
            hold: Duration::ZERO,
            hold_limit: NonZeroU32::MIN.get() as usize,
            on_down: Closing::Close,
            on_removed: Closing::Keep,
            close_spread: Duration::ZERO,
        },
        limits: SessionLimits::default(),
        health: Some(Arc::new(HealthSpec { checks, thresholds, witness: None })),
        discovery: None,
        events: Arc::default(),
    }
}

/// The same service with other checks.
pub(crate) fn with_checks(service: &Service, checks: Vec<Arc<Check>>) -> Service {
    let spec = service.health.as_deref().unwrap().clone();
    Service { health: Some(Arc::new(HealthSpec { checks, ..spec })), ..service.clone() }
}

/// A board, the clock, and the definition that it was last given.
pub(crate) struct Desk {
    pub(crate) board: ServiceBoard,
    pub(crate) service: Service,
    pub(crate) now: Instant,
}

impl Desk {
    pub(crate) fn of(service: Service) -> Self {
        let now = Instant::now();
        Self { board: ServiceBoard::new(&service, now), service, now }
    }

    /// The check of `target` at `index` among its own.
    pub(crate) fn check(&self, target: char, index: usize) -> Arc<Check> {
        let checks = &self.service.health.as_ref().unwrap().checks;
        let own = checks.iter().filter(|check| check.target == Some(key(target)));
        own.clone().nth(index).unwrap().clone()
    }

    /// A run of a check ends: `+`, `-`, `x`, `.` as in the leader's tests, `o` trouble of our own.
    pub(crate) fn ran(&mut self, check: Arc<Check>, letter: char) -> Vec<Effect> {
        let verdict = match letter {
            'o' => Verdict::CouldNotRun(OwnTrouble::Descriptors),
            other => verdict(other),
        };
        self.now += Duration::from_millis(10);
        let transcript = Arc::new(Transcript::of_verdict(verdict, Duration::ZERO));
        self.board.record(&Finished { check, transcript }, self.now)
    }

    /// Runs of targets' first checks; the effects of the last one.
    pub(crate) fn says(&mut self, words: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        for word in words.split_whitespace() {
            let (target, letter) = (word.chars().next().unwrap(), word.chars().nth(1).unwrap());
            effects = self.ran(self.check(target, 0), letter);
        }
        effects
    }

    pub(crate) fn reconfigured(&mut self, service: Service) -> Vec<Effect> {
        self.service = service;
        self.board.reconfigure(&self.service, self.now)
    }

    pub(crate) fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.board.tick(self.now)
    }

    /// The health of a target as it is published.
    pub(crate) fn health(&self, target: char) -> Health {
        self.board.health().targets[&key(target)]
    }
}

/// Effects in a few words, for comparison.
pub(crate) fn brief(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(one).collect()
}

fn one(effect: &Effect) -> String {
    match effect {
        Effect::Publish(health) => match &health.leadership {
            Leadership::NotLed => "publish".to_owned(),
            Leadership::Nobody => "publish nobody".to_owned(),
            Leadership::Leader(leader) => format!("publish leader {leader}"),
        },
        Effect::Lost(target) => format!("lost {target}"),
        Effect::FirstVerdict(change) => format!("first {} {}", change.target, change.to),
        Effect::Changed(change) => {
            format!("changed {} {} to {}", change.target, change.from, change.to)
        }
        Effect::LeaderChanged(change, _) => match &change.to {
            Some(leader) => format!("leader {leader}: {}", change.why),
            None => format!("no leader: {}", change.why),
        },
        Effect::Trouble(told) => match &told.trouble {
            Some(trouble) => format!("trouble {} {}: {trouble}", told.target, told.health),
            None => format!("no trouble {}", told.target),
        },
        Effect::Alarm(text) => format!("alarm: {text}"),
    }
}
