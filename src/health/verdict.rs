//! The verdict of one check run, the word it says about leadership, and what a system error means.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::health::fault::{Fault, FaultKind};
use crate::net::tls_fault;

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The target is as the check wants it.
    Passed,
    /// It is not.
    Failed(Fault),
    /// Trouble on our own side: says nothing about the target and changes nothing.
    CouldNotRun(OwnTrouble),
}

/// What kept us from asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnTrouble {
    /// No file descriptor is left.
    Descriptors,
    /// No memory is left for a socket.
    Memory,
    /// No local port is left.
    NoLocalPort,
    /// This machine has no way to that network.
    NoRoute,
    /// This machine's own rules forbid it.
    NotPermitted,
    /// The name could not be resolved; the resolver's words.
    Name(String),
    /// TLS could not be set up; why.
    Tls(String),
    /// The check's request cannot be put into HTTP; why.
    Request(String),
}

/// What a run says about who may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It passed.
    Leader,
    /// A whole answer at the deciding step contradicts.
    NotLeader,
    /// Refused or reset: that process died, and what it last said died with it.
    Wipe,
    /// Anything else says nothing; what was last said stands.
    Silence,
}

/// Where in a run a system error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// While connecting.
    Connect,
    /// While reading or writing an established connection.
    Talk,
}

impl Verdict {
    /// The word it says at its deciding step.
    pub fn word(&self) -> Word {
        match self {
            Self::Passed => Word::Leader,
            Self::CouldNotRun(_) => Word::Silence,
            Self::Failed(fault) => match fault.kind {
                FaultKind::Refused | FaultKind::Reset => Word::Wipe,
                FaultKind::Unreachable
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
                | FaultKind::HttpStatus(_)
                | FaultKind::Malformed
                | FaultKind::CannotLogIn(_)
                | FaultKind::Tls(_)
                | FaultKind::Io(_) => {
                    if fault.contradicts() {
                        Word::NotLeader
                    } else {
                        Word::Silence
                    }
                }
            },
        }
    }

    /// What a system error means that came before a script's first step.
    pub fn of_error(stage: Stage, error: &io::Error) -> Self {
        match classify(stage, error) {
            Ok(kind) => Self::Failed(Fault::unstepped(kind)),
            Err(trouble) => Self::CouldNotRun(trouble),
        }
    }
}

/// The fault that a system error speaks of, or the trouble of our own.
///
/// A network that we have no route to is our own trouble (a pulled cable here must not take every
/// target down); a host that does not answer on a network that we reach is the target's. A unix
/// socket that is not there is a refused connection: its process is gone.
pub fn classify(stage: Stage, error: &io::Error) -> Result<FaultKind, OwnTrouble> {
    if let Some(words) = tls_fault::words(error) {
        let is_own = tls_fault::is_own(error);
        return if is_own { Err(OwnTrouble::Tls(words)) } else { Ok(FaultKind::Tls(words.into())) };
    }
    let Some(errno) = Errno::from_io_error(error) else {
        return Ok(of_kind(stage, error.kind()));
    };
    match errno {
        Errno::MFILE | Errno::NFILE => Err(OwnTrouble::Descriptors),
        Errno::NOMEM | Errno::NOBUFS => Err(OwnTrouble::Memory),
        Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Err(OwnTrouble::NoLocalPort),
        Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT => Err(OwnTrouble::NoRoute),
        Errno::PERM | Errno::ACCESS => Err(OwnTrouble::NotPermitted),
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Ok(FaultKind::Unreachable),
        _ => Ok(of_kind(stage, error.kind())),
    }
}

fn of_kind(stage: Stage, kind: io::ErrorKind) -> FaultKind {
    match (stage, kind) {
        (_, io::ErrorKind::ConnectionRefused) | (Stage::Connect, io::ErrorKind::NotFound) => {
            FaultKind::Refused
        }
        (_, io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => FaultKind::Reset,
        (_, io::ErrorKind::TimedOut) => FaultKind::TimedOut,
        // The backlog of a unix socket is full.
        (Stage::Connect, io::ErrorKind::WouldBlock) => FaultKind::Unreachable,
        (Stage::Talk, io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            FaultKind::Closed
        }
        (_, other) => FaultKind::Io(other),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(fault) => fault.fmt(f),
            Self::CouldNotRun(trouble) => write!(f, "the check could not run: {trouble}"),
        }
    }
}

