//! `use_mutual_tls_auth`, `client_certificates`, `client_crl` → which clients are served.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;

use crate::config::file::definition::Definition;
use crate::config::place::KeyPath;
use crate::config::tls::ClientAuth;
use crate::config::validate::certificates::{self, Finder};
use crate::config::validate::report::Report;
use crate::wire::certificate::{facts_of, revocation_lists};

/// Which clients a service serves, if not everybody.
pub fn client_auth(
    written: &Definition,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) -> Option<ClientAuth> {
    let at = KeyPath::dotted("client_certificates");
    let references = written.client_certificates.as_ref().map_or(&[][..], |list| list.as_slice());
    if written.use_mutual_tls_auth != Some(true) {
        if !references.is_empty() {
            let what = "nobody is asked for a certificate, so that everybody is served";
            report.warning(&at, what, "write use_mutual_tls_auth = true, or take it out");
        }
        return None;
    }
    let mut asked = ClientAuth::default();
    for (index, reference) in references.iter().enumerate() {
        let at = if references.len() > 1 { at.index(index) } else { at.clone() };
        admit(&mut asked, reference, finder, &at, report);
    }
    let is_empty = asked.authorities.is_empty() && asked.leaves.is_empty();
    if is_empty && !report.is_tainted(&at) && references.is_empty() {
        let what = "use_mutual_tls_auth is on, and no client certificate would be good";
        report.error(&at, what, "name the authority that signs the clients, or their certificates");
    }
    revoke(&mut asked, written, finder, report);
    Some(asked)
}

fn admit(
    asked: &mut ClientAuth,
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) {
    let Some(held) = certificates::read(reference, finder, at, report) else { return };
    let chain = &held.certificate.chain;
    if !held.certificate.facts.is_authority {
        asked.leaves.push(held.certificate.facts.id);
        if chain.len() > 1 {
            let what = "its first certificate is a client's, and only that one is meant: the \
                        others in it are no authorities here";
            report.warning(at, what, "list an authority in an entry of its own");
        }
        return;
    }
    for (index, der) in chain.iter().enumerate() {
        let facts = facts_of(der, index + 1).ok().filter(|facts| facts.is_authority);
        if facts.is_none() || RootCertStore::empty().add(der.clone()).is_err() {
            let what = format!("certificate {} in it cannot sign clients", index + 1);
            report.error(at, what, "an entry is one client's certificate, or those of authorities");
            return;
        }
        if index > 0 {
            report.refers_to(at, &held.source, facts.as_ref());
        }
        asked.authorities.push(der.clone());
    }
}

fn revoke(
    asked: &mut ClientAuth,
    written: &Definition,
    finder: Finder<'_>,
    report: &mut Report<'_>,
) {
    let at = KeyPath::dotted("client_crl");
    let references = written.client_crl.as_ref().map_or(&[][..], |list| list.as_slice());
    for (index, reference) in references.iter().enumerate() {
        let at = if references.len() > 1 { at.index(index) } else { at.clone() };
        let Some((source, text)) = certificates::text(reference, finder, &at, report) else {
            continue;
        };
        match revocation_lists(&text) {
            Ok(lists) => {
                report.refers_to(&at, &source, None);
                asked.revoked.extend(lists);
            }
            Err(fault) => {
                let right = "a revocation list begins with `-----BEGIN X509 CRL-----`";
                report.error(&at, format!("{source} cannot be used: {fault}"), right);
            }
        }
    }
    if asked.revoked.is_empty() {
        return;
    }
    // Whether a list is sound is rustls' to say, and it says so only to an authority's verifier.
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(asked.authorities.iter().cloned());
    if roots.is_empty() {
        let what = "there is no authority whose certificates it could take back";
        report.error(&at, what, "name the authority in client_certificates");
        return;
    }
    let lists = asked.revoked.iter().cloned();
    let built =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .with_crls(lists)
            .build();
    if let Err(error) = built {
        let right = "ask the authority for a new list (`openssl crl -in FILE -text` shows it)";
        report.error(&at, format!("the revocation list cannot be used: {error}"), right);
    }
}
