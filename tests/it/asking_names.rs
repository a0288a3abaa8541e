//! The names that clients ask for, in hellos of our own making: whoever does not ask properly is
//! refused, and never taken for one who asks for nothing.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::client::connect;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// With its length in two bytes before it.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

fn extension(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![0, kind], sized(body)].concat()
}

/// An entry in a list of names; 0 is the kind of a host.
fn entry(kind: u8, name: &[u8]) -> Vec<u8> {
    [vec![kind], sized(name)].concat()
}

/// The extension of names with these entries.
fn asking(entries: &[Vec<u8>]) -> Vec<u8> {
    extension(0, &sized(&entries.concat()))
}

fn asking_for(name: &[u8]) -> Vec<u8> {
    asking(&[entry(0, name)])
}

/// A hello of TLS 1.2 with one suite and what belongs to it, and with these extensions.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let usual = [
        extension(10, &[0, 2, 0, 0x1d]),
        extension(11, &[1, 0]),
        extension(13, &[0, 2, 4, 3]),
        extension(23, &[]),
    ];
    let extensions = sized(&[extensions, &usual.concat()].concat());
    let body = [&[3, 3], &[7; 32][..], &[0, 0, 2, 0xc0, 0x2b, 1, 0], &extensions].concat();
    let message = [&[1, 0], &sized(&body)[..]].concat();
    [&[22, 3, 1], &sized(&message)[..]].concat()
}

/// By which kind of record a hello is answered, if it is: 22 goes on, 21 is an alert.
fn answer(port: u16, hello: &[u8]) -> Option<u8> {
    let mut client = connect(port);
    client.write_all(hello).unwrap();
    let mut kind = [0];
    client.read_exact(&mut kind).ok().map(|()| kind[0])
}

fn accepted(stagedoor: &Stagedoor) -> [u64; 2] {
    let status = stagedoor.json(&["status"]);
    let services = status["services"].as_array().unwrap();
    ["one", "other"].map(|name| {
        services.iter().find(|it| it["name"] == name).unwrap()["accepted"].as_u64().unwrap()
    })
}

#[test]
fn whoever_does_not_ask_properly_is_refused_and_gets_nobodys_rules() {
    let (authority, target, port) = (Authority::new("ca"), Target::echo(), free_port());
    let certificate = authority.issue(&["a.test", "b.test"]).path;
    let service = |name: &str| -> Value {
        json!({
            "name": name, "listen_port": port, "listen_address": "127.0.0.1", "protocol": "tls",
            "certificate": [certificate],
            "proxy": { "target_url": format!("tcp://{}", target.address()) },
        })
    };
    let (mut one, other) = (service("one"), service("other"));
    one["domain"] = json!("a.test");
    let stagedoor = Stagedoor::run_under(&[], &[&one, &other], &[]);
    // The service that answers, if one does.
    let (named, default, nobody) = (Some(0), Some(1), None);
    let a = || asking_for(b"a.test");
    let long = [&[b'a'; 300], &b".test"[..]].concat();
    let cases: Vec<(&str, Vec<u8>, Option<usize>)> = vec![
        ("its name", a(), named),
        ("in other letters", asking_for(b"A.tEsT"), named),
        ("with a dot at its end", asking_for(b"a.test."), named),
        ("another name", asking_for(b"b.test"), default),
        ("a longer name", asking_for(b"a.test.test"), default),
        ("no extension", Vec::new(), default),
        ("an address", asking_for(b"127.0.0.1"), default),
        ("an empty name", asking_for(b""), nobody),
        ("no names", asking(&[]), nobody),
        ("an empty extension", extension(0, &[]), nobody),
        ("a name with NUL", asking_for(b"a.test\0.b.test"), nobody),
        ("a name with a blank", asking_for(b"a.test "), nobody),
        ("a name that is too long", asking_for(&long), nobody),
        ("a label that is too long", asking_for(&[&[b'a'; 64], &b".test"[..]].concat()), nobody),
        ("a name in UTF-8", asking_for("ä.test".as_bytes()), nobody),
        ("no UTF-8", asking_for(&[0xff, 0xfe]), nobody),
        ("dots alone", asking_for(b".."), nobody),
        ("two names", asking(&[entry(0, b"a.test"), entry(0, b"b.test")]), nobody),
        ("two extensions", [a(), asking_for(b"b.test")].concat(), nobody),
        ("a list that is longer than it is", extension(0, &[0, 99, 0, 0, 1, b'a']), nobody),
        ("a name that is longer than it is", extension(0, &[0, 4, 0, 0, 9, b'a']), nobody),
        (
            "bytes behind the list",
            extension(0, &[&sized(&entry(0, b"a.test"))[..], &[0]].concat()),
            nobody,
        ),
    ];
    for (what, extensions, expected) in cases {
        let before = accepted(&stagedoor);
        let answer = answer(port, &hello(&extensions));
        let after = accepted(&stagedoor);
        let taken = (0..2).find(|&index| after[index] > before[index]);
        assert_eq!(taken, expected, "{what}: {before:?} {after:?}");
        assert_eq!(answer, Some(if expected.is_some() { 22 } else { 21 }), "{what}");
    }
    eventually("all of them are gone", || {
        let status = stagedoor.json(&["status"]);
        status["services"].as_array()?.iter().all(|it| it["live"] == 0).then_some(())
    });
    assert_eq!(target.accepted(), 0);
}
