//! The model: what the files mean, with every default filled in and nothing left to doubt.
//!
//! A model that exists is valid; only `validate` makes one. Nothing here knows serde, files or
//! layers. Two models are compared with `==`, which is what a reload is decided by.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::access::Access;
use crate::config::check::HealthSpec;
use crate::config::discovery::Discovery;
use crate::config::events::EventHandlers;
use crate::config::names::{ListenAddress, ServiceName, TargetAddress, TargetKey};
use crate::config::proxy_protocol::{Receiving, Sending};
use crate::config::rate::Rate;
use crate::config::store::Store;
use crate::config::tls::{Answers, Termination};
use crate::config::transport::Policy;

/// Everything one process runs: its node settings and its services.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// Settings of the process.
    pub node: Node,
    /// The active services, by name.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Data arbiters. Default: the cores of the machine.
    pub workers: NonZeroUsize,
    /// `[admin] socket`: the control socket. Default: `$XDG_RUNTIME_DIR/stagedoor.sock`, else
    /// `/run/stagedoor.sock` for root, else one in the temporary folder that carries the user's id.
    pub control_socket: Option<PathBuf>,
    /// `state_dir`: the folder of what must survive a restart of the process. Default:
    /// `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/stagedoor`, else `~/.local/state/stagedoor`.
    pub state_folder: Option<PathBuf>,
    /// `state_max_age`: what is older there is not believed. Default 10 min.
    pub state_max_age: Duration,
    /// `[certificates] folder`: the certificate store. Default `/etc/stagedoor/certificates`.
    pub store: Store,
    /// `[discovery] name_servers`: who is asked about names; none: those of this machine.
    pub name_servers: Arc<[SocketAddr]>,
    /// `[log]`.
    pub log: Log,
    /// `[shutdown] timeout`: how long a drain may take before what is left is cut. Default 30 s.
    pub shutdown_timeout: Duration,
    /// `[shutdown] upgrade_timeout`: how long a process lives on after an upgrade for the sake of its
    /// sessions. Default `None`: until the last of them ends.
    pub upgrade_timeout: Option<Duration>,
    /// `[limits] max_connections`: sessions in the whole process. `None`: derived from the
    /// descriptors the process may have.
    pub max_connections: Option<NonZeroUsize>,
    /// `[supervision]`: how many restarts are too many, and when a silent part counts as hung.
    pub supervision: Supervision,
}

/// `[log]`: how the process speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `text` (default) or `json`.
    pub format: LogFormat,
    /// An env_logger filter, such as `info` (default) or `stagedoor=debug`.
    pub level: String,
}

/// The two forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// env_logger's form, for people.
    Text,
    /// A JSON object a line, for machines.
    Json,
}

/// `[supervision]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supervision {
    /// `intensity`: restarts of one child within `window` that are still fine. Default 10.
    pub intensity: NonZeroU32,
    /// `window`: default 60 s.
    pub window: Duration,
    /// `hang`: a component or arbiter silent for this long is replaced. Default 2 s.
    pub hang: Duration,
}

/// One service: where it listens, whom it serves, how its targets are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique among the services.
    pub name: ServiceName,
    /// The file that defines it, for messages.
    pub source: Arc<Path>,
    /// Where it listens.
    pub listen: ListenAddress,
    /// What its clients speak.
    pub protocol: Protocol,
    /// Which connections to its port are its own, where several services share it.
    pub answers: Answers,
    /// What a connection has to begin with; `None`: payload.
    pub receiving: Option<Receiving>,
    /// Which clients it serves; `None`: all of them.
    pub access: Option<Access>,
    /// Its targets and how one is chosen.
    pub pool: Pool,
    /// Bounds on its sessions.
    pub limits: SessionLimits,
    /// Its checks, if it has any that run.
    pub health: Option<Arc<HealthSpec>>,
    /// Who is asked for its targets; `None`: they are written.
    pub discovery: Option<Arc<Discovery>>,
    /// Who is told of what happens to its targets.
    pub events: Arc<EventHandlers>,
}

/// What the clients of a service speak.
#[derive(Debug, Clone, PartialEq)]
pub enum Protocol {
    /// Bytes, relayed as they come.
    Tcp,
    /// TLS, ended here.
    Tls(Arc<Termination>),
    /// TLS, routed by its SNI and relayed as it comes.
    TlsPassthrough,
}

/// The targets of a service and how one is chosen for a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// At least one, unless they are found: then there may be none. Repeated entries have been
    /// folded into weights.
    pub targets: Vec<Target>,
    /// How one is chosen.
    pub balance: Balance,
    /// `leader` was inferred from the checks, not written.
    pub balance_inferred: bool,
    /// `check_host_against_uptime_tests`: only targets that are up get traffic.
    pub check_health: bool,
    /// What targets are told of a client first; `None`: nothing.
    pub sending: Option<Sending>,
    /// Deadline of one connect. Default 3 s.
    pub connect_timeout: Duration,
    /// Further targets to try after a failed connect. Default 2.
    pub retries: u32,
    /// How long a client may wait for a target; zero: refused at once.
    pub hold: Duration,
    /// How many clients may wait at once. Default 1,000.
    pub hold_limit: usize,
    /// What becomes of the sessions of a target that went down.
    pub on_down: Closing,
    /// What becomes of the sessions of a target that left the pool. Default: drain for 30 s.
    pub on_removed: Closing,
    /// The window over which sessions are closed together; zero: all in one instant. Those of a
    /// leader always are.
    pub close_spread: Duration,
}

