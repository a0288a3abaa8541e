//! The model of access: which client addresses a service serves at all.
//!
//! A look-up costs a hash for each length of prefix that the lists have, however long they are.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::config::network::Network;

/// `allowed_ips` and `blacklisted_ips`, as far as they are switched on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Only these are served; `None`: everybody is.
    pub allowed: Option<Networks>,
    /// These are not, whoever is allowed.
    pub denied: Networks,
}

/// A set of networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    /// By family and prefix.
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    is_ipv4: bool,
    prefix: u8,
    members: HashSet<Network>,
}

// === impl Access ===

impl Access {
    /// Is a client of this address served? One of a unix socket has none: no network contains it.
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let is_in = |networks: &Networks| client.is_some_and(|client| networks.contains(client));
        self.allowed.as_ref().is_none_or(is_in) && !is_in(&self.denied)
    }

    /// Does it turn anybody away?
    pub fn is_restrictive(&self) -> bool {
        self.allowed.is_some() || !self.denied.is_empty()
    }
}

// === impl Networks ===

impl Networks {
    /// Is the address in one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.groups.iter().filter(|group| group.is_ipv4 == address.is_ipv4()).any(|group| {
            let network = Network::of(address, group.prefix);
            group.members.contains(&network)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for network in networks {
            let (is_ipv4, prefix) = (network.is_ipv4(), network.prefix());
            let known = groups.iter_mut().find(|it| it.is_ipv4 == is_ipv4 && it.prefix == prefix);
            match known {
                Some(group) => {
                    group.members.insert(network);
                }
                None => {
                    groups.push(Group { is_ipv4, prefix, members: HashSet::from([network]) });
                }
            }
        }
        // One order, so that the same networks are the same set however they were written.
        groups.sort_by_key(|group| (group.is_ipv4, group.prefix));
        Self { groups }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(written: &[&str]) -> Networks {
        written.iter().map(|text| Network::parse(text).unwrap()).collect()
    }

    fn check(access: &Access, client: &str, expected: bool) {
        assert_eq!(access.admits(Some(client.parse().unwrap())), expected, "{client}");
    }

    #[test]
    fn who_is_denied_is_not_served_though_it_is_allowed() {
        let access = Access {
            allowed: Some(networks(&["10.0.0.0/8", "2001:db8::/32"])),
            denied: networks(&["10.1.0.0/16", "10.2.2.2"]),
        };
        check(&access, "10.0.0.1", true);
        check(&access, "10.1.0.1", false);
        check(&access, "10.2.2.2", false);
        check(&access, "10.2.2.3", true);
        check(&access, "11.0.0.1", false);
        check(&access, "2001:db8::1", true);
        check(&access, "2001:db9::1", false);
        check(&access, "::ffff:10.0.0.1", true);
        check(&access, "::ffff:10.1.0.1", false);
    }

    #[test]
    fn a_client_without_an_address_is_in_no_network() {
        let denying = Access { allowed: None, denied: networks(&["0.0.0.0/0", "::/0"]) };
        assert!(denying.admits(None));
        check(&denying, "1.2.3.4", false);
        let allowing = Access { allowed: Some(networks(&["0.0.0.0/0"])), ..Access::default() };
        assert!(!allowing.admits(None));
        assert!(!Access::default().is_restrictive() && allowing.is_restrictive());
    }

    #[test]
    fn the_same_networks_are_the_same_set() {
        let one = networks(&["10.0.0.0/8", "::1", "10.0.0.0/8"]);
        assert_eq!(one, networks(&["::1", "10.0.0.0/8"]));
        assert_eq!(one.len(), 2);
    }

    fn any_network() -> impl Strategy<Value = Network> {
        let v4 =
            (any::<u32>(), 0..=32_u8).prop_map(|(bits, prefix)| (IpAddr::V4(bits.into()), prefix));
        let v6 = (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, prefix)| (IpAddr::V6(bits.into()), prefix));
        prop_oneof![v4, v6].prop_map(|(address, prefix)| Network::of(address, prefix))
    }

    proptest! {
        #[test]
        fn a_set_contains_what_any_of_its_networks_contains(
            networks in proptest::collection::vec(any_network(), 0..20),
            v4 in any::<u32>(),
            v6 in any::<u128>(),
        ) {
            let set: Networks = networks.iter().copied().collect();
            for address in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                let expected = networks.iter().any(|network| network.contains(address));
                prop_assert_eq!(set.contains(address), expected);
            }
        }
    }
}
