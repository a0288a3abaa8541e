//! TLS to targets (`proxy.transport`) and to directories as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::foreign;
use crate::config::file::pins::WrittenPins;
use crate::config::file::scalars::OneOrMany;

/// Instead of a name: the one that the client has asked for.
pub const OF_CLIENT: &str = "${client.sni}";

/// TLS to the targets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::transport)]
pub struct Transport {
    /// Believe any certificate of a target. Default: false.
    pub ssl_insecure_skip_verify: Option<bool>,
    /// The authorities that sign the targets: paths of PEM files, or PEM itself. Default: those of
    /// the system.
    pub ssl_ca: Option<OneOrMany>,
    /// The oldest version that is spoken: "1.2" (default), "1.3" or Tyk's 771, 772.
    pub ssl_min_version: Option<WrittenVersion>,
    /// The newest version that is spoken. Default: "1.3".
    pub ssl_max_version: Option<WrittenVersion>,
    /// The name that a target is asked for and has to prove; `${client.sni}`: the one that the client
    /// has asked for. Default: its host.
    #[schemars(extend("x-means" = OF_CLIENT))]
    pub ssl_server_name: Option<String>,
    /// The ALPN protocols that are offered. Default: none.
    pub ssl_alpn: Option<Vec<String>>,
    /// How the targets are asked for TLS before the handshake. Default: they are not.
    pub starttls: Option<WrittenStarttls>,
    /// Tyk's check of the leaf's common name. The names in a certificate are checked always.
    pub ssl_force_common_name_check: Option<bool>,
    /// The cipher suites of TLS 1.2, by their RFC names. Default: all that are good.
    pub ssl_ciphers: Option<Vec<String>>,
}

/// How a target is asked for TLS before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenStarttls {
    /// By PostgreSQL's SSLRequest.
    Postgres,
}

/// A version of TLS.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WrittenVersion {
    /// Tyk's number.
    Number(u16),
    /// "1.2" or "1.3".
    Text(String),
}

/// TLS to a directory: as `proxy.transport` says it of targets, and what is shown to it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryTransport {
    /// Believe any certificate of the directory. Default: false.
    pub ssl_insecure_skip_verify: Option<bool>,
    /// The authorities that sign its certificate: paths of PEM files, or PEM itself. Default: those
    /// of the system.
    pub ssl_ca: Option<OneOrMany>,
    /// The oldest version that is spoken: "1.2" (default), "1.3" or Tyk's 771, 772.
    pub ssl_min_version: Option<WrittenVersion>,
    /// The newest version that is spoken. Default: "1.3".
    pub ssl_max_version: Option<WrittenVersion>,
    /// The name that it is asked for and has to prove. Default: the host of `query_endpoint`.
    pub ssl_server_name: Option<String>,
    /// What it is shown if it asks for a certificate: the path of a PEM file with its key, the ID of
    /// a stored one, or PEM itself. Default: nothing.
    pub certificate: Option<String>,
    /// The keys of which it must have one. Default: any will do.
    pub pinned_public_keys: Option<WrittenPins>,
}
