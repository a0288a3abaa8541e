//! A probe from its first step: resolve, dial, complete the TLS handshake where there is one, then
//! run what the check asks. Never later than the check's timeout, and always with a verdict.
//! The timeout is the target's: time in which we were not run ourselves does not count (`awake`).
//!
//! A reset is no verdict yet: it may be a process that died, or one that lives and closed this
//! connection only, as Redis does to all its clients when Sentinel promotes it. So it is asked once
//! more at once: where a process died nobody listens, or whoever forwards for it resets again.
//!
//! Nor is anything one that we slept through for as long as a run may last: what was heard may be
//! as old, and what failed may have failed by our silence. It is asked afresh.

use std::io;
use std::time::Duration;

use crate::config::check::{Check, CheckKind};
use crate::health::awake::{AwakeTime, Overdue};
use crate::health::fault::{Fault, FaultKind};
use crate::health::http_probe::run_http;
use crate::health::postgres_probe::{PostgresRun, run_postgres};
use crate::health::probe::{Run, run_script};
use crate::health::securing::agreed;
use crate::health::transcript::Transcript;
use crate::health::verdict::{OwnTrouble, Stage, Verdict, Word};
use crate::net::connect::{Preface, connect};
use crate::net::connectors::{Connector, Connectors};
use crate::net::dial::{Destination, DialError, DialFault};
use crate::net::names::NameBook;
use crate::net::peer::Peer;
use crate::net::tuning::Tuning;
use crate::wire::proxy_header::header::{Header, Origin, Version};
use crate::wire::proxy_header::tlv::Tlvs;
use crate::wire::proxy_header::writer::write;

/// What came of a probe.
#[derive(Debug)]
pub struct Probed {
    /// What was said.
    pub transcript: Transcript,
    /// The connection, where it is to be kept: a whole answer has come over it.
    pub left_open: Option<Peer>,
}

/// Probes once: on the road that sessions take, to the address that they dial.
pub async fn probe(check: &Check, names: &NameBook, connectors: &Connectors) -> Probed {
    let time = AwakeTime::of(check.timeout);
    let Probed { transcript: first, left_open } = ask(check, (names, connectors), &time).await;
    if time.overslept() >= check.timeout {
        let first = first.overslept(time.overslept());
        let time = AwakeTime::of(check.timeout);
        return ask(check, (names, connectors), &time).await.after(first);
    }
    let Probed { transcript, left_open } = if is_reset(&first.verdict) {
        ask(check, (names, connectors), &time).await.after(first)
    } else {
        Probed { transcript: first, left_open }
    };
    let transcript = match time.overslept() {
        Duration::ZERO => transcript,
        pause => transcript.overslept(pause),
    };
    Probed { transcript, left_open }
}

// === impl Probed ===

impl Probed {
    /// It came to nothing before anything was said.
    fn of_verdict(verdict: Verdict, took: Duration) -> Self {
        Self { transcript: Transcript::of_verdict(verdict, took), left_open: None }
    }

    /// What went before belongs to it.
    fn after(self, first: Transcript) -> Self {
        Self { transcript: self.transcript.after(first), ..self }
    }
}

fn is_reset(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Failed(fault) => fault.kind == FaultKind::Reset,
        Verdict::Passed | Verdict::CouldNotRun(_) => false,
    }
}

