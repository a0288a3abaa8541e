//! TLS towards clients: ended here, told apart by SNI and ALPN on one port, or passed through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::{connect, in_single_bytes, read_to_end};
use crate::harness::port::free_port;
use crate::harness::service::ending_tls;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

fn definition(listen: u16, name: &str, issued: &Issued, target: &Target) -> Value {
    ending_tls(name, listen, issued, &format!("tcp://{}", target.address()))
}

fn named(mut definition: Value, domain: &str) -> Value {
    definition["domain"] = json!(domain);
    definition
}

/// A target that says who it is and then echoes.
fn telling(who: &'static str) -> Target {
    Target::banner(who.as_bytes())
}

fn told(trust: &Trust, port: u16, name: &str) -> String {
    let mut tls = trust.connect(port, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut word = [0; 1];
    tls.read_exact(&mut word).unwrap_or_else(|error| panic!("{name}: {error}"));
    String::from_utf8(word.to_vec()).unwrap()
}

#[test]
fn tls_is_ended_and_the_target_hears_what_was_inside() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test", "127.0.0.1"]);
    let _stagedoor = Stagedoor::run(&definition(listen, "inside", &issued, &target));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let trust = Trust::in_versions(&authority, versions);
        let mut tls = trust.connect(listen, "a.test").unwrap();
        assert_eq!(echoed(&mut tls, b"hello"), b"hello");
        assert_eq!(echoed(&mut tls, &vec![7; 300_000]), vec![7; 300_000]);
        // Half-close: what comes back after our end of sending still arrives, and then its end.
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        tls.sock.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        tls.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
    // The default service answers without a name, too.
    let trust = Trust::of(&authority).nameless();
    assert_eq!(echoed(&mut trust.connect(listen, "127.0.0.1").unwrap(), b"x"), b"x");
}

#[test]
fn openssl_and_curl_get_through() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let issued = authority.issue(&["a.test"]);
    let target = Target::new(|mut stream| {
        let mut request = [0; 1024];
        let count = stream.read(&mut request).unwrap_or(0);
        if request[..count].starts_with(b"GET") {
            let reply = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\ninside";
            drop(stream.write_all(reply));
        } else {
            drop(stream.write_all(&request[..count]));
        }
    });
    let _stagedoor = Stagedoor::run(&definition(listen, "tools", &issued, &target));
    let authority_path = authority.path();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", "a.test", version])
            .args(["-connect", &format!("127.0.0.1:{listen}"), "-CAfile"])
            .arg(&authority_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: `make test` does that");
        let mut stdin = openssl.stdin.take().unwrap();
        stdin.write_all(b"hello\n").unwrap();
        let mut said = [0; 6];
        openssl.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello\n");
        drop(stdin);
        openssl.wait().unwrap();
    }
    let curl = Command::new("curl")
        .args(["-sS", "--resolve", &format!("a.test:{listen}:127.0.0.1"), "--cacert"])
        .arg(&authority_path)
        .arg(format!("https://a.test:{listen}/"))
        .output()
        .expect("curl is installed: `make test` does that");
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "inside", "{curl:?}");
    // What is not spoken any more is not spoken.
    let old = Command::new("openssl")
        .args(["s_client", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"])
        .args(["-connect", &format!("127.0.0.1:{listen}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&old.stderr).into_owned();
    assert!(!old.status.success() && said.contains("alert"), "{said}");
}

#[test]
fn services_on_one_port_are_told_apart_by_name() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let targets = [telling("e"), telling("w"), telling("d")];
    let [exact, wildcard, default] = &targets;
    let (first, second) = (authority.issue(&["a.test"]), authority.issue(&["*.a.test"]));
    let third = authority.issue(&["default.test", "b.test", "x.y.a.test"]);
    let definitions = [
        named(definition(listen, "exact", &first, exact), "A.test"),
        named(definition(listen, "wildcard", &second, wildcard), "*.a.test"),
        definition(listen, "default", &third, default),
    ];
    let definitions: Vec<&Value> = definitions.iter().collect();
    let stagedoor = Stagedoor::run_under(&[], &definitions, &[]);
    let line = stagedoor.logged("listening on");
    assert!(line.contains(r#"services "default", "exact", "wildcard""#), "{line}");
    let trust = Trust::of(&authority);
    assert_eq!(told(&trust, listen, "a.test"), "e");
    assert_eq!(told(&trust, listen, "A.TEST"), "e");
    assert_eq!(told(&trust, listen, "x.a.test"), "w");
    assert_eq!(told(&trust, listen, "b.test"), "d");
    assert_eq!(told(&trust, listen, "x.y.a.test"), "d");
    assert_eq!(told(&trust.nameless(), listen, "default.test"), "d");
}

#[test]
fn a_name_that_nobody_answers_gets_an_alert_and_no_target_hears_of_it() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let mut definition = named(definition(listen, "strict", &issued, &target), "a.test");
    definition["alpn"] = json!(["x", "y"]);
    let stagedoor = Stagedoor::run(&definition);
    let trust = Trust::of(&authority);
    let refused = trust.refused(listen, "b.test");
    assert!(
        refused.contains("UnrecognizedName") || refused.contains("UnrecognisedName"),
        "{refused}"
    );
    let line = stagedoor.logged("no service answers this name");
    assert!(line.contains("name=b.test") && line.contains("stage=greeting"), "{line}");
    let refused = trust.clone().nameless().refused(listen, "a.test");
    assert!(refused.to_lowercase().contains("unrecogni"), "{refused}");
    let refused = trust.clone().offering(&["z"]).refused(listen, "a.test");
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(target.accepted(), 0);
    let mut tls = trust.offering(&["z", "y"]).connect(listen, "a.test").unwrap();
    assert_eq!(tls.conn.alpn_protocol(), Some(&b"y"[..]));
    assert_eq!(echoed(&mut tls, b"x"), b"x");
}

#[test]
fn a_hello_in_pieces_is_a_hello() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let targets = [telling("a"), telling("b")];
    let (first, second) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let definitions = [
        named(definition(listen, "one", &first, &targets[0]), "a.test"),
        named(definition(listen, "two", &second, &targets[1]), "b.test"),
    ];
    let definitions: Vec<&Value> = definitions.iter().collect();
    let _stagedoor = Stagedoor::run_under(&[], &definitions, &[]);
    let trust = Trust::of(&authority);
    for (name, expected) in [("a.test", b"a"), ("b.test", b"b")] {
        let mut tls = trust.over(in_single_bytes(listen), name).unwrap();
        let mut word = [0; 1];
        tls.read_exact(&mut word).unwrap();
        assert_eq!(&word, expected);
    }
}

#[test]
fn what_is_no_hello_is_answered_and_closed_and_never_reaches_a_target() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let stagedoor = Stagedoor::run(&definition(listen, "deaf", &issued, &target));
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        // A record that claims more than any record holds.
        &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        // A handshake message of 16 MiB.
        &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
        // SSL 2.
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10],
        &[0; 64],
    ];
    for case in cases {
        let mut stream = connect(listen);
        stream.write_all(case).unwrap();
        if case[1..3] == [3, 1] {
            // Is read on until it is too much or the client has had enough.
            drop(stream.shutdown(Shutdown::Write));
        }
        read_to_end(&mut stream);
    }
    assert_eq!(target.accepted(), 0);
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["accepted"], 0, "{status}");
    stagedoor.logged("is no TLS hello");
}

