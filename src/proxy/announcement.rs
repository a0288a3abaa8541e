//! The announcement: the PROXY protocol header by which a target is told whose connection it gets.
//! Made once a session, and sent anew to each target that is tried.

use crate::config::proxy_protocol::{Extras, Sending};
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
/// A name in a certificate that is longer is left out, as no name.
const LONGEST_NAME: usize = 256;

/// What the targets of a service are told of a client before anything else; nothing, if they are
/// not told. The ledger hears what its connection is called.
pub fn announce(
    live: &LiveService,
    address: &ClientAddress,
    client: &Peer,
    name: Option<&str>,
    ledger: &mut Ledger,
) -> Box<[u8]> {
    let Some(sending) = live.service().pool.sending else { return Box::default() };
    let announcement = Announcement::of(sending, address, client, name);
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
    /// Of this client, which asked for `name`.
    fn of(sending: Sending, address: &ClientAddress, client: &Peer, name: Option<&str>) -> Self {
        let origin = address.origin(client.socket().local().ok().as_ref());
        // Whoever gets LOCAL discards the rest.
        let extras = if origin == Origin::Local { Extras::default() } else { sending.extras };
        let (tlvs, unique_id) = match sending.version {
            Version::V1 => (Tlvs::default(), None),
            Version::V2 => {
                let unique_id = extras.unique_id.then(|| unique_id(address));
                (tlvs(extras, client, name, unique_id.as_deref()), unique_id)
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

fn tlvs(extras: Extras, client: &Peer, name: Option<&str>, unique_id: Option<&[u8]>) -> Tlvs {
    let mut tlvs = Tlvs::default();
    // What does not fit, because somebody has chosen it so long, is left out.
    let mut add = |kind, value: &[u8]| _ = tlvs.push(kind, value, LARGEST - ADDRESSES);
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

    #[test]
    fn ciphers_have_the_names_that_openssl_gives_them() {
        let check = |rfc, expected| assert_eq!(openssl_name(rfc), expected);
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256");
        check("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384");
        check("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305");
        check("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384");
    }
}
