//! The model of the PROXY protocol: who may tell a service of its clients, and what its targets are
//! told of them.

use std::fmt;
use std::net::IpAddr;

use crate::config::network::Network;
use crate::wire::proxy_header::header::Version;

/// `enable_proxy_protocol` and what belongs to it: what is expected at the beginning of a
/// connection. All services of one port expect the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiving {
    /// `proxy_protocol_from`: who may send a header; `None`: anyone.
    pub from: Option<Vec<Network>>,
    /// What becomes of whoever may not.
    pub others: Others,
    /// `proxy_protocol_optional`: whoever may send one need not.
    pub optional: bool,
}

/// `proxy_protocol_others`: what becomes of connections from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others {
    /// They are closed. The default.
    #[default]
    Refused,
    /// They are served as they come: whatever they begin with is payload.
    Direct,
}

/// What a connection has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A header.
    Header,
    /// A header, or payload.
    HeaderOrPayload,
    /// Payload, whatever it looks like.
    Payload,
    /// Nothing: it is closed.
    Nothing,
}

/// `proxy.send_proxy_protocol`: what targets are told of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// How it is written.
    pub version: Version,
    /// What is added; nothing in version 1.
    pub extras: Extras,
}

/// `proxy.proxy_protocol_tlvs`: what a header of version 2 adds to the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// The name that the client asked for.
    pub sni: bool,
    /// The protocol that it agreed on with us.
    pub alpn: bool,
    /// How it is connected by TLS.
    pub tls: bool,
    /// What its connection is called.
    pub unique_id: bool,
    /// Whatever the header that came has told, and we do not tell ourselves.
    pub received: bool,
}

// === impl Receiving ===

impl Receiving {
    /// What a connection of this sender has to begin with. Only a unix socket's has no address,
    /// and there nobody is told apart.
    pub fn expected_of(&self, sender: Option<IpAddr>) -> Expected {
        let is_named = |sender| self.from.iter().flatten().any(|network| network.contains(sender));
        let may_send = self.from.is_none() || sender.is_some_and(is_named);
        match (may_send, self.optional, self.others) {
            (true, false, _) => Expected::Header,
            (true, true, _) => Expected::HeaderOrPayload,
            (false, _, Others::Direct) => Expected::Payload,
            (false, _, Others::Refused) => Expected::Nothing,
        }
    }
}

impl fmt::Display for Receiving {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.optional { "may be sent" } else { "is required" };
        let Some(from) = &self.from else { return write!(f, "a PROXY header {is}, by anyone") };
        let shown: Vec<String> = from.iter().take(8).map(Network::to_string).collect();
        let more = from.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        write!(f, "a PROXY header {is} by {}{more}; others are ", shown.join(", "))?;
        f.write_str(match self.others {
            Others::Refused => "refused",
            Others::Direct => "served without one",
        })
    }
}

// === impl Sending ===

impl fmt::Display for Sending {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extras { sni, alpn, tls, unique_id, received } = self.extras;
        let extras = [
            (sni, "sni"),
            (alpn, "alpn"),
            (tls, "tls"),
            (unique_id, "unique_id"),
            (received, "what was received"),
        ];
        let extras: Vec<&str> =
            extras.iter().filter(|(is_sent, _)| *is_sent).map(|(_, name)| *name).collect();
        let with = if extras.is_empty() { "" } else { " with " };
        let version = match self.version {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        write!(f, "a PROXY header, version {version}{with}{}", extras.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_decides_what_is_expected() {
        let from = || Some(vec![Network::parse("10.0.0.0/8").unwrap()]);
        let check = |from, others, optional, sender: Option<&str>, expected| {
            let rules = Receiving { from, others, optional };
            let sender = sender.map(|sender| sender.parse().unwrap());
            assert_eq!(rules.expected_of(sender), expected, "{rules}: {sender:?}");
        };
        check(None, Others::Refused, false, Some("::1"), Expected::Header);
        check(None, Others::Refused, false, None, Expected::Header);
        check(None, Others::Direct, true, Some("::1"), Expected::HeaderOrPayload);
        check(from(), Others::Refused, false, Some("10.1.1.1"), Expected::Header);
        check(from(), Others::Refused, false, Some("::ffff:10.1.1.1"), Expected::Header);
        check(from(), Others::Refused, true, Some("10.1.1.1"), Expected::HeaderOrPayload);
        check(from(), Others::Refused, true, Some("11.1.1.1"), Expected::Nothing);
        check(from(), Others::Refused, false, Some("::1"), Expected::Nothing);
        check(from(), Others::Direct, false, Some("11.1.1.1"), Expected::Payload);
        check(from(), Others::Refused, false, None, Expected::Nothing);
        let nobody = Some(Vec::new());
        check(nobody, Others::Refused, false, Some("10.1.1.1"), Expected::Nothing);
    }

    #[test]
    fn rules_are_shown_as_a_sentence() {
        let from = Some(vec![Network::parse("10.0.0.0/8").unwrap()]);
        let rules = Receiving { from, others: Others::Direct, optional: false };
        let expected = "a PROXY header is required by 10.0.0.0/8; others are served without one";
        assert_eq!(rules.to_string(), expected);
        let extras = Extras { sni: true, unique_id: true, ..Extras::default() };
        let sending = Sending { version: Version::V2, extras };
        assert_eq!(sending.to_string(), "a PROXY header, version 2 with sni, unique_id");
    }
}
