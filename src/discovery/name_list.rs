//! What name servers said → the entries of a list.
//!
//! Rules only. An address that could not be asked for is not taken for one that is gone: where the
//! list that counts has addresses of its kind, that list stays.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::discovery::{MOST_ADDRESSES, NameDirectory, SrvDirectory};
use crate::config::mould::Found;
use crate::config::names::TargetAddress;
use crate::discovery::list::{Entries, ListFault};
use crate::discovery::names::{Addresses, Missing, Offers};
use crate::wire::dns::Offer;

/// Nobody is asked more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// Nothing is believed for longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// What was not known is asked for again this soon.
const SOON: Duration = Duration::from_secs(30);

/// The targets at the addresses of a name, in one order whatever a name server turns them to;
/// `last` are those that count.
///
/// # Errors
/// If that makes no list.
pub fn of_addresses(
    directory: &NameDirectory,
    addresses: Addresses,
    last: &[Found],
    allow_empty: bool,
) -> Result<Entries, ListFault> {
    let NameDirectory { spoken, host, port } = directory;
    let Addresses { all, ttl, missing, exists } = addresses;
    let left_out = without(host, &missing, last, all.is_empty())?;
    if all.is_empty() && !exists {
        return empty(allow_empty, || format!("there is no name `{host}`"));
    }
    if all.is_empty() {
        return empty(allow_empty, || format!("`{host}` has no address"));
    }
    let found = sorted(all)
        .into_iter()
        .map(|ip| Found::at(*spoken, TargetAddress::Ip(SocketAddr::new(ip, *port))));
    let lives = ttl.map(|ttl| lives(ttl, !left_out.is_empty()));
    Ok(usable(Entries { found: found.collect(), left_out, lives }))
}

/// The targets that SRV records name, in the order in which they count.
///
/// # Errors
/// If that makes no list.
pub fn of_offers(
    directory: &SrvDirectory,
    offers: &Offers,
    last: &[Found],
    allow_empty: bool,
) -> Result<Entries, ListFault> {
    let Offers { all, ttl, hosts } = offers;
    let Some(first) = all.first() else {
        let name = &directory.name;
        return empty(allow_empty, || format!("`{name}` has no SRV records"));
    };
    // A single one with no host says that the service is decidedly not there.
    if all.len() == 1 && first.host.is_root() {
        return Ok(Entries::default());
    }
    let mut entries = Entries::default();
    let (mut ttl, mut is_whole) = (*ttl, true);
    for offer in all {
        let Some(addresses) = hosts.get(&offer.host).filter(|_| offer.is_somebody()) else {
            entries.left_out.push(nobody(offer));
            continue;
        };
        let missing = without(&offer.host.to_string(), &addresses.missing, last, false)?;
        is_whole &= missing.is_empty();
        ttl = ttl.min(addresses.ttl.unwrap_or(u32::MAX));
        entries.left_out.extend(missing);
        if addresses.all.is_empty() && addresses.missing.is_empty() {
            entries.left_out.push(format!("`{}` has no address", offer.host));
        }
        let is_backup = offer.priority > first.priority;
        entries.found.extend(of_offer(directory, offer, is_backup, &addresses.all));
    }
    entries.lives = Some(lives(ttl, !is_whole));
    Ok(usable(entries))
}

/// A list that is empty counts only with leave.
fn empty(allow_empty: bool, words: impl FnOnce() -> String) -> Result<Entries, ListFault> {
    match allow_empty {
        true => Ok(Entries::default()),
        false => Err(ListFault::nonsense(words())),
    }
}

