//! The header: who is connected to whom, as somebody in between tells it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::wire::proxy_header::tlv::Tlvs;

/// A header of the PROXY protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How it is written.
    pub version: Version,
    /// Whose connection it is.
    pub origin: Origin,
    /// What it adds; only in version 2, and never to `Origin::Local`.
    pub tlvs: Tlvs,
}

/// How a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// As a line.
    V1,
    /// In binary.
    V2,
}

/// Whose connection it is: command, family and addresses in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The sender's own (LOCAL), such as a health check; only version 2 can say so.
    Local,
    /// Somebody's who is not told, or not over TCP (UNKNOWN, UNSPEC, UDP).
    Unknown,
    /// A client's, over IPv4.
    Tcp4 {
        /// The client.
        source: SocketAddrV4,
        /// Whom it has connected to.
        destination: SocketAddrV4,
    },
    /// A client's, over IPv6.
    Tcp6 {
        /// The client.
        source: SocketAddrV6,
        /// Whom it has connected to.
        destination: SocketAddrV6,
    },
    /// A client's, over a unix socket: paths, often empty; those that begin with NUL are abstract.
    Unix {
        /// The client, at most 108 bytes, with no NUL at the end.
        source: Vec<u8>,
        /// Whom it has connected to, likewise.
        destination: Vec<u8>,
    },
}

// === impl Origin ===

impl Origin {
    /// A client over TCP. Where only one of the two is IPv4, it is written as IPv6 writes it: no
    /// header can hold both.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                Self::Tcp4 { source, destination }
            }
            (source, destination) => {
                Self::Tcp6 { source: as_v6(source), destination: as_v6(destination) }
            }
        }
    }
}

/// Scope and flow are of this machine only.
fn as_v6(address: SocketAddr) -> SocketAddrV6 {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_families_are_never_mixed() {
        let origin = Origin::tcp("10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
        let mapped = "[::ffff:10.0.0.1]:1".parse().unwrap();
        let destination = "[2001:db8::1]:2".parse().unwrap();
        assert_eq!(origin, Origin::Tcp6 { source: mapped, destination });
    }
}
