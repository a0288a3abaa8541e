//! Pins as people write them → the SHA-256 of a public key (SPKI).
//!
//! 64 hexadecimal digits, `sha256/BASE64` (as browsers wrote it; curl's `sha256//` too), or PEM: a
//! public key, or a certificate, whose leaf is meant.

use base64::Engine;
use rustls::pki_types::pem::SectionKind;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::wire::certificate::{Certificate, CertificateFault, Digest};
use crate::wire::pem;

/// A pin as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenPin<'a> {
    /// The SHA-256 itself, in hexadecimal; perhaps the ID of a certificate.
    Hex(Digest),
    /// The SHA-256 itself.
    Sha256(Digest),
    /// PEM.
    Pem(&'a str),
    /// The path of a PEM file.
    Path(&'a str),
}

/// Why a text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinFault {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Hexadecimal, and too few or too many digits.
    #[error("a SHA-256 has 64 hexadecimal digits, and this has {0}")]
    Length(usize),
    /// Bytes with colons between them.
    #[error("this looks like the fingerprint of a certificate, and a pin is of its public key")]
    Fingerprint,
    /// `sha256/` and then no 32 bytes in base64.
    #[error("what follows `sha256/` is not 32 bytes in base64")]
    Base64,
    /// Another hash.
    #[error("a pin is a SHA-256, not a {0}")]
    Hash(&'static str),
}

/// Which form a text has.
///
/// # Errors
/// It has none.
pub fn parse(text: &str) -> Result<WrittenPin<'_>, PinFault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(PinFault::Empty);
    }
    if pem::is_inline(text) {
        return Ok(WrittenPin::Pem(text));
    }
    if let Some(digest) = Digest::from_hex(text) {
        return Ok(WrittenPin::Hex(digest));
    }
    if let Some(encoded) = text.strip_prefix("sha256/") {
        let encoded = encoded.strip_prefix('/').unwrap_or(encoded);
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
        let digest = bytes.and_then(|bytes| Digest::from_bytes(&bytes));
        return digest.map(WrittenPin::Sha256).ok_or(PinFault::Base64);
    }
    if text.starts_with("sha1/") || text.starts_with("sha512/") {
        return Err(PinFault::Hash(if text.starts_with("sha1/") { "SHA-1" } else { "SHA-512" }));
    }
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit());
    if text.contains(':') && is_hex(&text.replace(':', "")) {
        return Err(PinFault::Fingerprint);
    }
    // A short hexadecimal word may be the name of a file.
    if is_hex(text) && text.len() >= 32 {
        return Err(PinFault::Length(text.len()));
    }
    Ok(WrittenPin::Path(text))
}

/// A pin as browsers wrote it: `sha256/BASE64`.
pub fn write(key: &Digest) -> String {
    format!("sha256/{}", base64::engine::general_purpose::STANDARD.encode(key.as_bytes()))
}

/// The SHA-256 of the public key in a PEM text: of a bare one, or of the first certificate's.
///
/// # Errors
/// There is neither, or it is broken.
pub fn of_pem(text: &str) -> Result<Digest, CertificateFault> {
    let blocks = pem::blocks(text)?;
    let key = blocks.iter().find(|(kind, _)| *kind == SectionKind::PublicKey);
    let has_certificate = blocks.iter().any(|(kind, _)| *kind == SectionKind::Certificate);
    match key {
        Some((_, der)) if !has_certificate => match SubjectPublicKeyInfo::from_der(der) {
            Ok(([], _)) => Ok(Digest::of(der)),
            Ok(_) | Err(_) => Err(CertificateFault::Broken(1)),
        },
        Some(_) | None => Certificate::from_pem(text).map(|certificate| certificate.facts.spki),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    use super::*;

    #[test]
    fn a_pin_is_written_in_one_of_several_forms() {
        let digest = Digest::of(b"key");
        let encoded = base64::engine::general_purpose::STANDARD.encode(digest.as_bytes());
        let hex = digest.to_string();
        assert_eq!(parse(&format!(" {hex} ")), Ok(WrittenPin::Hex(digest)));
        assert_eq!(parse(&hex.to_uppercase()), Ok(WrittenPin::Hex(digest)));
        assert_eq!(parse(&format!("sha256/{encoded}")), Ok(WrittenPin::Sha256(digest)));
        assert_eq!(parse(&write(&digest)), Ok(WrittenPin::Sha256(digest)));
        assert_eq!(parse(&format!("sha256//{encoded}")), Ok(WrittenPin::Sha256(digest)));
        assert_eq!(parse("keys/a.pem"), Ok(WrittenPin::Path("keys/a.pem")));
        assert_eq!(parse("cafe"), Ok(WrittenPin::Path("cafe")));
    }

    #[test]
    fn what_is_no_pin_is_told_apart() {
        let hex = Digest::of(b"key").to_string();
        assert_eq!(parse("  "), Err(PinFault::Empty));
        assert_eq!(parse(&hex[1..]), Err(PinFault::Length(63)));
        assert_eq!(parse("AB:CD:EF"), Err(PinFault::Fingerprint));
        assert_eq!(parse("sha256/AQID"), Err(PinFault::Base64));
        assert_eq!(parse("sha256/*"), Err(PinFault::Base64));
        assert_eq!(parse("sha1/AQID"), Err(PinFault::Hash("SHA-1")));
    }

    #[test]
    fn a_certificate_and_its_bare_key_are_the_same_pin() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let expected = Digest::of(&key.subject_public_key_info());
        assert_eq!(of_pem(&certificate.pem()), Ok(expected));
        assert_eq!(of_pem(&key.public_key_pem()), Ok(expected));
        assert_eq!(of_pem(&key.serialize_pem()), Err(CertificateFault::NoCertificate));
        let garbled = key.public_key_pem().replacen('M', "A", 1);
        assert!(of_pem(&garbled).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,100}") {
            drop(parse(&text));
            drop(of_pem(&text));
        }
    }
}
