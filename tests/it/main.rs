//! Behaviour, as one test binary: a file a behaviour, one harness.

mod harness;

mod definitions;
mod floors;
mod formats;
mod meaning;
mod redis_leader;
mod relaying;
mod reloading;
mod settings;
mod shipped;
mod stopping;
