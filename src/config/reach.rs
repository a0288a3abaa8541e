//! What a socket gets: whose connections end where.

use std::net::{IpAddr, SocketAddr};

use crate::config::names::{ListenAddress, TargetAddress};

/// Does a socket on `one` get what is sent to `other`? `::` is dual-stack.
fn covers(one: &SocketAddr, other: &SocketAddr) -> bool {
    match one.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => other.is_ipv4(),
        IpAddr::V4(_) | IpAddr::V6(_) => one.ip().to_canonical() == other.ip().to_canonical(),
    }
}

/// Does a connection to `target` end at `listen`? Other addresses of this machine are not known
/// here: what they hide shows when it runs.
pub fn reaches(target: &TargetAddress, listen: &ListenAddress) -> bool {
    let here = |port: u16| match listen {
        ListenAddress::AnyOnPort(own) => *own == port,
        ListenAddress::Ip(own) => {
            own.port() == port && (own.ip().is_unspecified() || own.ip().is_loopback())
        }
        ListenAddress::Unix(_) => false,
    };
    match (target, listen) {
        (TargetAddress::Unix(path), ListenAddress::Unix(own)) => path == own,
        (TargetAddress::Unix(_), _) => false,
        (TargetAddress::Name { host, port }, _) => &**host == "localhost" && here(*port),
        (TargetAddress::Ip(address), ListenAddress::Ip(own)) => {
            // To connect to `0.0.0.0` or `::` is to connect to this machine.
            let itself = address.ip().is_unspecified() && here(address.port());
            address.port() == own.port()
                && (itself
                    || own.ip().to_canonical() == address.ip().to_canonical()
                    || address.ip().is_loopback() && covers(own, address))
        }
        (TargetAddress::Ip(address), ListenAddress::AnyOnPort(port)) => {
            address.port() == *port && (address.ip().is_loopback() || address.ip().is_unspecified())
        }
        (TargetAddress::Ip(_), ListenAddress::Unix(_)) => false,
    }
}

/// Does a connection to `target` end at `listen`, where `is_ours` tells the addresses of this
/// machine?
pub fn ends_at(
    target: &TargetAddress,
    listen: &ListenAddress,
    is_ours: impl Fn(IpAddr) -> bool,
) -> bool {
    let everywhere = |address: &SocketAddr| match listen {
        ListenAddress::AnyOnPort(port) => address.port() == *port,
        ListenAddress::Ip(own) => own.ip().is_unspecified() && own.port() == address.port(),
        ListenAddress::Unix(_) => false,
    };
    reaches(target, listen)
        || matches!(target, TargetAddress::Ip(ip) if everywhere(ip) && is_ours(ip.ip()))
}

/// The port that a target is connected to at, if it has one.
pub fn target_port(target: &TargetAddress) -> Option<u16> {
    match target {
        TargetAddress::Ip(_) | TargetAddress::Name { .. } => Some(target.port()),
        TargetAddress::Unix(_) => None,
    }
}

/// Can the two not be bound at once?
pub fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Unix(_), _) | (_, ListenAddress::Unix(_)) => false,
        (ListenAddress::AnyOnPort(_), _) | (_, ListenAddress::AnyOnPort(_)) => {
            port(one) == port(other)
        }
        (ListenAddress::Ip(one), ListenAddress::Ip(other)) => {
            one.port() == other.port() && (covers(one, other) || covers(other, one))
        }
    }
}

/// Its port, if it has one.
pub fn port(listen: &ListenAddress) -> Option<u16> {
    match listen {
        ListenAddress::AnyOnPort(port) => Some(*port),
        ListenAddress::Ip(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address;

    fn listen(text: &str) -> ListenAddress {
        match text.strip_prefix("*:") {
            Some(port) => ListenAddress::AnyOnPort(port.parse().unwrap()),
            None => match address::target(text).unwrap().1 {
                TargetAddress::Ip(address) => ListenAddress::Ip(address),
                TargetAddress::Unix(path) => ListenAddress::Unix(path),
                TargetAddress::Name { .. } => panic!("{text}"),
            },
        }
    }

    #[test]
    fn a_target_that_is_the_own_listener_is_seen() {
        let check = |target, own, expected| {
            let (_, target) = address::target(target).unwrap();
            assert_eq!(reaches(&target, &listen(own)), expected, "{target} {own}");
        };
        check("127.0.0.1:1", "*:1", true);
        check("127.0.0.9:1", "*:1", true);
        check("[::1]:1", "*:1", true);
        check("0.0.0.0:1", "*:1", true);
        check("localhost:1", "*:1", true);
        check("127.0.0.1:2", "*:1", false);
        check("10.0.0.1:1", "*:1", false);
        check("10.0.0.1:1", "10.0.0.1:1", true);
        check("127.0.0.1:1", "10.0.0.1:1", false);
        check("127.0.0.1:1", "0.0.0.0:1", true);
        check("localhost:1", "127.0.0.1:1", true);
        check("0.0.0.0:1", "127.0.0.1:1", true);
        check("redis:1", "*:1", false);
        check("unix:/a", "unix:/a", true);
        check("unix:/a", "*:1", false);
    }

    #[test]
    fn two_services_share_no_address() {
        let check = |one, other, expected| {
            assert_eq!(overlap(&listen(one), &listen(other)), expected, "{one} {other}");
            assert_eq!(overlap(&listen(other), &listen(one)), expected, "{other} {one}");
        };
        check("*:1", "*:1", true);
        check("*:1", "*:2", false);
        check("*:1", "10.0.0.1:1", true);
        check("10.0.0.1:1", "10.0.0.2:1", false);
        check("10.0.0.1:1", "10.0.0.1:1", true);
        check("0.0.0.0:1", "10.0.0.1:1", true);
        check("0.0.0.0:1", "[::1]:1", false);
        check("[::]:1", "10.0.0.1:1", true);
        check("[::ffff:10.0.0.1]:1", "10.0.0.1:1", true);
        check("unix:/a", "unix:/a", true);
        check("unix:/a", "unix:/b", false);
        check("unix:/a", "*:1", false);
    }
}
