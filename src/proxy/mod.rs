//! Floor 5: the life of a connection.

mod buffers;
mod direction;
pub mod meter;
pub mod relay;
#[cfg(test)]
mod relay_tests;
mod splice;
pub mod watch;
