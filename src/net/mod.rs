//! Floor 2: bytes meet sockets. Knows no routes and no health.

pub mod accept;
pub mod client_verifier;
pub mod connect;
#[cfg(test)]
mod connect_harness;
#[cfg(test)]
mod connect_tests;
pub mod connectors;
pub mod dial;
pub mod endpoint;
pub mod hello;
pub mod http;
pub mod inherited;
pub mod listen;
pub mod names;
pub mod peer;
#[cfg(test)]
mod peer_tests;
pub mod proxy_header;
pub mod records;
mod registration;
pub mod socket;
#[cfg(test)]
mod socket_tests;
pub mod stream;
pub mod tls_fault;
pub mod tls_server;
pub mod tuning;
pub mod verify;

#[cfg(test)]
pub mod loopback;
#[cfg(test)]
pub mod loopback_tls;
