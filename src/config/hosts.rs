//! Settings by host: which of several entries is meant for the target that is dialled.
//!
//! The order is Tyk's: `*` < `*.rest` < `*.rest:port` < `host` < `host:port`. A `*` before a dot
//! stands for exactly one label. An IP address has no labels, so that no `*.rest` is meant for it.

use std::fmt;
use std::sync::Arc;

use crate::config::address::host_and_port;
use crate::config::names::TargetAddress;
use crate::config::problem::Complaint;

const FORM: &str = "write a host such as \"redis.example\", \"*.example\", \"10.0.0.1\" or \"*\"";

/// The targets that an entry is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: every target.
    Any,
    /// `*.rest`: every name that is `rest` with one label before it.
    Below {
        /// What follows the `*.`.
        rest: Arc<str>,
        /// Only at this port.
        port: Option<u16>,
    },
    /// One name or IP address.
    Host {
        /// As `TargetAddress::host` shows it.
        host: Arc<str>,
        /// Only at this port.
        port: Option<u16>,
    },
}

/// Settings by host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMap<T> {
    entries: Vec<(HostPattern, T)>,
}

// === impl HostPattern ===

impl HostPattern {
    /// Reads the key of an entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(rest) = text.strip_prefix("*.") {
            let (address, port) = host(rest)?;
            return match address {
                TargetAddress::Name { host, .. } => Ok(Self::Below { rest: host, port }),
                TargetAddress::Ip(_) | TargetAddress::Unix(_) => {
                    Err(Complaint::new("an IP address has no part that a `*` stands for", FORM))
                }
            };
        }
        if text.contains('*') {
            let what = "a `*` stands for the first label of a name, or for every host";
            return Err(Complaint::new(what, FORM));
        }
        let (address, port) = host(text)?;
        Ok(Self::Host { host: address.host().into(), port })
    }

    /// The port that it is meant for, if it says one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Any => None,
            Self::Below { port, .. } | Self::Host { port, .. } => *port,
        }
    }

    /// Is it meant for this target?
    pub fn is_for(&self, address: &TargetAddress) -> bool {
        let at_port = |port: &Option<u16>| port.is_none_or(|port| port == address.port());
        match (self, address) {
            (_, TargetAddress::Unix(_)) | (Self::Below { .. }, TargetAddress::Ip(_)) => false,
            (Self::Any, _) => true,
            (Self::Below { rest, port }, TargetAddress::Name { host, .. }) => {
                at_port(port) && host.split_once('.').is_some_and(|(_, below)| *below == **rest)
            }
            (Self::Host { host, port }, _) => at_port(port) && *address.host() == **host,
        }
    }

    /// The more exact one wins.
    fn rank(&self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Below { port: None, .. } => 1,
            Self::Below { port: Some(_), .. } => 2,
            Self::Host { port: None, .. } => 3,
            Self::Host { port: Some(_), .. } => 4,
        }
    }
}

/// A host, and a port only if one is written: nobody can write port 0.
fn host(text: &str) -> Result<(TargetAddress, Option<u16>), Complaint> {
    let is_bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let bracketed = format!("[{text}]");
    let text = if is_bare_v6 { &bracketed } else { text };
    let address =
        host_and_port(text, Some(0)).map_err(|complaint| Complaint::new(complaint.what, FORM))?;
    let port = Some(address.port()).filter(|port| *port != 0);
    Ok((address, port))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => return f.write_str("*"),
            Self::Below { rest, .. } => write!(f, "*.{rest}")?,
            Self::Host { host, .. } => f.write_str(host)?,
        }
        self.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

// === impl HostMap ===

impl<T> HostMap<T> {
    /// Adds an entry, unless there is one with the same key.
    pub fn add(&mut self, pattern: HostPattern, value: T) -> bool {
        let is_new = self.entries.iter().all(|(known, _)| *known != pattern);
        if is_new {
            self.entries.push((pattern, value));
        }
        is_new
    }

    /// What is meant for this target: the most exact entry.
    pub fn find(&self, address: &TargetAddress) -> Option<&T> {
        let fitting = self.entries.iter().filter(|(pattern, _)| pattern.is_for(address));
        fitting.max_by_key(|(pattern, _)| pattern.rank()).map(|(_, value)| value)
    }

    /// The keys.
    pub fn patterns(&self) -> impl Iterator<Item = &HostPattern> {
        self.entries.iter().map(|(pattern, _)| pattern)
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(keys: &[&'static str], host: &str) -> Option<&'static str> {
        let mut map = HostMap::default();
        for key in keys {
            assert!(map.add(HostPattern::parse(key).unwrap(), *key), "{key} twice");
        }
        map.find(&host_and_port(host, None).unwrap()).copied()
    }

    #[test]
    fn the_more_exact_entry_wins_whatever_stands_first() {
        let mut keys =
            ["*", "*.b.test", "*.b.test:6380", "a.b.test", "a.b.test:6380", "c.b.test:1"];
        for _ in 0..keys.len() {
            keys.rotate_left(1);
            let check = |host, expected| assert_eq!(find(&keys, host), Some(expected), "{host}");
            check("a.b.test:6380", "a.b.test:6380");
            check("a.b.test:1", "a.b.test");
            check("A.B.test.:1", "a.b.test");
            check("x.b.test:6380", "*.b.test:6380");
            check("x.b.test:1", "*.b.test");
            check("c.b.test:2", "*.b.test");
            check("x.y.b.test:1", "*");
            check("b.test:1", "*");
            check("10.0.0.1:1", "*");
        }
    }

    #[test]
    fn an_entry_is_for_its_own_host_only() {
        let check = |key, host, expected: bool| {
            assert_eq!(find(&[key], host).is_some(), expected, "{key} {host}");
        };
        check("a.test", "b.test:1", false);
        check("a.test", "a.test.evil:1", false);
        check("a.test", "xa.test:1", false);
        check("*.test", "a.test:1", true);
        check("*.test", "test:1", false);
        check("*.0.0.1x", "10.0.0.1:1", false);
        check("10.0.0.1", "10.0.0.1:9", true);
        check("10.0.0.1:8", "10.0.0.1:9", false);
        check("::1", "[::1]:9", true);
        check("[::1]", "[::1]:9", true);
        check("[0:0:0:0:0:0:0:1]:9", "[::1]:9", true);
        check("a.test:443", "a.test:443", true);
        check("a.test:443", "a.test:44", false);
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for wrong in ["", "*:443", "a.*.b", "*a.b", "*.10.0.0.1", "a b", "a:0", "a:b", "*."] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong:?}");
        }
        let shown = |text| HostPattern::parse(text).map(|it| it.to_string());
        assert_eq!(shown(" *.A.test:1 "), Ok("*.a.test:1".to_owned()));
        assert_eq!(shown("Redis-1."), Ok("redis-1".to_owned()));
        let mut map = HostMap::default();
        assert!(map.add(HostPattern::parse("A.test").unwrap(), ()));
        assert!(!map.add(HostPattern::parse("a.test.").unwrap(), ()));
    }
}
