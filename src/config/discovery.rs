//! The model of service discovery: who is asked for a service's targets, and how its answer is
//! read.
//!
//! What is found becomes the targets of the service by the same rules as what is written
//! (`cast`).

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::Spoken;
use crate::config::dot_path::DotPath;
use crate::config::mould::Mould;
use crate::config::names::TargetAddress;
use crate::config::transport::Policy;

/// So many addresses of one name at most are targets.
pub const MOST_ADDRESSES: usize = 64;

/// So many entries at most are a list of targets.
pub const MOST_ENTRIES: usize = 1_000;

/// Where the targets of a service come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// Who is asked.
    pub directory: Directory,
    /// From one question to the next. Default 120 s; 30 s for a name, 1 s for a file.
    pub interval: Duration,
    /// What a directory says to hold for a time is asked for again then, not after `interval`.
    pub by_ttl: bool,
    /// `discovery.name_servers`: who is asked about names; none: those of this machine.
    pub name_servers: Arc<[SocketAddr]>,
    /// One deadline over a whole question. Default 5 s.
    pub timeout: Duration,
    /// A list that says that it is empty empties the pool. Default: it is taken for an error.
    pub allow_empty: bool,
    /// Only the first entry counts: without load balancing, or without `use_target_list`.
    pub first_only: bool,
    /// What the service makes of each target.
    pub mould: Mould,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// `query_endpoint`: a document, over HTTP.
    Http(Box<HttpDirectory>),
    /// `dns`: every address of a name.
    Name(NameDirectory),
    /// `srv`: every address of the hosts that SRV records name.
    Srv(SrvDirectory),
    /// `file`: a list on disk.
    File(Arc<Path>),
}

/// A name whose addresses are the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameDirectory {
    /// What is spoken to them.
    pub spoken: Spoken,
    /// The name.
    pub host: Arc<str>,
    /// The port of all of them.
    pub port: u16,
}

/// A name whose SRV records say what the targets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvDirectory {
    /// What is spoken to them.
    pub spoken: Spoken,
    /// The name, such as `_redis._tcp.redis.internal`.
    pub name: Arc<str>,
}

/// A document that is asked for over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpDirectory {
    /// Where it is asked.
    pub address: TargetAddress,
    /// How it is spoken to over TLS; `None`: it is not.
    pub tls: Option<Arc<Policy>>,
    /// The `Host` header.
    pub host: String,
    /// Path and query; they may hold a token and are never shown whole.
    pub path: String,
    /// Further headers; values may be secrets and are never shown.
    pub headers: Vec<(String, String)>,
    /// How its answer is read.
    pub document: DocumentShape,
}

/// Where in a document the targets are: Tyk's paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentShape {
    /// `endpoint_returns_list`: the document is a list.
    pub is_list: bool,
    /// `use_nested_query`: what is at `parent` is JSON in a text.
    pub is_nested: bool,
    /// `parent_data_path`: where the list is, or the text.
    pub parent: DotPath,
    /// `data_path`: where an entry has its host, or its host and port.
    pub host: DotPath,
    /// `port_data_path`: where an entry has its port; empty: beside the host.
    pub port: DotPath,
}

// === impl Discovery ===

impl Discovery {
    /// The same, whole: with what the service makes of each target, and with whom it asks about
    /// names, if it does.
    #[must_use]
    pub fn with(self, mould: Mould, name_servers: &Arc<[SocketAddr]>) -> Self {
        match self.directory {
            Directory::Name(_) | Directory::Srv(_) => {
                Self { mould, name_servers: Arc::clone(name_servers), ..self }
            }
            Directory::Http(_) | Directory::File(_) => Self { mould, ..self },
        }
    }
}

// === impl Directory ===

impl Directory {
    /// How it is spoken to over TLS, if it is.
    pub fn tls(&self) -> Option<&Arc<Policy>> {
        match self {
            Self::Http(http) => http.tls.as_ref(),
            Self::Name(_) | Self::Srv(_) | Self::File(_) => None,
        }
    }
}

impl fmt::Display for Directory {
    /// For people: no query, no header, nothing that could be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => http.fmt(f),
            Self::Name(NameDirectory { host, port, .. }) => write!(f, "dns:{host}:{port}"),
            Self::Srv(SrvDirectory { name, .. }) => write!(f, "srv:{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for HttpDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (path, query) =
            self.path.split_once('?').map_or((&*self.path, ""), |(path, _)| (path, "?…"));
        write!(f, "{scheme}://{}{path}{query}", self.host)
    }
}

/// Shows no header and no query.
impl fmt::Debug for HttpDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDirectory({self}, {:?})", self.document)
    }
}
