//! The model of TLS towards targets: whom to believe, what to present, what to speak.
//!
//! A `Transport` is what a service says, with its settings by host; a `Policy` is what follows for
//! one target. Policies are compared by content: two that are equal may share connections' tickets,
//! two that differ never do.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};

use crate::config::hosts::HostMap;
use crate::config::names::TargetAddress;
use crate::config::tls::Versions;
use crate::wire::certificate::{Certificate, Digest};

/// What a service says of TLS to its targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    /// Whom to believe.
    pub trust: Trust,
    /// The name that targets are asked for and have to prove.
    pub asked: Asked,
    /// What is spoken.
    pub manner: Manner,
    /// What is presented to targets that ask for a certificate.
    pub client_certificates: HostMap<Arc<Certificate>>,
    /// The keys that targets must have.
    pub pins: HostMap<Pins>,
}

/// The name that targets are asked for and have to prove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Asked {
    /// Each its own host.
    #[default]
    Host,
    /// All of them this one.
    Name(ServerName<'static>),
    /// The one that the client has asked for; where none has, each its own host.
    OfClient,
}

/// Which certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those that the authorities of this system sign.
    #[default]
    System,
    /// Those that one of these signs.
    Authorities(Arc<Vec<CertificateDer<'static>>>),
    /// Any that has a pinned key and is not out of date: neither chain nor name count.
    PinOnly,
    /// All. Pins, where there are any, hold all the same.
    Anyone,
}

/// What is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// The versions.
    pub versions: Versions,
    /// The cipher suites, by their names; empty: the provider's own.
    pub ciphers: Vec<String>,
    /// The ALPN protocols that are offered, in order of preference; empty: none are.
    pub alpn: Vec<Arc<str>>,
    /// How TLS is asked for before the handshake; `None`: it is not, and begins at once.
    pub starttls: Option<Starttls>,
}

/// How a target is asked for TLS before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starttls {
    /// By PostgreSQL's `SSLRequest`.
    Postgres,
}

/// The keys of which a target must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The SHA-256 of each public key (SPKI); at least one.
    pub keys: Vec<Digest>,
    /// They replace the verification of chain and name.
    pub only: bool,
}

/// How one target is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name that it is asked for and has to prove.
    pub server_name: ServerName<'static>,
    /// The name that a client has asked for, if one has, is taken instead.
    pub by_client: bool,
    /// Whom to believe.
    pub trust: Trust,
    /// The keys of which it must have one; empty: any will do.
    pub pins: Vec<Digest>,
    /// What it is presented if it asks.
    pub client_certificate: Option<Arc<Certificate>>,
    /// What is spoken.
    pub manner: Manner,
}

// === impl Transport ===

impl Transport {
    /// How the target at this address is spoken to; `None`: it has no name that it could prove.
    pub fn policy(&self, address: &TargetAddress) -> Option<Policy> {
        let (server_name, by_client) = match &self.asked {
            Asked::Host => (own_name(address)?, false),
            Asked::Name(name) => (name.clone(), false),
            Asked::OfClient => (own_name(address)?, true),
        };
        let pins = self.pins.find(address);
        let trust = match pins {
            Some(Pins { only: true, .. }) => Trust::PinOnly,
            Some(Pins { only: false, .. }) | None => self.trust.clone(),
        };
        Some(Policy {
            server_name,
            by_client,
            trust,
            pins: pins.map(|pins| pins.keys.clone()).unwrap_or_default(),
            client_certificate: self.client_certificates.find(address).cloned(),
            manner: self.manner.clone(),
        })
    }
}

fn own_name(address: &TargetAddress) -> Option<ServerName<'static>> {
    match address {
        TargetAddress::Ip(address) => Some(ServerName::IpAddress(address.ip().into())),
        TargetAddress::Name { host, .. } => ServerName::try_from(host.to_string()).ok(),
        TargetAddress::Unix(_) => None,
    }
}

// === impl Policy ===

impl Policy {
    /// Is it believed whoever it is?
    pub fn is_insecure(&self) -> bool {
        self.trust == Trust::Anyone && self.pins.is_empty()
    }

    /// The same for whoever begins TLS at once, where targets are asked for it first.
    pub fn at_once(mut self) -> Self {
        self.manner.starttls = None;
        self
    }
}

impl Hash for Policy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // What differs most between two of them; `==` looks at the rest.
        self.server_name.hash(state);
        self.pins.hash(state);
        self.client_certificate.as_ref().map(|certificate| certificate.facts.id).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::host_and_port;
    use crate::config::hosts::HostPattern;

    fn pins(of: &[u8], only: bool) -> Pins {
        Pins { keys: vec![Digest::of(of)], only }
    }

    fn transport() -> Transport {
        let mut transport = Transport { trust: Trust::Anyone, ..Transport::default() };
        let mut add = |key: &str, entry| {
            assert!(transport.pins.add(HostPattern::parse(key).unwrap(), entry));
        };
        add("a.test", pins(b"a", false));
        add("b.test", pins(b"b", true));
        transport
    }

    fn policy(transport: &Transport, host: &str) -> Policy {
        transport.policy(&host_and_port(host, Some(1)).unwrap()).unwrap()
    }

    #[test]
    fn a_pin_is_for_its_host_and_leaves_all_others_as_they_are() {
        let transport = transport();
        let check = |host, trust, keys: &[&[u8]]| {
            let policy = policy(&transport, host);
            let keys: Vec<Digest> = keys.iter().map(|key| Digest::of(key)).collect();
            assert_eq!((policy.trust, policy.pins), (trust, keys), "{host}");
        };
        check("a.test", Trust::Anyone, &[b"a"]);
        check("b.test", Trust::PinOnly, &[b"b"]);
        check("c.test", Trust::Anyone, &[]);
    }

    #[test]
    fn a_target_proves_its_host_or_the_name_that_is_written() {
        let mut transport = transport();
        let name =
            |transport: &Transport, host| policy(transport, host).server_name.to_str().into_owned();
        assert_eq!(name(&transport, "redis_1.test"), "redis_1.test");
        assert_eq!(name(&transport, "10.0.0.1"), "10.0.0.1");
        assert_eq!(name(&transport, "[::1]"), "::1");
        let unix = TargetAddress::Unix("/run/x".into());
        assert_eq!(transport.policy(&unix), None);
        transport.asked = Asked::Name(ServerName::try_from("other.test").unwrap());
        assert_eq!(name(&transport, "10.0.0.1"), "other.test");
        transport.asked = Asked::OfClient;
        assert_eq!(name(&transport, "a.test"), "a.test");
        assert!(policy(&transport, "a.test").by_client);
    }

    #[test]
    fn equal_policies_are_one_whatever_port_they_are_for() {
        use std::collections::HashSet;
        let transport = transport();
        let of = |host: &str| transport.policy(&host_and_port(host, None).unwrap()).unwrap();
        let all = ["a.test:1", "a.test:2", "b.test:1", "c.test:1"];
        assert_eq!(all.map(of).into_iter().collect::<HashSet<_>>().len(), 3);
    }
}
