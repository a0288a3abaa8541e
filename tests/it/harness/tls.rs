//! A TLS client of the loopback, with rustls: it says any name, offers any protocol, and tells the
//! alert that it was refused with.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::connect;

/// A connection inside TLS.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// What a client trusts and offers; shared, so that it can resume.
#[derive(Clone)]
pub(crate) struct Trust(ClientConfig);

impl Trust {
    /// Trusts what this authority signs.
    pub(crate) fn of(authority: &Authority) -> Self {
        Self::in_versions(authority, rustls::ALL_VERSIONS)
    }

    /// The same, in these versions.
    pub(crate) fn in_versions(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).expect("it is a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider speaks them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(config)
    }

    /// Offers these protocols.
    pub(crate) fn offering(mut self, alpn: &[&str]) -> Self {
        self.0.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shows this certificate if it is asked for one.
    pub(crate) fn showing(mut self, issued: &Issued) -> Self {
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .expect("it is PEM");
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("it is PEM");
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("it is a key");
        // Whatever the server hints at: a client that means harm shows what it has.
        self.0.client_auth_cert_resolver =
            Arc::new(rustls::sign::SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        self
    }

    /// Says no name.
    pub(crate) fn nameless(mut self) -> Self {
        self.0.enable_sni = false;
        self
    }

    /// Never resumes.
    pub(crate) fn forgetful(mut self) -> Self {
        self.0.resumption = Resumption::disabled();
        self
    }

    /// Takes up a session with anybody, whatever it is called now.
    pub(crate) fn confusing_names(mut self) -> Self {
        self.0.resumption = Resumption::store(Arc::new(Nameless::default()));
        self
    }

    /// Connects to `port` and completes the handshake as a client of `name`.
    pub(crate) fn connect(&self, port: u16, name: &str) -> io::Result<Tls> {
        self.over(connect(port), name)
    }

    /// The same over a connection that is there.
    pub(crate) fn over(&self, stream: TcpStream, name: &str) -> io::Result<Tls> {
        let name = ServerName::try_from(name.to_owned()).expect("it is a name");
        let connection = ClientConnection::new(Arc::new(self.0.clone()), name)
            .expect("the configuration is sound");
        let mut tls = StreamOwned::new(connection, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(tls)
    }

    /// The first message of a client of `name`.
    pub(crate) fn hello(&self, name: &str) -> Vec<u8> {
        let name = ServerName::try_from(name.to_owned()).expect("it is a name");
        let mut connection = ClientConnection::new(Arc::new(self.0.clone()), name)
            .expect("the configuration is sound");
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).expect("a vector takes it");
        hello
    }

    /// Is refused; with which words.
    pub(crate) fn refused(&self, port: u16, name: &str) -> String {
        let read = |mut tls: Tls| tls.read(&mut [0]).map(|count| format!("{count} bytes came"));
        match self.connect(port, name).and_then(read) {
            Ok(came) => panic!("{name} was served: {came}"),
            Err(error) => error.to_string(),
        }
    }
}

/// Remembers sessions as if every server were one.
#[derive(Debug)]
struct Nameless(ClientSessionMemoryCache);

impl Default for Nameless {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(8))
    }
}

fn anybody() -> ServerName<'static> {
    ServerName::try_from("anybody").expect("it is a name")
}

impl ClientSessionStore for Nameless {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anybody(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anybody())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anybody(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anybody())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anybody());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anybody(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anybody())
    }
}

/// Sends `request` and reads exactly as many bytes back.
pub(crate) fn echoed(tls: &mut Tls, request: &[u8]) -> Vec<u8> {
    tls.write_all(request).expect("the proxy takes it");
    let mut reply = vec![0; request.len()];
    tls.read_exact(&mut reply).expect("the echo comes back");
    reply
}