impl fmt::Display for OwnTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "this process has no file descriptor left",
            Self::Memory => "this machine has no memory left for a socket",
            Self::NoLocalPort => "this machine has no local port left",
            Self::NoRoute => "this machine has no route to that network",
            Self::NotPermitted => "this machine does not permit it",
            Self::Request(words) => return write!(f, "its request is not valid HTTP: {words}"),
            Self::Name(words) | Self::Tls(words) => words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::fault::FaultStep;

    fn errno(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn trouble_of_our_own_is_never_the_targets_fault() {
        for (given, expected) in [
            (Errno::MFILE, OwnTrouble::Descriptors),
            (Errno::NFILE, OwnTrouble::Descriptors),
            (Errno::NOBUFS, OwnTrouble::Memory),
            (Errno::NOMEM, OwnTrouble::Memory),
            (Errno::ADDRNOTAVAIL, OwnTrouble::NoLocalPort),
            (Errno::NETUNREACH, OwnTrouble::NoRoute),
            (Errno::PERM, OwnTrouble::NotPermitted),
            (Errno::ACCESS, OwnTrouble::NotPermitted),
        ] {
            assert_eq!(classify(Stage::Connect, &errno(given)), Err(expected.clone()));
            assert_eq!(Verdict::CouldNotRun(expected).word(), Word::Silence);
        }
    }

    #[test]
    fn a_system_error_becomes_the_fault_it_speaks_of() {
        for (stage, given, expected) in [
            (Stage::Connect, Errno::CONNREFUSED, FaultKind::Refused),
            (Stage::Connect, Errno::NOENT, FaultKind::Refused),
            (Stage::Connect, Errno::HOSTUNREACH, FaultKind::Unreachable),
            (Stage::Connect, Errno::TIMEDOUT, FaultKind::TimedOut),
            (Stage::Connect, Errno::AGAIN, FaultKind::Unreachable),
            (Stage::Talk, Errno::CONNRESET, FaultKind::Reset),
            (Stage::Talk, Errno::PIPE, FaultKind::Closed),
        ] {
            assert_eq!(classify(stage, &errno(given)), Ok(expected), "{given:?}");
        }
    }

    #[test]
    fn refused_and_reset_wipe_at_any_step() {
        for kind in [FaultKind::Refused, FaultKind::Reset] {
            assert_eq!(Verdict::Failed(Fault::unstepped(kind.clone())).word(), Word::Wipe);
            let step = FaultStep { index: 1, command: "expect".into(), deciding: true };
            let fault = Fault { step: Some(step), kind, heard: String::new() };
            assert_eq!(Verdict::Failed(fault).word(), Word::Wipe);
        }
    }

    #[test]
    fn a_contradiction_speaks_only_at_the_deciding_step() {
        let at = |deciding| {
            let step = FaultStep { index: 1, command: "expect".into(), deciding };
            let kind = FaultKind::Contradicted;
            Verdict::Failed(Fault { step: Some(step), kind, heard: String::new() }).word()
        };
        assert_eq!(at(true), Word::NotLeader);
        assert_eq!(at(false), Word::Silence);
        assert_eq!(Verdict::Passed.word(), Word::Leader);
    }

    #[test]
    fn everything_else_is_silence() {
        for kind in [
            FaultKind::TimedOut,
            FaultKind::Undecided,
            FaultKind::Closed,
            FaultKind::ErrorReply,
            FaultKind::Limit,
            FaultKind::Malformed,
            FaultKind::Unreachable,
        ] {
            let step = FaultStep { index: 1, command: "expect".into(), deciding: true };
            let fault = Fault { step: Some(step), kind: kind.clone(), heard: String::new() };
            assert_eq!(Verdict::Failed(fault).word(), Word::Silence, "{kind}");
        }
    }
}
