//! What happened, for people: a report of each failover.

pub mod failover;
pub mod watch;
