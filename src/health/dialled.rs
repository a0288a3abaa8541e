//! A probe from its first step: resolve, dial, then run what the check asks. Never later than the
//! check's timeout, and always with a verdict.
//!
//! A reset is no verdict yet: it may be a process that died, or one that lives and closed this
//! connection only, as Redis does to all its clients when Sentinel promotes it. So it is asked once
//! more at once: where a process died nobody listens, or whoever forwards for it resets again.

use tokio::time::Instant;

use crate::config::check::{Check, CheckKind};
use crate::health::fault::{Fault, FaultKind};
use crate::health::http_probe::run_http;
use crate::health::postgres_probe::{PostgresRun, run_postgres};
use crate::health::probe::{Run, run_script};
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Stage, Verdict};
use crate::net::dial::{DialError, DialFault, dial};
use crate::net::names::NameBook;
use crate::net::stream::Stream;
use crate::net::tuning::Tuning;

/// Probes once: on the road that sessions take, to the address that they dial.
pub async fn probe(check: &Check, names: &NameBook) -> Transcript {
    let started = Instant::now();
    let first = ask(check, names, started).await;
    if !is_reset(&first.verdict) {
        return first;
    }
    ask(check, names, started).await.after(first)
}

fn is_reset(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Failed(fault) => fault.kind == FaultKind::Reset,
        Verdict::Passed | Verdict::CouldNotRun(_) => false,
    }
}

async fn ask(check: &Check, names: &NameBook, started: Instant) -> Transcript {
    let deadline = started + check.timeout;
    let destination = match names.resolve(&check.address) {
        Ok(destination) => destination,
        Err(error) => {
            let trouble = Verdict::CouldNotRun(OwnTrouble::Name(error.to_string()));
            return Transcript::of_verdict(trouble, started.elapsed());
        }
    };
    let stream = match dial(&destination, deadline, &Tuning::default()).await {
        Ok(socket) => Stream::from(socket),
        Err(error) => return Transcript::of_verdict(of_dial(&error), started.elapsed()),
    };
    match &check.kind {
        CheckKind::Script(script) => {
            let run = Run { script, target: &check.address, started, deadline };
            run_script(stream, run).await
        }
        CheckKind::Http(request) => run_http(stream, request, started, deadline).await,
        CheckKind::Postgres(asked) => {
            let run = PostgresRun { check: asked, target: &check.address, started, deadline };
            run_postgres(stream, run).await
        }
    }
}

fn of_dial(error: &DialError) -> Verdict {
    let failed = |kind| Verdict::Failed(Fault::unstepped(kind));
    match (error.fault, &error.source) {
        (DialFault::OwnSide | DialFault::Other, Some(source)) => {
            Verdict::of_error(Stage::Connect, source)
        }
        (DialFault::Refused, _) => failed(FaultKind::Refused),
        (DialFault::Reset, _) => failed(FaultKind::Reset),
        (DialFault::TimedOut, _) => failed(FaultKind::TimedOut),
        (DialFault::Unreachable | DialFault::OwnSide | DialFault::Other, _) => {
            failed(FaultKind::Unreachable)
        }
    }
}
