//! What happened, for people: a report of each failover, and whoever is to be told of events.

pub mod body;
pub mod cool_down;
pub mod courier;
pub mod delivery;
pub mod event;
pub mod failover;
pub mod herald;
#[cfg(test)]
mod herald_tests;
pub mod outbox;
#[cfg(test)]
mod outbox_tests;
pub mod retry;
pub mod watch;
