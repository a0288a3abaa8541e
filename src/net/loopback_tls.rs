//! For tests: TLS over loopback, an outside peer on one end and a `Peer` of ours on the other.

use std::sync::{Arc, LazyLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::net::loopback;
use crate::net::peer::Peer;
use crate::net::stream::Stream;

/// Both versions that there are to talk.
pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Both sides' configuration, for one version.
#[derive(Debug, Clone)]
pub struct Configs {
    /// Shows a certificate for `localhost`.
    pub server: ServerConfig,
    /// Trusts it.
    pub client: ClientConfig,
}

impl Configs {
    /// What there is by default.
    pub fn of(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(version, rustls::crypto::aws_lc_rs::default_provider())
    }

    /// With the suites of `provider`.
    pub fn with(version: &'static SupportedProtocolVersion, provider: CryptoProvider) -> Self {
        static MADE: LazyLock<(rcgen::Certificate, KeyPair)> = LazyLock::new(|| {
            let key = KeyPair::generate().unwrap();
            let names = vec!["localhost".to_owned()];
            (CertificateParams::new(names).unwrap().self_signed(&key).unwrap(), key)
        });
        let (certificate, key) = &*MADE;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(provider);
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server, client }
    }

    /// A TLS client outside, and the server that we are to it.
    pub async fn client(self) -> (client::TlsStream<TcpStream>, Peer) {
        let (outside, ours) = loopback::tcp().await;
        let (connector, acceptor) = self.both();
        let (outside, ours) = tokio::join!(
            connector.connect(localhost(), outside),
            acceptor.accept(Stream::from(ours)),
        );
        (outside.unwrap(), Peer::from(ours.unwrap()))
    }

    /// A TLS server outside, and the client that we are to it.
    pub async fn server(self) -> (server::TlsStream<TcpStream>, Peer) {
        let (outside, ours) = loopback::tcp().await;
        let (connector, acceptor) = self.both();
        let (ours, outside) = tokio::join!(
            connector.connect(localhost(), Stream::from(ours)),
            acceptor.accept(outside),
        );
        (outside.unwrap(), Peer::from(ours.unwrap()))
    }

    fn both(self) -> (TlsConnector, TlsAcceptor) {
        (TlsConnector::from(Arc::new(self.client)), TlsAcceptor::from(Arc::new(self.server)))
    }
}

/// The name in the certificate.
pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}
