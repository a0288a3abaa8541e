//! Behaviour, as one test binary: a file a behaviour, one harness.

mod harness;

#[cfg(feature = "chaos")]
mod chaos;
mod definitions;
#[cfg(feature = "chaos")]
mod failing;
mod floors;
mod redis_leader;
mod relaying;
mod reloading;
mod settings;
mod stopping;
mod supervision;
