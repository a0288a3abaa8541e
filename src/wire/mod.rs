//! Floor 0: bytes to meaning and back, with no IO and no clock.

pub mod certificate;
pub mod details;
pub mod dns;
#[cfg(test)]
mod dns_tests;
pub mod entry;
pub mod expiry;
pub mod pem;
pub mod pin;
pub mod postgres_request;
pub mod proxy_header;
