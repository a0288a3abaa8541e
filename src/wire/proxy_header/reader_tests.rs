//! Tests of the header: what is one, what is none, and that nothing is lost on the way.

use proptest::prelude::*;

use crate::wire::proxy_header::fault::HeaderFault::{self, *};
use crate::wire::proxy_header::header::{Header, Origin, Version};
use crate::wire::proxy_header::packet::BEGINNING;
use crate::wire::proxy_header::reader::{LARGEST, Progress, read};
use crate::wire::proxy_header::ssl::Ssl;
use crate::wire::proxy_header::tlv::{Kind, Tlvs};
use crate::wire::proxy_header::writer::write;

/// Shown byte by byte, as the slowest sender would: the header, or what is wrong and at which byte.
fn slowly(bytes: &[u8]) -> Result<(Header, usize), (HeaderFault, usize)> {
    for end in 0..=bytes.len() {
        match read(&bytes[..end]) {
            Ok(Progress::Begun { at_least, .. }) => {
                assert!(end < at_least && at_least <= LARGEST, "{at_least} of {end}");
            }
            Ok(Progress::Whole { header, length }) => {
                assert_eq!(length, end, "known as soon as it is there");
                return Ok((header, length));
            }
            Err(fault) => return Err((fault, end)),
        }
    }
    panic!("{} is never a header, and never none", bytes.escape_ascii())
}

fn accepted(bytes: &[u8]) -> Origin {
    let (header, length) = slowly(bytes).unwrap_or_else(|(fault, at)| {
        panic!("{}: {fault}, at byte {at}", bytes.escape_ascii());
    });
    assert_eq!(length, bytes.len());
    header.origin
}

#[track_caller]
fn refused(bytes: &[u8], expected: HeaderFault) {
    let (fault, _) = slowly(bytes).expect_err(&bytes.escape_ascii().to_string());
    assert_eq!(fault, expected, "{}", bytes.escape_ascii());
    assert_eq!(read(bytes), Err(expected), "in one piece: {}", bytes.escape_ascii());
}

/// Version, command and family as given, a length that is right, and then `rest`.
fn packet(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [BEGINNING, &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0x01, 0x00, 0x50];

fn tcp4() -> Origin {
    Origin::tcp("10.0.0.1:4097".parse().unwrap(), "10.0.0.2:80".parse().unwrap())
}

#[test]
fn lines_are_read() {
    assert_eq!(accepted(b"PROXY TCP4 10.0.0.1 10.0.0.2 4097 80\r\n"), tcp4());
    let v6 = Origin::tcp("[2001:db8::1]:0".parse().unwrap(), "[::1]:65535".parse().unwrap());
    assert_eq!(accepted(b"PROXY TCP6 2001:DB8:0:0::0001 ::1 0 65535\r\n"), v6);
    let mapped = Origin::Tcp6 {
        source: "[::ffff:10.0.0.1]:1".parse().unwrap(),
        destination: "[::1]:2".parse().unwrap(),
    };
    assert_eq!(accepted(b"PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n"), mapped);
    assert_eq!(accepted(b"PROXY UNKNOWN\r\n"), Origin::Unknown);
    assert_eq!(accepted(b"PROXY UNKNOWN whatever  it says\r\n"), Origin::Unknown);
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    assert_eq!(accepted(longest.as_bytes()), Origin::Unknown);
}

#[test]
fn lines_that_are_not_by_the_book_are_refused() {
    let check = |line: &str, expected| refused(line.as_bytes(), expected);
    check("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", LineEnd);
    check("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\r\n", LineEnd);
    check("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rGET", LineEnd);
    check("PROXY UNKNOWN a\nb\r\n", LineEnd);
    check("PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n", Word);
    check("PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n", Word);
    check("PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n", Word);
    check("PROXY TCP4\t10.0.0.1 10.0.0.2 1 2\r\n", Word);
    check("PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n", Word);
    check("PROXY UNKNOWNS\r\n", Word);
    check("PROXY \r\n", Word);
    check("proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n", Absent);
    check("PROXY\r\n", Absent);
    check(" PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", Absent);
    for fields in [
        " 10.0.0.1 10.0.0.2 1 2",
        "10.0.0.1  10.0.0.2 1 2",
        "10.0.0.1 10.0.0.2 1  2",
        "10.0.0.1 10.0.0.2 1 2 ",
        "10.0.0.1 10.0.0.2 1 2 3",
        "10.0.0.1 10.0.0.2 1",
        "",
    ] {
        check(&format!("PROXY TCP4 {fields}\r\n"), Fields);
    }
    for address in [
        "0300.0.2.1",
        "01.0.0.1",
        "192.0.2.256",
        "192.0.2",
        "192.0.2.1.1",
        "0xa.0.0.1",
        "1.2.3.4\0",
        "::1",
        "::ffff:10.0.0.1",
        "-1.0.0.1",
        "+1.0.0.1",
        "10.0.0.1%eth0",
        "localhost",
        "é",
    ] {
        check(&format!("PROXY TCP4 {address} 10.0.0.2 1 2\r\n"), Address);
        check(&format!("PROXY TCP4 10.0.0.2 {address} 1 2\r\n"), Address);
    }
    for address in ["fe80::1%eth0", "[::1]", "10.0.0.1", ":::1", "1::2::3", "::12345", "::g"] {
        check(&format!("PROXY TCP6 {address} ::1 1 2\r\n"), Address);
    }
    for port in ["65536", "99999999999", "01000", "+100", "-1", "00", "1\0", "x", "1.0", "0x10"] {
        check(&format!("PROXY TCP4 10.0.0.1 10.0.0.2 {port} 2\r\n"), Port);
        check(&format!("PROXY TCP6 ::1 ::2 1 {port}\r\n"), Port);
    }
    check("PROXY UNKNOWN \0\r\n", Fields);
    check("PROXY UNKNOWN \u{1b}[2J\r\n", Fields);
    check(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), LineTooLong);
    check(&format!("PROXY TCP4 {}", "1".repeat(200)), LineTooLong);
}

