//! What a PROXY header has told besides addresses, and what of it targets are told.

use std::io::{Read, Write};

use serde_json::{Value, json};
use stagedoor::wire::proxy_header::ssl::Ssl;
use stagedoor::wire::proxy_header::tlv::Kind;

use crate::harness::certificates::Authority;
use crate::harness::client::connect;
use crate::harness::header::{CLIENT, of, v1, v2_with};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::tls::Trust;
use crate::proxy_protocol_out::{behind, definition, last, listening, welcomed, with};

#[test]
fn what_a_header_has_told_is_passed_on_where_that_is_asked_for_and_believed() {
    const ENDPOINT: Kind = Kind(0xea);
    let ((target, seen), listen) = (listening(), free_port());
    let ssl = Ssl { by_tls: true, version: Some(b"TLSv1.3"), ..Ssl::default() }.write();
    let extras: [(Kind, &[u8]); 7] = [
        (Kind::NOOP, b"..."),
        (ENDPOINT, b"\x01vpce-08d2bf15fac5001c9"),
        (Kind::AUTHORITY, b"a.test"),
        (Kind::ALPN, b"h2"),
        (Kind::SSL, &ssl),
        (Kind(0xee), b"\x01\0\0\0\x07"),
        (Kind::CRC32C, b"\0\0\0\0"),
    ];
    let told = |definition: &Value, sent: &[u8]| {
        let _stagedoor = Stagedoor::run(definition);
        let mut client = connect(listen);
        client.write_all(sent).unwrap();
        welcomed(&mut client);
        let tlvs = last(&seen).tlvs;
        tlvs.iter().map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>()
    };
    let passed: Vec<(Kind, Vec<u8>)> =
        extras[1..6].iter().map(|(kind, value)| (*kind, value.to_vec())).collect();
    let service = |version| definition(listen, &target.address(), version);
    let sent = v2_with(of(CLIENT), &extras);
    let all = with(behind(service("v2")), &["received"]);
    assert_eq!(told(&all, &sent), passed);
    assert_eq!(told(&all, &v1(CLIENT)), [], "a line adds nothing");
    // What is told by itself is told once; one that has none of its own passes on what it got.
    let mut twice = told(&with(behind(service("v2")), &["received", "unique_id", "sni"]), &sent);
    let (id, _) = twice.remove(0);
    assert_eq!((id, twice), (Kind::UNIQUE_ID, passed));
    for quiet in [with(behind(service("v2")), &["sni", "alpn", "tls"]), behind(service("v1"))] {
        assert_eq!(told(&quiet, &sent), [], "nobody asked for it");
    }
    let mut direct = all;
    direct["proxy_protocol_from"] = json!(["127.0.0.99"]);
    direct["proxy_protocol_others"] = json!("direct");
    assert_eq!(told(&direct, &sent), [], "it is not believed");
}

#[test]
fn of_a_client_whose_tls_ends_here_we_know_better_than_who_sent_it() {
    let ((target, seen), listen) = (listening(), free_port());
    let authority = Authority::new("ca");
    let extras = ["received", "sni", "tls"];
    let mut tls = with(behind(definition(listen, &target.address(), "v2")), &extras);
    tls["protocol"] = json!("tls");
    tls["certificates"] = json!(authority.issue(&["a.test"]).path);
    let _stagedoor = Stagedoor::run(&tls);
    let mut stream = connect(listen);
    let theirs = Ssl { version: Some(b"TLSv1.1"), ..Ssl::default() }.write();
    let said: [(Kind, &[u8]); 3] =
        [(Kind::AUTHORITY, b"theirs"), (Kind::SSL, &theirs), (Kind(0xe0), b"more")];
    stream.write_all(&v2_with(of(CLIENT), &said)).unwrap();
    let mut client = Trust::of(&authority).over(stream, "a.test").unwrap();
    client.read_exact(&mut [0; 7]).unwrap();
    let told = last(&seen).tlvs;
    assert_eq!(told.iter().count(), 3, "{told:?}");
    assert_eq!(told.get(Kind::AUTHORITY), Some(&b"a.test"[..]));
    let ssl = Ssl::read(told.get(Kind::SSL).unwrap()).unwrap();
    assert_eq!((ssl.by_tls, ssl.version), (true, Some(&b"TLSv1.3"[..])));
    assert_eq!(told.get(Kind(0xe0)), Some(&b"more"[..]));
}
