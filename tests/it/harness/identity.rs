//! Certificates, made while a test runs: authorities, and whom they vouch for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stagedoor::wire::certificate::Digest;

static MADE: AtomicUsize = AtomicUsize::new(1);

/// Somebody who signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key.
pub(crate) struct Identity {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

// === impl Authority ===

impl Authority {
    /// One that nobody knows yet.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // No two of them are mistaken for each other by their names.
        params.distinguished_name = called(&format!("authority {}", MADE.fetch_add(1, Relaxed)));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder of that file, for more of them.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its certificate.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for these names.
    pub(crate) fn sign(&self, names: &[&str]) -> Identity {
        self.sign_as(params(names))
    }

    /// One that has long expired.
    pub(crate) fn sign_expired(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign_as(params)
    }

    fn sign_as(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { der: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

// === impl Identity ===

impl Identity {
    /// One that nobody vouches for.
    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names).self_signed(&key).unwrap();
        Self { der: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// The SHA-256 of its public key, in hexadecimal.
    pub(crate) fn pin(&self) -> String {
        Digest::of(&self.key.subject_public_key_info()).to_string()
    }

    /// Certificate and key, as PEM.
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.pem, self.key.serialize_pem())
    }

    /// The same in a file.
    pub(crate) fn file_in(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, self.pem()).unwrap();
        file
    }

    /// The certificate.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// The key.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    params.distinguished_name = called(names.first().map_or("nobody", String::as_str));
    params
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// What a server asks of its clients.
pub(crate) enum Asks<'a> {
    /// Nothing.
    Nothing,
    /// A certificate that this authority signed.
    Certificate(&'a Authority),
}

/// The configuration of a TLS server.
pub(crate) fn server_config(identity: &Identity, asks: Asks<'_>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match asks {
        Asks::Nothing => builder.with_no_client_auth(),
        Asks::Certificate(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let roots = Arc::new(roots);
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    builder.with_single_cert(vec![identity.der()], identity.key()).unwrap()
}
