//! `proxy.transport.*` → how targets are spoken to over TLS.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ProtocolVersion, RootCertStore, SupportedCipherSuite};

use crate::config::authorities;
use crate::config::check::Check;
use crate::config::domain::normal;
use crate::config::file::definition::Definition;
use crate::config::file::scalars::OneOrMany;
use crate::config::file::transport::{
    OF_CLIENT, Transport as Written, WrittenStarttls, WrittenVersion,
};
use crate::config::hosts::{HostMap, HostPattern};
use crate::config::model::{Service, Target};
use crate::config::names::TargetAddress;
use crate::config::place::KeyPath;
use crate::config::problem::Complaint;
use crate::config::tls::Versions;
use crate::config::transport::{Asked, Manner, Policy, Starttls, Transport, Trust};
use crate::config::validate::certificates::Finder;
use crate::config::validate::report::Report;
use crate::config::validate::tls::suite_name;
use crate::config::validate::{certificates, pins, upstream};
use crate::wire::pem;

/// The longest ALPN name (RFC 7301).
const ALPN_LONGEST: usize = 255;
const VERSIONS: &str = "write \"1.2\" or \"1.3\" (Tyk's 771 or 772)";

/// What a definition says of TLS to its targets.
pub fn transport(written: &Definition, finder: Finder<'_>, report: &mut Report<'_>) -> Transport {
    let proxy = written.proxy.as_ref();
    let tls = proxy.and_then(|proxy| proxy.transport.clone()).unwrap_or_default();
    let is_off = |switch: Option<bool>| switch.unwrap_or(false);
    let table = of_targets();
    // What is switched off is read all the same: it is meant to be switched on again.
    let presented = written.upstream_certificates.iter().flatten();
    let presented = upstream::certificates(presented, finder, report);
    let pinned = pins::pins(written.pinned_public_keys.iter().flatten(), finder, report);
    if is_off(written.certificate_pinning_disabled) {
        report.unpinned();
    }
    if is_off(tls.ssl_force_common_name_check) {
        let what = "the common name of a certificate is not looked at: a target proves its name by \
                    the names (SAN) in its certificate, always";
        let at = at("ssl_force_common_name_check");
        report.warning(&at, what, "take it out");
    }
    Transport {
        trust: trust(&tls, finder, &table, report),
        asked: asked(&tls, &table, report),
        manner: manner(&tls, &table, report),
        client_certificates: if is_off(written.upstream_certificates_disabled) {
            HostMap::default()
        } else {
            presented
        },
        pins: if is_off(written.certificate_pinning_disabled) {
            HostMap::default()
        } else {
            pinned
        },
    }
}

/// How the target (or check) at `address`, which is written at `at`, is spoken to.
pub fn policy(
    transport: &Transport,
    address: &TargetAddress,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    policy_by(&of_targets(), transport, address, at, report)
}

