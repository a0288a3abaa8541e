//! Answers as name servers and forgers write them, byte by byte.

use domain::base::{MessageBuilder, Rtype};
use proptest::prelude::*;

use crate::wire::dns::*;

const ID: u16 = 0x1234;

fn name(text: &str) -> DnsName {
    dns_name(text).unwrap()
}

fn question(kind: Kind) -> DnsQuestion {
    DnsQuestion::new(&name("redis.test"), kind, ID)
}

/// The beginning of an answer to that question, with so many records to come.
fn head(question: &DnsQuestion, flags: u16, count: u16) -> Vec<u8> {
    let mut bytes = question.bytes().to_vec();
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes
}

fn record(owner: &str, rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = name(owner).as_octets().clone();
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn a(owner: &str, ttl: u32, last: u8) -> Vec<u8> {
    record(owner, 1, ttl, &[192, 0, 2, last])
}

fn cname(owner: &str, ttl: u32, target: &str) -> Vec<u8> {
    record(owner, 5, ttl, name(target).as_octets())
}

fn shown(said: Result<Said, String>) -> String {
    match said {
        Ok(Said::Records { records, ttl }) => {
            let shown = records.iter().map(|data| match data {
                Data::Address(ip) => ip.to_string(),
                Data::Offer(Offer { priority, weight, port, host }) => {
                    format!("{priority} {weight} {host}:{port}")
                }
            });
            format!("{} for {ttl}", shown.collect::<Vec<_>>().join(", "))
        }
        Ok(other) => format!("{other:?}"),
        Err(fault) => fault,
    }
}

/// What an answer with these flags and records says about `kind` of `redis.test`.
fn check(kind: Kind, flags: u16, records: &[Vec<u8>], expected: &str) {
    let question = question(kind);
    let mut bytes = head(&question, flags, u16::try_from(records.len()).unwrap());
    bytes.extend(records.concat());
    assert_eq!(shown(question.read(&bytes)), expected);
}

#[test]
fn a_question_is_what_name_servers_expect() {
    let bytes =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05redis\x04test\x00\x00\x1c\x00\x01";
    assert_eq!(question(Kind::Aaaa).bytes(), bytes);
}

#[test]
fn the_addresses_of_the_name_count_for_as_long_as_the_shortest_lived_holds() {
    let records = [a("redis.test", 60, 1), a("REDIS.test", 30, 2)];
    check(Kind::A, 0x8180, &records, "192.0.2.1, 192.0.2.2 for 30");
    let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let records = [a("redis.test", 60, 1), record("redis.test", 28, 7, &v6)];
    check(Kind::Aaaa, 0x8180, &records, "2001:db8::1 for 7");
    check(Kind::A, 0x8180, &[a("redis.test", 315_360_000, 1)], "192.0.2.1 for 315360000");
    check(Kind::A, 0x8180, &[a("redis.test", 0, 1)], "192.0.2.1 for 0");
    check(Kind::A, 0x8180, &[a("redis.test", u32::MAX, 1)], "192.0.2.1 for 0");
}

#[test]
fn aliases_are_followed_within_the_answer_and_hold_no_longer_than_they_say() {
    let records =
        [a("c.test", 60, 1), cname("b.test", 50, "c.test"), cname("redis.test", 5, "b.test")];
    check(Kind::A, 0x8180, &records, "192.0.2.1 for 5");
    check(Kind::A, 0x8180, &records[1..], "NoRecords");
    let circle = [cname("redis.test", 5, "b.test"), cname("b.test", 5, "redis.test")];
    check(Kind::A, 0x8180, &circle, "its aliases (CNAME) lead nowhere");
    check(
        Kind::A,
        0x8180,
        &[cname("redis.test", 5, "redis.test")],
        "its aliases (CNAME) lead nowhere",
    );
    let mut long: Vec<_> =
        (0..=MOST_ALIASES).map(|n| cname(&format!("{n}"), 5, &format!("{}", n + 1))).collect();
    long[0] = cname("redis.test", 5, "1");
    check(Kind::A, 0x8180, &long, "its aliases (CNAME) lead nowhere");
}

#[test]
fn what_is_said_of_other_names_classes_and_kinds_counts_for_nothing() {
    check(Kind::A, 0x8180, &[a("bank.test", 60, 1)], "NoRecords");
    let records =
        [a("bank.test", 1, 1), a("redis.test", 60, 2), cname("bank.test", 1, "redis.test")];
    check(Kind::A, 0x8180, &records, "192.0.2.2 for 60");
    let mut chaos = a("redis.test", 60, 1);
    chaos[14] = 3;
    check(Kind::A, 0x8180, &[chaos], "NoRecords");
    check(Kind::A, 0x8180, &[record("redis.test", 16, 60, b"\x01x")], "NoRecords");
    // Other sections are not looked at.
    let question = question(Kind::A);
    let mut bytes = head(&question, 0x8180, 0);
    bytes[10..12].copy_from_slice(&1_u16.to_be_bytes());
    bytes.extend(a("redis.test", 60, 1));
    assert_eq!(shown(question.read(&bytes)), "NoRecords");
}

#[test]
fn hosts_that_offer_a_service() {
    let srv = |priority: u8, weight: u8, port: u8, host: &str| {
        let numbers = [0, priority, 0, weight, 0, port];
        record("redis.test", 33, 60, &[&numbers, &name(host).as_octets()[..]].concat())
    };
    let records = [srv(1, 2, 3, "Node.test"), srv(0, 0, 0, ".")];
    check(Kind::Srv, 0x8180, &records, "1 2 Node.test:3, 0 0 .:0 for 60");
}

#[test]
fn a_name_server_that_knows_nothing_or_fails_says_so() {
    check(Kind::A, 0x8180, &[], "NoRecords");
    check(Kind::A, 0x8183, &[], "NoName");
    check(Kind::A, 0x8182, &[], "it says SERVFAIL");
    check(Kind::A, 0x8185, &[], "it says REFUSED");
    check(Kind::A, 0x8380, &[a("redis.test", 60, 1)], "CutShort");
    check(Kind::A, 0x8180 | 0x2800, &[], "it answers another question");
    check(Kind::A, 0x8180, &[record("redis.test", 1, 60, &[1, 2, 3])], BROKEN);
    check(Kind::A, 0x8180, &[a("redis.test", 60, 1)[..20].to_vec()], BROKEN);
    let mut pointing_at_itself = vec![0xc0, 28];
    pointing_at_itself.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    check(Kind::A, 0x8180, &[pointing_at_itself], BROKEN);
}

#[test]
fn only_an_answer_to_this_very_question_is_one() {
    let question = question(Kind::A);
    let answer = head(&question, 0x8180, 0);
    assert!(question.is_answered_by(&answer));
    let other_id = DnsQuestion::new(&name("redis.test"), Kind::A, ID + 1);
    let other_name = DnsQuestion::new(&name("bank.test"), Kind::A, ID);
    let other_kind = DnsQuestion::new(&name("redis.test"), Kind::Aaaa, ID);
    for other in [other_id, other_name, other_kind] {
        assert!(!question.is_answered_by(&head(&other, 0x8180, 0)));
    }
    assert!(!question.is_answered_by(question.bytes()), "a question is no answer");
    assert!(!question.is_answered_by(&answer[..11]) && !question.is_answered_by(&answer[..20]));
    let mut two = MessageBuilder::new_vec().question();
    two.push((name("redis.test"), Rtype::A)).unwrap();
    two.push((name("redis.test"), Rtype::A)).unwrap();
    let mut two = two.finish();
    two[..4].copy_from_slice(&answer[..4]);
    assert!(!question.is_answered_by(&two));
}

/// Bytes that name servers would send, and pointers to anywhere.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let pointer = (0_u8..80).prop_map(|at| vec![0xc0, at]);
    let owner = prop_oneof![pointer.clone(), Just(name("redis.test").as_octets().clone())];
    let data = prop_oneof![pointer, prop::collection::vec(any::<u8>(), 0..20)];
    let kind = prop_oneof![Just(1_u16), Just(5), Just(28), Just(33), any::<u16>()];
    let one = (owner, kind, any::<u32>(), data, any::<bool>()).prop_map(
        |(owner, kind, ttl, data, is_honest)| {
            let length = data.len() as u16 + u16::from(!is_honest);
            let fixed = [&kind.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes()].concat();
            [owner, fixed, length.to_be_bytes().to_vec(), data].concat()
        },
    );
    prop::collection::vec(one, 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn no_bytes_as_an_answer_crash_anything(bytes: Vec<u8>, flags: u16, count: u16, tail: Vec<u8>) {
        for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
            let question = question(kind);
            drop(question.read(&bytes));
            drop(question.read(&[head(&question, flags, count), tail.clone()].concat()));
        }
    }

    #[test]
    fn nor_do_records_that_are_almost_good(count in 0_u16..10, records in records()) {
        for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
            let question = question(kind);
            if let Ok(Said::Records { records: found, .. }) =
                question.read(&[head(&question, 0x8180, count), records.clone()].concat())
            {
                prop_assert!((1..=usize::from(count)).contains(&found.len()));
            }
        }
    }
}
