//! Reads a header off the beginning of a stream, in whatever pieces it comes.
//!
//! Nothing is kept between the pieces: whoever reads shows all that has come so far, and is told
//! how much more can be of use. Bytes behind the header are never looked at.

use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::header::{Header, Version};
use crate::wire::proxy_header::tlv::Tlvs;
use crate::wire::proxy_header::{line, packet};

/// No header has more bytes.
pub const LARGEST: usize = packet::LARGEST;

/// How far a header has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has begun, perhaps.
    Begun {
        /// So many bytes it has at least, counted from its first.
        at_least: usize,
        /// What has come can be nothing but a header.
        certain: bool,
    },
    /// It is there.
    Whole {
        /// What it says.
        header: Header,
        /// How many bytes it has.
        length: usize,
    },
}

/// Reads the header that a stream which begins with `bytes` has at its beginning.
///
/// # Errors
/// However the stream goes on, it has none: told at the first byte that says so.
pub fn read(bytes: &[u8]) -> Result<Progress, HeaderFault> {
    if bytes.starts_with(line::BEGINNING) {
        let at_least = bytes.len() + 1;
        return Ok(match line::read(bytes)? {
            None => Progress::Begun { at_least, certain: true },
            Some((origin, length)) => {
                let (version, tlvs) = (Version::V1, Tlvs::default());
                Progress::Whole { header: Header { version, origin, tlvs }, length }
            }
        });
    }
    if bytes.starts_with(packet::BEGINNING) {
        let length = packet::length(bytes)?;
        let Some(whole) = bytes.get(..length) else {
            return Ok(Progress::Begun { at_least: length, certain: true });
        };
        let (origin, tlvs) = packet::read(whole)?;
        let header = Header { version: Version::V2, origin, tlvs };
        return Ok(Progress::Whole { header, length });
    }
    if line::BEGINNING.starts_with(bytes) || packet::BEGINNING.starts_with(bytes) {
        return Ok(Progress::Begun { at_least: bytes.len() + 1, certain: false });
    }
    Err(HeaderFault::Absent)
}
