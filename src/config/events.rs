//! The model of event handlers: which events there are, who is told of each, and what a webhook is
//! sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::names::TargetAddress;
use crate::config::transport::Policy;

/// Who is told of the events of one service. By default nobody is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventHandlers {
    /// `api_id`: Tyk's identifier of the service. Default: its name.
    pub api_id: Arc<str>,
    /// Those who are told, in the order written.
    pub handlers: Vec<Handler>,
}

/// One who is told of one kind of event.
#[derive(Debug, Clone, PartialEq)]
pub struct Handler {
    /// What it is told of.
    pub kind: EventKind,
    /// Its place in the list of that kind, from 0.
    pub index: usize,
    /// What is done.
    pub action: Action,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A target is down.
    HostDown,
    /// A target that was down is up again.
    HostUp,
    /// Another target leads, or none does.
    LeaderChanged,
}

/// What is done with an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A line in the log, which begins with this.
    Log(Arc<str>),
    /// A request to a URL.
    Webhook(Arc<Webhook>),
}

/// A URL that is told of events.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// `name`; empty: it has none.
    pub name: String,
    /// Where it is.
    pub address: TargetAddress,
    /// How it is spoken to over TLS; `None`: it is not.
    pub tls: Option<Arc<Policy>>,
    /// Default `POST`.
    pub method: &'static str,
    /// The `Host` header.
    pub host: String,
    /// Path and query; they may be a secret and are never shown.
    pub path: String,
    /// Further headers; values may be secrets and are never shown.
    pub headers: Vec<(String, String)>,
    /// What the body is made from.
    pub body: BodyTemplate,
    /// `event_timeout`: the same event of the same target is not sent again within this. Default 0.
    pub cool_down: Duration,
    /// One deadline over a whole try. Default 5 s.
    pub timeout: Duration,
}

/// What a body is made from.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyTemplate {
    /// What is put one after the other.
    pub pieces: Vec<BodyPiece>,
    /// It is JSON: what comes into its holes is escaped.
    pub is_json: bool,
}

/// One piece of a body.
#[derive(Clone, PartialEq, Eq)]
pub enum BodyPiece {
    /// This text, which may hold secrets.
    Text(String),
    /// What this is of the event.
    Fact(Fact),
}

/// What can be said of an event. Each is a text for every kind of event; empty: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// `HostDown`, …
    Event,
    /// Tyk's words for it.
    Message,
    /// What was checked.
    Url,
    /// The status that an HTTP check was answered with; `0`: none.
    ResponseCode,
    /// `true`: the check did not come as far as a status.
    TcpError,
    /// The host of the target.
    Host,
    /// `api_id`.
    ApiId,
    /// The name of the service.
    Service,
    /// What people call the target; of a `LeaderChanged`, who leads.
    Target,
    /// Where it is.
    Address,
    /// Its health before; of a `LeaderChanged`, who led last.
    From,
    /// Its health now; of a `LeaderChanged`, who leads.
    To,
    /// Why, in words.
    Reason,
    /// Since when it is so: RFC 3339, UTC.
    Since,
    /// When this was sent: RFC 3339, UTC.
    Time,
}

// === impl EventKind ===

impl EventKind {
    /// Its name, as Tyk writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostDown => "HostDown",
            Self::HostUp => "HostUp",
            Self::LeaderChanged => "LeaderChanged",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Fact ===

impl Fact {
    /// All of them, in the order of the default body.
    pub const ALL: [Self; 15] = [
        Self::Event,
        Self::Message,
        Self::Url,
        Self::ResponseCode,
        Self::TcpError,
        Self::Host,
        Self::ApiId,
        Self::Service,
        Self::Target,
        Self::Address,
        Self::From,
        Self::To,
        Self::Reason,
        Self::Since,
        Self::Time,
    ];

    /// Its name, in a body and between `${` and `}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Message => "message",
            Self::Url => "url",
            Self::ResponseCode => "response_code",
            Self::TcpError => "tcp_error",
            Self::Host => "host",
            Self::ApiId => "api_id",
            Self::Service => "service",
            Self::Target => "target",
            Self::Address => "address",
            Self::From => "from",
            Self::To => "to",
            Self::Reason => "reason",
            Self::Since => "since",
            Self::Time => "time",
        }
    }
}

// === impl BodyTemplate ===

impl Default for BodyTemplate {
    /// A JSON object with every fact.
    fn default() -> Self {
        let mut pieces = Vec::new();
        for (at, fact) in Fact::ALL.into_iter().enumerate() {
            let before = if at == 0 { "{" } else { "\"," };
            pieces.push(BodyPiece::Text(format!("{before}\"{}\":\"", fact.as_str())));
            pieces.push(BodyPiece::Fact(fact));
        }
        pieces.push(BodyPiece::Text("\"}".to_owned()));
        Self { pieces, is_json: true }
    }
}

// === impl Webhook ===

impl fmt::Display for Webhook {
    /// For people: no path, no header, nothing that could be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            return f.write_str(&self.name);
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let path = if self.path == "/" { "/" } else { "/…" };
        write!(f, "{scheme}://{}{path}", self.host)
    }
}

/// Shows neither path nor headers nor body.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({self}, {}, {:?})", self.method, self.cool_down)
    }
}

// === impl EventHandlers ===

impl EventHandlers {
    /// Its webhooks.
    pub fn webhooks(&self) -> impl Iterator<Item = (&Handler, &Arc<Webhook>)> {
        self.handlers.iter().filter_map(|handler| match &handler.action {
            Action::Webhook(webhook) => Some((handler, webhook)),
            Action::Log(_) => None,
        })
    }
}
