//! Networks as people write them (CIDR) → networks that cannot be wrong: which addresses are meant.
//!
//! An IPv4 address that comes as IPv6 (`::ffff:10.0.0.1`, as a dual-stack socket names it) is that
//! IPv4 address, on both sides of the comparison.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::problem::Complaint;

const FORM: &str =
    "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or one address, \"10.0.0.1\"";

/// Mapped addresses begin here: `::ffff:0:0/96`.
const MAPPED: u8 = 96;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    base: IpAddr,
    /// How many bits are the same.
    prefix: u8,
}

// === impl Network ===

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address.
    ///
    /// # Errors
    /// What is wrong with it, and the network that was most likely meant.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let text = text.trim();
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let written: IpAddr = address
            .parse()
            .map_err(|_| Complaint::new(format!("{} is no IP address", shown(address)), FORM))?;
        let (bits, family) = match written {
            IpAddr::V4(_) => (32, "IPv4"),
            IpAddr::V6(_) => (128, "IPv6"),
        };
        let prefix = match length {
            None => bits,
            Some(text) => {
                prefix_length(text).filter(|prefix| *prefix <= bits).ok_or_else(|| {
                    let what = format!("/{} is no prefix of an {family} address", shown(text));
                    Complaint::new(what, format!("write a number of bits, from /0 to /{bits}"))
                })?
            }
        };
        let base = first_of(written, prefix);
        if base != written {
            let what = format!("{written}/{prefix} is an address within a network, not its first");
            let right = format!("write {base}/{prefix}, or {written} if this one is meant alone");
            return Err(Complaint::new(what, right));
        }
        Ok(match base.to_canonical() {
            canonical @ IpAddr::V4(_) if bits == 128 && prefix >= MAPPED => {
                Self { base: canonical, prefix: prefix - MAPPED }
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Self { base, prefix },
        })
    }

    /// The network of an address, by so many of its first bits.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let address = address.to_canonical();
        let prefix = prefix.min(if address.is_ipv4() { 32 } else { 128 });
        Self { base: first_of(address, prefix), prefix }
    }

    /// Are these IPv4 addresses?
    pub fn is_ipv4(&self) -> bool {
        self.base.is_ipv4()
    }

    /// How many bits they have in common.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Is this address in it?
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && first_of(address, self.prefix) == self.base
    }
}

impl fmt::Display for Network {
    /// One address stands alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.base, self.prefix) {
            (IpAddr::V4(base), 32) => base.fmt(f),
            (IpAddr::V6(base), 128) => base.fmt(f),
            (base, prefix) => write!(f, "{base}/{prefix}"),
        }
    }
}

/// Digits only, without a sign or needless zeroes.
fn prefix_length(text: &str) -> Option<u8> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && is_short)
}

/// The address with nothing but its first `prefix` bits.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match Network::parse(text) {
            Ok(network) => network.to_string(),
            Err(complaint) => format!("{}; {}", complaint.what, complaint.right),
        };
        assert!(said.contains(expected), "{text}: {said}");
    }

    #[test]
    fn a_network_is_read_as_people_write_it() {
        check("10.0.0.0/8", "10.0.0.0/8");
        check(" 10.0.0.1 ", "10.0.0.1");
        check("10.0.0.1/32", "10.0.0.1");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("2001:DB8::/32", "2001:db8::/32");
        check("::1", "::1");
        check("::/0", "::/0");
        check("::ffff:10.0.0.0/104", "10.0.0.0/8");
        check("::ffff:10.0.0.1", "10.0.0.1");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        check("10.1.2.3/8", "write 10.0.0.0/8, or 10.1.2.3 if this one is meant alone");
        check("2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1");
        check(
            "10.0.0.0/33",
            "/33 is no prefix of an IPv4 address; write a number of bits, from /0",
        );
        check("::/129", "/129 is no prefix of an IPv6 address");
        for length in ["", "08", "+8", "-1", "x", "255.0.0.0", "8/8"] {
            check(&format!("10.0.0.0/{length}"), "is no prefix of an IPv4 address");
        }
        for address in ["", "10.0.0", "010.0.0.1", "10.0.0.256", "host", "fe80::1%eth0", "[::1]"] {
            check(address, "is no IP address");
        }
    }

    #[test]
    fn an_address_is_in_it_or_not() {
        let check = |network: &str, address: &str, expected| {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "::1", true);
        check("::/0", "10.0.0.1", false);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
    }

    proptest! {
        #[test]
        fn the_first_bits_decide(bits: u128, other: u128, prefix in 0u8..=128) {
            let base = first_of(Ipv6Addr::from_bits(bits).into(), prefix);
            let network = Network::parse(&format!("{base}/{prefix}")).unwrap();
            let other: IpAddr = Ipv6Addr::from_bits(other).into();
            prop_assume!(other.to_canonical().is_ipv6() && network.base.is_ipv6());
            prop_assert_eq!(network.contains(other), first_of(other, prefix) == base);
        }
    }
}
