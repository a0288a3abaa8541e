//! The PROXY protocol towards targets: whom they are told of, when, and in which words.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stagedoor::wire::proxy_header::header::{Header, Origin, Version};
use stagedoor::wire::proxy_header::reader::{Progress, read};
use stagedoor::wire::proxy_header::ssl::Ssl;
use stagedoor::wire::proxy_header::tlv::Kind;

use crate::harness::certificates::Authority;
use crate::harness::client::{connect, read_to_end};
use crate::harness::header::{CLIENT, of, v1, v2, v2_with};
use crate::harness::identity;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::Trust;

/// A service that tells its target of clients.
pub(crate) fn definition(listen: u16, target: &str, version: &str) -> Value {
    json!({
        "name": "telling", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": target, "send_proxy_protocol": version },
    })
}

/// The same behind somebody who tells it.
pub(crate) fn behind(mut definition: Value) -> Value {
    definition["enable_proxy_protocol"] = json!(true);
    definition["proxy_protocol_from"] = json!(["127.0.0.1"]);
    definition
}

pub(crate) fn with(mut definition: Value, extras: &[&str]) -> Value {
    definition["proxy"]["proxy_protocol_tlvs"] = json!(extras);
    definition
}

/// Reads the header that a connection begins with, and nothing behind it.
fn header(stream: &mut impl Read) -> Header {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes).unwrap_or_else(|fault| panic!("{}: {fault}", bytes.escape_ascii())) {
            Progress::Whole { header, length } => {
                assert_eq!(length, bytes.len());
                return header;
            }
            Progress::Begun { .. } => {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a header, whole");
                bytes.push(byte[0]);
            }
        }
    }
}

/// A target that expects a header, says so, and echoes; the headers that it has seen.
pub(crate) fn listening() -> (Target, Arc<Mutex<Vec<Header>>>) {
    let seen = Arc::<Mutex<Vec<Header>>>::default();
    let target = Target::new({
        let seen = Arc::clone(&seen);
        move |mut stream| {
            seen.lock().unwrap().push(header(&mut stream));
            drop(stream.write_all(b"welcome"));
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    });
    (target, seen)
}

/// Waits to be welcomed, which nobody is before the header has come.
pub(crate) fn welcomed(stream: &mut TcpStream) {
    let mut came = [0; 7];
    stream.read_exact(&mut came).expect("a welcome");
    assert_eq!(&came, b"welcome");
}

pub(crate) fn last(seen: &Mutex<Vec<Header>>) -> Header {
    seen.lock().unwrap().pop().expect("a header has come")
}

#[test]
fn a_target_is_told_of_the_client_before_anybody_speaks() {
    let ((target, seen), listen) = (listening(), free_port());
    for (version, expected) in [("v1", Version::V1), ("v2", Version::V2)] {
        let stagedoor = Stagedoor::run(&definition(listen, &target.address(), version));
        let mut client = connect(listen);
        welcomed(&mut client);
        let told = last(&seen);
        let origin = Origin::tcp(client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!((told.version, told.origin), (expected, origin));
        assert_eq!(told.tlvs.as_bytes(), b"");
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut client).0, b"hello");
        let line = stagedoor.logged("session ended");
        assert!(line.contains("to_target=5"), "a header is no payload: {line}");
    }
}

#[test]
fn whom_a_header_names_is_passed_on() {
    let ((target, seen), listen) = (listening(), free_port());
    let mapped = Origin::Tcp6 {
        source: "[::ffff:192.0.2.7]:1".parse().unwrap(),
        destination: "[2001:db8::1]:2".parse().unwrap(),
    };
    let unix = Origin::Unix { source: b"/a".to_vec(), destination: b"/b".to_vec() };
    for (version, local, paths) in
        [("v1", Origin::Unknown, Origin::Unknown), ("v2", Origin::Local, unix.clone())]
    {
        let definition = behind(definition(listen, &target.address(), version));
        let _stagedoor = Stagedoor::run(&definition);
        let check = |sent: Vec<u8>, expected: Option<Origin>| {
            let mut client = connect(listen);
            client.write_all(&sent).unwrap();
            welcomed(&mut client);
            let own = || Origin::tcp(client.local_addr().unwrap(), client.peer_addr().unwrap());
            assert_eq!(last(&seen).origin, expected.unwrap_or_else(own), "{}", sent.escape_ascii());
        };
        check(v1(CLIENT), Some(of(CLIENT)));
        check(v2(CLIENT), Some(of(CLIENT)));
        check(v2("[2001:db8::7]:1"), Some(of("[2001:db8::7]:1")));
        check(v2_with(mapped.clone(), &[]), Some(mapped.clone()));
        check(v2_with(Origin::Local, &[]), Some(local));
        check(v2_with(unix.clone(), &[]), Some(paths));
        check(b"PROXY UNKNOWN\r\n".to_vec(), None);
    }
}

