//! The PROXY protocol towards us: who is believed, what is a header, and that no byte of payload is
//! lost or taken for one.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use stagedoor::wire::proxy_header::header::Origin;
use stagedoor::wire::proxy_header::tlv::Kind;

use crate::harness::certificates::Authority;
use crate::harness::client::{connect, connect_from, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::header::{CLIENT, of, v1, v2, v2_with};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// A service behind others that send headers from 127.0.0.1.
fn definition(listen: u16, target: &Target) -> Value {
    json!({
        "name": "behind", "listen_port": listen, "listen_address": "127.0.0.1",
        "enable_proxy_protocol": true, "proxy_protocol_from": ["127.0.0.1/32"],
        "proxy": { "target_url": target.address() },
    })
}

fn with(mut definition: Value, key: &str, value: Value) -> Value {
    definition[key] = value;
    definition
}

fn soon(definition: Value) -> Value {
    with(definition, "limits", json!({ "handshake_timeout": "300ms" }))
}

/// An echo sends the payload back. What the log says of it.
#[track_caller]
fn check_served(stagedoor: &Stagedoor, listen: u16, header: &[u8], payload: &[u8]) -> String {
    let mark = stagedoor.mark();
    let (came, _) = exchange(listen, &[header, payload].concat());
    assert_eq!(came, payload, "{}", header.escape_ascii());
    stagedoor.logged_after(mark, "session ended")
}

/// Closed with these words in the log, and no target has heard of it.
#[track_caller]
fn check_refused(stagedoor: &Stagedoor, listen: u16, target: &Target, sent: &[u8], words: &str) {
    let (before, mark) = (target.accepted(), stagedoor.mark());
    let mut client = connect(listen);
    // It may be refused before all of it has been sent.
    drop(client.write_all(sent));
    let (came, _) = read_to_end(&mut client);
    assert_eq!(came, b"", "{}", sent.escape_ascii());
    // In a line of its own, or as the last of several.
    let line = stagedoor.logged_after(mark, words);
    assert!(line.contains("ended: "), "{}: {line}", sent.escape_ascii());
    assert_eq!(target.accepted(), before, "{}", sent.escape_ascii());
}

#[test]
fn the_client_is_whom_the_header_names_and_the_rest_is_payload() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target));
    for header in [v1(CLIENT), v2(CLIENT), v1("[2001:db8::7]:4711"), v2("[2001:db8::7]:4711")] {
        let payload = b"PROXY TCP4 is payload from here on";
        let line = check_served(&stagedoor, listen, &header, payload);
        let real = if line.contains("2001") {
            "client=[2001:db8::7]:4711"
        } else {
            "client=192.0.2.7:4711"
        };
        assert!(line.contains(real) && line.contains("via=127.0.0.1:"), "{line}");
    }
    // Half a megabyte behind the header, and a header of 4 KiB.
    let long = v2_with(of(CLIENT), &[(Kind::NOOP, &[b'x'; 3900])]);
    check_served(&stagedoor, listen, &long, &vec![7; 500_000]);
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
}

#[test]
fn a_header_in_pieces_is_a_header() {
    let (target, listen) = (Target::echo(), free_port());
    let _stagedoor = Stagedoor::run(&definition(listen, &target));
    for header in [v1(CLIENT), v2(CLIENT)] {
        let sent = [&header[..], b"hello"].concat();
        for cut in 1..sent.len() {
            let mut client = connect(listen);
            client.set_nodelay(true).unwrap();
            client.write_all(&sent[..cut]).unwrap();
            std::thread::yield_now();
            client.write_all(&sent[cut..]).unwrap();
            let mut came = [0; 5];
            client.read_exact(&mut came).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(&came, b"hello", "cut at {cut}");
        }
        let mut client = connect(listen);
        client.set_nodelay(true).unwrap();
        for byte in sent {
            client.write_all(&[byte]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut client).0, b"hello");
    }
}

