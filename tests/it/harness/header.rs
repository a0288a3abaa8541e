//! PROXY protocol headers, as somebody before the proxy would send them.

use stagedoor::wire::proxy_header::header::{Header, Origin, Version};
use stagedoor::wire::proxy_header::tlv::{Kind, Tlvs};
use stagedoor::wire::proxy_header::writer::write;

/// A client that no test can be.
pub(crate) const CLIENT: &str = "192.0.2.7:4711";

/// Who such a client has connected to.
pub(crate) const SERVER: &str = "198.51.100.1:443";

/// A connection of `client`.
pub(crate) fn of(client: &str) -> Origin {
    let server = if client.starts_with('[') { "[2001:db8::1]:443" } else { SERVER };
    Origin::tcp(client.parse().expect("an address"), server.parse().expect("an address"))
}

/// The line that tells of `client`.
pub(crate) fn v1(client: &str) -> Vec<u8> {
    write(&Header { version: Version::V1, origin: of(client), tlvs: Tlvs::default() })
}

/// The same in binary.
pub(crate) fn v2(client: &str) -> Vec<u8> {
    v2_with(of(client), &[])
}

/// The same with more to say.
pub(crate) fn v2_with(origin: Origin, more: &[(Kind, &[u8])]) -> Vec<u8> {
    let mut tlvs = Tlvs::default();
    for (kind, value) in more {
        assert!(tlvs.push(*kind, value, 4000));
    }
    write(&Header { version: Version::V2, origin, tlvs })
}
