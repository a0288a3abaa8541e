//! Handshakes of many clients at once: beside established sessions, while certificates are
//! swapped, and with data before their time.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::connect;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::service::ending_tls;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

fn definition(listen: u16, issued: &Issued, target: &Target) -> Value {
    ending_tls("handshakes", listen, issued, &format!("tcp://{}", target.address()))
}

/// Has the proxy answered it?
fn is_answered(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let answered = client.peek(&mut [0]);
    client.set_nonblocking(false).unwrap();
    match answered {
        Ok(count) => count > 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

#[test]
fn established_sessions_go_on_between_the_handshakes_of_a_flood() {
    const HELLOS: usize = 300;
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let definition = definition(listen, &issued, &target);
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "workers=1"]);
    let trust = Trust::of(&authority);
    let mut session = trust.connect(listen, "a.test").unwrap();
    assert_eq!(echoed(&mut session, b"before"), b"before");
    let before = stagedoor.descriptors();
    // All of it is there at once when the proxy wakes up, the session's bytes last.
    let mut flood: Vec<TcpStream> = (0..HELLOS).map(|_| connect(listen)).collect();
    eventually("all of them are accepted", || {
        (stagedoor.descriptors() >= before + HELLOS).then_some(())
    });
    let hello = trust.hello("a.test");
    stagedoor.signal(Signal::STOP);
    for client in &mut flood {
        client.write_all(&hello).unwrap();
    }
    session.write_all(b"during").unwrap();
    session.flush().unwrap();
    stagedoor.signal(Signal::CONT);
    let mut echo = [0; 6];
    session.read_exact(&mut echo).unwrap();
    let answered = flood.iter().filter(|client| is_answered(client)).count();
    assert_eq!(&echo, b"during");
    assert!(answered < HELLOS / 2, "{answered} of {HELLOS} handshakes went before it");
    // And nobody is forgotten.
    for client in &mut flood {
        client.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_client_in_its_handshake_has_one_of_the_places_of_the_service() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let mut definition = definition(listen, &issued, &target);
    definition["limits"] = json!({ "max_connections": 1 });
    let stagedoor = Stagedoor::run(&definition);
    let trust = Trust::of(&authority);
    let mut slow = connect(listen);
    slow.write_all(&trust.hello("a.test")).unwrap();
    slow.read_exact(&mut [0]).unwrap();
    let error = trust.connect(listen, "a.test").expect_err("there is no place left");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["refused_by"]["max_connections"], 1, "{status}");
    drop(slow);
    eventually("the place is free", || trust.connect(listen, "a.test").ok());
}

#[test]
fn certificates_are_swapped_under_load_and_no_handshake_fails() {
    const SWAPS: usize = 50;
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let stagedoor = Stagedoor::run(&definition(listen, &issued, &target));
    let trust = Trust::of(&authority).forgetful();
    let mut session = trust.connect(listen, "a.test").unwrap();
    let (is_over, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let keeps_coming = || {
        while !is_over.load(Ordering::Relaxed) {
            match trust.connect(listen, "a.test") {
                Ok(mut tls) => assert_eq!(echoed(&mut tls, b"x"), b"x"),
                Err(error) => failures.lock().unwrap().push(error.to_string()),
            }
            handshakes.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(keeps_coming)).collect();
        for swap in 0..SWAPS {
            let renewed = authority.issue(&["renewed.test", "a.test"]);
            std::fs::rename(&renewed.path, &issued.path).unwrap();
            let renewed = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
            let before = handshakes.load(Ordering::Relaxed);
            assert!(stagedoor.command(&["reload"]).status.success());
            let tls = trust.connect(listen, "a.test").unwrap();
            let shown = &tls.conn.peer_certificates().unwrap()[0];
            assert!(*shown == renewed, "swap {swap}: the old certificate after the reload");
            eventually("somebody has come since", || {
                (handshakes.load(Ordering::Relaxed) > before).then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
    assert_eq!(echoed(&mut session, b"still there"), b"still there");
    println!("{SWAPS} swaps under {} handshakes", handshakes.into_inner());
}

/// The length of the field that `der` begins with, header included.
fn field_length(der: &[u8]) -> usize {
    match der[1] {
        0x82 => 4 + usize::from(u16::from_be_bytes([der[2], der[3]])),
        0x81 => 3 + usize::from(der[2]),
        length => 2 + usize::from(length),
    }
}

/// A session as `openssl s_client -sess_out` writes it, changed to say that early data may come
/// with its ticket, up to 16 KiB: that is field 15, which is left out for none.
fn allowing_early_data(session: &str) -> String {
    let lines = session.lines().filter(|line| !line.starts_with("-----"));
    let der = BASE64_STANDARD.decode(lines.collect::<String>()).unwrap();
    assert_eq!(der[..2], [0x30, 0x82], "a sequence, and not a short one");
    let mut fields = der[4..].to_vec();
    let mut place = 0;
    while place < fields.len() && fields[place] < 0xA0 + 15 {
        place += field_length(&fields[place..]);
    }
    assert_ne!(fields.get(place), Some(&(0xA0 + 15)), "it allows early data already");
    fields.splice(place..place, [0xA0 + 15, 4, 2, 2, 0x40, 0]);
    let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
    let text = BASE64_STANDARD.encode([&[0x30, 0x82], &length[..], &fields].concat());
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let text = lines.collect::<Vec<_>>().join("\n");
    let name = "SSL SESSION PARAMETERS";
    format!("-----BEGIN {name}-----\n{text}\n-----END {name}-----\n")
}

/// Says `word` inside TLS by openssl; what openssl tells until it has come back from the target.
fn said_by_openssl(listen: u16, word: &str, arguments: &[&str]) -> String {
    let mut openssl = Command::new("openssl")
        .args(["s_client", "-tls1_3", "-servername", "a.test"])
        .args(["-connect", &format!("127.0.0.1:{listen}")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed: `make test` does that");
    let mut stdin = openssl.stdin.take().unwrap();
    stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
    let mut told = String::new();
    for line in BufReader::new(openssl.stdout.take().unwrap()).lines().map_while(Result::ok) {
        told.push_str(&line);
        told.push('\n');
        if line == word {
            break;
        }
    }
    drop(stdin);
    openssl.wait().unwrap();
    told
}

#[test]
fn data_before_its_time_never_reaches_a_target() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let issued = authority.issue(&["a.test"]);
    let (hears, heard) = std::sync::mpsc::channel();
    let target = Target::new(move |mut stream| {
        let mut said = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut said) {
            hears.send(said[..count].to_vec()).unwrap();
            drop(stream.write_all(&said[..count]));
        }
    });
    let _stagedoor = Stagedoor::run(&definition(listen, &issued, &target));
    let path = |name| authority.folder().join(name).display().to_string();
    let (ticket, early) = (path("ticket"), path("early"));
    std::fs::write(&early, "replayed\n").unwrap();
    said_by_openssl(listen, "first", &["-sess_out", &ticket]);
    let ticket = allowing_early_data(&std::fs::read_to_string(&ticket).unwrap());
    let forged = path("forged");
    std::fs::write(&forged, ticket).unwrap();
    let told = said_by_openssl(listen, "second", &["-sess_in", &forged, "-early_data", &early]);
    assert!(told.contains("Reused, TLSv1.3"), "the ticket is good: {told}");
    assert!(told.contains("Early data was rejected"), "{told}");
    let heard: Vec<u8> = heard.try_iter().flatten().collect();
    assert_eq!(String::from_utf8_lossy(&heard), "first\nsecond\n");
}
