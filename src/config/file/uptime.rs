//! `uptime_tests.*` as it is written: what is asked of targets, how often, and what counts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::foreign;
use crate::config::file::scalars::{Message, Period, Timeout};

/// The health checks of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::uptime_tests)]
pub struct UptimeTests {
    /// No check runs. Default: false.
    pub disabled: Option<bool>,
    /// The checks, each of one address.
    pub check_list: Option<Vec<WrittenCheck>>,
    /// Instead of `check_list`: the same script for every target.
    pub commands: Option<Vec<Command>>,
    /// Instead of `check_list`: a preset, or a file, with the check for every target.
    pub check: Option<String>,
    /// The parameters of `check`.
    pub with: Option<BTreeMap<String, String>>,
    /// With `balance = "leader"`: a whole number made of a check's captures, such as
    /// "${capture.offset}". Where several targets claim the lead and nothing else tells them apart,
    /// the one with the highest leads.
    pub rank: Option<Message>,
    /// With `balance = "leader"`: who must agree before a target may lead.
    pub witness: Option<WrittenWitness>,
    /// Times and counts.
    pub config: Option<UptimeConfig>,
}

/// Whose agreement a target needs to lead, such as Sentinels.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenWitness {
    /// So many of them must agree. Default: more than half.
    #[schemars(range(min = 1, max = 10_000))]
    pub agree: Option<u32>,
    /// The witnesses, each asked about every target.
    #[schemars(required)]
    pub check_list: Option<Vec<WitnessCheck>>,
    /// The script of every witness that has none of its own. ${target.host} and ${target.port} are
    /// those of the target that it is asked about.
    pub commands: Option<Vec<Command>>,
}

/// One witness.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessCheck {
    /// Where it is: `host:port`, `tcp://host:port`, `tls://host:port` or `unix:/path`.
    #[schemars(required)]
    pub url: Option<String>,
    /// One deadline over connecting and every command. Default: `config.timeout`.
    pub timeout: Option<Timeout>,
    /// Its own script: it passes where the witness agrees that this target leads.
    pub commands: Option<Vec<Command>>,
}

/// One check.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenCheck {
    /// What to ask: `host:port`, `tcp://host:port`, `tls://host:port`, `http://host:port/path`,
    /// `https://host:port/path` or `unix:/path`.
    #[schemars(required)]
    pub url: Option<String>,
    /// `tcp`, `tls`, `http` or `https`, where the URL has no scheme. Default: as its target is
    /// spoken to.
    pub protocol: Option<String>,
    /// The target this check speaks for, if it is not the one at the same address.
    pub target: Option<String>,
    /// One deadline over connecting and every command. Default: `config.timeout`.
    pub timeout: Option<Timeout>,
    /// The script. Empty: connecting is all that is asked.
    pub commands: Option<Vec<Command>>,
    /// Instead of `commands`: a preset, or a file, with the check.
    pub check: Option<String>,
    /// The parameters of `check`.
    pub with: Option<BTreeMap<String, String>>,
    /// Send a PROXY protocol header first, which says that it is a check. Default: as sessions do,
    /// where the check asks its target's own address.
    pub enable_proxy_protocol: Option<bool>,
    /// HTTP: the method. Default: GET.
    pub method: Option<String>,
    /// HTTP: further headers.
    pub headers: Option<BTreeMap<String, String>>,
    /// HTTP: the body, in base64.
    pub body: Option<String>,
    /// HTTP: which statuses pass: 200 (default), a list, "2xx", "200-299".
    pub expect_status: Option<ExpectStatus>,
}

/// Which HTTP statuses pass.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ExpectStatus {
    /// One status.
    Code(u16),
    /// "2xx" or "200-299".
    Range(String),
    /// Any of these.
    Any(Vec<OneStatus>),
}

/// One entry of a list of statuses.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneStatus {
    /// One status.
    Code(u16),
    /// "2xx" or "200-299".
    Range(String),
}

