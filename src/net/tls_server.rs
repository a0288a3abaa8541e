//! TLS towards clients: what a service presents, and what it asks of them.
//!
//! Each service has a context of its own. Tickets and sessions made under one never open another:
//! rustls looks at no rule when a session is resumed.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::domain::normal;
use crate::config::tls::{Answers, Held, Termination};
use crate::config::validate::tls::suite_name;
use crate::net::client_verifier::ClientVerifier;

/// A service's end of TLS.
#[derive(Debug, Clone)]
pub struct TlsServer {
    termination: Arc<Termination>,
    answers: Answers,
    config: Arc<ServerConfig>,
    verifier: Option<Arc<ClientVerifier>>,
}

// === impl TlsServer ===

impl TlsServer {
    /// The end that `termination` asks for. What `previous` can go on doing it does: sessions are
    /// resumed over a reload.
    ///
    /// # Errors
    /// What rustls says of it; `validate` has seen to it that there is nothing to say.
    pub fn new(
        termination: &Arc<Termination>,
        answers: &Answers,
        previous: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let same = previous.filter(|it| it.termination == *termination && it.answers == *answers);
        if let Some(same) = same {
            return Ok(same.clone());
        }
        let Termination { certificates, versions, ciphers, client_auth } = &**termination;
        let spoken = [(versions.tls12, &TLS12), (versions.tls13, &TLS13)];
        let spoken: Vec<_> = spoken.into_iter().filter(|(is, _)| *is).map(|(_, it)| it).collect();
        let provider = provider(ciphers);
        let verifier = client_auth
            .as_ref()
            .map(|asked| ClientVerifier::new(asked, &provider))
            .transpose()?
            .map(Arc::new);
        let config =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(&spoken)?;
        let config = match &verifier {
            Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier) as _),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(Presenter::of(certificates)));
        config.alpn_protocols = answers.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.ignore_client_order = !ciphers.is_empty();
        // What was agreed on under other rules must not be taken up again.
        let same_rules =
            previous.filter(|previous| previous.termination.client_auth == *client_auth);
        match same_rules {
            Some(previous) => {
                config.ticketer = Arc::clone(&previous.config.ticketer);
                config.session_storage = Arc::clone(&previous.config.session_storage);
            }
            None => config.ticketer = Ticketer::new()?,
        }
        let (termination, answers) = (Arc::clone(termination), answers.clone());
        Ok(Self { termination, answers, config: Arc::new(config), verifier })
    }

    /// Judges the client of a session that was resumed by the rules of now: rustls judges it only
    /// when it shows its certificate.
    ///
    /// # Errors
    /// It is not to be served any more.
    pub fn judge_resumed(&self, connection: &ServerConnection) -> Result<(), rustls::Error> {
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let Some(verifier) = self.verifier.as_ref().filter(|_| resumed) else { return Ok(()) };
        match connection.peer_certificates() {
            Some([leaf, chain @ ..]) => {
                verifier.verify_client_cert(leaf, chain, UnixTime::now()).map(drop)
            }
            Some([]) | None => Err(rustls::Error::NoCertificatesPresented),
        }
    }

    /// The rustls side of it.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

/// The provider with these cipher suites only; with none: all of its own.
fn provider(ciphers: &[String]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if !ciphers.is_empty() {
        let all = aws_lc_rs::ALL_CIPHER_SUITES;
        let wanted =
            ciphers.iter().filter_map(|name| all.iter().find(|it| suite_name(it) == *name));
        provider.cipher_suites = wanted.copied().collect();
    }
    Arc::new(provider)
}

/// Chooses the certificate to present: one of the name that is asked for, and of a kind that the
/// client can judge.
#[derive(Debug)]
struct Presenter(Vec<Presented>);

