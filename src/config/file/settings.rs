//! The node settings as they are written: `stagedoor.toml` or `.json`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::foreign;
use crate::config::file::limits::Limits;
use crate::config::file::proxy::Proxy;
use crate::config::file::scalars::{OneOrMany, Period};
use crate::config::file::uptime::{UptimeConfig, UptimeTests};

/// Settings of the process as a whole.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "stagedoor node settings")]
pub struct Settings {
    /// Threads that relay. Default: the cores of the machine.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<usize>,
    /// The address to listen on where a service names none.
    /// Default: every address, IPv6 and IPv4.
    pub listen_address: Option<String>,
    /// Service definitions: files, and folders of files.
    pub services: Option<OneOrMany>,
    /// The folder of what must survive a restart of the process; "none" for none.
    /// Default: $STATE_DIRECTORY, else $XDG_STATE_HOME/stagedoor, else ~/.local/state/stagedoor.
    pub state_dir: Option<String>,
    /// What is older there is not believed. Default: 10m.
    pub state_max_age: Option<Period>,
    /// The layer under every service.
    pub defaults: Option<ServiceDefaults>,
    /// The control socket.
    pub admin: Option<Admin>,
    /// How the process speaks.
    pub log: Option<WrittenLog>,
    /// Bounds on the process.
    pub limits: Option<NodeLimits>,
    /// How it ends.
    pub shutdown: Option<Shutdown>,
    /// When restarts are too many, and when a silent part counts as hung.
    pub supervision: Option<WrittenSupervision>,
    /// Times and counts of all checks: Tyk's place for them.
    pub uptime_tests: Option<NodeUptimeTests>,
    /// The certificate store.
    pub certificates: Option<CertificateStore>,
    /// How targets are found.
    pub discovery: Option<NodeDiscovery>,
}

/// How targets are found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDiscovery {
    /// Who is asked about the names of `dns` and `srv`, first to last: `10.0.0.2`, `[::1]:5353`.
    /// Default: the name servers of /etc/resolv.conf.
    pub name_servers: Option<Vec<String>>,
}

/// The certificate store.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateStore {
    /// Its folder. Default: /etc/stagedoor/certificates.
    pub folder: Option<String>,
}

/// The layer under every service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDefaults {
    /// As `proxy` of a definition.
    pub proxy: Option<Proxy>,
    /// As `uptime_tests` of a definition.
    pub uptime_tests: Option<UptimeTests>,
    /// As `limits` of a definition.
    pub limits: Option<Limits>,
}

/// The control socket.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Its path; "none" for no socket. Default: $XDG_RUNTIME_DIR/stagedoor.sock, else
    /// /run/stagedoor.sock for root, else one in the temporary folder.
    pub socket: Option<String>,
}

/// How the process speaks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenLog {
    /// For people or for machines. Default: text.
    pub format: Option<WrittenLogFormat>,
    /// A filter such as `info` or `stagedoor=debug`. Default: info.
    pub level: Option<String>,
}

/// The two forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenLogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Bounds on the process.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeLimits {
    /// Live sessions of all services. 0, the default: what the open file limit has room for.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub max_connections: Option<usize>,
}

/// How the process ends.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long sessions may take to end by themselves. Default: 30s.
    pub timeout: Option<Period>,
    /// How long the process of before lives on for its sessions after an upgrade. Default: 0, until
    /// the last of them ends.
    pub upgrade_timeout: Option<Period>,
}

/// When restarts are too many.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenSupervision {
    /// Restarts of one component within `window` that are still fine. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub intensity: Option<u32>,
    /// Default: 60s.
    pub window: Option<Period>,
    /// A component silent for this long is replaced. Default: 2s.
    pub hang: Option<Period>,
}

/// Tyk's place for the times and counts of all checks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::node_uptime_tests)]
pub struct NodeUptimeTests {
    /// The times and counts.
    pub config: Option<UptimeConfig>,
}