#[test]
fn what_is_no_header_is_refused_before_a_target_hears_of_it() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target));
    let check = |sent: &[u8], words: &str| {
        check_refused(&stagedoor, listen, &target, sent, words);
    };
    check(b"PING\r\n", "does not begin with a PROXY protocol header");
    check(b"\x16\x03\x01\x02\x00", "does not begin with a PROXY protocol header");
    check(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n", "a port in its header");
    check(b"PROXY TCP4 0300.0.2.1 10.0.0.2 1 2\r\n", "an address in its header");
    check(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", "does not end with CR LF");
    check(&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), "longer than 107 bytes");
    let fixed = b"\r\n\r\n\0\r\nQUIT\n";
    check(&[&fixed[..], &[0x21, 0x11, 0xff, 0xff]].concat(), "more than are read");
    check(&[&fixed[..], &[0x21, 0x11, 0, 4]].concat(), "too short for its addresses");
    check(&[&fixed[..], &[0x22, 0x11, 0, 12]].concat(), "unknown command 2");
    let wrong = v2_with(of(CLIENT), &[(Kind::CRC32C, &[0; 4])]);
    let wrong: Vec<u8> = [&wrong[..wrong.len() - 1], &[!wrong[wrong.len() - 1]]].concat();
    check(&wrong, "the checksum of its header is wrong");
    assert_eq!(target.accepted(), 0);
}

#[test]
fn only_those_that_are_named_are_believed() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target));
    for sent in [&v1(CLIENT)[..], b"PING\r\n", b""] {
        let mut stranger = connect_from("127.0.0.2", listen);
        drop(stranger.write_all(sent));
        assert_eq!(read_to_end(&mut stranger).0, b"");
    }
    // The first has a line of its own; the others may share theirs.
    let line = stagedoor.logged("session ended");
    assert!(line.contains("not believed from this address"), "{line}");
    assert!(line.contains("client=127.0.0.2:") && !line.contains("via="), "{line}");
    assert_eq!(target.accepted(), 0);
    eventually("each is counted", || {
        let status = stagedoor.json(&["status"]);
        (status["services"][0]["refused_by"]["proxy_protocol_from"] == 3).then_some(())
    });
}

#[test]
fn others_are_served_as_they_come_where_that_is_asked_for_and_change_nobodys_address() {
    let (target, listen) = (Target::echo(), free_port());
    let direct = with(definition(listen, &target), "proxy_protocol_others", json!("direct"));
    let stagedoor = Stagedoor::run(&direct);
    check_served(&stagedoor, listen, &v1(CLIENT), b"hello");
    for forged in [v1(CLIENT), v2(CLIENT)] {
        let mark = stagedoor.mark();
        let mut stranger = connect_from("127.0.0.2", listen);
        stranger.write_all(&forged).unwrap();
        stranger.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stranger).0, forged, "it is payload");
        let line = stagedoor.logged_after(mark, "session ended");
        assert!(line.contains("client=127.0.0.2:") && !line.contains("192.0.2.7"), "{line}");
    }
}

#[test]
fn where_no_header_is_expected_none_is_looked_for() {
    let (target, listen) = (Target::echo(), free_port());
    let plain = with(definition(listen, &target), "enable_proxy_protocol", json!(false));
    let stagedoor = Stagedoor::run(&plain);
    let line = check_served(&stagedoor, listen, b"", &v1(CLIENT));
    assert!(line.contains("client=127.0.0.1:") && !line.contains("via="), "{line}");
}

#[test]
fn silence_and_half_a_header_end_at_one_deadline() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&soon(definition(listen, &target)));
    let header = v1(CLIENT);
    for sent in [&b""[..], b"PRO", &header[..20], &v2(CLIENT)[..17]] {
        check_refused(&stagedoor, listen, &target, sent, "longer than handshake_timeout");
    }
    // One byte at a time does not put it off.
    let mark = stagedoor.mark();
    let mut slow = connect(listen);
    let mut bytes = header[..header.len() - 1].iter();
    while let Some(byte) = bytes.next()
        && slow.write_all(&[*byte]).is_ok()
    {
        slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        if matches!(slow.read(&mut [0]), Ok(0)) {
            break;
        }
    }
    stagedoor.logged_after(mark, "longer than handshake_timeout");
    let mark = stagedoor.mark();
    drop(connect(listen));
    stagedoor.logged_after(mark, "the client left before it was connected");
    assert_eq!(target.accepted(), 0);
}

