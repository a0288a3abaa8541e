//! What the certificate store holds under one ID: a certificate, its chain and perhaps its key; or
//! a bare public key.
//!
//! The ID is that of the certificate, or the SHA-256 of the public key.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::SectionKind;

use crate::wire::certificate::{Certificate, CertificateFault, Digest};
use crate::wire::pem::{self, Block};
use crate::wire::pin;

/// One entry of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is known by.
    pub id: Digest,
    /// The certificate; `None`: it is a bare public key.
    pub certificate: Option<Certificate>,
    /// Its private key. Not in `certificate`, which only remembers what it can do.
    key: Option<Secret>,
    /// The DER of the bare public key.
    public_key: Option<Vec<u8>>,
}

/// A private key: the label of its block, and its DER. Never shown.
#[derive(Clone, PartialEq, Eq)]
struct Secret(&'static str, Vec<u8>);

impl Entry {
    /// Reads PEM; the private key may stand in a text of its own, of which nothing else is taken.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_pem(text: &str, key: Option<&str>) -> Result<Self, CertificateFault> {
        let mut blocks = pem::blocks(text)?;
        if let Some(key) = key {
            let keys = pem::blocks(key)?;
            let keys: Vec<Block> = keys.into_iter().filter(|it| label(&it.0).is_some()).collect();
            if keys.is_empty() {
                return Err(CertificateFault::NoKey);
            }
            blocks.extend(keys);
        }
        let is_bare = |kind: SectionKind| kind == SectionKind::PublicKey;
        if !blocks.iter().any(|(kind, _)| *kind == SectionKind::Certificate) {
            return match &blocks[..] {
                [(kind, der)] if is_bare(*kind) => {
                    let id = pin::of_pem(text)?;
                    Ok(Self { id, certificate: None, key: None, public_key: Some(der.clone()) })
                }
                _ => Err(CertificateFault::NoCertificate),
            };
        }
        let mut secret = None;
        let mut canonical = String::new();
        for (kind, der) in blocks {
            if kind == SectionKind::Certificate {
                canonical.push_str(&pem::write("CERTIFICATE", &der));
            } else if let Some(label) = label(&kind) {
                canonical.push_str(&pem::write(label, &der));
                secret = Some(Secret(label, der));
            }
        }
        let certificate = Certificate::from_pem(&canonical)?;
        let id = certificate.facts.id;
        Ok(Self { id, certificate: Some(certificate), key: secret, public_key: None })
    }

    /// Is there a private key in it?
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The SHA-256 of its public key: what a pin names.
    pub fn spki(&self) -> Digest {
        self.certificate.as_ref().map_or(self.id, |certificate| certificate.facts.spki)
    }

    /// This entry with the key of another one of the same ID, and with the longer chain of both;
    /// `None`: it has a key already, or the other one has none either.
    pub fn completed_by(&self, other: &Self) -> Option<Self> {
        if self.id != other.id || self.has_key() || !other.has_key() {
            return None;
        }
        let length = |entry: &Self| entry.chain().len();
        let longer = if length(self) > length(other) { self } else { other };
        let key = other.key.as_ref().map(|Secret(label, der)| pem::write(label, der));
        Self::from_pem(&longer.without_key(), key.as_deref()).ok()
    }

    /// As PEM: the certificate, its chain, its key.
    pub fn to_pem(&self) -> String {
        let key = self.key.as_ref().map(|Secret(label, der)| pem::write(label, der));
        self.without_key() + &key.unwrap_or_default()
    }

    /// The DER of the bare public key, if it is one.
    pub fn public_key(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }

    /// The certificate, then those that follow it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        self.certificate.as_ref().map_or(&[], |certificate| &certificate.chain)
    }

    fn without_key(&self) -> String {
        let chain = self.chain().iter().map(|der| pem::write("CERTIFICATE", der));
        let bare = self.public_key.iter().map(|der| pem::write("PUBLIC KEY", der));
        chain.chain(bare).collect()
    }
}

