//! Whom to believe: the certificate of a target, judged while the handshake runs.
//!
//! First the chain, the dates and the name, then the pins: on the key of the target's own
//! certificate (the leaf), whose possession the handshake proves. What else a target sends along is
//! never looked at for a pin. A pin that replaces chain and name leaves the dates.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::wire::certificate::{Digest, Facts, facts_of};

/// Of a name in a certificate, this much is shown.
const SHOWN: usize = 100;

/// Judges the certificates of the targets of one policy.
#[derive(Debug)]
pub struct Verifier {
    /// What of chain, dates and name counts.
    pub chain: Chain,
    /// The keys of which a target must have one; empty: any will do.
    pub pins: Vec<Digest>,
    /// How signatures are verified.
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// What of chain, dates and name counts.
#[derive(Debug)]
pub enum Chain {
    /// All.
    Whole(Arc<WebPkiServerVerifier>),
    /// The dates.
    Dates,
    /// Nothing.
    Nothing,
}

/// Why a certificate is not believed, where rustls does not say all that people need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Nobody who is trusted signed it.
    #[error("its certificate is signed by {}, whom nobody here trusts", Name(.0))]
    Unsigned(String),
    /// It signed itself.
    #[error("its certificate is self-signed ({}), and not one that is trusted here", Name(.0))]
    SelfSigned(String),
    /// The key of whom it names did not sign it.
    #[error("its certificate names {} as its signer, and is not signed with the key that we know", Name(.0))]
    Forged(String),
    /// It is an authority's.
    #[error("the certificate that it presents is an authority's ({}, CA:TRUE), not a server's", Name(.0))]
    Authority(String),
    /// Its key is not among the pinned ones.
    #[error(
        "its public key is none of those that are pinned for it: the SHA-256 of its key is {0}"
    )]
    Unpinned(Digest),
}

/// A text of whoever made the certificate.
struct Name<'a>(&'a str);

// === impl Verifier ===

impl Verifier {
    fn check_pins(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let seen = facts(leaf)?.spki;
        if self.pins.contains(&seen) { Ok(()) } else { Err(distrust(Distrust::Unpinned(seen))) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.chain {
            Chain::Whole(webpki) => {
                let judged = webpki.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                );
                judged.map(drop).map_err(|error| explain(error, end_entity))?;
            }
            Chain::Dates => check_dates(&facts(end_entity)?, now)?,
            Chain::Nothing => {}
        }
        self.check_pins(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn facts(leaf: &CertificateDer<'_>) -> Result<Facts, Error> {
    facts_of(leaf, 1).map_err(|_| CertificateError::BadEncoding.into())
}

fn check_dates(facts: &Facts, now: UnixTime) -> Result<(), Error> {
    let at = |seconds: i64| {
        let since_1970 = u64::try_from(seconds).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(since_1970))
    };
    let (not_before, not_after) = (at(facts.not_before), at(facts.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}

/// Says who signed it, where that is what is wrong.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is rustls' own, and grows")]
fn explain(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let (Error::InvalidCertificate(kind), Ok(facts)) = (&error, facts_of(leaf, 1)) else {
        return error;
    };
    match kind {
        CertificateError::UnknownIssuer if facts.issuer == facts.subject => {
            distrust(Distrust::SelfSigned(facts.subject))
        }
        CertificateError::UnknownIssuer => distrust(Distrust::Unsigned(facts.issuer)),
        CertificateError::BadSignature => distrust(Distrust::Forged(facts.issuer)),
        CertificateError::Other(_) if facts.is_authority => {
            distrust(Distrust::Authority(facts.subject))
        }
        // It tried its own certificate, or another server's, as the signer's.
        CertificateError::Other(_) if facts.issuer == facts.subject => {
            distrust(Distrust::SelfSigned(facts.subject))
        }
        _ => error,
    }
}

fn distrust(why: Distrust) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("somebody without a name");
        }
        self.0.chars().take(SHOWN).try_for_each(|c| write!(f, "{}", c.escape_debug()))
    }
}
