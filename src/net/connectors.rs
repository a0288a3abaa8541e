//! Connectors: everything that a TLS handshake with a target needs, made ready once a policy.
//!
//! They outlive sessions and reloads: a policy that stays keeps its connector, and with it the
//! tickets by which a target need not show its certificate anew. One that differs in anything has
//! a connector of its own, so that no ticket outlives the rules it was made under.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use tokio_rustls::TlsConnector;

use crate::config::authorities;
use crate::config::domain::normal;
use crate::config::tls::Versions;
use crate::config::transport::{Manner, Policy, Starttls, Trust};
use crate::net::verify::{Chain, Verifier};

/// The connectors in use. Clones share them.
#[derive(Clone, Default)]
pub struct Connectors {
    built: Arc<ArcSwap<HashMap<Arc<Policy>, Arc<Connector>>>>,
    system: Arc<OnceLock<Arc<RootCertStore>>>,
}

/// What a TLS handshake with the targets of one policy needs.
pub struct Connector {
    tls: TlsConnector,
    server_name: ServerName<'static>,
    starttls: Option<Starttls>,
    presented: Arc<Presented>,
}

/// A policy that no connector can be made of: trouble of our own side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TLS to it could not be set up: {0}")]
pub struct Unbuildable(pub String);

/// What is presented to targets that ask for a certificate, and whether one has.
struct Presented {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

// === impl Connectors ===

impl Connectors {
    /// Has a connector ready for each of these policies, and for no others. Those that were there
    /// stay.
    pub fn prepare<'a>(&self, policies: impl IntoIterator<Item = &'a Arc<Policy>>) {
        let before = self.built.load();
        let built = policies.into_iter().filter_map(|policy| {
            let kept = before.get(policy).cloned();
            // What is wrong with it is told to whoever needs it.
            let connector = kept.or_else(|| self.build(policy).ok().map(Arc::new))?;
            Some((Arc::clone(policy), connector))
        });
        self.built.store(Arc::new(built.collect()));
    }

    /// The connector of a policy: the prepared one, or one made for this once.
    ///
    /// # Errors
    /// None can be made.
    pub fn of(&self, policy: &Arc<Policy>) -> Result<Arc<Connector>, Unbuildable> {
        match self.built.load().get(policy) {
            Some(connector) => Ok(Arc::clone(connector)),
            None => self.build(policy).map(Arc::new),
        }
    }

    /// The connector of a policy for a session whose client has asked for `name`.
    ///
    /// # Errors
    /// None can be made.
    pub fn of_session(
        &self,
        policy: &Arc<Policy>,
        name: Option<&str>,
    ) -> Result<Arc<Connector>, Unbuildable> {
        let connector = self.of(policy)?;
        let name = name.filter(|_| policy.by_client).map(normal).map(DnsName::try_from);
        Ok(match name {
            Some(Ok(name)) => Arc::new(connector.asking_for(ServerName::DnsName(name))),
            Some(Err(_)) | None => connector,
        })
    }

    fn build(&self, policy: &Policy) -> Result<Connector, Unbuildable> {
        let provider = Arc::new(provider(&policy.manner));
        let verifier = Verifier {
            chain: self.chain(&policy.trust, &provider)?,
            pins: policy.pins.clone(),
            algorithms: provider.signature_verification_algorithms,
        };
        let certified = policy.client_certificate.as_ref().and_then(|it| it.certified.clone());
        let presented = Arc::new(Presented { certified, asked: AtomicBool::new(false) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(policy.manner.versions))
            .map_err(|error| Unbuildable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let resolver: Arc<dyn ResolvesClientCert> = Arc::clone(&presented) as _;
        let mut config = builder.with_client_cert_resolver(resolver);
        config.alpn_protocols =
            policy.manner.alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        let tls = TlsConnector::from(Arc::new(config));
        let (server_name, starttls) = (policy.server_name.clone(), policy.manner.starttls);
        Ok(Connector { tls, server_name, starttls, presented })
    }

    fn chain(&self, trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Chain, Unbuildable> {
        let roots = match trust {
            Trust::System => self.system_roots()?,
            Trust::Authorities(authorities) => Arc::new(roots(authorities)),
            Trust::PinOnly => return Ok(Chain::Dates),
            Trust::Anyone => return Ok(Chain::Nothing),
        };
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
        let webpki = webpki.build().map_err(|error| Unbuildable(error.to_string()))?;
        Ok(Chain::Whole(webpki))
    }

    fn system_roots(&self) -> Result<Arc<RootCertStore>, Unbuildable> {
        let found = authorities::of_the_system();
        let found = found
            .map_err(|why| Unbuildable(format!("this system knows no authorities ({why})")))?;
        Ok(Arc::clone(self.system.get_or_init(|| Arc::new(roots(found)))))
    }
}

/// A few of a system's may be of a kind that is not known here.
fn roots(authorities: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    roots
}

fn versions(wanted: Versions) -> Vec<&'static SupportedProtocolVersion> {
    let known = [(wanted.tls13, &version::TLS13), (wanted.tls12, &version::TLS12)];
    known.into_iter().filter(|(wanted, _)| *wanted).map(|(_, version)| version).collect()
}

/// The suites of TLS 1.3 are all good; of those of 1.2 the ones that are listed, if any are.
fn provider(manner: &Manner) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !manner.ciphers.is_empty() {
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            suite.tls13().is_some() || manner.ciphers.contains(&name)
        });
    }
    provider
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connectors")
            .field("built", &self.built.load().len())
            .finish_non_exhaustive()
    }
}

// === impl Connector ===

impl Connector {
    /// Begins handshakes.
    pub fn tls(&self) -> &TlsConnector {
        &self.tls
    }

    /// The name that the target is asked for and has to prove.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The same by another name. Tickets are kept by name.
    fn asking_for(&self, server_name: ServerName<'static>) -> Self {
        let (tls, presented) = (self.tls.clone(), Arc::clone(&self.presented));
        Self { tls, server_name, starttls: self.starttls, presented }
    }

    /// How TLS is asked for before the handshake, where a connection begins without it.
    pub fn starttls(&self) -> Option<Starttls> {
        self.starttls
    }

    /// Has a target asked for our certificate? Then its judgment of it is still to come when a
    /// handshake of TLS 1.3 is done.
    pub fn was_asked(&self) -> bool {
        self.presented.asked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

// === impl Presented ===

impl ResolvesClientCert for Presented {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("is_there", &self.certified.is_some())
            .finish_non_exhaustive()
    }
}
