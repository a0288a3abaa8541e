//! The announcement: the PROXY protocol header by which a target is told whose connection it gets.
//! Made once a session, and sent anew to each target that is tried.

use crate::config::proxy_protocol::{Extras, Sending};
use crate::config::transport::Starttls;
use crate::net::peer::Peer;
use crate::proxy::client_address::ClientAddress;
use crate::proxy::live::LiveService;
use crate::proxy::outcome::Ledger;
use crate::wire::certificate::common_name;
use crate::wire::proxy_header::header::{Header, Origin, Version};
use crate::wire::proxy_header::packet::LARGEST;
use crate::wire::proxy_header::ssl::Ssl;
use crate::wire::proxy_header::tlv::{Kind, Tlvs};
use crate::wire::proxy_header::writer::write;

/// Addresses and what stands before them take at most this much.
const ADDRESSES: usize = 16 + 216;
/// All TLVs together have so much room.
const ROOM: usize = LARGEST - ADDRESSES;
/// A name in a certificate that is longer is left out, as no name.
const LONGEST_NAME: usize = 256;

/// What is known of a client, besides how it is connected with us.
#[derive(Debug)]
pub struct Known<'a> {
    /// Who it is.
    pub address: &'a ClientAddress,
    /// What a header that is believed has told besides.
    pub received: Option<Box<Tlvs>>,
    /// The name that it has asked us for.
    pub name: Option<&'a str>,
}

/// What each target that is tried is told of the client.
#[derive(Debug)]
pub struct Told<'a> {
    /// First of all.
    pub header: Box<[u8]>,
    /// The name that the client has asked for.
    pub name: Option<&'a str>,
    /// How it is asked for the TLS that the client will begin.
    pub starttls: Option<Starttls>,
}

/// What the targets of a service are told of a client before anything else; nothing, if they are
/// not told. The ledger hears what its connection is called. Nothing is kept of what was received.
pub fn announce(
    live: &LiveService,
    known: Known<'_>,
    client: &Peer,
    ledger: &mut Ledger,
) -> Box<[u8]> {
    let Some(sending) = live.service().pool.sending else { return Box::default() };
    let announcement = Announcement::of(sending, &known, client);
    if let Some(unique_id) = announcement.unique_id {
        ledger.is_called(unique_id);
    }
    announcement.bytes.into()
}

/// What a target is told first.
struct Announcement {
    /// The header.
    bytes: Vec<u8>,
    /// What the connection is called in it.
    unique_id: Option<Vec<u8>>,
}

// === impl Announcement ===

impl Announcement {
    /// Of this client.
    fn of(sending: Sending, known: &Known<'_>, client: &Peer) -> Self {
        let origin = known.address.origin(client.socket().local().ok().as_ref());
        // Whoever gets LOCAL discards the rest.
        let extras = if origin == Origin::Local { Extras::default() } else { sending.extras };
        let (tlvs, unique_id) = match sending.version {
            Version::V1 => (Tlvs::default(), None),
            Version::V2 => {
                let unique_id = extras.unique_id.then(|| unique_id(known.address));
                let mut tlvs = own(extras, client, known.name, unique_id.as_deref());
                if let Some(received) = known.received.as_ref().filter(|_| extras.received) {
                    pass_on(received, &mut tlvs);
                }
                (tlvs, unique_id)
            }
        };
        let bytes = write(&Header { version: sending.version, origin, tlvs });
        Self { bytes, unique_id }
    }
}

/// As the header has told it, or a new one: 16 random bytes, in hexadecimal, so that every log can
/// show it.
fn unique_id(address: &ClientAddress) -> Vec<u8> {
    let told = address.header().and_then(|told| told.unique_id.clone());
    told.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)).into_bytes())
}

/// Adds what was received, in its order, but for what we say ourselves: of a connection that ends
/// here, we know better. A checksum and padding are the sender's alone.
fn pass_on(received: &Tlvs, tlvs: &mut Tlvs) {
    let own: Vec<Kind> = tlvs.iter().map(|(kind, _)| kind).collect();
    let is_passed = |kind| ![Kind::CRC32C, Kind::NOOP].contains(&kind) && !own.contains(&kind);
    for (kind, value) in received.iter().filter(|(kind, _)| is_passed(*kind)) {
        // What does not fit is left out, and what is shorter may fit yet.
        let _ = tlvs.push(kind, value, ROOM);
    }
}

