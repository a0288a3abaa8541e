//! Writes a header.

use crate::wire::proxy_header::header::{Header, Version};
use crate::wire::proxy_header::{line, packet};

/// The bytes of a header. Version 1 has no words for a unix socket, for a connection of one's own
/// or for TLVs: it says UNKNOWN, or leaves them out.
pub fn write(header: &Header) -> Vec<u8> {
    match header.version {
        Version::V1 => line::write(&header.origin),
        Version::V2 => packet::write(&header.origin, &header.tlvs),
    }
}
