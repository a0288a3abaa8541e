//! `limits.*` of a service as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::scalars::Period;

/// Bounds on the sessions of a service. A limit of 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Live sessions of this service. Default: only the limit of the whole process.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub max_connections: Option<usize>,
    /// Live sessions of one client address; of IPv6, of one /64. Default: no limit.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub max_connections_per_ip: Option<usize>,
    /// New connections of one client address: a number a second, or "100/10s". Default: no limit.
    pub connection_rate_per_ip: Option<WrittenRate>,
    /// From accept to a routed session, PROXY header and TLS together. Default: 5s.
    pub handshake_timeout: Option<Period>,
    /// No byte either way for this long ends a session. Default: none.
    pub idle_timeout: Option<Period>,
    /// The same once one side has finished sending. Default: 1h.
    pub half_close_timeout: Option<Period>,
    /// A session's longest life. Default: none.
    pub max_session_age: Option<Period>,
    /// TCP keep-alive on both sides.
    pub keep_alive: Option<WrittenKeepAlive>,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT). Default: 90s.
    pub tcp_user_timeout: Option<Period>,
}

/// A rate: a number a second, or a number in a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WrittenRate {
    /// A number a second.
    Number(u32),
    /// `100/10s`.
    Text(String),
}

/// TCP keep-alive.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenKeepAlive {
    /// Silence before the first probe. Default: 60s.
    pub idle: Option<Period>,
    /// Between two probes. Default: 10s.
    pub interval: Option<Period>,
    /// Unanswered probes that end a session. Default: 3.
    #[schemars(range(min = 1, max = 127))]
    pub count: Option<u32>,
}
