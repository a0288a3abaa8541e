//! Why a check failed, in words a person understands: which step, what went wrong, what was heard.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The step that failed; `None` before the first one (connecting) and for HTTP.
    pub step: Option<FaultStep>,
    /// What went wrong.
    pub kind: FaultKind,
    /// The useful part of what was heard, already escaped, capped and masked; empty: nothing.
    /// Of a `compare` both sides as filled; of an HTTP status what was expected.
    pub heard: String,
}

/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultStep {
    /// Its index in the script, from 0. People see it counted from 1.
    pub index: usize,
    /// The command as a person would write it, secrets masked.
    pub command: Arc<str>,
    /// This is the step whose answer decides (or a reject watched for in the same wait).
    pub deciding: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing listens there.
    Refused,
    /// The connection was reset.
    Reset,
    /// The host does not answer at all, says the network.
    Unreachable,
    /// The deadline passed.
    TimedOut,
    /// The deadline passed while a regex matched that more bytes could still have made longer.
    Undecided,
    /// The target closed before it had said what was expected.
    Closed,
    /// A `reject` was heard.
    Rejected,
    /// The reply was complete and did not hold what was expected.
    Contradicted,
    /// The reply was complete and is an error: it says nothing about the target's role.
    ErrorReply,
    /// More came unread than is kept.
    Limit,
    /// A regex needs more memory on this answer than a check may use, or it has a Unicode word
    /// boundary and met bytes beyond ASCII.
    TooCostly,
    /// A `compare` does not hold.
    Compare,
    /// `${capture.NAME}` is needed, and nothing was captured under that name.
    NoCapture(Arc<str>),
    /// An HTTP answer with a status that was not expected.
    HttpStatus(u16),
    /// The answer is not what the protocol allows.
    Malformed,
    /// The target wants a login that the check has not got; why.
    CannotLogIn(&'static str),
    /// TLS: the handshake failed, or it was broken off later; in words.
    Tls(Arc<str>),
    /// Any other trouble that the system names.
    Io(io::ErrorKind),
}

impl Fault {
    /// A fault of connecting, or of HTTP: there is no step to name.
    pub fn unstepped(kind: FaultKind) -> Self {
        Self { step: None, kind, heard: String::new() }
    }

    /// The target said, in a whole answer at the step that decides, that it is not what was asked.
    ///
    /// HTTP statuses that speak of trouble (408, 429, 500, 502, 504) are no such word; 503 is: it
    /// is how role checks over HTTP say "not the primary".
    pub fn contradicts(&self) -> bool {
        match self.kind {
            FaultKind::Rejected | FaultKind::Contradicted | FaultKind::Compare => {
                self.step.as_ref().is_some_and(|step| step.deciding)
            }
            FaultKind::HttpStatus(status) => !matches!(status, 408 | 429 | 500 | 502 | 504),
            FaultKind::Refused
            | FaultKind::Reset
            | FaultKind::Unreachable
            | FaultKind::TimedOut
            | FaultKind::Undecided
            | FaultKind::Closed
            | FaultKind::ErrorReply
            | FaultKind::Limit
            | FaultKind::TooCostly
            | FaultKind::NoCapture(_)
            | FaultKind::Malformed
            | FaultKind::CannotLogIn(_)
            | FaultKind::Tls(_)
            | FaultKind::Io(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = &self.step {
            write!(f, "step {} {}: ", step.index + 1, step.command)?;
        }
        match (&self.step, &self.kind) {
            (None, FaultKind::TimedOut) => f.write_str("no answer in time")?,
            (_, kind) => kind.fmt(f)?,
        }
        match (self.heard.is_empty(), &self.step, &self.kind) {
            (false, _, FaultKind::Compare | FaultKind::HttpStatus(_)) => {
                write!(f, " ({})", self.heard)
            }
            (false, _, FaultKind::Rejected) => write!(f, " (in {})", self.heard),
            (false, _, _) => write!(f, " (heard {})", self.heard),
            (true, Some(_), FaultKind::TimedOut | FaultKind::Closed | FaultKind::Reset) => {
                f.write_str(" (heard nothing)")
            }
            (true, _, _) => Ok(()),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by the target",
            Self::Unreachable => "the host cannot be reached",
            Self::TimedOut => "not in time",
            Self::Undecided => {
                "what came matches, but more of it could follow; let the pattern say what ends it"
            }
            Self::Closed => "the target closed the connection first",
            Self::Rejected => "was heard",
            Self::Contradicted => "the reply was complete without it",
            Self::ErrorReply => "the reply is an error",
            Self::Limit => "64 KiB came without it",
            Self::TooCostly => "this pattern is too costly to follow on what was heard",
            Self::Compare => "does not hold",
            Self::NoCapture(name) => {
                return write!(f, "nothing was captured as ${{capture.{name}}}");
            }
            Self::HttpStatus(status) => return write!(f, "answered with status {status}"),
            Self::Malformed => "the answer is not well-formed",
            Self::CannotLogIn(why) => return write!(f, "cannot log in: {why}"),
            Self::Tls(words) => return write!(f, "TLS: {words}"),
            Self::Io(kind) => return write!(f, "{kind}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_step(kind: FaultKind, command: &str, heard: &str) -> Fault {
        let step = FaultStep { index: 3, command: command.into(), deciding: true };
        Fault { step: Some(step), kind, heard: heard.to_owned() }
    }

    fn check(fault: &Fault, expected: &str) {
        assert_eq!(fault.to_string(), expected);
    }

    #[test]
    fn a_fault_says_which_step_what_and_what_was_heard() {
        check(&Fault::unstepped(FaultKind::Refused), "connection refused");
        check(&Fault::unstepped(FaultKind::HttpStatus(503)), "answered with status 503");
        check(
            &at_step(FaultKind::Contradicted, r#"expect "role:master""#, r#""role:slave…""#),
            r#"step 4 expect "role:master": the reply was complete without it (heard "role:slave…")"#,
        );
        check(
            &at_step(FaultKind::TimedOut, r#"expect "+PONG""#, ""),
            r#"step 4 expect "+PONG": not in time (heard nothing)"#,
        );
        check(
            &at_step(FaultKind::Rejected, r#"reject "role:slave""#, r#""role:slave\r\n""#),
            r#"step 4 reject "role:slave": was heard (in "role:slave\r\n")"#,
        );
        check(
            &at_step(FaultKind::Compare, "compare ${capture.lag} < 10", r#""12" < "10""#),
            r#"step 4 compare ${capture.lag} < 10: does not hold ("12" < "10")"#,
        );
        check(
            &at_step(FaultKind::NoCapture("lag".into()), "send …", ""),
            "step 4 send …: nothing was captured as ${capture.lag}",
        );
    }

    #[test]
    fn only_a_whole_answer_at_the_deciding_step_contradicts() {
        let early = |kind| {
            let step = FaultStep { index: 1, command: "expect".into(), deciding: false };
            Fault { step: Some(step), kind, heard: String::new() }
        };
        for kind in [FaultKind::Rejected, FaultKind::Contradicted, FaultKind::Compare] {
            assert!(at_step(kind.clone(), "expect", "").contradicts(), "{kind}");
            assert!(!early(kind.clone()).contradicts(), "{kind}");
        }
        for kind in [FaultKind::TimedOut, FaultKind::Closed, FaultKind::ErrorReply] {
            assert!(!at_step(kind.clone(), "expect", "").contradicts(), "{kind}");
        }
        assert!(Fault::unstepped(FaultKind::HttpStatus(503)).contradicts());
        assert!(!Fault::unstepped(FaultKind::HttpStatus(500)).contradicts());
    }
}
