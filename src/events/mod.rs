//! What happened, for people: a report of each failover, and whoever is to be told of events.

pub mod body;
pub mod cool_down;
pub mod courier;
pub mod delivery;
pub mod event;
pub mod failover;
pub mod herald;
pub mod outbox;
pub mod retry;
pub mod watch;
