//! The names and addresses that the whole house speaks of: services, targets, listening places.
//!
//! Cheap to clone, and shown the way a user wrote them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// The unique name of a service, as its definition (or its file) gives it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

/// The identity of a target within its service: its address as text, and whether it speaks TLS, so
/// that a target whose address changes is a new target, and one that only moves in the list stays
/// the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey(Arc<str>);

/// Where a target (or a check) is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetAddress {
    /// A literal IP address and port.
    Ip(SocketAddr),
    /// A host name and port; the name is resolved in the background.
    Name {
        /// The host, lower case, with no trailing dot.
        host: Arc<str>,
        /// The port, 1 to 65535.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// No address was written in any layer: `::` dual-stack, or `0.0.0.0` where there is no IPv6.
    AnyOnPort(u16),
    /// A written address: exactly this one or an error. `::` is dual-stack.
    Ip(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

// === impl ServiceName ===

impl ServiceName {
    /// Wraps a name that `validate` has found to be unique and not empty.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

// === impl TargetKey ===

impl TargetKey {
    /// The key of the target at `address`.
    pub fn of(address: &TargetAddress) -> Self {
        Self(address.to_string().into())
    }

    /// The key of the target that is spoken to over TLS at `address`: not the same as one that is
    /// spoken to in the clear there, so that none is taken for well by the other's checks.
    pub fn over_tls(address: &TargetAddress) -> Self {
        Self(format!("tls://{address}").into())
    }

    /// The key as text: `host:port`, `[v6]:port` or `unix:/path`, with `tls://` before it for TLS.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

// === impl TargetAddress ===

impl TargetAddress {
    /// The host as a check script's `${target.host}` shows it; the path for a unix socket.
    pub fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::Name { host, .. } => host.to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// The port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
            Self::Unix(_) => 0,
        }
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl ListenAddress ===

impl ListenAddress {
    /// The socket addresses to try to bind, in order; empty for a unix socket.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        match self {
            Self::AnyOnPort(port) => vec![
                SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port),
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port),
            ],
            Self::Ip(address) => vec![*address],
            Self::Unix(_) => Vec::new(),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOnPort(port) => write!(f, "*:{port}"),
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