/// What to say of kinds of addresses that could not be asked for.
///
/// # Errors
/// If one of them may well be there, or nothing else is.
fn without(
    host: &str,
    missing: &[Missing],
    last: &[Found],
    is_all: bool,
) -> Result<Vec<String>, ListFault> {
    let mut left_out = Vec::new();
    for Missing { is_v6, fault } in missing {
        if is_all {
            return Err(ListFault::nonsense(format!("`{host}`: {fault}")));
        }
        let kind = if *is_v6 { "IPv6" } else { "IPv4" };
        let words = format!("{kind} addresses of `{host}`: {fault}");
        let is_of_kind = |one: &Found| match one.address {
            TargetAddress::Ip(address) => address.is_ipv6() == *is_v6,
            TargetAddress::Name { .. } | TargetAddress::Unix(_) => false,
        };
        if last.iter().any(is_of_kind) {
            return Err(ListFault::nonsense(words));
        }
        left_out.push(words);
    }
    Ok(left_out)
}

/// The targets of one record, each with its share.
fn of_offer(
    directory: &SrvDirectory,
    offer: &Offer,
    is_backup: bool,
    addresses: &[IpAddr],
) -> Vec<Found> {
    let Offer { weight, port, host, .. } = offer;
    let all = sorted(addresses.to_vec());
    let name = |ip: &IpAddr| match all.len() {
        1 => format!("{host}:{port}"),
        _ => format!("{host}:{port} ({ip})"),
    };
    let target = |ip: &IpAddr| Found {
        spoken: directory.spoken,
        address: TargetAddress::Ip(SocketAddr::new(*ip, *port)),
        weight: NonZeroU32::new(u32::from(*weight)).unwrap_or(NonZeroU32::MIN),
        backup: is_backup,
        name: Some(name(ip).into()),
    };
    all.iter().map(target).collect()
}

fn nobody(offer: &Offer) -> String {
    let Offer { host, port, .. } = offer;
    if host.is_root() {
        "a record that names no host".to_owned()
    } else if *port == 0 {
        format!("`{host}` with port 0")
    } else {
        format!("`{host}`: it is one more than {MOST_ADDRESSES} hosts")
    }
}

fn sorted(mut all: Vec<IpAddr>) -> Vec<IpAddr> {
    all.sort();
    all.dedup();
    all
}

/// Those that can be targets, and no more than may be.
fn usable(entries: Entries) -> Entries {
    let Entries { found, mut left_out, lives } = entries;
    let is_usable = |one: &Found| match &one.address {
        TargetAddress::Ip(address) => is_of_somebody(address.ip()),
        TargetAddress::Name { .. } | TargetAddress::Unix(_) => true,
    };
    let (mut found, useless): (Vec<_>, Vec<_>) = found.into_iter().partition(is_usable);
    left_out.extend(useless.iter().map(|one| format!("{} is nobody's address", one.address)));
    let rest = found.split_off(found.len().min(MOST_ADDRESSES));
    let too_many = |one: Found| format!("{} is one more than {MOST_ADDRESSES}", one.address);
    left_out.extend(rest.into_iter().map(too_many));
    Entries { found, left_out, lives }
}

