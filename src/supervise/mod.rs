//! Floor 1: restarts. Knows nothing of proxies, nor of any other room.

pub mod arbiters;
pub mod backoff;
mod beat;
mod cell;
#[cfg(feature = "chaos")]
pub mod chaos;
pub mod child;
mod children;
#[cfg(test)]
mod children_tests;
#[cfg(test)]
mod children_walk;
#[cfg(test)]
mod children_world;
mod effect;
mod entry;
pub mod exit;
mod failing;
pub mod handle;
mod inbox;
pub mod intensity;
pub mod panics;
pub mod policy;
mod residence;
pub mod root;
pub mod slot;
pub mod supervisor;
mod table;
pub mod view;
