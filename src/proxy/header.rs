//! The header stage: where a port expects a PROXY protocol header, it comes before everything, TLS
//! included. From then on the client is whom the header names.
//!
//! Who may send one is decided by who is connected with us, before a byte is read. Nothing is
//! guessed: a header is required, or (`proxy_protocol_optional`) told by the first byte that differs.

use tokio::time::{Instant, timeout_at};

use crate::config::proxy_protocol::{Expected, Receiving};
use crate::net::endpoint::Endpoint;
use crate::net::proxy_header::{HeaderError, HeaderReader};
use crate::net::socket::Socket;
use crate::proxy::client_address::ClientAddress;
use crate::proxy::ending::Ending;
use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::tlv::Tlvs;

/// Whom `client`, which is connected with us as `peer`, tells us of, before `until`, and what else
/// it says of that connection. Bytes behind the header, and those that are none, are left where
/// they are.
///
/// # Errors
/// How the session ends that does not come to be one.
pub async fn receive(
    client: &Socket,
    peer: Endpoint,
    rules: &Receiving,
    until: Instant,
) -> Result<(ClientAddress, Tlvs), Ending> {
    let direct = |peer| Ok((ClientAddress::direct(peer), Tlvs::default()));
    let is_optional = match rules.expected_of(peer.ip().map(|address| address.ip())) {
        Expected::Header => false,
        Expected::HeaderOrPayload => true,
        Expected::Payload => return direct(peer),
        Expected::Nothing => return Err(Ending::Untrusted),
    };
    let mut reader = HeaderReader::new(client);
    let read = timeout_at(until, reader.read()).await;
    // What has begun as a header has to go on as one.
    let may_be_payload = is_optional && !reader.has_begun();
    match read {
        Ok(Ok(header)) => Ok((ClientAddress::told(peer, &header), header.tlvs)),
        Err(_) | Ok(Err(HeaderError::Silent | HeaderError::Cut)) if may_be_payload => direct(peer),
        Ok(Err(HeaderError::Malformed(HeaderFault::Absent))) if may_be_payload => direct(peer),
        Err(_) => Err(Ending::GreetingTimeout),
        Ok(Err(HeaderError::Silent)) => Err(Ending::ClientLeft),
        Ok(Err(fault @ (HeaderError::Cut | HeaderError::Malformed(_) | HeaderError::Io(_)))) => {
            Err(Ending::NoHeader(fault.to_string()))
        }
    }
}
