//! `transport.*` of a party that is no target, a directory or a webhook → how it is spoken to over
//! TLS.
//!
//! Read as what is said of targets is, and the same policy comes of it.

use std::sync::Arc;

use crate::config::file::transport::{DirectoryTransport, Transport as Written};
use crate::config::hosts::{HostMap, HostPattern};
use crate::config::names::TargetAddress;
use crate::config::place::{KeyPath, Segment};
use crate::config::transport::{Asked, Policy, Transport};
use crate::config::validate::certificates::{self, Finder};
use crate::config::validate::pins;
use crate::config::validate::report::Report;
use crate::config::validate::transport::{asked, manner, policy_by, trust};

/// Who is spoken to.
pub struct Party<'a> {
    /// What people call it: `the directory`.
    pub who: &'static str,
    /// What whoever is taken for it can do.
    pub harm: &'static str,
    /// The table that is about it.
    pub table: KeyPath,
    /// What is written there.
    pub written: Option<&'a DirectoryTransport>,
    /// The key of its URL.
    pub url: KeyPath,
}

/// How it is spoken to at `address`.
pub fn policy(
    party: &Party<'_>,
    address: &TargetAddress,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    let Party { who, harm, table, .. } = party;
    let transport = transport(party, finder, report);
    let policy = policy_by(table, &transport, address, &party.url, report)?;
    if policy.is_insecure() {
        let what =
            format!("{who} is believed whoever it is, and so is anybody on the way to it: {harm}");
        let right = "name its authority as ssl_ca, or its key as pinned_public_keys with pin_only";
        report.warning(&table.key("ssl_insecure_skip_verify"), what, right);
    }
    Some(policy)
}

/// Tells of a table that nobody is met by.
pub fn tell_of_idle(party: &Party<'_>, report: &mut Report<'_>) {
    if party.written.is_some() {
        let key = match party.url.segments().last() {
            Some(Segment::Key(key)) => key,
            Some(Segment::Index(_)) | None => "its URL",
        };
        let what = "nobody is asked over TLS: this does nothing";
        report.warning(&party.table, what, format!("write {key} as https://host:port/path"));
    }
}

fn transport(party: &Party<'_>, finder: Finder<'_>, report: &mut Report<'_>) -> Transport {
    let table = &party.table;
    let written = &party.written.cloned().unwrap_or_default();
    let tls = of_targets(written);
    let mut asked = asked(&tls, table, report);
    if asked == Asked::OfClient {
        let what = format!("no client has a part in what {} is asked", party.who);
        report.error(&table.key("ssl_server_name"), what, "write the name that it proves");
        asked = Asked::Host;
    }
    let mut client_certificates = HostMap::default();
    let shown = written.certificate.as_deref().filter(|reference| !reference.trim().is_empty());
    let held = shown.and_then(|reference| {
        certificates::read_presented(reference, finder, &table.key("certificate"), report)
    });
    if let Some(held) = held {
        client_certificates.add(HostPattern::Any, Arc::new(held.certificate));
    }
    let mut pinned = HostMap::default();
    if let Some(written) = &written.pinned_public_keys {
        let at = table.key("pinned_public_keys");
        pinned.add(HostPattern::Any, pins::entry(written, finder, &at, report));
    }
    Transport {
        trust: trust(&tls, finder, table, report),
        asked,
        manner: manner(&tls, table, report),
        client_certificates,
        pins: pinned,
    }
}

/// What it says in the words of the table for targets.
fn of_targets(written: &DirectoryTransport) -> Written {
    Written {
        ssl_insecure_skip_verify: written.ssl_insecure_skip_verify,
        ssl_ca: written.ssl_ca.clone(),
        ssl_min_version: written.ssl_min_version.clone(),
        ssl_max_version: written.ssl_max_version.clone(),
        ssl_server_name: written.ssl_server_name.clone(),
        ..Written::default()
    }
}
