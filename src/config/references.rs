//! What the references of a definition turned out to mean: for people, and for whoever takes a
//! certificate out of the store.

use crate::config::place::KeyPath;
use crate::wire::certificate::Digest;

/// What the references of one definition mean; complete only if it has no error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The certificates of the store, with the key that names each.
    pub stored: Vec<(KeyPath, Digest)>,
    /// The pins that count.
    pub pins: Vec<Pinned>,
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
