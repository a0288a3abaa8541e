//! What clients say inside TLS after its end harms nobody but themselves.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::harness::certificates::Authority;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// What is no TLS in any version, or at no such time.
fn nonsense(hello: &[u8]) -> Vec<Vec<u8>> {
    let record = |kind: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3, length[0], length[1]], body].concat()
    };
    vec![
        // Payload that nobody has encrypted, and keys that nobody has changed.
        record(23, &[7; 100]),
        record(20, &[1]),
        // Alerts: in the clear, empty, and too long.
        record(21, &[1, 0]),
        record(21, &[]),
        record(21, &[2, 40, 2, 40]),
        // Handshakes: of no kind, and once more from the start.
        record(22, &[99, 0, 0, 1, 0]),
        hello.to_vec(),
        // Records: of no kind, empty, and longer than there are.
        record(99, &[1, 2, 3]),
        record(23, &[]),
        record(23, &vec![7; 20_000]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 40_000],
    ]
}

#[test]
fn nonsense_after_the_end_of_tls_ends_that_session_and_no_other() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let issued = authority.issue(&["a.test"]);
    // Says `finish` once it was asked to, and goes on listening.
    let target = Target::new(|mut stream| {
        let mut said = [0; 16];
        while let Ok(count @ 1..) = stream.read(&mut said) {
            if &said[..count] == b"finish" {
                drop(stream.shutdown(Shutdown::Write));
            } else if stream.write_all(&said[..count]).is_err() {
                return;
            }
        }
    });
    let definition = json!({
        "name": "after all", "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls", "certificate": [issued.path],
        "proxy": { "target_url": format!("tcp://{}", target.address()) },
    });
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "workers=1"]);
    let mut other = Trust::of(&authority).connect(listen, "a.test").unwrap();
    let mut ended = 0;
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let trust = Trust::in_versions(&authority, versions);
        for (has_finished, nonsense) in [true, false]
            .into_iter()
            .flat_map(|kind| nonsense(&trust.hello("a.test")).into_iter().map(move |it| (kind, it)))
        {
            let mut tls = trust.connect(listen, "a.test").unwrap();
            assert_eq!(echoed(&mut tls, b"first"), b"first");
            if has_finished {
                tls.write_all(b"finish").unwrap();
                // Our close_notify, and the FIN behind it.
                assert_eq!(tls.read(&mut [0; 8]).unwrap(), 0);
            }
            tls.sock.write_all(&nonsense).unwrap();
            drop(tls.sock.shutdown(Shutdown::Write));
            let mut rest = Vec::new();
            if let Err(error) = tls.sock.read_to_end(&mut rest) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            ended += 1;
            assert_eq!(echoed(&mut other, b"still"), b"still");
        }
    }
    eventually("each is told of", || {
        let log = stagedoor.log();
        let lines = log.iter().filter(|line| line.contains("session ended"));
        (lines.count() == ended).then_some(())
    });
    let complaints = stagedoor.complaints();
    assert!(!complaints.iter().any(|line| line.contains("panic")), "{complaints:#?}");
}
