//! The address of a session's client: where it really is, and by whom it came. What a PROXY header
//! says counts only here, and only if it was to be believed.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::net::endpoint::Endpoint;
use crate::wire::proxy_header::header::{Header, Origin};
use crate::wire::proxy_header::tlv::Kind;

/// No host name is longer, and no more of one is kept.
const LONGEST_AUTHORITY: usize = 255;

/// Who a session's client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress {
    /// Who is connected with us.
    peer: Endpoint,
    /// What it has told us, if it was asked. In a box: most sessions have none.
    told: Option<Box<Told>>,
}

/// What a header has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose connection it is.
    pub origin: Origin,
    /// What it is called.
    pub unique_id: Option<Vec<u8>>,
    /// The name that its client asked for, cut to what a name can have.
    pub authority: Option<Vec<u8>>,
    /// The client, if the header names one.
    real: Option<Endpoint>,
}

// === impl ClientAddress ===

impl ClientAddress {
    /// A client that is connected with us itself.
    pub fn direct(peer: Endpoint) -> Self {
        Self { peer, told: None }
    }

    /// A client of whom `peer` tells in a header that is to be believed.
    pub fn told(peer: Endpoint, header: &Header) -> Self {
        let tlv = |kind| header.tlvs.get(kind).filter(|value| !value.is_empty());
        let authority = tlv(Kind::AUTHORITY);
        let told = Told {
            origin: header.origin.clone(),
            unique_id: tlv(Kind::UNIQUE_ID).map(<[u8]>::to_vec),
            authority: authority.map(|name| name[..name.len().min(LONGEST_AUTHORITY)].to_vec()),
            real: real(&header.origin),
        };
        Self { peer, told: Some(Box::new(told)) }
    }

    /// The client: as the header says, or whoever is connected with us.
    pub fn real(&self) -> &Endpoint {
        self.via().map_or(&self.peer, |(real, _)| real)
    }

    /// The client's IP address, if it has one: what lists, limits and balances go by.
    pub fn ip(&self) -> Option<IpAddr> {
        self.real().ip().map(|address| address.ip())
    }

    /// Who is connected with us, where that is not the client: both.
    fn via(&self) -> Option<(&Endpoint, &Endpoint)> {
        Some((self.told.as_ref()?.real.as_ref()?, &self.peer))
    }

    /// Who is connected with us in the client's name; nobody, if it is the client.
    pub fn sender(&self) -> Option<&Endpoint> {
        self.via().map(|(_, peer)| peer)
    }

    /// What a header has told.
    pub fn header(&self) -> Option<&Told> {
        self.told.as_deref()
    }

    /// Whose connection a target is told that this is; `local` is our end of it.
    pub fn origin(&self, local: Option<&Endpoint>) -> Origin {
        match self.told.as_ref().map(|told| &told.origin) {
            Some(
                told @ (Origin::Local
                | Origin::Tcp4 { .. }
                | Origin::Tcp6 { .. }
                | Origin::Unix { .. }),
            ) => told.clone(),
            Some(Origin::Unknown) | None => own(&self.peer, local),
        }
    }
}

/// A connection by its own two ends. A client of a unix socket has a name only if it has bound one:
/// without, there is nothing to tell.
fn own(peer: &Endpoint, local: Option<&Endpoint>) -> Origin {
    match (peer, local) {
        (Endpoint::Ip(peer), Some(Endpoint::Ip(local))) => Origin::tcp(*peer, *local),
        (Endpoint::Unix(Some(peer)), Some(Endpoint::Unix(local))) => Origin::Unix {
            source: bytes(peer),
            destination: local.as_ref().map(bytes).unwrap_or_default(),
        },
        (Endpoint::Ip(_) | Endpoint::Unix(_), _) => Origin::Unknown,
    }
}

fn bytes(path: &PathBuf) -> Vec<u8> {
    OsString::from(path).into_vec()
}

fn real(origin: &Origin) -> Option<Endpoint> {
    match origin {
        Origin::Local | Origin::Unknown => None,
        Origin::Tcp4 { source, .. } => Some(Endpoint::from(std::net::SocketAddr::V4(*source))),
        Origin::Tcp6 { source, .. } => Some(Endpoint::from(std::net::SocketAddr::V6(*source))),
        Origin::Unix { source, .. } => {
            let path = (!source.is_empty()).then(|| OsString::from_vec(source.clone()).into());
            Some(Endpoint::Unix(path))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::wire::proxy_header::header::Version;
    use crate::wire::proxy_header::tlv::Tlvs;

    fn ip(text: &str) -> Endpoint {
        Endpoint::from(text.parse::<SocketAddr>().unwrap())
    }

    fn tcp(source: &str, destination: &str) -> Origin {
        Origin::tcp(source.parse().unwrap(), destination.parse().unwrap())
    }

    /// A client told of by 127.0.0.1:9: real, sender, and what a target is told.
    fn check(origin: Origin, expected: (&str, Option<&str>, Origin)) {
        let header = Header { version: Version::V2, origin, tlvs: Tlvs::default() };
        let address = ClientAddress::told(ip("127.0.0.1:9"), &header);
        let sender = address.sender().map(Endpoint::to_string);
        let told = address.origin(Some(&ip("127.0.0.1:80")));
        assert_eq!((&*address.real().to_string(), sender.as_deref(), told), expected);
    }

    #[test]
    fn a_header_names_the_client_and_targets_are_told_of_it() {
        let v4 = tcp("10.0.0.1:5", "10.0.0.2:6");
        check(v4.clone(), ("10.0.0.1:5", Some("127.0.0.1:9"), v4));
        let v6 = tcp("[2001:db8::1]:5", "[::1]:6");
        check(v6.clone(), ("[2001:db8::1]:5", Some("127.0.0.1:9"), v6));
        let mixed = tcp("10.0.0.1:5", "[::1]:6");
        check(mixed.clone(), ("10.0.0.1:5", Some("127.0.0.1:9"), mixed));
        let unix = Origin::Unix { source: b"/a\n".to_vec(), destination: Vec::new() };
        check(unix.clone(), ("unix:/a\\n", Some("127.0.0.1:9"), unix));
    }

    #[test]
    fn without_a_name_it_is_whoever_is_connected_with_us() {
        let own = tcp("127.0.0.1:9", "127.0.0.1:80");
        check(Origin::Unknown, ("127.0.0.1:9", None, own.clone()));
        check(Origin::Local, ("127.0.0.1:9", None, Origin::Local));
        let direct = ClientAddress::direct(ip("127.0.0.1:9"));
        assert_eq!(direct.origin(Some(&ip("127.0.0.1:80"))), own);
    }

    #[test]
    fn a_client_of_a_unix_socket_has_the_name_that_it_has_bound_or_none() {
        let local = Endpoint::Unix(Some("/run/s".into()));
        let nameless = ClientAddress::direct(Endpoint::Unix(None));
        assert_eq!(nameless.origin(Some(&local)), Origin::Unknown);
        let named = ClientAddress::direct(Endpoint::Unix(Some("/run/c".into())));
        let expected = Origin::Unix { source: b"/run/c".to_vec(), destination: b"/run/s".to_vec() };
        assert_eq!(named.origin(Some(&local)), expected);
    }
}
