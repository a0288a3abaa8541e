//! An endpoint: one end of a connected socket, as people and access rules see it.
//!
//! An IPv4 client of a dual-stack listener is an IPv4 endpoint here, never `::ffff:…`.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

/// One end of a connected socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP endpoint.
    Ip(SocketAddr),
    /// A unix socket; most clients have no path.
    Unix(Option<PathBuf>),
}

impl Endpoint {
    /// The endpoint that the kernel names; a family we never open is an unnamed unix endpoint.
    pub(super) fn from_kernel(address: Option<SocketAddrAny>) -> Self {
        match address {
            Some(address) if address.address_family() == AddressFamily::UNIX => {
                let path = SocketAddrUnix::try_from(address).ok().and_then(|unix| {
                    unix.path_bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
                });
                Self::Unix(path)
            }
            Some(address) => SocketAddr::try_from(address).map_or(Self::Unix(None), Self::from),
            None => Self::Unix(None),
        }
    }

    /// The TCP address, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            // A client chooses the path it binds: escaped, so that it cannot forge a log line.
            Self::Unix(Some(path)) => {
                write!(f, "unix:{}", path.to_string_lossy().escape_debug())
            }
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: Endpoint, expected: &str) {
        assert_eq!(endpoint.to_string(), expected);
    }

    #[test]
    fn an_endpoint_is_shown_as_people_write_it() {
        check(Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 80))), "127.0.0.1:80");
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        check(Endpoint::from(mapped), "192.0.2.1:80");
        check(Endpoint::Unix(None), "unix:");
        check(Endpoint::Unix(Some(PathBuf::from("/a\nb"))), "unix:/a\\nb");
    }
}
