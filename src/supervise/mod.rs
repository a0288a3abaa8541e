//! Floor 1: restarts. Knows nothing of proxies, nor of any other room.

pub mod arbiters;
pub mod backoff;
mod beat;
mod cell;
#[cfg(feature = "chaos")]
pub mod chaos;
pub mod child;
pub mod exit;
pub mod handle;
mod inbox;
pub mod intensity;
pub mod panics;
pub mod policy;
pub mod residence;
pub mod slot;
pub mod view;