#[derive(Debug)]
struct Presented {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Presenter {
    fn of(certificates: &[Held]) -> Self {
        let presented = certificates.iter().filter_map(|held| {
            let names = held.certificate.facts.names.iter().map(|name| normal(name)).collect();
            let key = Arc::clone(held.certificate.presented().ok()?);
            Some(Presented { names, key })
        });
        Self(presented.collect())
    }

    fn choose(
        &self,
        name: Option<&str>,
        fits: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Presented> {
        let fitting = || self.0.iter().filter(|one| fits(&one.key));
        let named = name.map(normal).and_then(|name| {
            let below = name.split_once('.').map(|(_, below)| format!("*.{below}"));
            let exact = fitting().find(|one| one.names.contains(&name));
            exact.or_else(|| {
                fitting().find(|one| below.as_ref().is_some_and(|it| one.names.contains(it)))
            })
        });
        named.or_else(|| fitting().next()).or(self.0.first())
    }
}

impl ResolvesServerCert for Presenter {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |key: &CertifiedKey| key.key.choose_scheme(schemes).is_some();
        self.choose(hello.server_name(), fits).map(|one| Arc::clone(&one.key))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::tls::{ClientAuth, Source, Versions};
    use crate::wire::certificate::Certificate;

    fn held(names: &[&str]) -> Held {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let text = format!("{}{}", made.pem(), key.serialize_pem());
        Held { source: Source::Inline, certificate: Certificate::from_pem(&text).unwrap() }
    }

    fn termination(certificates: Vec<Held>) -> Arc<Termination> {
        let versions = Versions::default();
        Arc::new(Termination { certificates, versions, ciphers: Vec::new(), client_auth: None })
    }

    #[test]
    fn the_certificate_of_the_name_is_presented_and_the_first_where_none_fits() {
        let presenter =
            Presenter::of(&[held(&["a.test"]), held(&["*.b.test"]), held(&["x.b.test"])]);
        let check = |name, expected: usize| {
            let chosen = presenter.choose(name, |_| true).unwrap();
            assert_eq!(chosen.names, presenter.0[expected].names, "{name:?}");
        };
        check(Some("a.test"), 0);
        check(Some("A.Test"), 0);
        check(Some("y.b.test"), 1);
        check(Some("x.b.test"), 2);
        check(Some("z.y.b.test"), 0);
        check(Some("other"), 0);
        check(None, 0);
        let only_last = |key: &CertifiedKey| Arc::ptr_eq(&presenter.0[2].key.key, &key.key);
        assert_eq!(presenter.choose(Some("a.test"), only_last).unwrap().names, ["x.b.test"]);
    }

    #[test]
    fn what_has_not_changed_goes_on_and_what_has_keeps_its_tickets() {
        let (one, answers) = (termination(vec![held(&["a.test"])]), Answers::default());
        let first = TlsServer::new(&one, &answers, None).unwrap();
        let again = TlsServer::new(&one, &answers, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.config, &again.config));
        let renewed = termination(vec![held(&["a.test"])]);
        let renewed = TlsServer::new(&renewed, &answers, Some(&first)).unwrap();
        assert!(!Arc::ptr_eq(&first.config, &renewed.config));
        assert!(Arc::ptr_eq(&first.config.ticketer, &renewed.config.ticketer));
        let mut guarded = Termination::clone(&renewed.termination);
        guarded.client_auth = Some(ClientAuth {
            leaves: vec![guarded.certificates[0].certificate.facts.id],
            ..ClientAuth::default()
        });
        let guarded = TlsServer::new(&Arc::new(guarded), &answers, Some(&renewed)).unwrap();
        assert!(!Arc::ptr_eq(&first.config.ticketer, &guarded.config.ticketer), "other rules");
        assert!(!Arc::ptr_eq(&first.config.session_storage, &guarded.config.session_storage));
        let other = TlsServer::new(&one, &answers, None).unwrap();
        assert!(!Arc::ptr_eq(&first.config.ticketer, &other.config.ticketer));
    }
}