async fn ask(
    check: &Check,
    (names, connectors): (&NameBook, &Connectors),
    time: &AwakeTime,
) -> Probed {
    let destination = match names.resolve(&check.address) {
        Ok(destination) => destination,
        Err(error) => {
            let trouble = Verdict::CouldNotRun(OwnTrouble::Name(error.to_string()));
            return Probed::of_verdict(trouble, time.elapsed());
        }
    };
    let connector = match check.tls.as_ref().map(|policy| connectors.of(policy)).transpose() {
        Ok(connector) => connector,
        Err(error) => {
            let trouble = Verdict::CouldNotRun(OwnTrouble::Tls(error.to_string()));
            return Probed::of_verdict(trouble, time.elapsed());
        }
    };
    let header = check.header.map(header_of).unwrap_or_default();
    // Where its script begins TLS, it is not begun here.
    let at_once = connector.as_deref().filter(|_| !check.kind.begins_tls());
    let preface = Preface { header: &header, starttls: None };
    let peer = match connect_in(time, &destination, preface, at_once).await {
        Ok(peer) => peer,
        Err(error) => return Probed::of_verdict(of_dial(&error), time.elapsed()),
    };
    let connected = time.elapsed();
    let secured = agreed(&peer).map(|said| (time.elapsed(), said));
    let (transcript, peer) = match &check.kind {
        CheckKind::Script(script) => {
            let target = check.about.as_ref().unwrap_or(&check.address);
            let (connector, keep_open) = (connector.as_deref(), check.keep_open);
            let run = Run { script, target, time, connector, keep_open };
            let (transcript, peer) = run_script(peer, run).await;
            (transcript, Some(peer))
        }
        CheckKind::Http(request) => (run_http(peer, request, time).await, None),
        CheckKind::Postgres(asked) => {
            let run = PostgresRun { check: asked, target: &check.address, time };
            (run_postgres(peer, run).await, None)
        }
    };
    let has_answer = matches!(transcript.verdict.word(), Word::Leader | Word::NotLeader);
    let left_open = peer.filter(|_| check.keep_open && has_answer);
    let transcript = match secured {
        Some((at, said)) => transcript.secured(at, said),
        None => transcript,
    };
    let transcript =
        if header.is_empty() { transcript } else { transcript.announced(connected, &header) };
    Probed { transcript, left_open }
}

/// The PROXY header of a connection that is nobody's but ours. Version 1 cannot say so, and says
/// that it does not know whose it is.
fn header_of(version: Version) -> Vec<u8> {
    write(&Header { version, origin: Origin::Local, tlvs: Tlvs::default() })
}

/// Connects within the time that is left. An attempt that we slept through is made again.
async fn connect_in(
    time: &AwakeTime,
    destination: &Destination,
    preface: Preface<'_>,
    connector: Option<&Connector>,
) -> Result<Peer, DialError> {
    loop {
        let (slept, deadline) = (time.overslept(), time.deadline_on_the_clock());
        let tuning = Tuning::default();
        let attempt = connect(destination, preface, connector, deadline, &tuning);
        let error = match time.wait(time.deadline(), attempt).await {
            Ok(Ok(peer)) => return Ok(peer),
            Ok(Err(error)) => error,
            Err(Overdue) => DialError {
                fault: DialFault::TimedOut,
                destination: destination.clone(),
                source: None,
            },
        };
        let is_ours = time.overslept() > slept && time.now() < time.deadline();
        if !is_ours || !is_timeout(&error) {
            return Err(error);
        }
    }
}

fn is_timeout(error: &DialError) -> bool {
    let source = error.source.as_ref();
    error.fault == DialFault::TimedOut
        || source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

fn of_dial(error: &DialError) -> Verdict {
    let failed = |kind| Verdict::Failed(Fault::unstepped(kind));
    match (error.fault, &error.source) {
        (DialFault::OwnSide | DialFault::Other, Some(source)) => {
            Verdict::of_error(Stage::Connect, source)
        }
        (DialFault::Handshake, why) => {
            let why = why.as_ref().map_or_else(|| error.to_string(), ToString::to_string);
            failed(FaultKind::Tls(why.into()))
        }
        (DialFault::Refused, _) => failed(FaultKind::Refused),
        (DialFault::Reset, _) => failed(FaultKind::Reset),
        (DialFault::TimedOut, _) => failed(FaultKind::TimedOut),
        (DialFault::Unreachable | DialFault::OwnSide | DialFault::Other, _) => {
            failed(FaultKind::Unreachable)
        }
    }
}