#[test]
fn a_client_that_takes_too_long_is_closed_and_holds_up_nobody() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let mut definition = definition(listen, "patient", &issued, &target);
    definition["limits"] = json!({ "handshake_timeout": "2s" });
    let stagedoor = Stagedoor::run(&definition);
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(listen)).collect();
    let mut half = connect(listen);
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
    // They have the port, and others are served.
    let mut tls = Trust::of(&authority).connect(listen, "a.test").unwrap();
    assert_eq!(echoed(&mut tls, b"x"), b"x");
    for mut stream in silent {
        read_to_end(&mut stream);
    }
    read_to_end(&mut half);
    stagedoor.logged("longer than handshake_timeout");
    assert_eq!(target.accepted(), 1);
    assert_eq!(echoed(&mut tls, b"y"), b"y");
}

#[test]
fn passed_through_tls_is_ended_by_the_target_and_may_share_a_port_with_ended() {
    let (authority, behind, listen) = (Authority::new("ca"), free_port(), free_port());
    let (inner, outer) = (authority.issue(&["inner.test"]), authority.issue(&["outer.test"]));
    let (echo, other) = (Target::echo(), telling("o"));
    // The target that ends TLS itself is another service.
    let inside = definition(behind, "inside", &inner, &echo);
    let through = json!({
        "name": "through", "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls_passthrough", "domain": "inner.test",
        "proxy": { "target_url": format!("127.0.0.1:{behind}") },
    });
    let ended = named(definition(listen, "ended", &outer, &other), "outer.test");
    let _stagedoor = Stagedoor::run_under(&[], &[&inside, &through, &ended], &[]);
    let trust = Trust::of(&authority);
    let mut tls = trust.connect(listen, "inner.test").unwrap();
    assert_eq!(echoed(&mut tls, &vec![3; 200_000]), vec![3; 200_000]);
    assert_eq!(told(&trust, listen, "outer.test"), "o");
    assert!(trust.refused(listen, "else.test").to_lowercase().contains("unrecogni"));
    let mut tls = trust.over(in_single_bytes(listen), "inner.test").unwrap();
    assert_eq!(echoed(&mut tls, b"x"), b"x");
}

