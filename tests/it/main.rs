//! Behaviour, as one test binary: a file a behaviour, one harness.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod harness;

#[cfg(feature = "chaos")]
mod chaos;
mod crowd;
mod definitions;
mod docs;
mod floors;
mod formats;
mod meaning;
mod redis_leader;
mod relaying;
mod reloading;
mod settings;
mod shipped;
mod stopping;
mod supervision;
