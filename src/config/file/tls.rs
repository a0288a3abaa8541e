//! `tls.*` of a service as it is written: what is spoken where TLS is ended.

use schemars::JsonSchema;
use serde::Deserialize;

/// How TLS is ended. Tyk has these for the whole gateway.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenTls {
    /// The oldest version that is spoken. Default: 1.2.
    pub min_version: Option<WrittenVersion>,
    /// The newest version that is spoken. Default: 1.3.
    pub max_version: Option<WrittenVersion>,
    /// The cipher suites in order of preference, by their RFC names. Default: all that are good.
    pub ciphers: Option<Vec<String>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum WrittenVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}
