//! One failover: how a service's lead went from one target to the next, and what that cost. Pure.
//!
//! The lead is *lost* when the one before gets no traffic any more: all times count from there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::names::TargetKey;
use crate::health::lapse::Lapse;
use crate::health::leader::{Change, Why};

/// A failover, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// Who led.
    pub from: TargetKey,
    /// When it lost the lead: from then on its sessions were being cut.
    pub lost: Instant,
    /// What spoke against it, and in a word why it lost the lead, once that is known.
    pub grounds: Option<Grounds>,
    /// Who leads since, and since when. It may be the same target again.
    pub to: Option<(TargetKey, Instant)>,
    /// Why that one.
    pub why: Option<String>,
    /// The first byte of a session with the new leader, either way.
    pub first_byte: Option<Instant>,
    /// Sessions that were cut.
    pub cut: usize,
    /// Clients that waited for a target.
    pub held: u64,
    /// Clients that were turned away.
    pub refused: u64,
}

/// What a target lost the lead for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grounds {
    /// The end of the last check that it passed.
    pub last_good: Option<Instant>,
    /// The end of the first one that it failed since; `None`: it passed to the last, and lost the
    /// lead to one that was promoted, or left the pool.
    pub first_bad: Option<Instant>,
    /// The verdict of that one, or why it lost the lead without one.
    pub verdict: String,
}

impl Grounds {
    /// For a change of leader, and what spoke against the one before.
    pub fn of(change: &Change, lapse: &Lapse) -> Self {
        let Lapse { last_good, first_bad } = lapse.clone();
        let (first_bad, verdict) = first_bad.unzip();
        let verdict = verdict.unwrap_or_else(|| match change.why {
            Why::Promoted | Why::OnlyClaimant | Why::HighestRank | Why::Witnessed => {
                "another was promoted".to_owned()
            }
            Why::LedBefore | Why::Unwitnessed | Why::IncumbentDown | Why::IncumbentGone => {
                change.why.to_string()
            }
        });
        Self { last_good, first_bad, verdict }
    }
}

impl Failover {
    /// It begins: `from` gets no traffic any more.
    pub fn begin(from: TargetKey, lost: Instant) -> Self {
        Self {
            from,
            lost,
            grounds: None,
            to: None,
            why: None,
            first_byte: None,
            cut: 0,
            held: 0,
            refused: 0,
        }
    }

    /// Everything has happened that a report tells of.
    pub fn is_complete(&self) -> bool {
        self.why.is_some() && self.first_byte.is_some()
    }

    /// How long before the loss this was.
    pub fn before(&self, at: Instant) -> Duration {
        self.lost.saturating_duration_since(at)
    }

    /// How long after the loss this was.
    pub fn after(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.lost)
    }

    /// How long nobody led; `None`: nobody leads yet.
    pub fn gap(&self) -> Option<Duration> {
        self.to.as_ref().map(|(_, at)| self.after(*at))
    }
}

impl fmt::Display for Failover {
    /// In one sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.to, self.gap()) {
            (Some((to, _)), Some(gap)) if *to == self.from => {
                write!(f, "{to} leads again after {}", Short(gap))?;
            }
            (Some((to, _)), Some(gap)) => {
                write!(f, "from {} to {to}, nobody led for {}", self.from, Short(gap))?;
            }
            (None, _) | (_, None) => write!(f, "{} lost the lead, and nobody leads", self.from)?,
        }
        if let Some(grounds) = &self.grounds {
            if let Some(at) = grounds.last_good {
                write!(f, "; last good answer {} before", Short(self.before(at)))?;
            }
            if let Some(at) = grounds.first_bad {
                write!(f, ", first bad one {} before", Short(self.before(at)))?;
            }
            write!(f, ": {}", grounds.verdict)?;
        }
        write!(f, "; {} cut, {} held, {} refused", self.cut, self.held, self.refused)?;
        match (self.first_byte, &self.to) {
            (Some(at), _) => write!(f, "; first byte {} after", Short(self.after(at))),
            (None, Some(_)) => f.write_str("; no client has come since"),
            (None, None) => Ok(()),
        }
    }
}

/// A time with as many digits as it is worth: `0.42ms`, `42ms`, `4.2s`.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1000.0;
        if millis < 10.0 {
            write!(f, "{millis:.2}ms")
        } else if millis < 1000.0 {
            write!(f, "{millis:.0}ms")
        } else {
            write!(f, "{:.1}s", millis / 1000.0)
        }
    }
}

/// A failover that is over, shared with whoever shows it.
pub type Report = Arc<Failover>;
