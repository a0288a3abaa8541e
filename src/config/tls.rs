//! The model of TLS towards clients: what a service presents, and what it asks for.
//!
//! Certificates have been read and judged by `validate`; compared by content, so that a renewed
//! file is a change.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::config::domain::Domain;
use crate::wire::certificate::{Certificate, Digest};

/// How TLS is ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Termination {
    /// At least one, each with its key. Which is presented is chosen by the name that is asked
    /// for; the first where none fits.
    pub certificates: Vec<Held>,
    /// The versions that are spoken.
    pub versions: Versions,
    /// The cipher suites in order of preference, by their names; empty: the provider's own.
    pub ciphers: Vec<String>,
    /// Whom it serves, if not everybody.
    pub client_auth: Option<ClientAuth>,
}

/// Which clients are served: those that show a certificate that is one of these, or signed by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientAuth {
    /// Whoever is signed by these, directly or not.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Certificates of clients: exactly these, and whomever they would sign is not meant.
    pub leaves: Vec<Digest>,
    /// What the authorities have taken back.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// A certificate, and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Where it was found.
    pub source: Source,
    /// The certificate.
    pub certificate: Certificate,
}

/// Where a certificate was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// In this file.
    File(Arc<Path>),
    /// In the certificate store, under this ID.
    Stored(Digest),
    /// In the definition itself.
    Inline,
}

/// A range of TLS versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
}

/// Which of the connections to a shared port are a service's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// The name asked for; `None`: those that no other service answers.
    pub domain: Option<Domain>,
    /// The ALPN protocols, in order of preference; empty: any.
    pub alpn: Vec<Arc<str>>,
}

impl Answers {
    /// Would somebody else's connections be these, too? One without a list of protocols stands
    /// behind those that have one.
    pub fn collides_with(&self, other: &Self) -> bool {
        let shares = self.alpn.iter().any(|name| other.alpn.contains(name));
        self.domain == other.domain && (shares || self.alpn.is_empty() && other.alpn.is_empty())
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self { tls12: true, tls13: true }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stored(id) => write!(f, "stored certificate {}", id.short()),
            Self::Inline => f.write_str("the definition"),
        }
    }
}
