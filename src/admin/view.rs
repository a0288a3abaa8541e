//! The views: what a running process shows of itself, as JSON with stable names.
//!
//! Times are whole seconds or milliseconds as their names say; bytes are counted, never shown.

use serde::{Deserialize, Serialize};

/// `stagedoor status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The version of the running binary.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub up_seconds: u64,
    /// Live sessions of all services.
    pub sessions: usize,
    /// The number of the health snapshot in force.
    pub snapshot: u64,
    /// The number of the configuration in force: 1 after the start; a renewed certificate makes
    /// another one, as a reload does that changes something.
    pub generation: u64,
    /// The services, by name.
    pub services: Vec<ServiceView>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: String,
    /// How targets are chosen, as a definition spells it.
    pub balance: String,
    /// The leader inferred from the checks, or written.
    pub inferred: bool,
    /// Witnesses that must agree before a target may lead; absent where none are asked.
    pub witnesses_needed: Option<u32>,
    /// Who leads, by target name; absent where nobody does or where targets are balanced.
    pub leader: Option<String>,
    /// Live sessions.
    pub live: u64,
    /// Sessions ever accepted.
    pub accepted: u64,
    /// Sessions turned away.
    pub refused: u64,
    /// Why; these are `refused` together.
    pub refused_by: RefusedView,
    /// Clients with which TLS did not come about.
    pub failed_handshakes: u64,
    /// Dials that failed.
    pub failed_dials: u64,
    /// Sessions cut.
    pub cut: u64,
    /// Sessions that had to wait for a target.
    pub held: u64,
    /// Bytes to targets, of ended sessions.
    pub bytes_to_target: u64,
    /// Bytes to clients, of ended sessions.
    pub bytes_to_client: u64,
    /// What a person should look at, such as several targets that claim the lead.
    pub alarms: Vec<String>,
    /// How its targets are found; absent where they are written.
    pub discovery: Option<DiscoveryView>,
    /// Its targets in the order written.
    pub targets: Vec<TargetView>,
    /// Everything that it refers to for TLS: certificates, authorities, revocation lists, pins.
    pub certificates: Vec<CertificateView>,
    /// Webhooks that are told of events: `HostDown` first, then `HostUp`, then `LeaderChanged`.
    pub webhooks: Vec<WebhookView>,
    /// Checks that belong to no target: they run, and decide nothing.
    pub stray_checks: Vec<CheckView>,
    /// Its last failovers, the newest first; one that is under way is the first.
    pub failovers: Vec<FailoverView>,
}

/// How the targets of a service are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryView {
    /// Who is asked: a URL without its query, or a file.
    pub directory: String,
    /// So many targets are in the list that counts; absent where there has never been one.
    pub listed: Option<usize>,
    /// That list is one that an earlier process heard; this one has heard none yet.
    pub kept: bool,
    /// Milliseconds since that was said last.
    pub good_ms: Option<u64>,
    /// Entries of it that are no targets, in words.
    pub left_out: Option<String>,
    /// What is wrong since then; absent where nothing is.
    pub fault: Option<String>,
    /// Questions that have come to nothing since then.
    pub failures: u32,
    /// Milliseconds since the first of them; of a list that was kept, since it was heard.
    pub stale_ms: Option<u64>,
}

/// A webhook, and what became of the events that it was to be told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookView {
    /// The event.
    pub event: String,
    /// Its name, or its URL without the path.
    pub webhook: String,
    /// Events that it has taken.
    pub delivered: u64,
    /// Events that were given up, after several tries or because it refused them.
    pub failed: u64,
    /// Events that were dropped, as too many waited.
    pub dropped: u64,
    /// Events that were true no more at the end of `event_timeout`.
    pub skipped: u64,
    /// Events that are still to be sent.
    pub waiting: usize,
    /// Events that wait for the end of `event_timeout`.
    pub held: usize,
    /// Why a try failed last; absent where none has.
    pub failure: Option<String>,
    /// Milliseconds since then.
    pub failure_ms: Option<u64>,
}

/// Sessions turned away, by what for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// Their addresses are not served.
    pub access: u64,
    /// Over `connection_rate_per_ip`.
    pub connection_rate_per_ip: u64,
    /// Over `max_connections_per_ip`.
    pub max_connections_per_ip: u64,
    /// Over `max_connections`.
    pub max_connections: u64,
    /// A PROXY header is required, and not believed from their addresses.
    pub proxy_protocol_from: u64,
    /// No target had been checked yet.
    pub unchecked: u64,
    /// Every target was down.
    pub all_down: u64,
    /// No target led.
    pub no_leader: u64,
    /// Every target that was up refused.
    pub all_tried: u64,
    /// The service was removed while they waited.
    pub removed: u64,
    /// No target could be reached.
    pub unreachable: u64,
    /// Not dialled, for want of descriptors, ports, memory or a right.
    pub own_side: u64,
}

