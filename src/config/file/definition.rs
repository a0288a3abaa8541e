//! A service definition as it is written.
//!
//! The doc comments of these fields are the descriptions of the published schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::events::EventHandlers;
use crate::config::file::foreign;
use crate::config::file::limits::Limits;
use crate::config::file::pins::WrittenPins;
use crate::config::file::proxy::Proxy;
use crate::config::file::scalars::OneOrMany;
use crate::config::file::tls::WrittenTls;
use crate::config::file::uptime::UptimeTests;

/// One service: where it listens, whom it serves, how its targets are judged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "stagedoor service definition", transform = foreign::definition)]
pub struct Definition {
    /// The unique name of the service. Default: the name of the file.
    pub name: Option<String>,
    /// Tyk's identifier. Default: made from the name.
    pub api_id: Option<String>,
    /// `false`: the definition is checked but not started. Default: true.
    pub active: Option<bool>,
    /// The port to listen on. Required, unless `listen_address` is a unix socket.
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<u16>,
    /// An IP address to listen on, or `unix:/path`. Default: the node's `listen_address`.
    pub listen_address: Option<String>,
    /// What the clients speak. Default: tcp.
    pub protocol: Option<WrittenProtocol>,
    /// The SNI name this service answers on a shared port: `name.example` or `*.name.example`.
    /// Default: every name that no other service answers.
    pub domain: Option<String>,
    /// Tyk's switch that ignores `domain`.
    pub domain_disabled: Option<bool>,
    /// The ALPN protocols this service answers. Default: any.
    pub alpn: Option<Vec<String>>,
    /// Server certificates: PEM file paths or inline PEM, each with its key.
    pub certificates: Option<OneOrMany>,
    /// How TLS is ended.
    pub tls: Option<WrittenTls>,
    /// Require a client certificate that `client_certificates` allows. Default: false.
    pub use_mutual_tls_auth: Option<bool>,
    /// Certificates of authorities that sign clients, and of clients, which are matched exactly:
    /// PEM file paths or inline PEM.
    pub client_certificates: Option<OneOrMany>,
    /// Revocation lists of these authorities: PEM file paths or inline PEM.
    pub client_crl: Option<OneOrMany>,
    /// Host → what is presented to that target if it asks for a certificate: the path of a PEM
    /// file, or PEM itself. Hosts are `*`, `*.domain`, `*.domain:port`, `host`, `host:port`.
    pub upstream_certificates: Option<BTreeMap<String, String>>,
    /// Tyk's switch that ignores `upstream_certificates`. Default: false.
    pub upstream_certificates_disabled: Option<bool>,
    /// Host → the SHA-256 of the public key that its own certificate must have. Hosts are `*`,
    /// `*.domain`, `host`.
    pub pinned_public_keys: Option<BTreeMap<String, WrittenPins>>,
    /// Tyk's switch that ignores `pinned_public_keys`. Default: false.
    pub certificate_pinning_disabled: Option<bool>,
    /// A PROXY protocol header, version 1 or 2, is required in front of everything, TLS included.
    /// Default: false.
    pub enable_proxy_protocol: Option<bool>,
    /// The networks and addresses that may send a PROXY protocol header. Default: anyone.
    pub proxy_protocol_from: Option<Vec<String>>,
    /// What becomes of connections from elsewhere. Default: refuse.
    pub proxy_protocol_others: Option<WrittenOthers>,
    /// Tyk's lenient way: the header may be absent. Default: false.
    pub proxy_protocol_optional: Option<bool>,
    /// Only `allowed_ips` are served. Default: false.
    pub enable_ip_whitelisting: Option<bool>,
    /// The networks that are served: `10.0.0.0/8`, `2001:db8::/32`, or one address.
    pub allowed_ips: Option<Vec<String>>,
    /// `blacklisted_ips` are not served, whoever is allowed. Default: false.
    pub enable_ip_blacklisting: Option<bool>,
    /// The networks that are not served.
    pub blacklisted_ips: Option<Vec<String>>,
    /// Bounds on the sessions of this service.
    pub limits: Option<Limits>,
    /// The targets and how one is chosen.
    pub proxy: Option<Proxy>,
    /// The health checks.
    pub uptime_tests: Option<UptimeTests>,
    /// Who is told of a target going down or coming up.
    pub event_handlers: Option<EventHandlers>,
}

/// What the clients of a service speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenProtocol {
    /// Bytes, relayed as they come.
    Tcp,
    /// TLS, ended here.
    Tls,
    /// TLS, routed by its SNI without being ended.
    TlsPassthrough,
}

/// What becomes of connections from where no PROXY protocol header may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenOthers {
    /// They are closed.
    Refuse,
    /// They are served, and no header is read.
    Direct,
}