/// What the blocks of a private key of this kind are called; `None`: it is no private key.
fn label(kind: &SectionKind) -> Option<&'static str> {
    [
        (SectionKind::PrivateKey, "PRIVATE KEY"),
        (SectionKind::RsaPrivateKey, "RSA PRIVATE KEY"),
        (SectionKind::EcPrivateKey, "EC PRIVATE KEY"),
    ]
    .into_iter()
    .find_map(|(of, label)| (of == *kind).then_some(label))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    use super::*;
    use crate::wire::pem::PemFault;

    /// A certificate, its key, and its public key.
    fn made(name: &str) -> (String, String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem(), key.public_key_pem())
    }

    #[test]
    fn an_entry_is_written_as_it_is_read_with_its_key_last() {
        let ((leaf, key, _), (next, ..)) = (made("a.test"), made("b.test"));
        let whole = Entry::from_pem(&format!("junk\r\n{key}{leaf}{next}"), None).unwrap();
        assert!(whole.has_key());
        assert_eq!(whole.chain().len(), 2);
        assert_eq!(whole.id, Digest::of(&whole.chain()[0]));
        let apart = Entry::from_pem(&format!("{leaf}{next}"), Some(&format!("{next}{key}")));
        assert_eq!(apart.as_ref(), Ok(&whole));
        let text = whole.to_pem();
        assert!(text.starts_with("-----BEGIN C") && text.ends_with("-----END PRIVATE KEY-----\n"));
        assert_eq!(Entry::from_pem(&text, None), Ok(whole));
    }

    #[test]
    fn a_bare_public_key_is_known_by_its_own_hash() {
        let key = KeyPair::generate().unwrap();
        let entry = Entry::from_pem(&key.public_key_pem(), None).unwrap();
        assert_eq!(entry.id, Digest::of(&key.subject_public_key_info()));
        assert_eq!(entry.spki(), entry.id);
        assert!(!entry.has_key() && entry.certificate.is_none());
        assert_eq!(Entry::from_pem(&entry.to_pem(), None), Ok(entry));
    }

    #[test]
    fn what_is_no_entry_is_told_apart() {
        let ((leaf, key, public), (_, other, _)) = (made("a.test"), made("b.test"));
        let check = |text: &str, key: Option<&str>, fault| {
            assert_eq!(Entry::from_pem(text, key).unwrap_err(), fault, "{text}");
        };
        check(&key, None, CertificateFault::NoCertificate);
        check(&format!("{public}{public}"), None, CertificateFault::NoCertificate);
        check(&public, Some(&key), CertificateFault::NoCertificate);
        check(&leaf, Some(&other), CertificateFault::KeyMismatch);
        check(&leaf, Some(&public), CertificateFault::NoKey);
        check(&format!("{leaf}{key}"), Some(&key), CertificateFault::ManyKeys);
        check("hello", None, CertificateFault::Pem(PemFault::Empty));
        let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        check(&leaf, Some(&locked), CertificateFault::Pem(PemFault::Encrypted));
    }

    #[test]
    fn a_key_completes_the_entry_that_lacks_it_and_the_longer_chain_stays() {
        let ((leaf, key, _), (next, ..)) = (made("a.test"), made("b.test"));
        let read = |text: String| Entry::from_pem(&text, None).unwrap();
        let (long, short) = (read(format!("{leaf}{next}")), read(leaf.clone()));
        let whole = read(format!("{leaf}{next}{key}"));
        assert_eq!(long.completed_by(&read(format!("{leaf}{key}"))), Some(whole.clone()));
        assert_eq!(short.completed_by(&whole), Some(whole.clone()));
        assert_eq!(whole.completed_by(&whole), None);
        assert_eq!(long.completed_by(&short), None);
        assert_eq!(read(next).completed_by(&whole), None);
    }

    #[test]
    fn the_key_is_never_shown() {
        let (leaf, key, _) = made("a.test");
        let entry = Entry::from_pem(&leaf, Some(&key)).unwrap();
        let line = key.lines().nth(1).unwrap();
        assert!(entry.to_pem().contains(line) && !format!("{entry:?}").contains(&line[..20]));
        let Some(Secret(_, der)) = &entry.key else { panic!("it has one") };
        assert!(!format!("{entry:?}").contains(&format!("{}, {}, {}", der[0], der[1], der[2])));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}", key in ".{0,100}") {
            drop(Entry::from_pem(&text, Some(&key)));
            drop(Entry::from_pem(&pem::write("PUBLIC KEY", text.as_bytes()), None));
        }
    }
}
