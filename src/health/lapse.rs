//! The lapse: what spoke against a leader when it lost the lead, and who is told of the change.

use actix::Message;
use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::health::leader::Change;

/// What spoke against a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lapse {
    /// The end of the last run of its check that it passed.
    pub last_good: Option<Instant>,
    /// The end of the first one that it failed since, and its verdict in words.
    pub first_bad: Option<(Instant, String)>,
}

/// Another target leads a service, or none does.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct LeaderChanged {
    /// The service.
    pub service: ServiceName,
    /// The change.
    pub change: Change,
    /// What spoke against the one that led, if one did.
    pub lapse: Lapse,
}
