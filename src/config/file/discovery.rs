//! `proxy.service_discovery.*` as it is written: where a service's targets come from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::scalars::Period;
use crate::config::file::transport::DirectoryTransport;

/// Targets that are found, not written. Nothing of it counts while none of
/// `use_discovery_service`, `dns`, `srv` and `file` is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDiscovery {
    /// Ask `query_endpoint` for the targets. Default: false.
    pub use_discovery_service: Option<bool>,
    /// The URL of the document: `http://host:port/path` or `https://host:port/path`.
    pub query_endpoint: Option<String>,
    /// The value at `parent_data_path` is JSON in a text. Default: false.
    pub use_nested_query: Option<bool>,
    /// The dot path of the list, such as `node.nodes`, or of the text with JSON in it.
    pub parent_data_path: Option<String>,
    /// The dot path of the host in an entry. Default: the entry itself is the host.
    pub data_path: Option<String>,
    /// The dot path of the port in an entry. Default: it stands with the host.
    pub port_data_path: Option<String>,
    /// Tyk's: added after each host. A TCP target has no path.
    pub target_path: Option<String>,
    /// All entries are targets, not only the first. Default: false.
    pub use_target_list: Option<bool>,
    /// From one question to the next. Default: 120s; for a name, as long as its records hold, or
    /// 30s where nobody says.
    pub cache_timeout: Option<Period>,
    /// Tyk's switch, which is meant to ask each time and does not. Nobody waits for an answer here.
    pub cache_disabled: Option<bool>,
    /// The document is a list. Default: false.
    pub endpoint_returns_list: Option<bool>,
    /// A list that says that it is empty empties the pool. Default: false, the last good one stays.
    pub allow_empty: Option<bool>,
    /// Deadline of a whole question. Default: 5s.
    pub timeout: Option<Period>,
    /// Further headers of the question, such as a token.
    pub headers: Option<BTreeMap<String, String>>,
    /// TLS to the directory, where `query_endpoint` is `https://…`.
    pub transport: Option<DirectoryTransport>,
    /// A name and a port: every address of the name is a target: `redis.internal:6379`.
    pub dns: Option<String>,
    /// A name whose SRV records say what the targets are: `_redis._tcp.redis.internal`.
    pub srv: Option<String>,
    /// A JSON or TOML file that lists the targets as `target_list` does; looked at every second.
    pub file: Option<String>,
}