#[test]
fn an_optional_header_is_told_from_payload_by_the_first_byte_that_differs() {
    let (target, listen) = (Target::banner(b"welcome"), free_port());
    let lenient = with(soon(definition(listen, &target)), "proxy_protocol_optional", json!(true));
    let stagedoor = Stagedoor::run(&lenient);
    let check = |sent: &[u8], payload: &[u8], client: &str| {
        let mark = stagedoor.mark();
        let mut stream = connect(listen);
        stream.write_all(sent).unwrap();
        let mut came = vec![0; 7 + payload.len()];
        stream.read_exact(&mut came).unwrap();
        assert_eq!(came, [b"welcome", payload].concat(), "{}", sent.escape_ascii());
        drop(stream);
        let line = stagedoor.logged_after(mark, "session ended");
        assert!(line.contains(client), "{line}");
    };
    check(&[&v1(CLIENT)[..], b"x"].concat(), b"x", "client=192.0.2.7:4711");
    check(b"PING\r\n", b"PING\r\n", "client=127.0.0.1:");
    check(b"\r\n\r\nGET", b"\r\n\r\nGET", "client=127.0.0.1:");
    // Silent clients, and those that may yet say a header, are waited for only so long.
    check(b"", b"", "client=127.0.0.1:");
    check(b"PROX", b"PROX", "client=127.0.0.1:");
    // What has begun as a header is none of theirs.
    check_refused(&stagedoor, listen, &target, b"PROXY TCP9 ", "does not know");
    check_refused(&stagedoor, listen, &target, b"PROXY TCP4 1", "longer than handshake_timeout");
    // Half-closed clients with nothing to say, or less than a header, are served as elsewhere.
    assert_eq!(exchange(listen, b"").0, b"welcome");
    assert_eq!(exchange(listen, b"PRO").0, b"welcomePRO");
}

#[test]
fn the_header_comes_before_tls_and_before_the_name_on_a_shared_port() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let targets = [Target::banner(b"a"), Target::banner(b"b")];
    let named = |name: &str, target: &Target| {
        let definition = with(definition(listen, target), "protocol", json!("tls"));
        let definition = with(definition, "domain", json!(name));
        let definition = with(definition, "name", json!(name));
        with(definition, "certificates", json!(authority.issue(&[name]).path))
    };
    let through = with(definition(listen, &Target::echo()), "protocol", json!("tls_passthrough"));
    let through = with(through, "domain", json!("through.test"));
    let definitions = [named("a.test", &targets[0]), named("b.test", &targets[1]), through];
    let stagedoor = Stagedoor::run_under(&[], &definitions.iter().collect::<Vec<_>>(), &[]);
    for (name, word) in [("a.test", b"a"), ("b.test", b"b")] {
        for header in [v1(CLIENT), v2(CLIENT)] {
            let mark = stagedoor.mark();
            let mut stream = connect(listen);
            stream.write_all(&header).unwrap();
            let mut tls = Trust::of(&authority).over(stream, name).unwrap();
            let mut came = [0; 1];
            tls.read_exact(&mut came).unwrap();
            assert_eq!(&came, word);
            assert_eq!(echoed(&mut tls, b"hello"), b"hello");
            drop(tls);
            let line = stagedoor.logged_after(mark, "session ended");
            assert!(line.contains("client=192.0.2.7:4711") && line.contains(name), "{line}");
        }
    }
    // Without one there is no TLS, and with one there is nothing but TLS.
    let mark = stagedoor.mark();
    Trust::of(&authority).connect(listen, "a.test").expect_err("no header");
    stagedoor.logged_after(mark, "does not begin with a PROXY protocol header");
    let mark = stagedoor.mark();
    assert!(exchange(listen, &[&v1(CLIENT)[..], b"PING\r\n"].concat()).0.len() <= 7, "an alert");
    let line = stagedoor.logged_after(mark, "is no TLS hello");
    assert!(line.contains("client=192.0.2.7:4711"), "{line}");
}

