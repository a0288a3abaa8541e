//! Floor 1: restarts. Knows nothing of proxies, nor of any other room.

pub mod arbiters;
#[cfg(test)]
mod arbiters_tests;
pub mod backoff;
mod beat;
mod cell;
#[cfg(test)]
mod cell_tests;
#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(feature = "chaos")]
#[cfg(test)]
mod chaos_tests;
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
#[cfg(test)]
mod supervisor_tests;
mod table;
#[cfg(test)]
mod trial;
pub mod view;
