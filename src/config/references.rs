//! What the references of a definition turned out to mean: for people, and for whoever takes a
//! certificate out of the store.

use crate::config::place::KeyPath;
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
