//! Certificates: from PEM to what can be used, and what people want to know of one.
//!
//! The ID is Tyk's: the SHA-256 of the leaf's DER, in hexadecimal (of the public key's, where there
//! is nothing but a public key).

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::wire::pem::{self, PemFault};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A certificate with its chain, and with its private key where that is given.
#[derive(Clone)]
pub struct Certificate {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the leaf says.
    pub facts: Facts,
    /// Leaf and key, ready to be presented; `None`: there is no key.
    pub certified: Option<Arc<CertifiedKey>>,
    /// Of the private key, to see whether it has changed.
    key: Option<Digest>,
}

/// What one certificate says. Texts are the signer's: bytes of others, to be escaped where shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The SHA-256 of its DER.
    pub id: Digest,
    /// The SHA-256 of its public key (SPKI): what a pin names.
    pub spki: Digest,
    /// Its subject, as text.
    pub subject: String,
    /// Who signed it, as text.
    pub issuer: String,
    /// The DNS names and IP addresses that it is good for.
    pub names: Vec<String>,
    /// From when it is good, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// It may sign others.
    pub is_authority: bool,
}

/// Why something is no certificate that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It is not even PEM.
    #[error(transparent)]
    Pem(#[from] PemFault),
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// There is no private key in it.
    #[error("there is no private key beside the certificate")]
    NoKey,
    /// There is more than one private key in it.
    #[error("there is more than one private key in it")]
    ManyKeys,
    /// The key is of a kind that is not supported.
    #[error("its private key is of a kind that is not supported (RSA, ECDSA and Ed25519 are)")]
    KeyKind,
    /// The key belongs to another certificate.
    #[error("its private key does not belong to its first certificate")]
    KeyMismatch,
    /// The DER of a certificate is broken.
    #[error("certificate {0} in it is broken")]
    Broken(usize),
    /// There is no revocation list in it.
    #[error("there is no revocation list in it")]
    NoList,
}

// === impl Certificate ===

impl Certificate {
    /// Reads PEM: the leaf first, then its chain, and a private key anywhere or not at all.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_pem(text: &str) -> Result<Self, CertificateFault> {
        let (mut chain, mut keys) = (Vec::new(), Vec::new());
        for (kind, der) in pem::blocks(text)? {
            if kind == SectionKind::Certificate {
                chain.push(CertificateDer::from(der));
            } else if let Some(key) = private_key(kind, der) {
                keys.push(key);
            }
        }
        if keys.len() > 1 {
            return Err(CertificateFault::ManyKeys);
        }
        let facts = facts(&chain)?;
        let key = keys.pop();
        let digest = key.as_ref().map(|key| Digest::of(key.secret_der()));
        let certified = key.map(|key| certified(&chain, &key)).transpose()?;
        Ok(Self { chain, facts, certified, key: digest })
    }

    /// Leaf and key, for whoever has to present it.
    ///
    /// # Errors
    /// There is no key.
    pub fn presented(&self) -> Result<&Arc<CertifiedKey>, CertificateFault> {
        self.certified.as_ref().ok_or(CertificateFault::NoKey)
    }

    /// The leaf.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

/// The revocation lists in a PEM text.
///
/// # Errors
/// There is none, or the text is not PEM.
pub fn revocation_lists(
    text: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateFault> {
    let lists = pem::blocks(text)?.into_iter();
    let lists = lists.filter(|(kind, _)| *kind == SectionKind::Crl);
    let lists: Vec<_> = lists.map(|(_, der)| CertificateRevocationListDer::from(der)).collect();
    if lists.is_empty() { Err(CertificateFault::NoList) } else { Ok(lists) }
}

/// What a certificate says.
///
/// # Errors
/// Its DER is broken; `index` says which of several it is.
pub fn facts_of(der: &[u8], index: usize) -> Result<Facts, CertificateFault> {
    let broken = CertificateFault::Broken(index);
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| broken.clone())?;
    if !rest.is_empty() {
        return Err(broken);
    }
    Ok(Facts {
        id: Digest::of(der),
        spki: Digest::of(parsed.public_key().raw),
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names: names(&parsed),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        is_authority: parsed.is_ca(),
    })
}

/// The common name (CN) of a certificate, if it has one that is text.
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// When a certificate is good, and whether for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when on, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// A client may show it: it says so, or says nothing of what it is for (RFC 5280, 4.2.1.12).
    pub for_clients: bool,
}

/// When a certificate is good, and whether for clients; `None`: its DER is broken.
pub fn validity_of(der: &[u8]) -> Option<Validity> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let uses = parsed.extended_key_usage().ok()?;
    Some(Validity {
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        for_clients: uses.is_none_or(|uses| uses.value.client_auth || uses.value.any),
    })
}

