//! For tests: TLS servers on the loopback that present what a test makes for them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PublicKeyData,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::config::tls::Versions;
use crate::config::transport::{Manner, Policy, Trust};
use crate::net::connect::{Preface, connect};
use crate::net::connectors::Connectors;
use crate::net::dial::{Destination, DialError};
use crate::net::peer::Peer;
use crate::net::tuning::Tuning;
use crate::wire::certificate::{Certificate, Digest};

pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate, what is sent along with it, and its key.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<KeyPair>,
}

impl Identity {
    pub(super) fn pin(&self) -> Digest {
        Digest::of(&self.key.subject_public_key_info())
    }

    pub(super) fn certificate(&self) -> Arc<Certificate> {
        let body = base64::engine::general_purpose::STANDARD.encode(&self.chain[0]);
        let key = self.key.serialize_pem();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n{key}");
        Arc::new(Certificate::from_pem(&pem).unwrap())
    }
}

pub(super) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = called(name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = called(name);
    params
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

pub(super) fn signed(by: &Authority, params: &CertificateParams) -> Identity {
    let key = Arc::new(KeyPair::generate().unwrap());
    let certificate = params.signed_by(&*key, by).unwrap();
    Identity { chain: vec![certificate.der().clone()], key }
}

pub(super) fn self_signed(params: &CertificateParams) -> Identity {
    let key = Arc::new(KeyPair::generate().unwrap());
    let certificate = params.self_signed(&*key).unwrap();
    Identity { chain: vec![certificate.der().clone()], key }
}

/// What a server asks of its clients.
pub(super) enum Asks<'a> {
    Nothing,
    Certificate(&'a Authority),
}

/// A server that says `hi` to whoever it accepts, for as long as the runtime lives.
pub(super) async fn server(identity: &Identity, asks: Asks<'_>, versions: Versions) -> Destination {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut spoken = Vec::new();
    spoken.extend(versions.tls12.then_some(&rustls::version::TLS12));
    spoken.extend(versions.tls13.then_some(&rustls::version::TLS13));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&spoken).unwrap();
    let builder = match asks {
        Asks::Nothing => builder.with_no_client_auth(),
        Asks::Certificate(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let config = builder.with_single_cert(identity.chain.clone(), key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                stream.write_all(b"hi").await.ok()?;
                stream.read(&mut [0; 1]).await.ok()
            });
        }
    });
    Destination::Ip(address)
}

pub(super) fn policy(trust: Trust) -> Policy {
    Policy {
        server_name: ServerName::try_from("a.test").unwrap(),
        by_client: false,
        trust,
        pins: Vec::new(),
        client_certificate: None,
        manner: Manner::default(),
    }
}

pub(super) fn trusting(authority: &Authority) -> Policy {
    policy(Trust::Authorities(Arc::new(vec![authority.der().clone()])))
}

pub(super) async fn reach(to: &Destination, policy: Policy) -> Result<Peer, DialError> {
    let connector = Connectors::default().of(&Arc::new(policy)).unwrap();
    connect(to, Preface::default(), Some(&connector), Instant::now() + SOON, &Tuning::default())
        .await
}