/// One failover. Times are in milliseconds, and count from the moment at which the leader lost the
/// lead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FailoverView {
    /// How long ago that was.
    pub ago_ms: u64,
    /// Who led.
    pub from: String,
    /// Who leads since; absent where nobody does yet.
    pub to: Option<String>,
    /// How long before, the one that led passed a check last.
    pub last_good_ms: Option<f64>,
    /// How long before, it failed one since; absent where it passed to the last.
    pub first_bad_ms: Option<f64>,
    /// What that check found, or why the lead was lost.
    pub verdict: Option<String>,
    /// For how long nobody led; absent where nobody does yet.
    pub leaderless_ms: Option<f64>,
    /// Why the new one leads.
    pub why: Option<String>,
    /// How long after, a session relayed the first byte with the new one.
    pub first_byte_ms: Option<f64>,
    /// Sessions of the one before that were cut.
    pub cut: usize,
    /// Clients that had to wait meanwhile.
    pub held: u64,
    /// Clients that were turned away meanwhile.
    pub refused: u64,
    /// All of it in one sentence.
    pub summary: String,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// `unknown`, `up`, `down`; `unchecked` where nothing checks it.
    pub health: String,
    /// Milliseconds since its health became what it is; absent where nothing checks it.
    pub since_ms: Option<u64>,
    /// TLS is spoken to it, and it is believed whoever it is.
    pub insecure: bool,
    /// The rank that its last pass gave it, where one is asked for; a whole number.
    pub rank: Option<String>,
    /// Live sessions.
    pub live: usize,
    /// Sessions ever led to it.
    pub total: u64,
    /// Its checks, in the order written.
    pub checks: Vec<CheckView>,
    /// What each witness says of it, in the order written.
    pub witnesses: Vec<WitnessView>,
}

/// A certificate, or another file that a service refers to for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The key that refers to it.
    pub key: String,
    /// What it is to the service, in words: `certificate`, `authority of clients`.
    pub what: String,
    /// The file; absent where it is written in the definition itself.
    pub file: Option<String>,
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// Its subject; this and the following are absent where no date of it counts: revocation
    /// lists, pins, authorities of targets.
    pub subject: Option<String>,
    /// The SHA-256 of it, in hexadecimal: its ID in the store.
    pub fingerprint: Option<String>,
    /// Until when it is good, in seconds since 1970.
    pub not_after: Option<i64>,
    /// Whole days until then; negative once it has expired.
    pub days_left: Option<i64>,
    /// `far`, `30 days`, `7 days`, `1 day`, `expired`.
    pub expiry: Option<String>,
    /// Why a newer content of the file is not used; absent where it is.
    pub fault: Option<String>,
}

/// What a witness says of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessView {
    /// `agrees`, `disagrees`, `silent`, `silent, agreed before`, `not heard yet`.
    pub says: String,
    /// It agrees now.
    pub agrees: bool,
    /// Its check, as of a target.
    #[serde(flatten)]
    pub check: CheckView,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// The address that it asks.
    pub address: String,
    /// The verdict of its last run, in words; this and the following are absent before the first.
    pub verdict: Option<String>,
    /// Milliseconds since that run ended.
    pub ago_ms: Option<u64>,
    /// Milliseconds that it took.
    pub took_ms: Option<u64>,
    /// How it went, step by step.
    pub transcript: Option<String>,
    /// How the run went that last changed the target's health.
    pub changed_by: Option<String>,
}

/// `stagedoor tree`: one component and those that it supervises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeView {
    /// The component's name, as `stagedoor restart` takes it.
    pub name: String,
    /// `running`, `backing off`, `parked`, `stopped`.
    pub state: String,
    /// How often it has been restarted.
    pub restarts: u64,
    /// Why it was restarted last.
    pub last_exit: Option<String>,
    /// The arbiter it runs on.
    pub arbiter: String,
    /// Those below it.
    pub children: Vec<Self>,
}

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// The generation in force after it.
    pub generation: u64,
    /// A line for each change; empty where nothing changed.
    pub changes: Vec<String>,
    /// Warnings and notices about the new configuration, as text.
    pub remarks: String,
}

/// What an upgrade came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeView {
    /// The process that serves from now on.
    pub pid: u32,
    /// Milliseconds from its start until it served.
    pub took_ms: u64,
}
