//! What the references of a definition turned out to mean: for people, and for whoever takes a
//! certificate out of the store.

use crate::config::place::{KeyPath, Segment};
use crate::config::tls::Source;
use crate::wire::certificate::{Digest, Facts};

/// What the references of one definition mean; complete only if it has no error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The certificates of the store, with the key that names each.
    pub stored: Vec<(KeyPath, Digest)>,
    /// The pins that count.
    pub pins: Vec<Pinned>,
    /// Everything that was read for TLS: files, stored entries, inline PEM.
    pub all: Vec<Referred>,
}

/// What a reference was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referred {
    /// Where the reference was written.
    pub at: KeyPath,
    /// Where it led.
    pub source: Source,
    /// The certificate that is used; `None`: a revocation list, a key to pin, the authorities of
    /// targets.
    pub facts: Option<Facts>,
    /// It stands behind the first one in a chain that is presented: its number there, from 2 on.
    pub link: Option<usize>,
}

// === impl Referred ===

impl Referred {
    /// What it is to its service, in words.
    pub fn what(&self) -> String {
        match self.link {
            Some(number) => format!("certificate {number} in the chain of the {}", self.of_key()),
            None => self.of_key(),
        }
    }

    /// What its key refers to.
    fn of_key(&self) -> String {
        let key = |index: usize| match self.at.segments().get(index) {
            Some(Segment::Key(key)) => key.as_str(),
            Some(Segment::Index(_)) | None => "",
        };
        match key(0) {
            "certificates" => "certificate".to_owned(),
            "upstream_certificates" => format!("certificate for {}", key(1)),
            "client_certificates" if self.facts.as_ref().is_some_and(|it| it.is_authority) => {
                "authority of clients".to_owned()
            }
            "client_certificates" => "listed client certificate".to_owned(),
            "client_crl" => "revocation list".to_owned(),
            "pinned_public_keys" => format!("pinned key of {}", key(1)),
            "proxy" if key(1) == "service_discovery" => match key(3) {
                "certificate" => "certificate for the directory".to_owned(),
                "pinned_public_keys" => "pinned key of the directory".to_owned(),
                _ => "authorities of the directory".to_owned(),
            },
            "proxy" => "authorities of targets".to_owned(),
            _ => self.at.to_string(),
        }
    }
}

/// What a pin means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Where it was written.
    pub at: KeyPath,
    /// The SHA-256 of the public key.
    pub key: Digest,
    /// The stored certificate that it is the key of, where the pin is the ID of one.
    pub stored: Option<Digest>,
}