/// What we say ourselves.
fn own(extras: Extras, client: &Peer, name: Option<&str>, unique_id: Option<&[u8]>) -> Tlvs {
    let mut tlvs = Tlvs::default();
    // What does not fit, because somebody has chosen it so long, is left out.
    let mut add = |kind, value: &[u8]| _ = tlvs.push(kind, value, ROOM);
    let agreed = client.agreed();
    if extras.alpn
        && let Some(alpn) = agreed.as_ref().and_then(|agreed| agreed.alpn.as_deref())
    {
        add(Kind::ALPN, alpn);
    }
    if extras.sni
        && let Some(name) = name
    {
        add(Kind::AUTHORITY, name.as_bytes());
    }
    if let Some(unique_id) = unique_id {
        add(Kind::UNIQUE_ID, unique_id);
    }
    if extras.tls
        && let Some(agreed) = agreed
    {
        let certificate = client.certificate();
        let common_name = certificate.and_then(|leaf| common_name(leaf));
        let common_name = common_name.filter(|name| name.len() <= LONGEST_NAME);
        let cipher = client.cipher().map(openssl_name);
        let ssl = Ssl {
            by_tls: true,
            certificate_now: certificate.is_some() && !agreed.is_resumed,
            certificate_ever: certificate.is_some(),
            // Whoever shows one that is not good has no session.
            verified: certificate.is_some(),
            // As OpenSSL writes it.
            version: Some(if agreed.version == "TLS 1.3" { b"TLSv1.3" } else { b"TLSv1.2" }),
            common_name: common_name.as_ref().map(String::as_bytes),
            cipher: cipher.as_deref().map(str::as_bytes),
            ..Ssl::default()
        };
        add(Kind::SSL, &ssl.write());
    }
    tlvs
}

/// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` is `ECDHE-RSA-AES128-GCM-SHA256` to OpenSSL, whose names
/// the protocol asks for; those of TLS 1.3 are the same.
fn openssl_name(rfc: &str) -> String {
    if let Some(rest) = rfc.strip_prefix("TLS13_") {
        // As rustls spells them.
        return format!("TLS_{rest}");
    }
    let name = rfc.strip_prefix("TLS_").unwrap_or(rfc).replace("_WITH_", "_");
    let name = name.replace("AES_", "AES").replace("POLY1305_SHA256", "POLY1305");
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Said<'a> = &'a [(Kind, &'a [u8])];

    fn tlvs(said: Said<'_>) -> Tlvs {
        let mut tlvs = Tlvs::default();
        said.iter().for_each(|(kind, value)| assert!(tlvs.push(*kind, value, LARGEST)));
        tlvs
    }

    #[test]
    fn what_was_received_is_passed_on_but_for_what_we_say_ourselves() {
        let check = |received: Said<'_>, own: Said<'_>, expected: Said<'_>| {
            let mut told = tlvs(own);
            pass_on(&tlvs(received), &mut told);
            assert_eq!(told, tlvs(expected));
        };
        const VPC: Kind = Kind(0xea);
        check(&[], &[(Kind::ALPN, b"h2")], &[(Kind::ALPN, b"h2")]);
        check(
            &[(VPC, b"\x01vpce-1"), (Kind::AUTHORITY, b"a.test"), (Kind(0xee), b"")],
            &[],
            &[(VPC, b"\x01vpce-1"), (Kind::AUTHORITY, b"a.test"), (Kind(0xee), b"")],
        );
        // Twice is twice, in the order in which they came.
        check(&[(VPC, b"1"), (VPC, b"2")], &[], &[(VPC, b"1"), (VPC, b"2")]);
        check(
            &[(Kind::CRC32C, b"sum!"), (Kind::NOOP, b"..."), (Kind::NETNS, b"blue")],
            &[],
            &[(Kind::NETNS, b"blue")],
        );
        check(
            &[(Kind::SSL, &[0; 5]), (Kind::AUTHORITY, b"theirs"), (Kind::UNIQUE_ID, b"id")],
            &[(Kind::AUTHORITY, b"ours"), (Kind::UNIQUE_ID, b"id")],
            &[(Kind::AUTHORITY, b"ours"), (Kind::UNIQUE_ID, b"id"), (Kind::SSL, &[0; 5])],
        );
        // Too long for one header together with what is ours; what is shorter fits.
        let long = [b'x'; ROOM];
        check(
            &[(VPC, &long), (Kind(0xe0), b"y")],
            &[(Kind::ALPN, b"h2")],
            &[(Kind::ALPN, b"h2"), (Kind(0xe0), b"y")],
        );
    }

    #[test]
    fn ciphers_have_the_names_that_openssl_gives_them() {
        let check = |rfc, expected| assert_eq!(openssl_name(rfc), expected);
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256");
        check("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384");
        check("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305");
        check("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384");
    }
}
