//! What else people want to know of a certificate, and no rule asks for: its number, the kind of
//! its key, what it may be used for.

use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Ed25519 (RFC 8410).
const ED25519: &str = "1.3.101.112";

/// What else a certificate says. Texts are the signer's: to be escaped where shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Its serial number, in hexadecimal with colons.
    pub serial: String,
    /// The kind of its key, such as `ECDSA P-256`.
    pub key: String,
    /// What it may be used for (extended key usage); empty: it does not say.
    pub uses: Vec<String>,
}

/// What else a certificate says; `None`: its DER is broken.
pub fn details_of(der: &[u8]) -> Option<Details> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(Details {
        serial: parsed.raw_serial_as_string(),
        key: kind_of(parsed.public_key()),
        uses: uses(&parsed),
    })
}

/// The kind of a bare public key; `None`: its DER is broken.
pub fn key_kind(der: &[u8]) -> Option<String> {
    SubjectPublicKeyInfo::from_der(der).ok().map(|(_, key)| kind_of(&key))
}

fn kind_of(key: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = key.algorithm.algorithm.to_id_string();
    if algorithm == ED25519 {
        return "Ed25519".to_owned();
    }
    if let Ok(PublicKey::RSA(rsa)) = key.parsed() {
        return format!("RSA {}", rsa.key_size());
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|it| Oid::try_from(it).ok());
    match curve.map(|curve| curve.to_id_string()).as_deref() {
        Some("1.2.840.10045.3.1.7") => "ECDSA P-256".to_owned(),
        Some("1.3.132.0.34") => "ECDSA P-384".to_owned(),
        Some("1.3.132.0.35") => "ECDSA P-521".to_owned(),
        Some(_) | None => format!("of another kind ({algorithm})"),
    }
}

fn uses(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.extended_key_usage() else { return Vec::new() };
    let said = extension.value;
    let known = [
        (said.server_auth, "servers"),
        (said.client_auth, "clients"),
        (said.any, "anything"),
        (said.code_signing, "code signing"),
        (said.email_protection, "e-mail"),
        (said.time_stamping, "time stamps"),
        (said.ocsp_signing, "OCSP"),
    ];
    let known = known.into_iter().filter(|(says, _)| *says).map(|(_, name)| name.to_owned());
    known.chain(said.other.iter().map(Oid::to_id_string)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData, SerialNumber};

    use super::*;

    #[test]
    fn a_key_is_named_by_its_kind() {
        let check = |algorithm, expected: &str| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let public = key.subject_public_key_info();
            assert_eq!(key_kind(&public).as_deref(), Some(expected));
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            assert_eq!(details_of(certificate.der()).unwrap().key, expected);
        };
        check(&rcgen::PKCS_ED25519, "Ed25519");
        check(&rcgen::PKCS_ECDSA_P256_SHA256, "ECDSA P-256");
        check(&rcgen::PKCS_ECDSA_P384_SHA384, "ECDSA P-384");
        check(&rcgen::PKCS_RSA_SHA256, "RSA 2048");
    }

    #[test]
    fn its_number_and_its_uses_are_told() {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(vec![1, 0xab, 3]));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::Other(vec![1, 2, 3]),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let details = details_of(certificate.der()).unwrap();
        assert_eq!(details.serial, "01:ab:03");
        assert_eq!(details.uses, ["clients", "1.2.3"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(details_of(&bytes));
            drop(key_kind(&bytes));
        }
    }
}