#[test]
fn bytes_that_begin_as_no_header_are_known_by_the_first_that_differs() {
    let check = |bytes: &[u8], at| assert_eq!(slowly(bytes), Err((Absent, at)));
    check(b"PING\r\n", 2);
    check(b"GET / HTTP/1.1\r\n", 1);
    check(b"PROXYING", 6);
    check(b"\r\n\r\n\0\r\nQUIT\r\n", 12);
    check(b"\r\n\r\nGET", 5);
    check(&[0x16, 3, 1, 0, 0], 1);
    check(&[116, 3, 18, 13], 1);
}

#[test]
fn packets_are_read() {
    assert_eq!(accepted(&packet(0x21, 0x11, &V4)), tcp4());
    let v6 = Origin::tcp("[2001:db8::1]:1".parse().unwrap(), "[::1]:2".parse().unwrap());
    let Origin::Tcp6 { source, destination } = &v6 else { panic!("{v6:?}") };
    let block = [&source.ip().octets()[..], &destination.ip().octets(), &[0, 1, 0, 2]].concat();
    assert_eq!(accepted(&packet(0x21, 0x21, &block)), v6);
    let mut paths = [0; 216];
    paths[..3].copy_from_slice(b"/a\x1b");
    paths[108..111].copy_from_slice(b"\0ab");
    let unix = Origin::Unix { source: b"/a\x1b".to_vec(), destination: b"\0ab".to_vec() };
    assert_eq!(accepted(&packet(0x21, 0x31, &paths)), unix);
}

#[test]
fn a_local_connection_is_its_senders_whatever_else_is_said() {
    for (family, block) in [(0, &[][..]), (0x11, &V4), (0x11, &[]), (0xff, b"whatever")] {
        assert_eq!(accepted(&packet(0x20, family, block)), Origin::Local);
    }
}

#[test]
fn what_is_not_over_tcp_is_somebodys_who_is_not_told() {
    let udp6 = [0; 36];
    let datagram = [0; 216];
    for (family, block) in [
        (0x00, &b"?"[..]),
        (0x00, &[]),
        (0x12, &V4),
        (0x22, &udp6),
        (0x32, &datagram),
        (0x10, &V4),
        (0x01, &[]),
    ] {
        assert_eq!(accepted(&packet(0x21, family, block)), Origin::Unknown, "{family:x}");
    }
}