/// One command of a check script.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What to do.
    #[schemars(required)]
    pub name: Option<CommandName>,
    /// Its argument. Knows \r \n \t \\ \xNN and ${target.host}, ${target.port}, ${env:NAME},
    /// ${file:PATH}, ${capture.NAME}; in a check file also ${with.NAME} and
    /// ${with.NAME:-DEFAULT}.
    pub message: Option<Message>,
    /// Its own deadline within the check's.
    pub timeout: Option<Timeout>,
    /// In a check file: the command is there only if this parameter is given.
    pub when: Option<String>,
    /// In a check file: the command is there only if this parameter is not given.
    pub unless: Option<String>,
}

/// The commands of a check script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// Send this text.
    Send,
    /// Send these bytes, in hexadecimal.
    SendHex,
    /// Send these words as one RESP command. What a hole brings in stays within its word.
    SendResp,
    /// This text appears somewhere in what is still unread.
    Expect,
    /// These bytes, in hexadecimal, appear.
    ExpectHex,
    /// This regular expression matches; its named groups become captures.
    ExpectRegex,
    /// This text, seen before the next expected one, fails the check at once.
    Reject,
    /// The target closes its side.
    ExpectClose,
    /// A comparison such as `${capture.lag} < 10`.
    Compare,
    /// Ask for TLS, as `smtp` or `postgres` does or not at all, and go on in it.
    Starttls,
    /// Wait this long.
    Wait,
}

/// Times and counts of the checks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = foreign::uptime_config)]
pub struct UptimeConfig {
    /// Between two checks, ±10 %. Default: 1s; 250ms with a leader.
    pub interval: Option<Period>,
    /// The same while a state is changing. Default: 100ms.
    pub fast_interval: Option<Period>,
    /// The same while the target is down. Default: `interval`.
    pub down_interval: Option<Period>,
    /// Deadline of a check. Default: 1s.
    pub timeout: Option<Timeout>,
    /// Passes in a row that bring a target up. Default: 2.
    #[schemars(range(min = 1, max = 10_000))]
    pub rise: Option<u32>,
    /// Failures in a row that take a target down. Default: 3.
    #[schemars(range(min = 1, max = 10_000))]
    pub fall: Option<u32>,
    /// The same for refused connections. Default: 3; 1 with a leader.
    #[schemars(range(min = 1, max = 10_000))]
    pub fall_refused: Option<u32>,
    /// The same for contradicted checks. Default: 1.
    #[schemars(range(min = 1, max = 10_000))]
    pub fall_rejected: Option<u32>,
    /// Whether the end of a reply is known from RESP framing. Default: found out.
    pub framing: Option<WrittenFraming>,
    /// A check that is answered leaves its connection open until its next run; where that ends, the
    /// target is asked at once. Default: false.
    pub keep_open: Option<bool>,
}

/// How the end of a reply is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WrittenFraming {
    /// By RESP, always.
    Resp,
    /// Never.
    None,
}

/// A file that `check` names: one script for any target.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    /// What the script finds out, for people.
    pub description: Option<String>,
    /// The script.
    pub commands: Option<Vec<Command>>,
    /// Whether the end of a reply is known from RESP framing.
    pub framing: Option<WrittenFraming>,
    /// Instead of `commands`: a check in PostgreSQL's own protocol.
    pub postgres: Option<WrittenPostgres>,
}

/// A check in PostgreSQL's own protocol. Its texts know what messages know, but no captures.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrittenPostgres {
    /// The role that logs in. Default: nobody does, and any server that takes connections passes.
    pub user: Option<Message>,
    /// Its password, for md5 and SCRAM-SHA-256.
    pub password: Option<Message>,
    /// The database. Default: the one named as the role.
    pub database: Option<Message>,
    /// What is asked after the login: one SQL statement.
    pub query: Option<Message>,
    /// What its first row has to be, with `|` between columns. Default: any answer but an error.
    pub expect: Option<Message>,
}
