//! `proxy.service_discovery.transport.*` → how a directory is spoken to over TLS.
//!
//! Read as what is said of targets is, and the same policy comes of it.

use std::sync::Arc;

use crate::config::file::discovery::ServiceDiscovery;
use crate::config::file::transport::{DirectoryTransport, Transport as Written};
use crate::config::hosts::{HostMap, HostPattern};
use crate::config::names::TargetAddress;
use crate::config::place::KeyPath;
use crate::config::transport::{Asked, Policy, Transport};
use crate::config::validate::certificates::{self, Finder};
use crate::config::validate::pins;
use crate::config::validate::report::Report;
use crate::config::validate::transport::{asked, manner, policy_by, trust};

fn table() -> KeyPath {
    KeyPath::dotted("proxy.service_discovery.transport")
}

/// How the directory at `address`, which is written at `at`, is spoken to.
pub fn policy(
    written: &ServiceDiscovery,
    address: &TargetAddress,
    at: &KeyPath,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    let written = written.transport.clone().unwrap_or_default();
    let transport = transport(&written, finder, report);
    let policy = policy_by(&table(), &transport, address, at, report)?;
    if policy.is_insecure() {
        let what = "the directory is believed whoever it is, and so is anybody on the way to it: \
                    whoever it is says where clients are sent";
        let right = "name its authority as ssl_ca, or its key as pinned_public_keys with pin_only";
        report.warning(&table().key("ssl_insecure_skip_verify"), what, right);
    }
    Some(policy)
}

/// Tells of a table that nobody is met by.
pub fn tell_of_idle(written: &ServiceDiscovery, report: &mut Report<'_>) {
    if written.transport.is_some() {
        let what = "nobody is asked over TLS: this does nothing";
        report.warning(&table(), what, "write query_endpoint as https://host:port/path");
    }
}

fn transport(
    written: &DirectoryTransport,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Transport {
    let table = table();
    let tls = of_targets(written);
    let mut asked = asked(&tls, &table, report);
    if asked == Asked::OfClient {
        let what = "no client has a part in a question to a directory";
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
        trust: trust(&tls, finder, &table, report),
        asked,
        manner: manner(&tls, &table, report),
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