#[test]
fn a_header_that_is_not_believed_is_payload_and_no_target_is_told_of_it() {
    let ((target, seen), listen) = (listening(), free_port());
    let mut direct = behind(definition(listen, &target.address(), "v2"));
    direct["proxy_protocol_from"] = json!(["127.0.0.99"]);
    direct["proxy_protocol_others"] = json!("direct");
    let _stagedoor = Stagedoor::run(&direct);
    let mut client = connect(listen);
    client.write_all(&v2(CLIENT)).unwrap();
    welcomed(&mut client);
    let own = Origin::tcp(client.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_eq!(last(&seen).origin, own);
    let mut echo = vec![0; v2(CLIENT).len()];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(echo, v2(CLIENT));
}

#[test]
fn a_unique_id_is_passed_on_or_made_and_logged() {
    let ((target, seen), listen) = (listening(), free_port());
    let definition = behind(definition(listen, &target.address(), "v2"));
    let stagedoor = Stagedoor::run(&with(definition, &["unique_id"]));
    let told = |sent: &[u8]| {
        let mark = stagedoor.mark();
        let mut client = connect(listen);
        client.write_all(sent).unwrap();
        welcomed(&mut client);
        drop(client);
        let line = stagedoor.logged_after(mark, "session ended");
        (last(&seen).tlvs.get(Kind::UNIQUE_ID).map(<[u8]>::to_vec), line)
    };
    let (id, line) = told(&v2_with(of(CLIENT), &[(Kind::UNIQUE_ID, b"from\x01afar")]));
    assert_eq!(id.as_deref(), Some(&b"from\x01afar"[..]));
    assert!(line.contains(r"unique_id=from\x01afar"), "{line}");
    let made: Vec<String> = [(); 2]
        .map(|()| {
            let (id, line) = told(&v1(CLIENT));
            let id = String::from_utf8(id.expect("one is made")).unwrap();
            assert!(line.contains(&format!("unique_id={id}")), "{line}");
            id
        })
        .to_vec();
    assert!(made[0] != made[1] && made.iter().all(|id| id.len() == 32), "{made:?}");
    // A connection of the sender's own is told of as that, and by nothing else.
    let mut client = connect(listen);
    client.write_all(&v2_with(Origin::Local, &[])).unwrap();
    welcomed(&mut client);
    assert_eq!(last(&seen).tlvs.as_bytes(), b"");
}

#[test]
fn a_target_is_told_how_the_client_came_by_tls() {
    let ((target, seen), listen) = (listening(), free_port());
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let mut tls = with(definition(listen, &target.address(), "v2"), &["sni", "alpn", "tls"]);
    tls["protocol"] = json!("tls");
    tls["certificates"] = json!(authority.issue(&["a.test"]).path);
    tls["alpn"] = json!(["redis", "h2"]);
    tls["use_mutual_tls_auth"] = json!(true);
    tls["client_certificates"] = json!(clients.path());
    let _stagedoor = Stagedoor::run(&tls);
    let trust = Trust::of(&authority).offering(&["h2"]).showing(&clients.issue(&["alice"]));
    for resumed in [false, true] {
        let mut client = trust.connect(listen, "a.test").unwrap();
        let mut came = [0; 7];
        client.read_exact(&mut came).unwrap();
        let told = last(&seen).tlvs;
        assert_eq!(told.get(Kind::AUTHORITY), Some(&b"a.test"[..]));
        assert_eq!(told.get(Kind::ALPN), Some(&b"h2"[..]));
        let ssl = Ssl::read(told.get(Kind::SSL).unwrap()).unwrap();
        let expected = Ssl {
            by_tls: true,
            certificate_now: !resumed,
            certificate_ever: true,
            verified: true,
            version: Some(b"TLSv1.3"),
            common_name: Some(b"alice"),
            cipher: ssl.cipher,
            signature: None,
            key: None,
        };
        assert_eq!(ssl, expected);
        assert!(ssl.cipher.unwrap().starts_with(b"TLS_"), "{ssl:?}");
    }
}

#[test]
fn without_tls_there_is_nothing_to_tell_of_it() {
    let ((target, seen), listen) = (listening(), free_port());
    let plain = definition(listen, &target.address(), "v2");
    let _stagedoor = Stagedoor::run(&with(plain, &["sni", "alpn", "tls"]));
    welcomed(&mut connect(listen));
    assert_eq!(last(&seen).tlvs.as_bytes(), b"");
}

#[test]
fn the_name_is_told_also_where_tls_is_passed_through() {
    let ((target, seen), listen) = (listening(), free_port());
    let mut through = with(definition(listen, &target.address(), "v2"), &["sni", "tls"]);
    through["protocol"] = json!("tls_passthrough");
    let _stagedoor = Stagedoor::run(&through);
    // The target welcomes in the clear, which is no TLS.
    Trust::of(&Authority::new("ca")).connect(listen, "a.test").expect_err("a welcome");
    let told = last(&seen).tlvs;
    assert_eq!(told.get(Kind::AUTHORITY), Some(&b"a.test"[..]));
    assert_eq!(told.get(Kind::SSL), None);
}

#[test]
fn the_header_goes_before_tls_and_anew_to_each_target() {
    let (authority, listen) = (identity::Authority::new(), free_port());
    // The first takes the header and fails the handshake; the second is as it should be.
    let (failing, seen) = {
        let seen = Arc::<Mutex<Vec<Header>>>::default();
        let noting = Arc::clone(&seen);
        let target = Target::new(move |mut stream| {
            noting.lock().unwrap().push(header(&mut stream));
        });
        (target, seen)
    };
    let identity = authority.sign(&["127.0.0.1"]);
    let config = Arc::new(identity::server_config(&identity, identity::Asks::Nothing));
    let second = Arc::<Mutex<Vec<Header>>>::default();
    let target = Target::new({
        let second = Arc::clone(&second);
        move |mut stream| {
            second.lock().unwrap().push(header(&mut stream));
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            drop(tls.write_all(b"welcome"));
            drop(tls.read(&mut [0]));
        }
    });
    let mut secure = definition(listen, "", "v2");
    secure["proxy"] = json!({
        "enable_load_balancing": true, "balance": "first", "send_proxy_protocol": "v2",
        "target_list": [format!("tls://{}", failing.address()), format!("tls://{}", target.address())],
        "transport": { "ssl_ca": authority.file() },
    });
    let _stagedoor = Stagedoor::run(&secure);
    let mut client = connect(listen);
    welcomed(&mut client);
    let expected = Origin::tcp(client.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_eq!((last(&seen).origin, last(&second).origin), (expected.clone(), expected));
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_to_tell_of() {
    let (target, seen) = listening();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    for version in ["v1", "v2"] {
        let _stagedoor = Stagedoor::run(&json!({
            "name": "unix", "listen_address": format!("unix:{}", path.display()),
            "proxy": { "target_url": target.address(), "send_proxy_protocol": version },
        }));
        let mut client = UnixStream::connect(&path).unwrap();
        let mut came = [0; 7];
        client.read_exact(&mut came).unwrap();
        assert_eq!(last(&seen).origin, Origin::Unknown);
    }
}

#[test]
fn checks_begin_with_a_header_where_sessions_do_or_where_it_is_asked_for() {
    for (version, expected) in [("v1", Origin::Unknown), ("v2", Origin::Local)] {
        let ((target, seen), listen) = (listening(), free_port());
        let mut checked = definition(listen, &target.address(), version);
        checked["proxy"]["check_host_against_uptime_tests"] = json!(true);
        checked["uptime_tests"] =
            json!({ "commands": [{ "name": "expect", "message": "welcome" }] });
        let stagedoor = Stagedoor::run(&checked);
        stagedoor.logged("is up");
        assert_eq!(last(&seen).origin, expected);
        let file = stagedoor.file();
        let probe = stagedoor_probe(&file);
        assert!(
            probe.contains("send ") && probe.contains("PROXY UNKNOWN\\r\\n")
                || probe.contains("QUIT\\n"),
            "{probe}"
        );
        welcomed(&mut connect(listen));
    }
    // A check of its own, in a service that sends none; and none where that is written.
    let ((target, seen), listen) = (listening(), free_port());
    let plain = Target::banner(b"hello");
    let stagedoor = Stagedoor::run(&json!({
        "name": "own", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "target_list": [target.address(), plain.address()], "enable_load_balancing": true,
            "check_host_against_uptime_tests": true,
        },
        "uptime_tests": { "check_list": [
            { "url": target.address(), "enable_proxy_protocol": true,
              "commands": [{ "name": "expect", "message": "welcome" }] },
            { "url": plain.address(), "enable_proxy_protocol": false,
              "commands": [{ "name": "expect", "message": "hello" }] },
        ] },
    }));
    stagedoor.logged(&format!("target {} is up", target.address()));
    stagedoor.logged(&format!("target {} is up", plain.address()));
    assert_eq!(last(&seen).origin, Origin::Local);
}

/// What `stagedoor probe` says of a definition.
fn stagedoor_probe(file: &std::path::Path) -> String {
    let folder = file.parent().expect("it is in a folder");
    let output = crate::harness::stagedoor::stagedoor(&["probe", &file.to_string_lossy()], folder);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