/// The same by a table that is written at `table`.
pub fn policy_by(
    table: &KeyPath,
    transport: &Transport,
    address: &TargetAddress,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Arc<Policy>> {
    let Some(policy) = transport.policy(address) else {
        let what = format!("{} is no name that a certificate could be for", address.host());
        let right = format!("write {}, the name it proves", table.key("ssl_server_name"));
        report.error(at, what, right);
        return None;
    };
    if policy.trust == Trust::System
        && let Err(why) = authorities::of_the_system()
    {
        let what = format!("this system knows no authority that could vouch for it ({why})");
        let right = format!(
            "install the package ca-certificates, or name its authorities as {}",
            table.key("ssl_ca")
        );
        report.error(at, what, right);
    }
    Some(Arc::new(policy))
}

/// Tells of settings that nothing is met by, and of those that give TLS away.
pub fn tell_of_idle(
    transport: &Transport,
    targets: &[Target],
    checks: &[Arc<Check>],
    report: &mut Report<'_>,
) {
    let of_targets = targets.iter().map(|target| (&target.address, &target.tls));
    let of_checks = checks.iter().map(|check| (&check.address, &check.tls));
    let spoken = of_targets.chain(of_checks);
    let spoken: Vec<_> =
        spoken.filter_map(|(address, tls)| Some((address, tls.as_deref()?))).collect();
    if spoken.iter().any(|(_, tls)| tls.is_insecure()) {
        let what = "targets are believed whoever they are, and so is anybody on the way to them";
        let right = "name their authority as proxy.transport.ssl_ca, or their keys as \
                     pinned_public_keys with pin_only = true";
        report.warning(&at("ssl_insecure_skip_verify"), what, right);
    }
    if transport.manner.starttls.is_some() && spoken.is_empty() && !targets.is_empty() {
        let what = "no target is spoken to over TLS: this does nothing";
        report.warning(&at("starttls"), what, "write the URL of a target as tls://host:port");
    }
    let mut tell = |key: &str, patterns: Vec<&HostPattern>| {
        let idle = |pattern: &&HostPattern| !spoken.iter().any(|(at, _)| pattern.is_for(at));
        for pattern in patterns.into_iter().filter(idle) {
            let what = format!("{pattern} is no target that TLS is spoken to: this does nothing");
            let right = "write the host as it stands in the URL of the target, tls://host:port";
            report.warning(&KeyPath::dotted(key).key(&pattern.to_string()), what, right);
        }
    };
    // Without targets whatever is wrong with them has been told.
    if !targets.is_empty() {
        tell("upstream_certificates", transport.client_certificates.patterns().collect());
        tell("pinned_public_keys", transport.pins.patterns().collect());
    }
}

fn of_targets() -> KeyPath {
    KeyPath::dotted("proxy.transport")
}

fn at(key: &str) -> KeyPath {
    of_targets().key(key)
}

/// Whom to believe, by a table that is written at `table`.
pub fn trust(tls: &Written, finder: Finder<'_>, table: &KeyPath, report: &mut Report<'_>) -> Trust {
    let references = tls.ssl_ca.as_ref().map_or(&[][..], OneOrMany::as_slice);
    let is_list = references.len() > 1;
    let ca_at = table.key("ssl_ca");
    let mut found = Vec::new();
    let named = references.iter().enumerate().filter(|(_, it)| !it.trim().is_empty());
    for (index, reference) in named {
        let at = if is_list { ca_at.index(index) } else { ca_at.clone() };
        found.extend(authorities_in(reference, finder, &at, report));
    }
    if tls.ssl_insecure_skip_verify.unwrap_or(false) {
        return Trust::Anyone;
    }
    if references.iter().all(|it| it.trim().is_empty()) {
        return Trust::System;
    }
    Trust::Authorities(Arc::new(found))
}

fn authorities_in(
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<CertificateDer<'static>> {
    let Some((source, text)) = certificates::text(reference, finder, at, report) else {
        return Vec::new();
    };
    let right = "name a PEM file with the certificates of the authorities that are believed";
    let blocks = match pem::blocks(&text) {
        Ok(blocks) => blocks,
        Err(fault) => {
            report.error(at, format!("{source} cannot be used: {fault}"), right);
            return Vec::new();
        }
    };
    let certificates = blocks.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
    let found: Vec<_> = certificates.map(|(_, der)| CertificateDer::from(der)).collect();
    report.refers_to(at, &source, None);
    if found.is_empty() {
        report.error(at, format!("there is no certificate in {source}"), right);
    }
    for (index, der) in found.iter().enumerate() {
        if RootCertStore::empty().add(der.clone()).is_err() {
            report.error(at, format!("certificate {} in {source} is broken", index + 1), right);
        }
    }
    found
}

/// The name that is asked for, by a table that is written at `table`.
pub fn asked(tls: &Written, table: &KeyPath, report: &mut Report<'_>) -> Asked {
    let name = tls.ssl_server_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let Some(name) = name else { return Asked::Host };
    if name == OF_CLIENT {
        return Asked::OfClient;
    }
    let read = ServerName::try_from(normal(name)).map_err(|_| {
        let right = "write a name such as \"redis.example.com\", or \"${client.sni}\" for the one \
                     that the client has asked for";
        Complaint::new("this is no host name", right)
    });
    report.keep(&table.key("ssl_server_name"), read).map_or(Asked::Host, Asked::Name)
}

/// Tells of names that no client can have asked for.
pub fn tell_of_nameless(transport: &Transport, service: &Service, report: &mut Report<'_>) {
    if transport.asked == Asked::OfClient && !service.is_chosen_by_hello() {
        let what = "clients of this service ask for no name: what they send is not read";
        let right = "write the name that the targets prove, or protocol = \"tls\"";
        report.error(&at("ssl_server_name"), what, right);
    }
}

/// What is spoken, by a table that is written at `table`.
pub fn manner(tls: &Written, table: &KeyPath, report: &mut Report<'_>) -> Manner {
    let at = |key: &str| table.key(key);
    let versions = versions(tls, table, report);
    let mut alpn: Vec<Arc<str>> = Vec::new();
    for (index, name) in tls.ssl_alpn.iter().flatten().enumerate() {
        if name.is_empty() || name.len() > ALPN_LONGEST {
            let right = "such as \"h2\" or \"postgresql\"";
            report.error(&at("ssl_alpn").index(index), "an ALPN name has 1 to 255 bytes", right);
        } else if !alpn.iter().any(|known| **known == **name) {
            alpn.push(name.as_str().into());
        }
    }
    let starttls = tls.starttls.map(|written| match written {
        WrittenStarttls::Postgres => Starttls::Postgres,
    });
    Manner { versions, ciphers: ciphers(tls, versions, table, report), alpn, starttls }
}

fn versions(tls: &Written, table: &KeyPath, report: &mut Report<'_>) -> Versions {
    let at = |key: &str| table.key(key);
    let mut bound = |key: &str, written: Option<&WrittenVersion>, default: u8| {
        let read = written.map(version).transpose();
        report.keep(&at(key), read).flatten().flatten().unwrap_or(default)
    };
    let lowest = bound("ssl_min_version", tls.ssl_min_version.as_ref(), 2);
    let highest = bound("ssl_max_version", tls.ssl_max_version.as_ref(), 3);
    if lowest > highest {
        let what = "ssl_min_version is above ssl_max_version: no version is left";
        report.error(&at("ssl_min_version"), what, "leave one of them out");
    }
    Versions { tls12: lowest <= 2, tls13: highest >= 3 }
}

/// The minor number of TLS 1.2 or 1.3; `None`: nothing is said.
fn version(written: &WrittenVersion) -> Result<Option<u8>, Complaint> {
    let text = match written {
        WrittenVersion::Number(number) => number.to_string(),
        WrittenVersion::Text(text) => text.trim().to_owned(),
    };
    match text.as_str() {
        // Tyk's way to write nothing.
        "" | "0" => Ok(None),
        "1.2" | "771" => Ok(Some(2)),
        "1.3" | "772" => Ok(Some(3)),
        "1.0" | "769" | "1.1" | "770" => {
            Err(Complaint::new("TLS 1.0 and 1.1 are broken, and not spoken", VERSIONS))
        }
        _ => Err(Complaint::new("this is no version of TLS", VERSIONS)),
    }
}

/// The cipher suites, which as in Tyk are those of TLS 1.2: those of 1.3 are all good.
fn ciphers(
    tls: &Written,
    versions: Versions,
    table: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<String> {
    let list_at = table.key("ssl_ciphers");
    let written = tls.ssl_ciphers.as_deref().unwrap_or_default();
    let of_12 = |suite: &&SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_2;
    let known: Vec<String> = ALL_CIPHER_SUITES.iter().filter(of_12).map(suite_name).collect();
    let mut kept = Vec::new();
    for (index, name) in written.iter().enumerate() {
        let at = list_at.index(index);
        let is_this = |known: &&String| known.eq_ignore_ascii_case(name.trim());
        let is_13 =
            |suite: &&SupportedCipherSuite| suite_name(suite).eq_ignore_ascii_case(name.trim());
        match known.iter().find(is_this) {
            Some(name) => kept.push(name.clone()),
            None if ALL_CIPHER_SUITES.iter().any(|suite| is_13(&suite)) => {}
            None => {
                let what = format!("{} is not spoken here, and left out", report.quoted(&at));
                report.warning(&at, what, format!("there are {}", known.join(", ")));
            }
        }
    }
    if !written.is_empty() && kept.is_empty() && versions.tls12 {
        let what = "no cipher suite of TLS 1.2 is left, and the version is spoken";
        report.error(&list_at, what, "list one of it, or write ssl_min_version = \"1.3\"");
    }
    kept
}
