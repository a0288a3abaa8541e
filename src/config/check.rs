//! The model of health checks: what is asked of a target, how often, and what counts.
//!
//! Scripts are compiled here once, by `validate`; `health/script` interprets them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::byte_pattern::BytePattern;
use crate::config::http_request::HttpRequest;
use crate::config::names::{TargetAddress, TargetKey};
use crate::config::thresholds::Thresholds;
use crate::config::transport::Policy;
use crate::wire::proxy_header::header::Version;

/// The checks of one service and how their verdicts are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSpec {
    /// Every check that runs, in the order written.
    pub checks: Vec<Arc<Check>>,
    /// Times and counts.
    pub thresholds: Thresholds,
    /// Who must agree before a target may lead, if anybody.
    pub witness: Option<Witnesses>,
}

/// `uptime_tests.witness`: whose agreement a target needs to lead.
#[derive(Debug, Clone, PartialEq)]
pub struct Witnesses {
    /// So many must agree.
    pub agree: u32,
    /// Of so many.
    pub count: usize,
    /// One for each witness and target, asked at the witness's address.
    pub checks: Vec<Arc<Check>>,
}

/// One check: asked of one address, for one target (or of nobody's, and then only shown).
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The target this check speaks for; `None`: it runs and is shown, and decides nothing.
    pub target: Option<TargetKey>,
    /// The address to ask.
    pub address: TargetAddress,
    /// How it is spoken to over TLS, from where its script begins it, if it does; `None`: it is not.
    pub tls: Option<Arc<Policy>>,
    /// It begins with a PROXY header of this version, which says that it is a check.
    pub header: Option<Version>,
    /// Only a witness's: the address of the target that it is asked about.
    pub about: Option<TargetAddress>,
    /// What to ask.
    pub kind: CheckKind,
    /// One deadline over connecting and every step.
    pub timeout: Duration,
    /// An answer leaves its connection open until the next run, and its end is news.
    pub keep_open: bool,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// Connect, then run a script; an empty script is a connect check.
    Script(Script),
    /// One HTTP/1.1 request.
    Http(HttpRequest),
    /// PostgreSQL's own start-up, and perhaps one question.
    Postgres(PostgresCheck),
}

/// A check in PostgreSQL's protocol. Its texts have no captures in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresCheck {
    /// Who logs in; `None`: nobody, and any server that takes connections passes.
    pub login: Option<PostgresLogin>,
    /// What is asked after that; only with a login.
    pub question: Option<PostgresQuestion>,
}

/// Who logs in to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresLogin {
    /// The role.
    pub user: Template,
    /// Its password; empty: none.
    pub password: Template,
    /// The database; empty: the one named as the role.
    pub database: Template,
}

/// One statement, and what its answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresQuestion {
    /// The statement.
    pub query: Template,
    /// Its first row, with `|` between columns; `None`: any answer that is no error.
    pub expect: Option<Template>,
}

/// A compiled check script.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// The steps in order.
    pub steps: Vec<Step>,
    /// May the end of a reply be known from RESP framing, so that a wrong answer fails at once.
    pub framing: Framing,
    /// `uptime_tests.rank`: the number that a pass gives its target, of the script's captures.
    pub rank: Option<Template>,
}

/// Whether a reply's end can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// As RESP as long as both directions parse strictly as RESP; the default.
    #[default]
    Detect,
    /// `framing = "resp"`: always RESP; bytes that are not RESP fail the check.
    Resp,
    /// `framing = "none"`: never known.
    None,
}

/// One step of a script: one command of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// Its own deadline within the check's.
    pub timeout: Option<Duration>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `send`, `send_hex`.
    Send(Template),
    /// `send_resp`: these words as an array of bulk strings.
    SendResp(Vec<Template>),
    /// `expect`, `expect_hex`, `expect_regex`: consumes up to and including the match.
    Expect(Matcher),
    /// `reject`: watched for in the same wait as the next expect; seen first, the check fails.
    Reject(Matcher),
    /// `expect_close`: the target closes its side.
    ExpectClose,
    /// `compare`.
    Compare(Comparison),
    /// `wait`.
    Wait(Duration),
    /// `starttls`: asks for TLS like this, and goes on in it.
    Starttls(Asking),
}

/// How a target is asked for TLS in the middle of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Not at all: the steps before have done it.
    Nothing,
    /// As SMTP has it.
    Smtp,
    /// By PostgreSQL's `SSLRequest`.
    Postgres,
}

/// What an expect or a reject looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// These bytes, somewhere in what is still unread.
    Bytes(Template),
    /// This byte regex; its named groups become captures.
    Regex(BytePattern),
}

/// Bytes with holes that are filled in when the script runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// The pieces in order.
    pub parts: Vec<Part>,
}

/// One piece of a template.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes, escapes already undone.
    Bytes(Vec<u8>),
    /// Bytes that came from `${env:…}` or `${file:…}`: sent as they are, shown as `***`.
    Secret(Vec<u8>),
    /// `${target.host}`.
    TargetHost,
    /// `${target.port}`.
    TargetPort,
    /// `${capture.NAME}`.
    Capture(Arc<str>),
}

