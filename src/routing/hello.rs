//! The hello table: whose a connection to a shared port is, by the name and the protocols that its
//! client asks for. One look-up decides certificate, rules and route. Pure.
//!
//! An exact name comes before a wildcard (which stands for one label), and that before the default.
//! Among those that answer one name, ALPN decides (RFC 7301).

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::domain::{Domain, normal};
use crate::config::tls::Answers;

/// Who answers what on one port.
#[derive(Debug)]
pub struct HelloTable<T> {
    exact: HashMap<Arc<str>, Vec<Entry<T>>>,
    wildcard: HashMap<Arc<str>, Vec<Entry<T>>>,
    default: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    alpn: Vec<Arc<str>>,
    answers: T,
}

/// Why nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No name was asked for, and nobody answers without one.
    #[error("the client asked for no name (SNI), and no service answers without one")]
    NameMissing,
    /// Nobody answers this name.
    #[error("no service answers this name")]
    NameUnknown,
    /// None of those that answer the name speaks what the client offers.
    #[error("no service of this name speaks a protocol (ALPN) that the client offers")]
    ProtocolUnknown,
}

// === impl HelloTable ===

impl<T> HelloTable<T> {
    /// A table of these.
    pub fn new(entries: impl IntoIterator<Item = (Answers, T)>) -> Self {
        let mut table =
            Self { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        for (Answers { domain, alpn }, answers) in entries {
            let entries = match domain {
                Some(Domain::Exact(name)) => table.exact.entry(name).or_default(),
                Some(Domain::Wildcard(below)) => table.wildcard.entry(below).or_default(),
                None => &mut table.default,
            };
            entries.push(Entry { alpn, answers });
        }
        table
    }

    /// Everybody in it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let named = self.exact.values().chain(self.wildcard.values()).flatten();
        named.chain(&self.default).map(|entry| &entry.answers)
    }

    /// Who answers this name and speaks one of these protocols.
    ///
    /// # Errors
    /// Nobody, and why.
    pub fn pick(&self, name: Option<&str>, alpn: &[&[u8]]) -> Result<&T, NoAnswer> {
        let entries = match name {
            None if self.default.is_empty() => return Err(NoAnswer::NameMissing),
            None => &self.default,
            Some(name) => self.named(&normal(name)).ok_or(NoAnswer::NameUnknown)?,
        };
        if alpn.is_empty() {
            // Whoever asks for nothing gets the one that asks for nothing either, if there is one.
            let open = entries.iter().find(|entry| entry.alpn.is_empty());
            return open.or(entries.first()).map(|it| &it.answers).ok_or(NoAnswer::NameUnknown);
        }
        let speaks = |entry: &&Entry<T>| {
            entry.alpn.iter().any(|own| alpn.iter().any(|offered| own.as_bytes() == *offered))
        };
        let found = entries.iter().find(speaks);
        let found = found.or_else(|| entries.iter().find(|entry| entry.alpn.is_empty()));
        found.map(|entry| &entry.answers).ok_or(NoAnswer::ProtocolUnknown)
    }

    fn named(&self, name: &str) -> Option<&Vec<Entry<T>>> {
        let below = || name.split_once('.').and_then(|(_, below)| self.wildcard.get(below));
        let default = || (!self.default.is_empty()).then_some(&self.default);
        self.exact.get(name).or_else(below).or_else(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &[&str])]) -> HelloTable<usize> {
        HelloTable::new(entries.iter().enumerate().map(|(index, (domain, alpn))| {
            let domain = (!domain.is_empty()).then(|| Domain::parse(domain).unwrap());
            (Answers { domain, alpn: alpn.iter().map(|&name| name.into()).collect() }, index)
        }))
    }

    #[test]
    fn the_narrowest_name_answers() {
        let named = table(&[("a.test", &[]), ("*.a.test", &[]), ("x.a.test", &[])]);
        let full = table(&[("a.test", &[]), ("*.a.test", &[]), ("x.a.test", &[]), ("", &[])]);
        let check = |name, strict, open| {
            assert_eq!(named.pick(name, &[]).copied(), strict, "{name:?}");
            assert_eq!(full.pick(name, &[]).copied(), Ok(open), "{name:?}");
        };
        check(Some("a.test"), Ok(0), 0);
        check(Some("A.TEST."), Ok(0), 0);
        check(Some("y.a.test"), Ok(1), 1);
        check(Some("X.a.test"), Ok(2), 2);
        check(Some("z.y.a.test"), Err(NoAnswer::NameUnknown), 3);
        check(Some("test"), Err(NoAnswer::NameUnknown), 3);
        check(Some("b.test"), Err(NoAnswer::NameUnknown), 3);
        check(Some(""), Err(NoAnswer::NameUnknown), 3);
        check(None, Err(NoAnswer::NameMissing), 3);
    }

    #[test]
    fn among_those_of_one_name_the_protocol_decides_and_nothing_falls_through() {
        let both = table(&[("a.test", &["h2"]), ("a.test", &["postgresql", "x"]), ("", &[])]);
        let check = |alpn: &[&[u8]], expected| {
            assert_eq!(both.pick(Some("a.test"), alpn).copied(), expected, "{alpn:?}");
        };
        check(&[b"h2"], Ok(0));
        check(&[b"x"], Ok(1));
        check(&[b"nope", b"postgresql"], Ok(1));
        check(&[b"nope"], Err(NoAnswer::ProtocolUnknown));
        check(&[], Ok(0));
        let open = table(&[("a.test", &["h2"]), ("a.test", &[])]);
        assert_eq!(open.pick(Some("a.test"), &[b"nope"]), Ok(&1));
        assert_eq!(open.pick(Some("a.test"), &[]), Ok(&1));
    }
}