#[test]
fn the_same_client_reaches_the_same_target_whoever_it_comes_by() {
    let targets = [Target::numbered(0), Target::numbered(1), Target::numbered(2)];
    let listen = free_port();
    let mut spread = definition(listen, &targets[0]);
    spread["proxy_protocol_from"] = json!(["127.0.0.0/8"]);
    spread["proxy"] = json!({
        "enable_load_balancing": true, "balance": "source_hash",
        "target_list": targets.iter().map(Target::address).collect::<Vec<_>>(),
    });
    let _stagedoor = Stagedoor::run(&spread);
    let ask = |from: &str, client: &str| {
        let mut stream = connect_from(from, listen);
        stream.write_all(&v2(client)).unwrap();
        read_to_end(&mut stream).0
    };
    let clients: Vec<String> = (1..60).map(|last| format!("192.0.2.{last}:1")).collect();
    let by_one: Vec<_> = clients.iter().map(|client| ask("127.0.0.1", client)).collect();
    let by_other: Vec<_> = clients.iter().map(|client| ask("127.0.0.9", client)).collect();
    assert_eq!(by_one, by_other);
    let distinct: std::collections::HashSet<_> = by_one.iter().collect();
    assert_eq!(distinct.len(), 3, "they are spread by the address in the header");
}

#[test]
fn a_connection_of_the_senders_own_has_its_own_addresses() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target));
    let local = v2_with(Origin::Local, &[]);
    let unspecified = v2_with(Origin::Unknown, &[]);
    for header in [&local[..], &unspecified, b"PROXY UNKNOWN\r\n"] {
        let line = check_served(&stagedoor, listen, header, b"hello");
        assert!(line.contains("client=127.0.0.1:") && !line.contains("via="), "{line}");
    }
}

#[test]
fn what_a_sender_adds_is_shown_escaped() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target));
    let more = [(Kind::AUTHORITY, &b"\x1b[2J\n\"<x>\xff"[..]), (Kind::UNIQUE_ID, b"id\r\n\0")];
    let line = check_served(&stagedoor, listen, &v2_with(of(CLIENT), &more), b"hello");
    assert!(line.contains(r"\x1b[2J\\n\\\") && line.contains(r"id\r\n\x00"), "{line}");
    assert!(!line.contains('\x1b'), "{line}");
}

#[test]
fn whoever_may_open_a_unix_socket_may_send_a_header() {
    let (target, folder) = (Target::echo(), tempfile::tempdir().unwrap());
    let path = folder.path().join("s");
    let unix = json!({
        "name": "unix", "listen_address": format!("unix:{}", path.display()),
        "enable_proxy_protocol": true, "proxy": { "target_url": target.address() },
    });
    let stagedoor = Stagedoor::run(&unix);
    let mut client = UnixStream::connect(&path).unwrap();
    for byte in [&v2(CLIENT)[..], b"hello"].concat() {
        client.write_all(&[byte]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut came = Vec::new();
    client.read_to_end(&mut came).unwrap();
    assert_eq!(came, b"hello");
    stagedoor.logged("client=192.0.2.7:4711");
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
}

#[test]
fn a_reload_changes_what_new_connections_have_to_begin_with() {
    let (target, listen) = (Target::echo(), free_port());
    let before = with(definition(listen, &target), "enable_proxy_protocol", json!(false));
    let stagedoor = Stagedoor::run(&before);
    let mut old = connect(listen);
    assert_eq!(crate::harness::client::echoed(&mut old, b"hello"), b"hello");
    let after = serde_json::to_vec(&definition(listen, &target)).unwrap();
    std::fs::write(stagedoor.file(), after).unwrap();
    assert!(stagedoor.command(&["reload"]).status.success());
    check_refused(&stagedoor, listen, &target, b"hello", "does not begin with");
    check_served(&stagedoor, listen, &v1(CLIENT), b"hello");
    assert_eq!(crate::harness::client::echoed(&mut old, b"again"), b"again");
}
