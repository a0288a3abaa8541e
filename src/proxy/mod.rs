//! Floor 5: the life of a connection.

mod buffers;
mod direction;
pub mod meter;
pub mod relay;
#[cfg(test)]
mod relay_bulk_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod relaying;
mod splice;
pub mod watch;
