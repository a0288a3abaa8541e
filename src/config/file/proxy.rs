//! `proxy.*` of a service as it is written: targets and how one is chosen.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::discovery::ServiceDiscovery;
use crate::config::file::foreign;
use crate::config::file::scalars::Period;
use crate::config::file::transport::Transport;

/// The targets of a service and how one is chosen for a connection.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::proxy)]
pub struct Proxy {
    /// The target without load balancing: `tcp://host:port`, `host:port`, `tls://host:port` or `unix:/path`.
    pub target_url: Option<String>,
    /// The targets with load balancing. A repeated entry adds weight.
    pub target_list: Option<Vec<TargetEntry>>,
    /// Spread connections over `target_list`. Without it: `target_url`, else the first target.
    pub enable_load_balancing: Option<bool>,
    /// Only targets whose checks pass get connections.
    pub check_host_against_uptime_tests: Option<bool>,
    /// How a target is chosen. Default: round_robin, or leader where every check asks for one.
    pub balance: Option<WrittenBalance>,
    /// Deadline of one connect. Default: 3s.
    pub connect_timeout: Option<Period>,
    /// Further targets to try after a failed connect. Default: 2.
    #[schemars(range(min = 0, max = 100))]
    pub retries: Option<u32>,
    /// How long a new client waits, unread, while no target is up. Default: 0, refused at once.
    pub hold: Option<Period>,
    /// How many clients may wait at once. Default: 1000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub hold_limit: Option<usize>,
    /// Sessions of a target that went down: `close`, `keep` or `drain:30s`.
    /// Default: close with check_host_against_uptime_tests, else keep.
    pub on_down: Option<String>,
    /// Sessions of a target that left the list: `close`, `keep` or `drain:30s`.
    /// Default: drain:30s.
    pub on_removed: Option<String>,
    /// Sessions that are closed together are closed over this time, not in one instant; those of a
    /// leader always at once. Default: 0.
    pub close_spread: Option<Period>,
    /// Tell the target who the client is, by a PROXY protocol header. Default: no.
    pub send_proxy_protocol: Option<WrittenHeader>,
    /// What a header of version 2 tells besides. Default: nothing.
    pub proxy_protocol_tlvs: Option<Vec<WrittenExtra>>,
    /// TLS to the targets.
    pub transport: Option<Transport>,
    /// Targets that are found, not written.
    pub service_discovery: Option<ServiceDiscovery>,
}

/// One entry of `target_list`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TargetEntry {
    /// `tcp://host:port`, `host:port`, `tls://host:port` or `unix:/path`.
    Url(String),
    /// The same with more to say.
    Detailed(DetailedTarget),
}

/// An entry of `target_list` with more to say than its address.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetailedTarget {
    /// `tcp://host:port`, `host:port`, `tls://host:port` or `unix:/path`.
    #[schemars(required)]
    pub url: Option<String>,
    /// Its share of the connections. Default: 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
    /// Used only while no other target is eligible. Default: false.
    pub backup: Option<bool>,
    /// What people call it. Default: its address.
    pub name: Option<String>,
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenBalance {
    /// In turn, smoothly by weight.
    RoundRobin,
    /// The one with the fewest live sessions for its weight.
    LeastConnections,
    /// The less loaded of two drawn by chance.
    RandomTwo,
    /// The same client address reaches the same target.
    SourceHash,
    /// The first eligible one in the order written.
    First,
    /// The one leader, or none: for Redis, PostgreSQL and anything with one writer.
    Leader,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What a PROXY protocol header tells besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenExtra {
    /// The name that the client asked for.
    Sni,
    /// The protocol that it agreed on.
    Alpn,
    /// How it is connected by TLS: version, cipher, certificate.
    Tls,
    /// What its connection is called.
    UniqueId,
    /// Whatever the header that came has told besides.
    Received,
}
