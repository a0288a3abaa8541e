//! Judges the certificates of clients: signed by one of the authorities, or listed itself.
//!
//! Both ways dates and use are looked at. A listed certificate is matched exactly and signs nobody;
//! one that an authority signed is looked for in the revocation lists, which count even when they
//! are out of date: an old list is better than none.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ExtendedKeyPurpose,
    RootCertStore, SignatureScheme,
};

use crate::config::tls::ClientAuth;
use crate::wire::certificate::{Digest, Validity, validity_of};

/// Judges clients by what one service asks for.
pub struct ClientVerifier {
    leaves: Vec<Digest>,
    /// None: no authority is named.
    signed: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

// === impl ClientVerifier ===

impl ClientVerifier {
    /// A verifier that serves whom `asked` names.
    ///
    /// # Errors
    /// What rustls cannot use of it; `validate` has tried already.
    pub fn new(asked: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in &asked.authorities {
            roots.add(authority.clone())?;
        }
        let signed = (!roots.is_empty()).then(|| {
            let roots = Arc::new(roots);
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
                .with_crls(asked.revoked.iter().cloned())
                .only_check_end_entity_revocation()
                .build()
        });
        let signed = signed.transpose().map_err(|error| Error::General(error.to_string()))?;
        let leaves = asked.leaves.clone();
        Ok(Self { leaves, signed, provider: Arc::clone(provider) })
    }

    fn is_listed(&self, leaf: &CertificateDer<'_>) -> bool {
        self.leaves.contains(&Digest::of(leaf))
    }
}

/// Is a certificate that is listed itself in date, and meant for clients?
fn judge_listed(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let Some(Validity { not_before, not_after, for_clients }) = validity_of(leaf) else {
        return Err(CertificateError::BadEncoding);
    };
    let second =
        |at: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unsigned_abs()));
    let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if at < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: second(not_before),
        });
    }
    if at > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after: second(not_after) });
    }
    if for_clients {
        return Ok(());
    }
    Err(CertificateError::InvalidPurposeContext {
        required: ExtendedKeyPurpose::ClientAuth,
        presented: Vec::new(),
    })
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A client that chooses by these hints would keep a listed certificate to itself.
        match &self.signed {
            Some(signed) if self.leaves.is_empty() => signed.root_hint_subjects(),
            Some(_) | None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.is_listed(leaf) {
            return judge_listed(leaf, now)
                .map(|()| ClientCertVerified::assertion())
                .map_err(Error::InvalidCertificate);
        }
        match &self.signed {
            Some(signed) => signed.verify_client_cert(leaf, chain, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.signed.is_some();
        f.debug_struct("ClientVerifier")
            .field("leaves", &self.leaves)
            .field("signed", &signed)
            .finish()
    }
}
