//! A connection to a party that is no target, a directory or a webhook: its name looked up, TLS
//! agreed on, all by the caller's deadline.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::names::TargetAddress;
use crate::config::transport::Policy;
use crate::discovery::look_up::LookUps;
use crate::net::connect::{Preface, connect};
use crate::net::connectors::Connectors;
use crate::net::dial::Destination;
use crate::net::peer::Peer;
use crate::net::tuning::Tuning;

/// Whom to connect to.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Where it is.
    pub address: &'a TargetAddress,
    /// How it is spoken to over TLS; `None`: it is not.
    pub tls: Option<&'a Arc<Policy>>,
    /// The key of what would be shown to one that asks for a certificate.
    pub certificate_key: &'a str,
}

/// Connects.
///
/// # Errors
/// Why there is no connection, in words.
pub async fn connect_to(
    endpoint: &Endpoint<'_>,
    look_ups: &LookUps,
    connectors: &Connectors,
    deadline: Instant,
) -> Result<Peer, String> {
    let destination = destination(endpoint.address, look_ups).await?;
    let connector = endpoint.tls.map(|policy| connectors.of(policy)).transpose();
    let connector = connector.map_err(|error| error.to_string())?;
    let tuning = Tuning::default();
    let connecting =
        connect(&destination, Preface::default(), connector.as_deref(), deadline, &tuning);
    connecting.await.map_err(|error| of_no_target(&error.to_string(), endpoint.certificate_key))
}

/// What went wrong, in words that are meant for targets.
pub fn of_no_target(words: &str, certificate_key: &str) -> String {
    let certificate = format!("write it as {certificate_key}");
    words.replacen("target ", "", 1).replacen("upstream_certificates", &certificate, 1)
}

async fn destination(address: &TargetAddress, look_ups: &LookUps) -> Result<Destination, String> {
    match address {
        TargetAddress::Ip(address) => Ok(Destination::Ip(*address)),
        TargetAddress::Unix(path) => Ok(Destination::Unix(path.clone())),
        TargetAddress::Name { host, port } => match look_ups.look_up(host).await {
            Some(found) => Ok(Destination::Ip(SocketAddr::new(found?, *port))),
            None => Err(format!("`{host}` is still being looked up")),
        },
    }
}
