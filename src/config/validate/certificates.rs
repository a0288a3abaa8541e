//! References to certificates → certificates: inline PEM, the ID of a stored one, or the path of a
//! PEM file, relative to the file that names it.

use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::config::files::Files;
use crate::config::place::KeyPath;
use crate::config::read::ReadError;
use crate::config::store::Store;
use crate::config::tls::{Held, Source};
use crate::config::validate::report::Report;
use crate::wire::certificate::{Certificate, CertificateFault, Digest, facts_of};
use crate::wire::entry::Entry;
use crate::wire::expiry::near_end;
use crate::wire::pem;

/// No certificate file is larger.
pub const FILE_CAP: u64 = 1024 * 1024;

/// Where certificates are found.
#[derive(Debug, Clone, Copy)]
pub struct Finder<'a> {
    /// Those that are named by their IDs.
    pub store: &'a Store,
    /// What reads all of them.
    pub files: &'a Files,
}

/// Reads the certificate that `reference` names. It may lack a key.
pub fn read(
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Held> {
    let (source, text) = text(reference, finder, at, report)?;
    match Certificate::from_pem(&text) {
        Ok(certificate) => {
            report.refers_to(at, &source, Some(&certificate.facts));
            Some(Held { source, certificate })
        }
        Err(fault) => {
            report.error(at, format!("{source} cannot be used: {fault}"), right(&fault));
            None
        }
    }
}

/// The same for one that is to be presented: it must have its key.
pub fn read_presented(
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Held> {
    let held = read(reference, finder, at, report)?;
    match held.certificate.presented() {
        Ok(_) => {
            look_at_ends(&held, at, report);
            Some(held)
        }
        Err(fault) => {
            let what = format!("{} cannot be used: {fault}", held.source);
            let right = match held.source {
                Source::Stored(_) => "`stagedoor cert add --key KEY FILE` adds its key",
                Source::File(_) | Source::Inline => right(&fault),
            };
            report.error(at, what, right);
            None
        }
    }
}

/// Tells which certificates of a chain that is presented are near their end, and has them watched.
fn look_at_ends(held: &Held, at: &KeyPath, report: &mut Report<'_>) {
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let Held { source, certificate } = held;
    for (index, der) in certificate.chain.iter().enumerate() {
        let number = index + 1;
        // All of them have been read before.
        let Ok(facts) = facts_of(der, number) else { continue };
        if let Some(end) = near_end(facts.not_after, now) {
            let which = if index == 0 {
                source.to_string()
            } else {
                let subject = facts.subject.escape_debug();
                format!("certificate {number} in {source} ({subject})")
            };
            let refused =
                if facts.not_after < now { ": whoever it is shown to will refuse it" } else { "" };
            report.warning(at, format!("{which} {end}{refused}"), "renew it");
        }
        if index > 0 {
            report.refers_to_link(at, source, facts, number);
        }
    }
}

/// The PEM text that `reference` is or names.
pub fn text(
    reference: &str,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<(Source, String)> {
    let reference = reference.trim();
    if pem::is_inline(reference) {
        return Some((Source::Inline, reference.to_owned()));
    }
    if reference.is_empty() {
        report.error(at, "it names no certificate", "write the path of a PEM file");
        return None;
    }
    let path = report.place(at).source().folder().join(reference);
    let id = Digest::from_hex(reference).or_else(|| {
        // What is there under this very name is that.
        let (organisation, id) =
            with_organisation(reference).filter(|_| finder.files.holds(&path) != Ok(true))?;
        let what = format!("{organisation:?} before the ID of the certificate says nothing here");
        report.warning(at, what, format!("write {id}"));
        Some(id)
    });
    if let Some(id) = id {
        return stored(id, finder, at, report);
    }
    match finder.files.read_pem(&path, FILE_CAP) {
        Ok(bytes) => {
            if let Some(id) = finder.store.entry_at(&path) {
                report.stored(at, id);
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some((Source::File(Arc::from(path)), text))
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            report.error(at, what, "name a PEM file that holds the certificate and its key");
            None
        }
    }
}

/// The organisation and the ID in what Tyk calls a certificate: one behind the other.
pub fn with_organisation(reference: &str) -> Option<(&str, Digest)> {
    let reference = reference.trim();
    if !reference.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let at = reference.len().checked_sub(64).filter(|at| *at > 0)?;
    let (organisation, id) = reference.split_at(at);
    Some((organisation, Digest::from_hex(id)?))
}

/// What the store holds under an ID.
fn stored(
    id: Digest,
    finder: Finder<'_>,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<(Source, String)> {
    report.stored(at, id);
    let store = finder.store;
    let path = store.path_of(&id);
    let bytes = match finder.files.read_pem(&path, FILE_CAP) {
        Ok(bytes) => bytes,
        Err(ReadError::Missing) => {
            let folder = store.folder().display();
            let what = format!("there is no certificate {id} in the store {folder}");
            report.error(at, what, "`stagedoor cert add FILE` puts one there");
            return None;
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            report.error(at, what, "the user that stagedoor runs as must own the store");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match Entry::from_pem(&text, None) {
        Ok(entry) if entry.id != id => {
            let what = format!("{} holds {}, which is not its name", path.display(), entry.id);
            report.error(at, what, "take the file out, and `stagedoor cert add` it");
            None
        }
        // What is wrong with it is told by whoever wants to use it.
        Ok(_) | Err(_) => Some((Source::Stored(id), text)),
    }
}

/// What would be right instead.
pub fn right(fault: &CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Pem(pem::PemFault::Encrypted) => {
            "decrypt the key (`openssl pkey -in FILE`), and make the file readable by nobody else"
        }
        CertificateFault::Pem(_)
        | CertificateFault::NoCertificate
        | CertificateFault::Broken(_) => "a PEM file begins with `-----BEGIN CERTIFICATE-----`",
        CertificateFault::NoKey => {
            "put the private key into the same file, behind the certificates"
        }
        CertificateFault::ManyKeys => "leave the one key that belongs to the first certificate",
        CertificateFault::KeyKind => "make a certificate with an RSA, ECDSA or Ed25519 key",
        CertificateFault::KeyMismatch => {
            "the first certificate in the file must be the one that the key belongs to, and its \
             chain must follow it"
        }
        CertificateFault::NoList => "a revocation list begins with `-----BEGIN X509 CRL-----`",
    }
}