#[test]
fn packets_that_are_not_by_the_book_are_refused() {
    refused(&packet(0x11, 0x11, &V4), Version(1));
    refused(&packet(0x31, 0x11, &V4), Version(3));
    refused(&packet(0x22, 0x11, &V4), Command(2));
    refused(&packet(0x2f, 0x11, &V4), Command(15));
    refused(&packet(0x21, 0x41, &V4), Family(0x41));
    refused(&packet(0x21, 0x13, &V4), Family(0x13));
    refused(&packet(0x21, 0x11, &V4[..11]), TooShort);
    refused(&packet(0x21, 0x21, &[0; 35]), TooShort);
    refused(&packet(0x21, 0x31, &[0; 215]), TooShort);
    refused(&packet(0x21, 0x12, &[]), TooShort);
    refused(&packet(0x21, 0x11, &[0; 65_535]), TooLarge(65_551));
    refused(&packet(0x20, 0x00, &[0; 4081]), TooLarge(4097));
    assert_eq!(accepted(&packet(0x20, 0x00, &[0; 4080])), Origin::Local);
    let with = |tlvs: &[u8]| packet(0x21, 0x11, &[&V4[..], tlvs].concat());
    refused(&with(&[1]), Tlv);
    refused(&with(&[1, 0]), Tlv);
    refused(&with(&[1, 0, 2, b'h']), Tlv);
    refused(&with(&[1, 0xff, 0xff]), Tlv);
    refused(&with(&[4, 0, 0, 9]), Tlv);
    refused(&with(&[3, 0, 3, 0, 0, 0]), TlvValue(3));
    refused(&with(&[3, 0, 4, 0, 0, 0, 0]), Checksum);
    refused(&with(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]), TlvValue(3));
    refused(&with(&[&[5, 0, 129][..], &[b'x'; 129]].concat()), TlvValue(5));
    refused(&with(&[0x20, 0, 4, 1, 0, 0, 0]), TlvValue(0x20));
    refused(&with(&[0x20, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 1]), TlvValue(0x20));
}

#[test]
fn a_header_is_refused_before_what_it_announces_is_waited_for() {
    let announced =
        |family, length: u16| [BEGINNING, &[0x21, family], &length.to_be_bytes()].concat();
    assert_eq!(slowly(&announced(0x11, 65_535)), Err((TooLarge(65_551), 16)));
    assert_eq!(slowly(&announced(0x11, 11)), Err((TooShort, 16)));
    assert_eq!(slowly(&announced(0x71, 12)), Err((Family(0x71), 14)));
    assert_eq!(slowly(b"PROXY TCP7"), Err((Word, 10)));
}

#[test]
fn tlvs_are_bytes_and_shown_escaped() {
    let mut tlvs = Tlvs::default();
    assert!(tlvs.push(Kind::AUTHORITY, b"\x1b[2J\n\"<script>\xff", LARGEST));
    let header = Header { version: Version::V2, origin: tcp4(), tlvs };
    let (read, _) = slowly(&write(&header)).unwrap();
    assert_eq!(read.tlvs.get(Kind::AUTHORITY), Some(&b"\x1b[2J\n\"<script>\xff"[..]));
    let shown = format!("{read:?}");
    assert!(shown.contains(r"\\x1b[2J\\n") && !shown.contains('\x1b'), "{shown}");
    assert!(!Tlvs::default().push(Kind::NOOP, &[0; 10], 12), "it does not fit");
}

#[test]
fn every_flipped_bit_of_a_checked_header_is_noticed() {
    let mut tlvs = Tlvs::default();
    assert!(tlvs.push(Kind::CRC32C, &[0; 4], LARGEST) && tlvs.push(Kind::ALPN, b"h2", LARGEST));
    let sent = write(&Header { version: Version::V2, origin: tcp4(), tlvs });
    assert_eq!(accepted(&sent), tcp4());
    for bit in 0..sent.len() * 8 {
        let mut bytes = sent.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read(&bytes) {
            // LOCAL is to be discarded unread, and without its type the checksum is none.
            Ok(Progress::Whole { header, .. }) => assert!(
                header.origin == Origin::Local || header.tlvs.checksum_at().is_none(),
                "bit {bit}"
            ),
            Ok(Progress::Begun { .. }) | Err(_) => {}
        }
    }
}

