//! The model of service discovery: who is asked for a service's targets, and how its answer is
//! read.
//!
//! What is found becomes the targets of the service by the same rules as what is written
//! (`expand`).

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::Spoken;
use crate::config::dot_path::DotPath;
use crate::config::names::TargetAddress;
use crate::config::transport::Policy;

/// So many entries at most are a list of targets.
pub const MOST_ENTRIES: usize = 1_000;

/// Where the targets of a service come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Who is asked.
    pub source: Source,
    /// From one question to the next. Default 120 s; 30 s for a file or a name.
    pub interval: Duration,
    /// One deadline over a whole question. Default 5 s.
    pub timeout: Duration,
    /// A list that says that it is empty empties the pool. Default: it is taken for an error.
    pub allow_empty: bool,
    /// Only the first entry counts: without load balancing, or without `use_target_list`.
    pub first_only: bool,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `query_endpoint`: a document, over HTTP.
    Http(Box<HttpSource>),
    /// `file`: a list on disk.
    File(Arc<Path>),
}

/// A document that is asked for over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSource {
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

/// One target that was found, before anything of its service is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is spoken to it.
    pub spoken: Spoken,
    /// Where it is.
    pub address: TargetAddress,
    /// Its share of the traffic.
    pub weight: NonZeroU32,
    /// Used only while no other target is eligible.
    pub backup: bool,
    /// What people call it, if not by its address.
    pub name: Option<Arc<str>>,
}

// === impl Source ===

impl fmt::Display for Source {
    /// For people: no query, no header, nothing that could be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => http.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (path, query) =
            self.path.split_once('?').map_or((&*self.path, ""), |(path, _)| (path, "?…"));
        write!(f, "{scheme}://{}{path}{query}", self.host)
    }
}

/// Shows no header and no query.
impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpSource({self}, {:?})", self.document)
    }
}

// === impl Found ===

impl Found {
    /// A target at this address of which nothing else is known.
    pub fn at(spoken: Spoken, address: TargetAddress) -> Self {
        Self { spoken, address, weight: NonZeroU32::MIN, backup: false, name: None }
    }
}