/// What the leaf says; all of the chain must be whole.
fn facts(chain: &[CertificateDer<'static>]) -> Result<Facts, CertificateFault> {
    let all = chain.iter().enumerate().map(|(index, der)| facts_of(der, index + 1));
    let all: Vec<Facts> = all.collect::<Result<_, _>>()?;
    all.into_iter().next().ok_or(CertificateFault::NoCertificate)
}

fn private_key(kind: SectionKind, der: Vec<u8>) -> Option<PrivateKeyDer<'static>> {
    if kind == SectionKind::PrivateKey {
        Some(PrivateKeyDer::Pkcs8(der.into()))
    } else if kind == SectionKind::RsaPrivateKey {
        Some(PrivateKeyDer::Pkcs1(der.into()))
    } else if kind == SectionKind::EcPrivateKey {
        Some(PrivateKeyDer::Sec1(der.into()))
    } else {
        None
    }
}

fn certified(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, CertificateFault> {
    let key = any_supported_type(key).map_err(|_| CertificateFault::KeyKind)?;
    let certified = CertifiedKey::new(chain.to_vec(), key);
    certified.keys_match().map_err(|_| CertificateFault::KeyMismatch)?;
    Ok(Arc::new(certified))
}

/// The names that a server with this certificate may be called by, each once.
fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(Some(extension)) = parsed.subject_alternative_name() {
        for name in &extension.value.general_names {
            if let Some(name) = name_of(name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    if let GeneralName::IPAddress(bytes) = name { address(bytes) } else { None }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(octets).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string())
}

impl PartialEq for Certificate {
    /// The same chain and the same key.
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key == other.key
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("id", &self.facts.id)
            .field("subject", &self.facts.subject)
            .field("has_key", &self.certified.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Digest ===

impl Digest {
    /// The SHA-256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads 64 hexadecimal digits, of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|it| u8::try_from(it).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect();
        Self::from_bytes(&bytes)
    }

    /// Its first digits: enough to tell it from others by eye, and to name it by.
    pub fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(12);
        digits
    }

    /// Takes over 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    /// In lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_in_any_order_are_ready_to_be_presented() {
        let (certificate, key) = made(&["a.test", "*.b.test", "192.0.2.1", "a.test"]);
        for text in [format!("{certificate}{key}"), format!("{key}{certificate}")] {
            let read = Certificate::from_pem(&text).unwrap();
            assert_eq!(read.facts.names, ["a.test", "*.b.test", "192.0.2.1"]);
            assert!(read.presented().is_ok() && !read.facts.is_authority);
            assert_eq!(read.facts.id, Digest::of(read.leaf()));
            assert!(read.facts.not_before < read.facts.not_after);
        }
        let alone = Certificate::from_pem(&certificate).unwrap();
        assert_eq!(alone.presented().unwrap_err(), CertificateFault::NoKey);
    }

    #[test]
    fn what_cannot_be_presented_is_refused_for_its_own_reason() {
        let ((one, key), (_, other)) = (made(&["a.test"]), made(&["b.test"]));
        let check = |text: String, fault| {
            assert_eq!(Certificate::from_pem(&text).unwrap_err(), fault);
        };
        check(format!("{one}{other}"), CertificateFault::KeyMismatch);
        check(format!("{one}{key}{other}"), CertificateFault::ManyKeys);
        check(key.clone(), CertificateFault::NoCertificate);
        check(String::new(), CertificateFault::Pem(PemFault::Empty));
        let broken = one.replacen("MII", "MIJ", 1);
        if broken != one {
            check(format!("{broken}{key}"), CertificateFault::Broken(1));
        }
        assert_eq!(revocation_lists(&one).unwrap_err(), CertificateFault::NoList);
    }

    #[test]
    fn the_key_is_never_shown_and_another_key_is_another_certificate() {
        let (certificate, key) = made(&["a.test"]);
        let with = Certificate::from_pem(&format!("{certificate}{key}")).unwrap();
        let without = Certificate::from_pem(&certificate).unwrap();
        assert_ne!(with, without);
        assert_eq!(with, Certificate::from_pem(&format!("{key}{certificate}")).unwrap());
        assert!(!format!("{with:?}").contains(&key.lines().nth(1).unwrap()[..20]));
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown() {
        let digest = Digest::of(b"abc");
        let shown = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), shown);
        assert_eq!(Digest::from_hex(&shown.to_uppercase()), Some(digest));
        assert_eq!(Digest::from_hex("zz"), None);
        assert_eq!(Digest::from_hex(&shown[1..]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(facts_of(&bytes, 1));
            drop(Certificate::from_pem(&String::from_utf8_lossy(&bytes)));
        }
    }
}
