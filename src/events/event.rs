//! An event: something happened to a target or to a lead, in words for whoever is told. Pure.

use std::fmt;
use std::sync::Arc;

use crate::config::check::{Check, CheckKind};
use crate::config::events::{EventKind, Fact};
use crate::config::model::Target;
use crate::config::names::{ServiceName, TargetAddress, TargetKey};
use crate::health::effect::Transition;
use crate::health::fault::FaultKind;
use crate::health::transcript::{self, Transcript};
use crate::health::verdict::Verdict;
use crate::state::wall_clock::WallTime;

/// No reason is longer, in bytes.
const LONGEST: usize = 1024;

/// Whom an event is about; `None`: the lead of its service.
pub type Subject = Option<TargetKey>;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// To a target of this service, or to its lead.
    pub service: ServiceName,
    /// Tyk's identifier of the service.
    pub api_id: Arc<str>,
    /// Whom it is about.
    pub subject: Subject,
    /// The target; of a lead, who has it now, if anybody has.
    pub target: Option<Named>,
    /// Its health before, or who had the lead last; empty: nobody.
    pub from: String,
    /// Its health now, or who has the lead; empty: nobody.
    pub to: String,
    /// Why, in words.
    pub reason: String,
    /// What was found by the check that made the difference, if one did.
    pub finding: Finding,
    /// Since when it is so.
    pub since: WallTime,
}

/// A target as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What they call it.
    pub name: Arc<str>,
    /// Where it is, where that is known.
    pub address: Option<TargetAddress>,
}

/// What a check found, in Tyk's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// What was asked; empty: no check had a part in it.
    pub url: String,
    /// The status that was answered; 0: none.
    pub response_code: u16,
    /// It did not come as far as a status.
    pub tcp_error: bool,
}

// === impl Event ===

impl Event {
    /// This can be said of it, at `now`.
    pub fn fact(&self, fact: Fact, now: WallTime) -> String {
        let address = self.target.as_ref().and_then(|target| target.address.as_ref());
        match fact {
            Fact::Event => self.kind.as_str().to_owned(),
            Fact::Message => self.message().to_owned(),
            Fact::Url => self.finding.url.clone(),
            Fact::ResponseCode => self.finding.response_code.to_string(),
            Fact::TcpError => self.finding.tcp_error.to_string(),
            Fact::Host => address.map(TargetAddress::host).unwrap_or_default(),
            Fact::ApiId => self.api_id.to_string(),
            Fact::Service => self.service.to_string(),
            Fact::Target => self.name().to_owned(),
            Fact::Address => address.map(ToString::to_string).unwrap_or_default(),
            Fact::From => self.from.clone(),
            Fact::To => self.to.clone(),
            Fact::Reason => self.reason.clone(),
            Fact::Since => self.since.to_string(),
            Fact::Time => now.to_string(),
        }
    }

    /// Tyk's words, as far as it has any.
    fn message(&self) -> &'static str {
        match self.kind {
            EventKind::HostDown => "Uptime test failed",
            EventKind::HostUp => "Uptime test succeeded",
            EventKind::LeaderChanged if self.to.is_empty() => "Nobody leads",
            EventKind::LeaderChanged => "Leader changed",
        }
    }

    fn name(&self) -> &str {
        self.target.as_ref().map_or("", |target| &target.name)
    }

    /// How much it matters.
    pub fn level(&self) -> log::Level {
        match self.kind {
            EventKind::HostUp => log::Level::Info,
            EventKind::LeaderChanged if self.to.is_empty() => log::Level::Error,
            EventKind::HostDown | EventKind::LeaderChanged => log::Level::Warn,
        }
    }
}

impl fmt::Display for Event {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, from, to, reason, .. } = self;
        let after = if from.is_empty() { String::new() } else { format!(" after {from}") };
        match kind {
            EventKind::HostDown | EventKind::HostUp => {
                write!(f, "{kind}: target {} is {to}: {reason}", self.name())
            }
            EventKind::LeaderChanged if to.is_empty() => {
                write!(f, "{kind}: nobody leads{after}: {reason}")
            }
            EventKind::LeaderChanged => write!(f, "{kind}: {to} leads{after}: {reason}"),
        }
    }
}

// === impl Named ===

impl From<&Target> for Named {
    fn from(target: &Target) -> Self {
        Self { name: Arc::clone(&target.name), address: Some(target.address.clone()) }
    }
}

// === impl Finding ===

