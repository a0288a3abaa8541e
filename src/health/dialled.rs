//! A probe from its first step: resolve, dial, complete the TLS handshake where there is one, then
//! run what the check asks. Never later than the check's timeout, and always with a verdict.
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
use crate::net::connect::connect;
use crate::net::connectors::Connectors;
use crate::net::dial::{DialError, DialFault};
use crate::net::names::NameBook;
use crate::net::peer::Peer;
use crate::net::tls_fault::date;
use crate::net::tuning::Tuning;
use crate::wire::certificate::facts_of;
use crate::wire::proxy_header::header::{Header, Origin, Version};
use crate::wire::proxy_header::tlv::Tlvs;
use crate::wire::proxy_header::writer::write;

/// Of the name in a certificate, this much is shown.
const SUBJECT: usize = 100;

/// Probes once: on the road that sessions take, to the address that they dial.
pub async fn probe(check: &Check, names: &NameBook, connectors: &Connectors) -> Transcript {
    let started = Instant::now();
    let first = ask(check, (names, connectors), started).await;
    if !is_reset(&first.verdict) {
        return first;
    }
    ask(check, (names, connectors), started).await.after(first)
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
    started: Instant,
) -> Transcript {
    let deadline = started + check.timeout;
    let destination = match names.resolve(&check.address) {
        Ok(destination) => destination,
        Err(error) => {
            let trouble = Verdict::CouldNotRun(OwnTrouble::Name(error.to_string()));
            return Transcript::of_verdict(trouble, started.elapsed());
        }
    };
    let connector = match check.tls.as_ref().map(|policy| connectors.of(policy)).transpose() {
        Ok(connector) => connector,
        Err(error) => {
            let trouble = Verdict::CouldNotRun(OwnTrouble::Tls(error.to_string()));
            return Transcript::of_verdict(trouble, started.elapsed());
        }
    };
    let header = check.header.map(header_of).unwrap_or_default();
    let tuning = Tuning::default();
    let connected = connect(&destination, &header, connector.as_deref(), deadline, &tuning).await;
    let peer = match connected {
        Ok(peer) => peer,
        Err(error) => return Transcript::of_verdict(of_dial(&error), started.elapsed()),
    };
    let connected = started.elapsed();
    let secured = secured(&peer).map(|said| (started.elapsed(), said));
    let transcript = match &check.kind {
        CheckKind::Script(script) => {
            let target = check.about.as_ref().unwrap_or(&check.address);
            let run = Run { script, target, started, deadline };
            run_script(peer, run).await
        }
        CheckKind::Http(request) => run_http(peer, request, started, deadline).await,
        CheckKind::Postgres(asked) => {
            let run = PostgresRun { check: asked, target: &check.address, started, deadline };
            run_postgres(peer, run).await
        }
    };
    let transcript = match secured {
        Some((at, said)) => transcript.secured(at, said),
        None => transcript,
    };
    if header.is_empty() { transcript } else { transcript.announced(connected, &header) }
}

/// The PROXY header of a connection that is nobody's but ours. Version 1 cannot say so, and says
/// that it does not know whose it is.
fn header_of(version: Version) -> Vec<u8> {
    write(&Header { version, origin: Origin::Local, tlvs: Tlvs::default() })
}

/// What a handshake agreed on, and with whom.
fn secured(peer: &Peer) -> Option<String> {
    let agreed = peer.agreed()?;
    let leaf = peer.certificate().and_then(|leaf| facts_of(leaf, 1).ok());
    let with = leaf.map_or(String::new(), |leaf| {
        let subject = leaf.subject.chars().take(SUBJECT).flat_map(char::escape_debug);
        let subject: String = subject.collect();
        let until = u64::try_from(leaf.not_after).unwrap_or(0);
        format!(", with {subject} until {}, key {}", date(until), leaf.spki)
    });
    Some(format!("{agreed}{with}"))
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
