//! Behaviour, as one test binary: a file a behaviour, one harness.

mod harness;

mod floors;
mod redis_leader;
mod relaying;
mod reloading;
mod stopping;