fn an_origin() -> impl Strategy<Value = Origin> {
    let v4 = any::<([u8; 4], u16)>().prop_map(std::net::SocketAddr::from);
    let v6 = any::<([u8; 16], u16)>().prop_map(std::net::SocketAddr::from);
    let ip = prop_oneof![v4, v6];
    let path = || {
        let last = prop::option::of(1u8..);
        (prop::collection::vec(any::<u8>(), 0..107), last).prop_map(|(mut path, last)| {
            path.extend(last);
            if last.is_none() { Vec::new() } else { path }
        })
    };
    prop_oneof![
        (ip.clone(), ip).prop_map(|(source, destination)| Origin::tcp(source, destination)),
        (path(), path()).prop_map(|(source, destination)| Origin::Unix { source, destination }),
        Just(Origin::Unknown),
        Just(Origin::Local),
    ]
}

fn some_tlvs() -> impl Strategy<Value = Tlvs> {
    let value = prop::collection::vec(any::<u8>(), 0..100);
    prop::collection::vec((any::<u8>(), value), 0..8).prop_map(|list| {
        let mut tlvs = Tlvs::default();
        for (kind, value) in list.iter().filter(|(kind, _)| ![3, 0x20].contains(kind)) {
            tlvs.push(Kind(*kind), value, LARGEST);
        }
        tlvs
    })
}

pub(super) fn a_header() -> impl Strategy<Value = Header> {
    (an_origin(), some_tlvs(), any::<bool>()).prop_map(|(origin, tlvs, is_line)| {
        match (is_line, &origin) {
            (true, Origin::Tcp4 { .. } | Origin::Tcp6 { .. } | Origin::Unknown) => {
                Header { version: Version::V1, origin, tlvs: Tlvs::default() }
            }
            (_, Origin::Local) => Header { version: Version::V2, origin, tlvs: Tlvs::default() },
            _ => Header { version: Version::V2, origin, tlvs },
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_nothing_behind_it(
        header in a_header(),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let sent = write(&header);
        let stream = [&sent[..], &payload].concat();
        for end in 0..=stream.len() {
            match read(&stream[..end]) {
                Ok(Progress::Whole { header: read, length }) => {
                    prop_assert!(end >= sent.len());
                    prop_assert_eq!(length, sent.len());
                    prop_assert_eq!(&read, &header);
                }
                Ok(Progress::Begun { at_least, .. }) => {
                    prop_assert!(end < sent.len() && at_least > end && at_least <= sent.len());
                }
                Err(fault) => prop_assert!(false, "{} after {}", fault, end),
            }
        }
    }

    #[test]
    fn the_texts_of_tls_survive(flags: [bool; 4], texts: [Option<Vec<u8>>; 5]) {
        let [by_tls, certificate_now, certificate_ever, verified] = flags;
        let [version, common_name, cipher, signature, key] = texts.each_ref().map(Option::as_deref);
        let ssl = Ssl {
            by_tls, certificate_now, certificate_ever, verified, version, common_name, cipher,
            signature, key,
        };
        let value = ssl.write();
        prop_assert_eq!(Ssl::read(&value), Some(ssl));
    }

    #[test]
    fn no_bytes_are_anybodys_end(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 1.1.1.1 ", BEGINNING]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest].concat();
        match read(&bytes) {
            Ok(Progress::Whole { length, .. }) => prop_assert!(length <= bytes.len()),
            Ok(Progress::Begun { at_least, .. }) => {
                prop_assert!(bytes.len() < at_least && at_least <= LARGEST);
            }
            // What was refused stays refused.
            Err(_) => {
                prop_assert!(read(&[&bytes[..], b"x"].concat()).is_err());
            }
        }
    }
}
