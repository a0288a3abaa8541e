//! What a header of version 2 adds to the addresses: type, length, value. Values are bytes that
//! somebody chose, and stay bytes.

use std::fmt;

use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::ssl::Ssl;

/// Type and length.
const HEAD: usize = 3;
/// No unique ID is longer.
pub const LONGEST_UNIQUE_ID: usize = 128;

/// The type of a TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

/// TLVs in the order in which they are sent.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tlvs {
    /// As they are sent; always whole.
    bytes: Vec<u8>,
}

// === impl Kind ===

impl Kind {
    /// The protocol that is spoken, as ALPN names it.
    pub const ALPN: Self = Self(0x01);
    /// The name that the client asked for (SNI).
    pub const AUTHORITY: Self = Self(0x02);
    /// The checksum of the whole header.
    pub const CRC32C: Self = Self(0x03);
    /// Padding.
    pub const NOOP: Self = Self(0x04);
    /// What this connection is called everywhere.
    pub const UNIQUE_ID: Self = Self(0x05);
    /// How the client is connected by TLS.
    pub const SSL: Self = Self(0x20);
    /// The network namespace.
    pub const NETNS: Self = Self(0x30);
}

// === impl Tlvs ===

impl Tlvs {
    /// Reads a block that has to be nothing but TLVs.
    ///
    /// # Errors
    /// It is not, or one of those that are understood is malformed.
    pub fn read(block: &[u8]) -> Result<Self, HeaderFault> {
        let mut left = block;
        let mut checksums = 0;
        while !left.is_empty() {
            let (kind, value, rest) = first_of(left).ok_or(HeaderFault::Tlv)?;
            let is_sound = match kind {
                Kind::CRC32C => {
                    checksums += 1;
                    value.len() == 4 && checksums == 1
                }
                Kind::UNIQUE_ID => value.len() <= LONGEST_UNIQUE_ID,
                Kind::SSL => Ssl::read(value).is_some(),
                Kind(_) => true,
            };
            if !is_sound {
                return Err(HeaderFault::TlvValue(kind.0));
            }
            left = rest;
        }
        Ok(Self { bytes: block.to_vec() })
    }

    /// Adds one, unless it does not fit: all of them together have at most `room` bytes.
    pub fn push(&mut self, kind: Kind, value: &[u8], room: usize) -> bool {
        let fits = self.bytes.len() + HEAD + value.len() <= room;
        let Some(length) = u16::try_from(value.len()).ok().filter(|_| fits) else { return false };
        self.bytes.push(kind.0);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        true
    }

    /// The value of the first of a kind.
    pub fn get(&self, kind: Kind) -> Option<&[u8]> {
        self.iter().find(|(it, _)| *it == kind).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        let mut left = &*self.bytes;
        std::iter::from_fn(move || {
            let (kind, value, rest) = first_of(left)?;
            left = rest;
            Some((kind, value))
        })
    }

    /// As they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the value of the checksum begins, if there is one.
    pub fn checksum_at(&self) -> Option<usize> {
        let mut at = 0;
        for (kind, value) in self.iter() {
            if kind == Kind::CRC32C && value.len() == 4 {
                return Some(at + HEAD);
            }
            at += HEAD + value.len();
        }
        None
    }
}

/// Splits off the first TLV; `None`: it is not whole.
pub fn first_of(block: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let (head, rest) = block.split_first_chunk::<HEAD>()?;
    let [kind, length @ ..] = *head;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes(length).into())?;
    Some((Kind(kind), value, rest))
}

impl fmt::Debug for Tlvs {
    /// Escaped: whoever sent them chose them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(kind, value): (Kind, &[u8])| (kind.0, value.escape_ascii().to_string());
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}