#[test]
fn a_session_is_resumed_also_after_a_reload_and_never_by_another_service() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let targets = [telling("a"), telling("b")];
    let both = authority.issue(&["a.test", "b.test"]);
    let definitions = [
        named(definition(listen, "one", &both, &targets[0]), "a.test"),
        named(definition(listen, "two", &both, &targets[1]), "b.test"),
    ];
    let refs: Vec<&Value> = definitions.iter().collect();
    let stagedoor = Stagedoor::run_under(&[], &refs, &[]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let trust = Trust::in_versions(&authority, versions);
        let kind = |name| {
            let mut tls = trust.connect(listen, name).unwrap();
            tls.read_exact(&mut [0]).unwrap();
            tls.conn.handshake_kind().unwrap()
        };
        assert_eq!(kind("a.test"), rustls::HandshakeKind::Full);
        assert_eq!(kind("a.test"), rustls::HandshakeKind::Resumed);
        let mut changed = definitions[0].clone();
        changed["limits"] = json!({ "idle_timeout": "1h" });
        std::fs::write(stagedoor.file(), changed.to_string()).unwrap();
        assert!(stagedoor.command(&["reload"]).status.success());
        assert_eq!(kind("a.test"), rustls::HandshakeKind::Resumed);
        std::fs::write(stagedoor.file(), definitions[0].to_string()).unwrap();
        assert!(stagedoor.command(&["reload"]).status.success());
    }
    // The ticket of one service, shown to the other one: openssl sends whatever it is given.
    let ticket = authority.folder().join("ticket");
    let openssl = |name: &str, way: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-servername", name, way])
            .arg(&ticket)
            .args(["-connect", &format!("127.0.0.1:{listen}")])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed: `make test` does that");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    openssl("a.test", "-sess_out");
    assert!(openssl("a.test", "-sess_in").contains("Reused, TLSv1.2"));
    assert!(openssl("b.test", "-sess_in").contains("New, TLSv1.2"));
}

#[test]
fn a_reload_that_adds_a_name_or_renews_a_certificate_touches_no_session() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let definitions: Vec<Value> = (0..50)
        .map(|index| {
            let name = format!("s{index}.test");
            named(definition(listen, &name, &authority.issue(&[&name]), &target), &name)
        })
        .collect();
    let refs: Vec<&Value> = definitions.iter().collect();
    let stagedoor = Stagedoor::run_under(&[], &refs, &[]);
    let trust = Trust::of(&authority).forgetful();
    let mut sessions: Vec<_> =
        (0..50).map(|index| trust.connect(listen, &format!("s{index}.test")).unwrap()).collect();
    assert!(trust.refused(listen, "new.test").to_lowercase().contains("unrecogni"));
    let serial = |trust: &Trust| {
        let tls = trust.connect(listen, "s0.test").unwrap();
        tls.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let before = serial(&trust);
    // The first file is one that is read again: it gets the new name, and its certificate is new.
    let renewed = authority.issue(&["s0.test", "new.test"]);
    let mut first = definitions[0].clone();
    first["certificate"] = json!(renewed.path);
    first["domain"] = json!("new.test");
    std::fs::write(stagedoor.file(), first.to_string()).unwrap();
    assert!(stagedoor.command(&["reload"]).status.success());
    let mut tls = trust.connect(listen, "new.test").unwrap();
    assert_ne!(tls.conn.peer_certificates().unwrap()[0].to_vec(), before);
    assert_eq!(echoed(&mut tls, b"x"), b"x");
    for session in &mut sessions {
        assert_eq!(echoed(session, b"still"), b"still");
    }
}

#[test]
fn a_stream_that_was_cut_inside_tls_does_not_look_whole() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let issued = authority.issue(&["a.test"]);
    let (heard, ends) = std::sync::mpsc::channel();
    let target = Target::new(move |mut stream| {
        let mut all = Vec::new();
        heard.send(stream.read_to_end(&mut all).map(|_| all)).unwrap();
    });
    let _stagedoor = Stagedoor::run(&definition(listen, "cut", &issued, &target));
    let trust = Trust::of(&authority);
    let mut tls = trust.connect(listen, "a.test").unwrap();
    tls.write_all(b"half of").unwrap();
    tls.flush().unwrap();
    // A FIN without close_notify: whoever sends that may be an attacker on the way.
    tls.sock.shutdown(Shutdown::Write).unwrap();
    assert!(ends.recv().unwrap().is_err(), "the target is reset");
    let mut tls = trust.connect(listen, "a.test").unwrap();
    tls.write_all(b"all of it").unwrap();
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    assert_eq!(ends.recv().unwrap().unwrap(), b"all of it");
}