/// Name servers that keep advertisements away say `0.0.0.0`, which would lead to this machine.
fn is_of_somebody(ip: IpAddr) -> bool {
    let is_broadcast = ip == IpAddr::from([255; 4]);
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

fn lives(ttl: u32, is_partial: bool) -> Duration {
    let longest = if is_partial { SOON } else { LONGEST };
    Duration::from_secs(ttl.into()).clamp(SHORTEST, longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::Spoken;
    use crate::wire::dns::dns_name;

    fn named() -> NameDirectory {
        NameDirectory { spoken: Spoken::Tcp, host: "redis.test".into(), port: 1 }
    }

    fn served() -> SrvDirectory {
        SrvDirectory { spoken: Spoken::Tcp, name: "_redis._tcp.test".into() }
    }

    fn addresses(all: &str, ttl: u32, missing: &[bool]) -> Addresses {
        let all: Vec<IpAddr> = all.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let missing = missing.iter().map(|is_v6| Missing { is_v6: *is_v6, fault: "no".into() });
        let ttl = Some(ttl).filter(|_| !all.is_empty());
        Addresses { ttl, missing: missing.collect(), exists: true, all }
    }

    fn last(all: &str) -> Vec<Found> {
        let address = |text: &str| TargetAddress::Ip(text.parse().unwrap());
        all.split_whitespace().map(|one| Found::at(Spoken::Tcp, address(one))).collect()
    }

    /// Records as zone files have them: `priority weight port host`.
    fn offers(records: &[&str], hosts: &[(&str, Addresses)]) -> Offers {
        let offer = |text: &&str| {
            let fields: Vec<&str> = text.split(' ').collect();
            let [priority, weight, port] = [0, 1, 2].map(|at| fields[at].parse().unwrap());
            Offer { priority, weight, port, host: dns_name(fields[3]).unwrap() }
        };
        let hosts = hosts.iter().map(|(host, all)| (dns_name(host).unwrap(), all.clone()));
        Offers { all: records.iter().map(offer).collect(), ttl: 60, hosts: hosts.collect() }
    }

    fn shown(entries: Result<Entries, ListFault>) -> String {
        let entries = match entries {
            Ok(entries) => entries,
            Err(fault) => return format!("fault: {fault}"),
        };
        let one = |found: &Found| {
            let mut shown = found.address.to_string();
            if found.weight.get() > 1 {
                shown.push_str(&format!("*{}", found.weight));
            }
            if found.backup {
                shown.push('b');
            }
            found.name.as_ref().map_or(shown.clone(), |name| format!("{name}={shown}"))
        };
        let all = entries.found.iter().map(one);
        let left_out = entries.left_out.iter().map(|why| format!("({why})"));
        let lives = entries.lives.map(|lives| format!("for {lives:?}"));
        all.chain(left_out).chain(lives).collect::<Vec<_>>().join(" ")
    }

    fn check(addresses: Addresses, before: &str, expected: &str) {
        let entries = of_addresses(&named(), addresses, &last(before), false);
        assert_eq!(shown(entries), expected);
    }

    #[test]
    fn every_address_of_a_name_is_a_target_in_one_order_for_as_long_as_it_holds() {
        let all = "192.0.2.2 2001:db8::1 192.0.2.1 192.0.2.2";
        let sorted = "192.0.2.1:1 192.0.2.2:1 [2001:db8::1]:1";
        check(addresses(all, 7, &[]), "", &format!("{sorted} for 7s"));
        check(addresses("192.0.2.1", 0, &[]), "", "192.0.2.1:1 for 1s");
        check(addresses("192.0.2.1", 315_360_000, &[]), "", "192.0.2.1:1 for 3600s");
        let by_hosts = Addresses { ttl: None, ..addresses("192.0.2.1", 7, &[]) };
        check(by_hosts, "", "192.0.2.1:1");
    }

    #[test]
    fn a_name_that_stands_for_nothing_makes_an_empty_list_only_with_leave() {
        check(addresses("", 7, &[]), "", "fault: `redis.test` has no address");
        let unknown = Addresses { exists: false, ..addresses("", 7, &[]) };
        check(unknown.clone(), "", "fault: there is no name `redis.test`");
        for nothing in [addresses("", 7, &[]), unknown] {
            assert_eq!(of_addresses(&named(), nothing, &[], true), Ok(Entries::default()));
        }
        let of = |records: &[&str], allow_empty| {
            shown(of_offers(&served(), &offers(records, &[]), &[], allow_empty))
        };
        assert_eq!(of(&[], false), "fault: `_redis._tcp.test` has no SRV records");
        assert_eq!(of(&[], true), "");
        // That it is empty is for the list's rules to judge.
        assert_eq!(of(&["0 0 0 ."], false), "");
    }

    #[test]
    fn addresses_that_could_not_be_asked_for_are_not_taken_for_gone() {
        let (v4, v6) = (&[false][..], &[true][..]);
        let lost = "fault: IPv6 addresses of `redis.test`: no";
        check(addresses("192.0.2.1", 300, v6), "192.0.2.1:1 [2001:db8::1]:1", lost);
        let partial = "192.0.2.1:1 (IPv6 addresses of `redis.test`: no) for 30s";
        check(addresses("192.0.2.1", 300, v6), "192.0.2.9:1", partial);
        check(addresses("192.0.2.1", 7, v6), "", &partial.replace("30s", "7s"));
        let lost = "fault: IPv4 addresses of `redis.test`: no";
        check(addresses("2001:db8::1", 300, v4), "192.0.2.1:1", lost);
        check(addresses("", 7, &[false, true]), "", "fault: `redis.test`: no");
        // With leave to be empty, either.
        let entries = of_addresses(&named(), addresses("", 7, v6), &[], true);
        assert_eq!(shown(entries), "fault: `redis.test`: no");
    }

    #[test]
    fn of_very_many_addresses_some_are_targets_always_the_same() {
        let all = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let turned = |by: u32| {
            let all = (0..300).map(|n| all((n + by) % 300)).collect();
            let entries =
                of_addresses(&named(), Addresses { all, ..Addresses::default() }, &[], false);
            entries.unwrap()
        };
        assert_eq!(turned(0), turned(123));
        assert_eq!((turned(0).found.len(), turned(0).left_out.len()), (MOST_ADDRESSES, 236));
        assert_eq!(turned(0).left_out[0], "10.0.0.64:1 is one more than 64");
    }

    #[test]
    fn addresses_that_are_nobodys_are_left_out() {
        let expected = "192.0.2.1:1 (0.0.0.0:1 is nobody's address) \
                        (224.0.0.1:1 is nobody's address) ([::]:1 is nobody's address) for 7s";
        check(addresses("0.0.0.0 224.0.0.1 192.0.2.1 ::", 7, &[]), "", expected);
    }

    #[test]
    fn srv_records_give_ports_shares_and_who_stands_by() {
        let hosts = [
            ("a.test", addresses("192.0.2.1", 300, &[])),
            ("b.test", addresses("2001:db8::2 192.0.2.2", 20, &[])),
        ];
        let records = ["1 5 10 a.test", "1 0 10 B.test", "7 9 11 a.test"];
        let expected = "a.test:10=192.0.2.1:10*5 B.test:10 (192.0.2.2)=192.0.2.2:10 \
                        B.test:10 (2001:db8::2)=[2001:db8::2]:10 a.test:11=192.0.2.1:11*9b for 20s";
        assert_eq!(shown(of_offers(&served(), &offers(&records, &hosts), &[], false)), expected);
    }

    #[test]
    fn srv_records_that_name_nobody_are_left_out() {
        let hosts =
            [("a.test", addresses("192.0.2.1", 300, &[])), ("none.test", addresses("", 300, &[]))];
        let records =
            ["1 1 1 .", "1 1 0 a.test", "1 1 1 none.test", "1 1 1 beyond.test", "1 1 1 a.test"];
        let expected = "a.test:1=192.0.2.1:1 (a record that names no host) (`a.test` with port 0) \
                        (`none.test` has no address) \
                        (`beyond.test`: it is one more than 64 hosts) for 60s";
        assert_eq!(shown(of_offers(&served(), &offers(&records, &hosts), &[], false)), expected);
    }

    #[test]
    fn a_host_that_could_not_be_asked_for_is_not_taken_for_gone() {
        let hosts = [
            ("a.test", addresses("192.0.2.1", 300, &[])),
            ("b.test", addresses("", 300, &[false, true])),
        ];
        let of = |before: &str| {
            let offers = offers(&["1 1 1 a.test", "1 1 1 b.test"], &hosts);
            shown(of_offers(&served(), &offers, &last(before), false))
        };
        assert_eq!(of("192.0.2.1:1"), "fault: IPv4 addresses of `b.test`: no");
        let partial = "a.test:1=192.0.2.1:1 (IPv4 addresses of `b.test`: no) \
                       (IPv6 addresses of `b.test`: no) for 30s";
        assert_eq!(of(""), partial);
    }
}