/// `compare`: two sides and an operator. Both sides numeric: compared as numbers; else as bytes,
/// where only `==` and `!=` can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Left of the operator.
    pub left: Template,
    /// The operator.
    pub operator: Operator,
    /// Right of it.
    pub right: Template,
}

/// The operators of `compare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

// === impl HealthSpec ===

impl HealthSpec {
    /// Every check that runs, those of witnesses included.
    pub fn all_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        let of_witnesses = self.witness.iter().flat_map(|witness| &witness.checks);
        self.checks.iter().chain(of_witnesses)
    }
}

// === impl CheckKind ===

impl CheckKind {
    /// Does its script begin TLS?
    pub fn begins_tls(&self) -> bool {
        match self {
            Self::Script(script) => script.starttls().is_some(),
            Self::Http(_) | Self::Postgres(_) => false,
        }
    }

    /// May it leave its connection open? Those of HTTP and of PostgreSQL end with the answer.
    pub fn can_stay_open(&self) -> bool {
        match self {
            Self::Script(script) => !script.ends_connection(),
            Self::Http(_) | Self::Postgres(_) => false,
        }
    }
}

// === impl Part ===

/// Shows no secret.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes(\"{}\")", bytes.escape_ascii()),
            Self::Secret(_) => f.write_str("Secret(***)"),
            Self::TargetHost => f.write_str("TargetHost"),
            Self::TargetPort => f.write_str("TargetPort"),
            Self::Capture(name) => write!(f, "Capture({name:?})"),
        }
    }
}

// === impl Action ===

impl Action {
    /// Every template in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Send(template)
            | Self::Expect(Matcher::Bytes(template))
            | Self::Reject(Matcher::Bytes(template)) => vec![template],
            Self::SendResp(words) => words.iter().collect(),
            Self::Compare(comparison) => vec![&comparison.left, &comparison.right],
            Self::Expect(Matcher::Regex(_))
            | Self::Reject(Matcher::Regex(_))
            | Self::ExpectClose
            | Self::Wait(_)
            | Self::Starttls(_) => Vec::new(),
        }
    }

    /// The names of what it captures.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        let pattern = match self {
            Self::Expect(Matcher::Regex(pattern)) => Some(pattern),
            Self::Expect(Matcher::Bytes(_)) | Self::Send(_) | Self::SendResp(_) => None,
            Self::Reject(_) | Self::ExpectClose | Self::Compare(_) => None,
            Self::Wait(_) | Self::Starttls(_) => None,
        };
        pattern.into_iter().flat_map(|pattern| pattern.regex().capture_names().flatten())
    }
}

// === impl PostgresCheck ===

impl PostgresCheck {
    /// Every template in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let login = self.login.iter();
        let login = login.flat_map(|it| [&it.user, &it.password, &it.database]);
        let question = self.question.iter();
        login.chain(question.flat_map(|it| [&it.query].into_iter().chain(&it.expect)))
    }
}

// === impl Template ===

impl Template {
    /// Has it a hole for the target's host or port?
    pub fn names_target(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::TargetHost | Part::TargetPort))
    }

    /// The names of the captures that it needs.
    pub fn captures(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => Some(name),
            Part::Bytes(_) | Part::Secret(_) | Part::TargetHost | Part::TargetPort => None,
        })
    }

    /// A template with no holes.
    pub fn literal(bytes: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![Part::Bytes(bytes.into())] }
    }
}

// === impl Script ===

impl Script {
    /// The names of everything that it captures.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| step.action.captures())
    }

    /// Does it see to it that the connection ends?
    pub fn ends_connection(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::ExpectClose))
    }

    /// The index of the step that begins TLS.
    pub fn starttls(&self) -> Option<usize> {
        self.steps.iter().position(|step| matches!(step.action, Action::Starttls(_)))
    }

    /// The index of the step whose answer decides who leads: the last expect, compare or reject,
    /// and an expected close only where there is none of them.
    /// `None`: nothing in it is a question, so that connecting is all that it proves.
    pub fn deciding_step(&self) -> Option<usize> {
        let answers = |step: &Step| match step.action {
            Action::Expect(_) | Action::Reject(_) | Action::Compare(_) => true,
            Action::Send(_)
            | Action::SendResp(_)
            | Action::Wait(_)
            | Action::ExpectClose
            | Action::Starttls(_) => false,
        };
        self.steps.iter().rposition(answers).or_else(|| self.last_question())
    }

    /// The index of the last step that can fail the check by what the target does: what follows it
    /// is a farewell.
    pub fn last_question(&self) -> Option<usize> {
        self.steps.iter().rposition(|step| match step.action {
            Action::Expect(_)
            | Action::Reject(_)
            | Action::Compare(_)
            | Action::ExpectClose
            | Action::Starttls(_) => true,
            Action::Send(_) | Action::SendResp(_) | Action::Wait(_) => false,
        })
    }
}
