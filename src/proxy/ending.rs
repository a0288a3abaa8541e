//! Endings: how a session can end, in which words, how loudly, and by whom.

use std::fmt;

use crate::proxy::denial::Denial;
use crate::proxy::reason::Reason;
use crate::proxy::registry::CutReason;
use crate::proxy::relay::{End, Side};
use crate::routing::choice::Refusal;
use crate::routing::hello::NoAnswer;
use crate::telemetry::counts::ServiceCounts;

/// Why a session ended.
#[derive(Debug)]
pub enum Ending {
    /// Its task ended without saying why, which only a panic does.
    Panicked,
    /// Its arbiter was stopped, and its task with it.
    ArbiterLost,
    /// Its socket could not be used.
    Unusable(std::io::Error),
    /// A PROXY header is expected, and it comes from where none may come from.
    Untrusted,
    /// A PROXY header is expected, and there is none.
    NoHeader(String),
    /// Its client did not begin TLS.
    NoHello(String),
    /// Nobody answers what its client asks for.
    Unanswered(NoAnswer),
    /// TLS did not come about.
    NoHandshake(String),
    /// Its client took too long to say whom it wants and to agree on TLS.
    GreetingTimeout,
    /// A rule of the service turns its client away.
    Denied(Denial),
    /// There was no target to give.
    NoTarget(Refusal),
    /// No target could be reached; this is how the last one failed.
    Unreachable(String),
    /// It was not dialled for want of something of our own: descriptors, ports, memory, a right.
    Hindered(String),
    /// The client left before it was connected.
    ClientLeft,
    /// Somebody cut it.
    Cut(CutReason),
    /// The relay ran to its end.
    Relayed(End),
}

// === impl Ending ===

impl Ending {
    /// Why it came to nothing; none of a session that had a target, or was lost by a fault of ours.
    /// Those are told of one by one.
    pub(super) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Unusable(_) => Reason::Unusable,
            Self::Untrusted => Reason::Untrusted,
            Self::NoHeader(_) => Reason::NoHeader,
            Self::NoHello(_) => Reason::NoHello,
            Self::Unanswered(_) => Reason::Unanswered,
            Self::NoHandshake(_) => Reason::NoHandshake,
            Self::GreetingTimeout => Reason::GreetingTimeout,
            Self::Denied(denial) => Reason::Denied(*denial),
            Self::NoTarget(refusal) => Reason::NoTarget(*refusal),
            Self::Unreachable(_) => Reason::Unreachable,
            Self::Hindered(_) => Reason::Hindered,
            Self::ClientLeft => Reason::ClientLeft,
            Self::Panicked | Self::ArbiterLost | Self::Cut(_) | Self::Relayed(_) => return None,
        })
    }

    /// Counts it.
    pub(super) fn count(&self, counts: &ServiceCounts) {
        if let Some(reason) = self.reason() {
            reason.count(counts);
        }
        if matches!(
            self,
            Self::Cut(_) | Self::Relayed(End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge)
        ) {
            counts.cut.raise();
        }
    }

    /// How loudly it is told.
    pub(super) fn level(&self) -> log::Level {
        match (self, self.reason()) {
            (_, Some(reason)) => reason.level(),
            (Self::Panicked | Self::ArbiterLost, None) => log::Level::Error,
            (_, None) => log::Level::Info,
        }
    }

    /// Who ended the session: `client`, `target` or `stagedoor`.
    pub(super) fn by(&self) -> &'static str {
        match self {
            Self::ClientLeft
            | Self::NoHeader(_)
            | Self::NoHello(_)
            | Self::Relayed(
                End::Finished { first: Side::Client }
                | End::Reset(Side::Client)
                | End::Failed(Side::Client, _),
            ) => "client",
            Self::Relayed(
                End::Finished { first: Side::Target }
                | End::Reset(Side::Target)
                | End::Failed(Side::Target, _),
            ) => "target",
            Self::Panicked
            | Self::ArbiterLost
            | Self::Unusable(_)
            | Self::Untrusted
            | Self::Unanswered(_)
            | Self::NoHandshake(_)
            | Self::GreetingTimeout
            | Self::Denied(_)
            | Self::NoTarget(_)
            | Self::Unreachable(_)
            | Self::Hindered(_)
            | Self::Cut(_)
            | Self::Relayed(End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge | End::Cut) => {
                "stagedoor"
            }
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("its task panicked"),
            Self::ArbiterLost => f.write_str("its arbiter was stopped"),
            Self::Unusable(error) => write!(f, "client: {error}"),
            Self::NoHello(why) | Self::NoHeader(why) => f.write_str(why),
            Self::Unanswered(why) => why.fmt(f),
            Self::NoHandshake(why) => write!(f, "TLS: {why}"),
            Self::Unreachable(error) => write!(f, "{}: {error}", Reason::Unreachable),
            Self::Hindered(error) => f.write_str(error),
            Self::Untrusted => Reason::Untrusted.fmt(f),
            Self::GreetingTimeout => Reason::GreetingTimeout.fmt(f),
            Self::Denied(denial) => Reason::Denied(*denial).fmt(f),
            Self::NoTarget(refusal) => Reason::NoTarget(*refusal).fmt(f),
            Self::ClientLeft => Reason::ClientLeft.fmt(f),
            Self::Cut(cut) => cut.fmt(f),
            Self::Relayed(end) => end.fmt(f),
        }
    }
}
