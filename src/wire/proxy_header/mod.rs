//! The header of the PROXY protocol, versions 1 and 2: bytes to meaning and back.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. What is sent is by the book, and
//! what is read has to be: a header that could be taken in two ways is refused.

pub mod checksum;
#[cfg(test)]
mod differential_tests;
pub mod fault;
pub mod header;
pub mod line;
pub mod packet;
pub mod reader;
#[cfg(test)]
mod reader_tests;
pub mod ssl;
pub mod tlv;
pub mod writer;