impl Finding {
    /// What the run of a check found that changed a target's health.
    pub fn of(transition: &Transition) -> Self {
        let Transition { check, transcript, .. } = transition;
        let (response_code, tcp_error) = match &transcript.verdict {
            Verdict::Failed(fault) => match fault.kind {
                FaultKind::HttpStatus(status) => (status, false),
                FaultKind::Refused
                | FaultKind::Reset
                | FaultKind::Unreachable
                | FaultKind::TimedOut
                | FaultKind::Undecided
                | FaultKind::Closed
                | FaultKind::Rejected
                | FaultKind::Contradicted
                | FaultKind::ErrorReply
                | FaultKind::Limit
                | FaultKind::TooCostly
                | FaultKind::Compare
                | FaultKind::NoCapture(_)
                | FaultKind::Malformed
                | FaultKind::CannotLogIn(_)
                | FaultKind::Tls(_)
                | FaultKind::Io(_) => (0, true),
            },
            Verdict::Passed => (passed_with(check, transcript), false),
            Verdict::CouldNotRun(_) => (0, false),
        };
        Self { url: url(check), response_code, tcp_error }
    }
}

/// The status that an HTTP check was answered with.
fn passed_with(check: &Check, transcript: &Transcript) -> u16 {
    if !matches!(check.kind, CheckKind::Http(_)) {
        return 0;
    }
    let status = transcript.entries.iter().rev().find_map(|entry| {
        let transcript::Event::Heard { text, .. } = &entry.event else { return None };
        text.split(' ').nth(1)?.parse().ok()
    });
    status.unwrap_or(0)
}

/// What a check asks, without what could be a secret.
fn url(check: &Check) -> String {
    let is_tls = check.tls.is_some();
    match &check.kind {
        CheckKind::Http(request) => {
            let scheme = if is_tls { "https" } else { "http" };
            let query = request.path.split_once('?');
            let path = query.map_or(request.path.clone(), |(path, _)| format!("{path}?…"));
            format!("{scheme}://{}{path}", request.host)
        }
        CheckKind::Script(_) | CheckKind::Postgres(_) => match &check.address {
            TargetAddress::Unix(_) => check.address.to_string(),
            TargetAddress::Ip(_) | TargetAddress::Name { .. } => {
                format!("{}://{}", if is_tls { "tls" } else { "tcp" }, check.address)
            }
        },
    }
}

/// A reason that is not too long.
pub fn capped(reason: String) -> String {
    match reason.char_indices().find(|(at, c)| at + c.len_utf8() > LONGEST) {
        Some((at, _)) => format!("{}…", &reason[..at]),
        None => reason,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::address;

    /// A target on this port has gone down, for this reason.
    pub(crate) fn down(port: u16, reason: &str) -> Event {
        let address = address::target(&format!("10.0.0.1:{port}")).unwrap().1;
        Event {
            kind: EventKind::HostDown,
            service: ServiceName::new("redis"),
            api_id: "a1".into(),
            subject: Some(TargetKey::of(&address)),
            target: Some(Named { name: "redis-1".into(), address: Some(address) }),
            from: "up".to_owned(),
            to: "down".to_owned(),
            reason: reason.to_owned(),
            finding: Finding { url: "tcp://x:1".to_owned(), response_code: 0, tcp_error: true },
            since: WallTime::now(),
        }
    }

    #[test]
    fn an_event_is_a_sentence() {
        let check = |event: Event, level: log::Level, expected: &str| {
            assert_eq!((event.to_string().as_str(), event.level()), (expected, level));
        };
        let of = |kind, from: &str, to: &str| {
            let (from, to) = (from.to_owned(), to.to_owned());
            Event { kind, from, to, ..down(1, "why") }
        };
        let led = |from, to| of(EventKind::LeaderChanged, from, to);
        use log::Level::{Error, Info, Warn};
        check(down(1, "why"), Warn, "HostDown: target redis-1 is down: why");
        let up = of(EventKind::HostUp, "down", "up");
        check(up, Info, "HostUp: target redis-1 is up: why");
        check(led("a", "b"), Warn, "LeaderChanged: b leads after a: why");
        check(led("a", ""), Error, "LeaderChanged: nobody leads after a: why");
        check(led("", "b"), Warn, "LeaderChanged: b leads: why");
    }

    #[test]
    fn a_reason_is_capped_between_two_characters() {
        assert_eq!(capped("é".to_owned()), "é");
        assert_eq!(capped("x".repeat(LONGEST)), "x".repeat(LONGEST));
        let long = capped("é".repeat(LONGEST));
        assert_eq!(long, "é".repeat(LONGEST / 2) + "…");
    }
}
