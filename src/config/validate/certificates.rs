//! References to certificates → certificates: inline PEM, or the path of a PEM file.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::UnixTime;

use crate::config::place::KeyPath;
use crate::config::read::read_bytes;
use crate::config::tls::{Held, Source};
use crate::config::validate::report::Report;
use crate::wire::certificate::{Certificate, CertificateFault, Digest};
use crate::wire::pem;

/// No certificate file is larger.
const FILE_CAP: u64 = 1024 * 1024;

/// Reads the certificate that `reference` names, relative to `folder`. It may lack a key.
pub fn read(reference: &str, folder: &Path, at: &KeyPath, report: &mut Report<'_>) -> Option<Held> {
    let (source, text) = text(reference, folder, at, report)?;
    match Certificate::from_pem(&text) {
        Ok(certificate) => Some(Held { source, certificate }),
        Err(fault) => {
            report.error(at, format!("{source} cannot be used: {fault}"), right(&fault));
            None
        }
    }
}

/// The same for one that is to be presented: it must have its key.
pub fn read_presented(
    reference: &str,
    folder: &Path,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Option<Held> {
    let held = read(reference, folder, at, report)?;
    match held.certificate.presented() {
        Ok(_) => {
            let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
            if held.certificate.facts.not_after < now {
                let what = format!("{} has expired: clients will refuse it", held.source);
                report.warning(at, what, "renew it");
            }
            Some(held)
        }
        Err(fault) => {
            let what = format!("{} cannot be used: {fault}", held.source);
            report.error(at, what, right(&fault));
            None
        }
    }
}

/// The PEM text that `reference` is or names.
pub fn text(
    reference: &str,
    folder: &Path,
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
    if Digest::from_hex(reference).is_some() {
        let what =
            "it is the ID of a certificate, and there is no certificate store in this release";
        report.error(at, what, "write the path of its PEM file");
        return None;
    }
    let path = folder.join(reference);
    match read_bytes(&path, FILE_CAP) {
        Ok(bytes) => {
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

fn right(fault: &CertificateFault) -> &'static str {
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
