//! Reasons: why a session came to nothing, as far as many can share one. It says in what words they
//! are told together, how loudly, how many have lines of their own, and where they are counted.

use std::fmt;

use crate::proxy::denial::Denial;
use crate::routing::choice::Refusal;
use crate::telemetry::counts::{Count, ServiceCounts};

/// Why a session came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A rule of the service turns its client away.
    Denied(Denial),
    /// A PROXY header is expected, and it comes from where none may come from.
    Untrusted,
    /// There was no target to give.
    NoTarget(Refusal),
    /// No target could be reached.
    Unreachable,
    /// It was not dialled for want of something of our own.
    Hindered,
    /// Its socket could not be used.
    Unusable,
    /// A PROXY header is expected, and there is none.
    NoHeader,
    /// Its client did not begin TLS.
    NoHello,
    /// Nobody answers what its client asks for.
    Unanswered,
    /// TLS did not come about.
    NoHandshake,
    /// Its client took too long to begin.
    GreetingTimeout,
    /// The client left before it was connected.
    ClientLeft,
}

// === impl Reason ===

impl Reason {
    /// How many lines of the log it may have in a second. Of what is the same for everybody, one
    /// is enough; what differs from client to client is what people look for.
    pub fn lines_a_second(self) -> u32 {
        match self {
            Self::Denied(_) | Self::Untrusted | Self::NoTarget(_) => 1,
            Self::Unreachable
            | Self::Hindered
            | Self::Unusable
            | Self::NoHeader
            | Self::NoHello
            | Self::Unanswered
            | Self::NoHandshake
            | Self::GreetingTimeout
            | Self::ClientLeft => 10,
        }
    }

    /// How loudly it is told.
    pub fn level(self) -> log::Level {
        match self {
            Self::Hindered => log::Level::Error,
            Self::Unreachable | Self::NoTarget(_) => log::Level::Warn,
            // A limit that may be too low, rather than one client's doings.
            Self::Denied(Denial::OverService) => log::Level::Warn,
            Self::Denied(Denial::Access | Denial::Rate | Denial::OverSource)
            | Self::Untrusted
            | Self::Unusable
            | Self::NoHeader
            | Self::NoHello
            | Self::Unanswered
            | Self::NoHandshake
            | Self::GreetingTimeout
            | Self::ClientLeft => log::Level::Info,
        }
    }

    /// Counts a session that came to nothing for it.
    pub fn count(self, counts: &ServiceCounts) {
        match self {
            Self::NoHeader | Self::NoHandshake | Self::GreetingTimeout => {
                counts.failed_handshakes.raise();
            }
            Self::Unusable | Self::NoHello | Self::Unanswered | Self::ClientLeft => {}
            Self::Denied(_)
            | Self::Untrusted
            | Self::NoTarget(_)
            | Self::Unreachable
            | Self::Hindered => {
                counts.refused.raise();
                self.refused(counts).into_iter().for_each(Count::raise);
            }
        }
    }

    /// Where those are counted that are refused for it.
    fn refused(self, counts: &ServiceCounts) -> Option<&Count> {
        Some(match self {
            Self::Denied(denial) => denial.count(counts),
            Self::Untrusted => &counts.refused_by_header,
            Self::NoTarget(Refusal::AwaitingFirst) => &counts.refused_unchecked,
            Self::NoTarget(Refusal::AllDown) => &counts.refused_all_down,
            Self::NoTarget(Refusal::NoLeader) => &counts.refused_no_leader,
            Self::NoTarget(Refusal::AllTried) => &counts.refused_all_tried,
            Self::NoTarget(Refusal::Removed) => &counts.refused_removed,
            Self::Unreachable => &counts.refused_unreachable,
            Self::Hindered => &counts.refused_hindered,
            Self::Unusable
            | Self::NoHeader
            | Self::NoHello
            | Self::Unanswered
            | Self::NoHandshake
            | Self::GreetingTimeout
            | Self::ClientLeft => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied(denial) => return write!(f, "turned away: {denial}"),
            Self::NoTarget(refusal) => return refusal.fmt(f),
            Self::Untrusted => "a PROXY header is required, and not believed from this address",
            Self::Unreachable => "no target could be reached",
            Self::Hindered => "not dialled, for a fault on our own side",
            Self::Unusable => "the client's socket could not be used",
            Self::NoHeader => "no PROXY header to go by",
            Self::NoHello => "the client did not begin TLS",
            Self::Unanswered => "nobody answers what the client asked for",
            Self::NoHandshake => "TLS did not come about",
            Self::GreetingTimeout => "the client took longer than handshake_timeout to begin",
            Self::ClientLeft => "the client left before it was connected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_is_counted_by_one_reason_and_in_all() {
        let refusals = [
            Refusal::AwaitingFirst,
            Refusal::AllDown,
            Refusal::NoLeader,
            Refusal::AllTried,
            Refusal::Removed,
        ];
        let denials = [Denial::Access, Denial::Rate, Denial::OverSource, Denial::OverService];
        let reasons = refusals.map(Reason::NoTarget).into_iter();
        let reasons = reasons.chain(denials.map(Reason::Denied));
        let own = [Reason::Untrusted, Reason::Unreachable, Reason::Hindered];
        let counts = ServiceCounts::default();
        let mut all = 0;
        for reason in reasons.chain(own) {
            let before = reason.refused(&counts).unwrap().get();
            reason.count(&counts);
            all += 1;
            assert_eq!((before, reason.refused(&counts).unwrap().get()), (0, 1), "{reason}");
            assert_eq!(counts.refused.get(), all, "{reason}");
        }
    }
}
