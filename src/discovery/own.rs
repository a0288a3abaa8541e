//! Who is found and must not be: the service itself, to which a connection would run in a circle.
//!
//! A directory may well list it, under whatever address of this machine it was registered with.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::config::names::ListenAddress;
use crate::config::reach::ends_at;
use crate::discovery::list::Entries;

/// Leaves out what ends at `listen`; `is_ours` tells addresses of this machine.
pub fn leave_out(
    entries: Entries,
    listen: &ListenAddress,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Entries {
    let Entries { found, mut left_out, lives } = entries;
    let (itself, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| ends_at(&one.address, listen, &is_ours));
    left_out.extend(itself.iter().map(|one| format!("{} is this service itself", one.address)));
    Entries { found, left_out, lives }
}

/// Is that an address of this machine? Only those can be bound.
pub fn is_of_this_machine(ip: IpAddr) -> bool {
    let bound = || {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(ip, 0)), Type::DGRAM, None)?;
        socket.bind(&SocketAddr::new(ip, 0).into())
    };
    bound().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address;
    use crate::config::mould::Found;

    fn check(listen: ListenAddress, found: &str, expected: &str) {
        let found = found.split_whitespace().map(|text| {
            let (spoken, address) = address::target(text).unwrap();
            Found::at(spoken, address)
        });
        let entries = Entries { found: found.collect(), ..Entries::default() };
        let ours = |ip: IpAddr| ip == IpAddr::from([10, 0, 0, 1]);
        let left = leave_out(entries, &listen, ours);
        let shown: Vec<_> = left.found.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(shown.join(" "), expected, "{:?}", left.left_out);
    }

    #[test]
    fn the_service_itself_is_no_target_under_any_address_of_this_machine() {
        let all = "10.0.0.1:1 10.0.0.2:1 10.0.0.1:2 127.0.0.1:1 localhost:1 db:1 unix:/x";
        check(ListenAddress::AnyOnPort(1), all, "10.0.0.2:1 10.0.0.1:2 db:1 unix:/x");
        check(
            ListenAddress::Ip("0.0.0.0:1".parse().unwrap()),
            all,
            "10.0.0.2:1 10.0.0.1:2 db:1 unix:/x",
        );
        let one = ListenAddress::Ip("10.0.0.9:1".parse().unwrap());
        check(one, all, "10.0.0.1:1 10.0.0.2:1 10.0.0.1:2 127.0.0.1:1 localhost:1 db:1 unix:/x");
        check(
            ListenAddress::Unix("/x".into()),
            all,
            "10.0.0.1:1 10.0.0.2:1 10.0.0.1:2 127.0.0.1:1 localhost:1 db:1",
        );
    }

    #[test]
    fn an_address_of_this_machine_is_known() {
        assert!(is_of_this_machine(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_of_this_machine(IpAddr::from([192, 0, 2, 1])));
    }
}
