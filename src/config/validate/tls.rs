//! `protocol`, `domain`, `alpn`, `certificates`, `tls.*` → how a service meets its clients.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::{ProtocolVersion, SupportedCipherSuite};

use crate::config::domain::Domain;
use crate::config::file::definition::{Definition, WrittenProtocol};
use crate::config::file::tls::WrittenTls;
use crate::config::model::Protocol;
use crate::config::place::KeyPath;
use crate::config::problem::did_you_mean;
use crate::config::tls::{Answers, Termination, Versions};
use crate::config::validate::certificates::Finder;
use crate::config::validate::report::Report;
use crate::config::validate::{certificates, client_auth};

/// The longest ALPN name (RFC 7301).
const ALPN_LONGEST: usize = 255;

/// What the clients of a service speak.
pub fn protocol(written: &Definition, finder: Finder<'_>, report: &mut Report<'_>) -> Protocol {
    let references = written.certificates.as_ref().map_or(&[][..], |list| list.as_slice());
    match written.protocol.unwrap_or(WrittenProtocol::Tcp) {
        WrittenProtocol::Tcp => {
            unused(written, "needs TLS: a tcp service sees no names and presents nothing", report);
            Protocol::Tcp
        }
        WrittenProtocol::TlsPassthrough => {
            if !references.is_empty() {
                let what = "a tls_passthrough service presents no certificate: its targets do";
                let right = "take `certificates` out, or write protocol = \"tls\"";
                report.warning(&KeyPath::dotted("certificates"), what, right);
            }
            if written.use_mutual_tls_auth == Some(true) {
                // A lock that does not lock is worse than none.
                let what = "a tls_passthrough service sees no certificates: only its targets can \
                            ask for them";
                let right = "take it out, or write protocol = \"tls\"";
                report.error(&KeyPath::dotted("use_mutual_tls_auth"), what, right);
            }
            Protocol::TlsPassthrough
        }
        WrittenProtocol::Tls => {
            Protocol::Tls(Arc::new(termination(written, references, finder, report)))
        }
    }
}

/// Which connections to its port are a service's.
pub fn answers(written: &Definition, report: &mut Report<'_>) -> Answers {
    let at = KeyPath::dotted("domain");
    let disabled = written.domain_disabled.unwrap_or(false);
    let domain = written.domain.as_deref().filter(|name| !name.trim().is_empty() && !disabled);
    let domain = domain.and_then(|name| match Domain::parse(name) {
        Ok(domain) => Some(domain),
        Err(why) => {
            let right = "write a name such as \"redis.example.com\" or \"*.example.com\"";
            report.error(&at, format!("{} is no SNI name: {why}", report.quoted(&at)), right);
            None
        }
    });
    let list_at = KeyPath::dotted("alpn");
    let mut alpn: Vec<Arc<str>> = Vec::new();
    for (index, name) in written.alpn.iter().flatten().enumerate() {
        if name.is_empty() || name.len() > ALPN_LONGEST {
            let what = "an ALPN name has 1 to 255 bytes";
            report.error(&list_at.index(index), what, "such as \"h2\" or \"postgresql\"");
        } else if !alpn.iter().any(|known| **known == **name) {
            alpn.push(name.as_str().into());
        }
    }
    Answers { domain, alpn }
}

fn unused(written: &Definition, why: &str, report: &mut Report<'_>) {
    let keys = [
        ("domain", written.domain.as_deref().is_some_and(|name| !name.trim().is_empty())),
        ("alpn", written.alpn.as_ref().is_some_and(|list| !list.is_empty())),
        ("tls", written.tls.is_some()),
        ("use_mutual_tls_auth", written.use_mutual_tls_auth == Some(true)),
        ("certificates", written.certificates.as_ref().is_some_and(|it| !it.as_slice().is_empty())),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_written)| *is_written) {
        let right = format!("write protocol = \"tls\", or take `{key}` out");
        report.error(&KeyPath::dotted(key), format!("`{key}` {why}"), right);
    }
}

fn termination(
    written: &Definition,
    references: &[String],
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Termination {
    let at = KeyPath::dotted("certificates");
    if references.is_empty() && !report.is_tainted(&at) {
        let what = "a tls service needs a certificate to present";
        let right = "write certificates = \"PATH\": a PEM file with the certificate, its chain and its \
             key; or protocol = \"tls_passthrough\"";
        report.error(&at, what, right);
    }
    let is_list = references.len() > 1;
    let certificates = references.iter().enumerate().filter_map(|(index, reference)| {
        let at = if is_list { at.index(index) } else { at.clone() };
        certificates::read_presented(reference, finder, &at, report)
    });
    let certificates = certificates.collect();
    let tls = written.tls.clone().unwrap_or_default();
    let versions = versions(&tls, report);
    let ciphers = ciphers(&tls, versions, report);
    let client_auth = client_auth::client_auth(written, finder, report);
    Termination { certificates, versions, ciphers, client_auth }
}

fn versions(tls: &WrittenTls, report: &mut Report<'_>) -> Versions {
    let (lowest, highest) = (tls.min_version.map_or(12, minor), tls.max_version.map_or(13, minor));
    if lowest > highest {
        let what = "min_version is above max_version: no version is left";
        report.error(&KeyPath::dotted("tls.min_version"), what, "leave one of them out");
    }
    Versions { tls12: lowest <= 12, tls13: highest >= 13 }
}

fn minor(version: crate::config::file::tls::WrittenVersion) -> u8 {
    match version {
        crate::config::file::tls::WrittenVersion::Tls12 => 12,
        crate::config::file::tls::WrittenVersion::Tls13 => 13,
    }
}

fn ciphers(tls: &WrittenTls, versions: Versions, report: &mut Report<'_>) -> Vec<String> {
    let at = KeyPath::dotted("tls.ciphers");
    let mut kept = Vec::new();
    for (index, name) in tls.ciphers.iter().flatten().enumerate() {
        match ALL_CIPHER_SUITES.iter().find(|suite| suite_name(suite).eq_ignore_ascii_case(name)) {
            Some(suite) => kept.push((suite_name(suite), suite.version().version)),
            None => {
                let known = ALL_CIPHER_SUITES.iter().map(suite_name).collect::<Vec<_>>();
                let right = match did_you_mean(name, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("there are {}", known.join(", ")),
                };
                let at = at.index(index);
                let what = format!("{} is no cipher suite that is spoken here", report.quoted(&at));
                report.error(&at, what, right);
            }
        }
    }
    let has = |version| kept.iter().any(|(_, of)| *of == version);
    for (name, spoken, version) in [
        ("1.2", versions.tls12, ProtocolVersion::TLSv1_2),
        ("1.3", versions.tls13, ProtocolVersion::TLSv1_3),
    ] {
        if !kept.is_empty() && spoken && !has(version) {
            let what = format!("no cipher suite of TLS {name} is left, and the version is spoken");
            report.error(&at, what, "list one of it, or leave the version out");
        }
    }
    kept.into_iter().map(|(name, _)| name).collect()
}

/// The name that RFCs give a cipher suite.
pub fn suite_name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    // rustls spells those of TLS 1.3 with its number.
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}