/// One target of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its identity.
    pub key: TargetKey,
    /// What people call it: `name`, or the address.
    pub name: Arc<str>,
    /// Where it is.
    pub address: TargetAddress,
    /// How it is spoken to over TLS; `None`: it is not.
    pub tls: Option<Arc<Policy>>,
    /// Its share of the traffic. Default 1.
    pub weight: NonZeroU32,
    /// Used only while no other target is eligible.
    pub backup: bool,
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, smoothly by weight. The default.
    RoundRobin,
    /// The one with the fewest live sessions for its weight.
    LeastConnections,
    /// The less loaded of two drawn by chance.
    RandomTwo,
    /// The same client address reaches the same target, consistently.
    SourceHash,
    /// The first eligible one in the order written.
    First,
    /// The one leader, or none.
    Leader,
}

/// What becomes of live sessions whose target is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Closed at once.
    Close,
    /// Closed after this long, if they have not ended by themselves.
    Drain(Duration),
    /// Left alone.
    Keep,
}

/// `limits.*`: bounds on the sessions of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionLimits {
    /// Live sessions of this service. `None`: only the process's own limit.
    pub max_connections: Option<NonZeroUsize>,
    /// Live sessions of one client address, or of one IPv6 /64. `None`: no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
    /// New sessions of one client address. `None`: no limit.
    pub connection_rate_per_ip: Option<Rate>,
    /// From accept to a routed session (PROXY header and TLS together). Default 5 s.
    pub handshake_timeout: Duration,
    /// No byte either way for this long ends a session. Default: none.
    pub idle_timeout: Option<Duration>,
    /// The same once one side has finished sending. Default 1 h.
    pub half_close_timeout: Option<Duration>,
    /// A session's longest life. Default: none.
    pub max_session_age: Option<Duration>,
    /// TCP keep-alive on both sides.
    pub keep_alive: KeepAlive,
    /// TCP_USER_TIMEOUT on both sides. Default 90 s.
    pub tcp_user_timeout: Option<Duration>,
}

/// TCP keep-alive: when the first probe is sent, how far apart they are, how many may go unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Default 60 s.
    pub idle: Duration,
    /// Default 10 s.
    pub interval: Duration,
    /// Default 3.
    pub count: u32,
}

// === impl defaults ===

impl Default for Node {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            control_socket: None,
            state_folder: None,
            state_max_age: Duration::from_secs(600),
            store: Store::default(),
            name_servers: Arc::default(),
            log: Log { format: LogFormat::Text, level: "info".to_owned() },
            shutdown_timeout: Duration::from_secs(30),
            upgrade_timeout: None,
            max_connections: None,
            supervision: Supervision::default(),
        }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            intensity: NonZeroU32::MIN.saturating_add(9),
            window: Duration::from_secs(60),
            hang: Duration::from_secs(2),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_connections_per_ip: None,
            connection_rate_per_ip: None,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: None,
            half_close_timeout: Some(Duration::from_secs(3600)),
            max_session_age: None,
            keep_alive: KeepAlive::default(),
            tcp_user_timeout: Some(Duration::from_secs(90)),
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 3 }
    }
}

impl fmt::Display for Balance {
    /// As a definition spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::RandomTwo => "random_two",
            Self::SourceHash => "source_hash",
            Self::First => "first",
            Self::Leader => "leader",
        })
    }
}

impl Service {
    /// Must its clients show a certificate?
    pub fn is_mutual(&self) -> bool {
        match &self.protocol {
            Protocol::Tls(termination) => termination.client_auth.is_some(),
            Protocol::Tcp | Protocol::TlsPassthrough => false,
        }
    }

    /// Is TLS ended here?
    pub fn ends_tls(&self) -> bool {
        match self.protocol {
            Protocol::Tls(_) => true,
            Protocol::Tcp | Protocol::TlsPassthrough => false,
        }
    }

    /// Does a client's first message say whether a connection is this service's?
    pub fn is_chosen_by_hello(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => false,
            Protocol::Tls(_) | Protocol::TlsPassthrough => true,
        }
    }

    /// Does anything judge its targets? Else all of them are taken to be up.
    pub fn is_judged(&self) -> bool {
        self.pool.check_health && self.health.is_some()
    }
}

impl Target {
    /// A plain target at `address`, named after it, with weight 1.
    pub fn at(address: TargetAddress) -> Self {
        Self {
            key: TargetKey::of(&address),
            name: address.to_string().into(),
            address,
            tls: None,
            weight: NonZeroU32::MIN,
            backup: false,
        }
    }

    /// The same, spoken to over TLS.
    pub fn over_tls(address: TargetAddress, policy: Arc<Policy>) -> Self {
        let key = TargetKey::over_tls(&address);
        Self { name: key.as_str().into(), key, tls: Some(policy), ..Self::at(address) }
    }
}
