//! The name book: the address that each target name stands for now.
//!
//! Immutable, replaced whole by whoever resolves names in the background; sessions and checks
//! read it, so that both dial the same address and neither ever waits for a name server.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::names::TargetAddress;
use crate::net::dial::Destination;

/// Names and their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameBook {
    /// What is known of each name.
    pub names: HashMap<Arc<str>, Result<IpAddr, String>>,
}

/// A name stands for no address: trouble of our own side, never the target's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unresolved(pub String);

impl NameBook {
    /// The same book, but for where this name leads.
    pub fn moved(&self, host: &Arc<str>, to: IpAddr) -> Self {
        let mut book = self.clone();
        book.names.insert(Arc::clone(host), Ok(to));
        book
    }

    /// Where `address` is to be dialled now.
    ///
    /// # Errors
    /// A name that is not resolved, with the reason: trouble of our own side.
    pub fn resolve(&self, address: &TargetAddress) -> Result<Destination, Unresolved> {
        match address {
            TargetAddress::Ip(address) => Ok(Destination::Ip(*address)),
            TargetAddress::Unix(path) => Ok(Destination::Unix(path.clone())),
            TargetAddress::Name { host, port } => match self.names.get(host) {
                Some(Ok(ip)) => Ok(Destination::Ip(SocketAddr::new(*ip, *port))),
                Some(Err(why)) => Err(Unresolved(why.clone())),
                None => Err(Unresolved(format!("`{host}` has not been looked up yet"))),
            },
        }
    }
}
