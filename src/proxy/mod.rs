//! Floor 5: the life of a connection.

pub mod announcement;
pub mod client_address;
pub mod greeting;
pub mod header;
pub mod listener;
pub mod sockets;
pub mod turnstile;

mod departure;

pub mod router;
pub mod session;
pub mod worker;

pub mod admission;
pub mod desk;
pub mod live;
pub mod permits;
pub mod registry;
pub mod sources;

pub mod denial;
pub mod ending;
pub mod outcome;
pub mod reason;
pub mod shared_lines;

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
mod secure_direction;
pub mod secure_relay;
#[cfg(test)]
mod secure_relay_bulk_tests;
#[cfg(test)]
mod secure_relay_tests;
#[cfg(test)]
mod secure_relaying;
pub mod splice;
mod transfer;
pub mod watch;
