//! What a flood of clients that come to nothing leaves behind, on the real binary: a handful of
//! lines, and counts that are exact.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::certificates::Authority;
use crate::harness::client::{connect, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::service::ending_tls;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

const CLIENTS: u64 = 500;

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

/// Lines that contain `words`, and how many sessions they tell of.
fn told(stagedoor: &Stagedoor, words: &str) -> (u64, u64) {
    let log = stagedoor.log();
    let lines = log.iter().filter(|line| line.contains(words) && line.contains("ended: "));
    let clients = lines.map(|line| match line.split("sessions ended: ").nth(1) {
        Some(shared) => shared.split(' ').next().unwrap().parse::<u64>().unwrap(),
        None => 1,
    });
    let clients: Vec<u64> = clients.collect();
    (clients.len() as u64, clients.iter().sum())
}

/// A flood of clients that end like `words`, with `most` lines a second at most.
#[track_caller]
fn check(stagedoor: &Stagedoor, words: &str, most: u64, client: impl Fn()) {
    let start = Instant::now();
    for _ in 0..CLIENTS {
        client();
    }
    eventually("each is told of once", || (told(stagedoor, words).1 == CLIENTS).then_some(()));
    let (lines, seconds) = (told(stagedoor, words).0, start.elapsed().as_secs() + 2);
    assert!(lines <= most * seconds, "{lines} lines in {seconds} s: {words}");
    assert!(lines < CLIENTS / 2, "they share lines: {lines}");
}

fn comes_to_nothing(stream: &mut TcpStream) {
    assert_eq!(read_to_end(stream).0, b"");
}

#[test]
fn who_may_send_no_header_and_comes_by_the_hundred_shares_its_lines() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&json!({
        "name": "behind", "listen_port": listen, "listen_address": "127.0.0.1",
        "enable_proxy_protocol": true, "proxy_protocol_from": ["192.0.2.1"],
        "proxy": { "target_url": target.address() },
    }));
    check(&stagedoor, "not believed from this address", 1, || {
        comes_to_nothing(&mut connect(listen));
    });
    let status = service(&stagedoor);
    assert_eq!(
        (&status["refused"], &status["refused_by"]["proxy_protocol_from"]),
        (&json!(CLIENTS), &json!(CLIENTS))
    );
    let line = stagedoor.logged("sessions ended");
    for expected in ["service=behind", "the last from 127.0.0.1", "clients="] {
        assert!(line.contains(expected), "misses {expected:?}: {line}");
    }
    let shown = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(shown.contains("500 refused (500 not in proxy_protocol_from)"), "{shown}");
    assert_eq!(target.accepted(), 0);
}

#[test]
fn with_every_target_down_a_crowd_shares_its_lines_and_the_first_has_one_at_once() {
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "down", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "target_url": format!("127.0.0.1:{}", free_port()),
            "check_host_against_uptime_tests": true, "hold": 0,
        },
        "uptime_tests": { "commands": [], "config": { "interval": "100ms" } },
    }));
    stagedoor.logged("is down");
    comes_to_nothing(&mut connect(listen));
    let first = stagedoor.logged("session ended: every target is down");
    for expected in [" warn ", "client=127.0.0.1:", "stage=route", "service=down"] {
        assert!(first.contains(expected), "misses {expected:?}: {first}");
    }
    let before = told(&stagedoor, "every target is down").1;
    assert_eq!(before, 1);
    for _ in 1..CLIENTS {
        comes_to_nothing(&mut connect(listen));
    }
    eventually("each is told of once", || {
        (told(&stagedoor, "every target is down").1 == CLIENTS).then_some(())
    });
    let shared = stagedoor.logged("sessions ended");
    assert!(shared.contains(" warn ") && shared.contains("the last from 127.0.0.1"), "{shared}");
    let status = service(&stagedoor);
    assert_eq!(
        (&status["refused"], &status["refused_by"]["all_down"]),
        (&json!(CLIENTS), &json!(CLIENTS))
    );
}

#[test]
fn handshakes_that_fail_by_the_hundred_have_ten_lines_a_second_and_say_how_the_last_did() {
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let issued = authority.issue(&["a.test"]);
    let stagedoor = Stagedoor::run(&ending_tls("secure", listen, &issued, &target.address()));
    check(&stagedoor, "TLS", 10, || {
        let mut stream = connect(listen);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        read_to_end(&mut stream);
    });
    // Nobody's yet, but of a port: its address is told.
    let line = stagedoor.logged("sessions ended");
    for expected in [format!("listen=127.0.0.1:{listen}"), "the last from 127.0.0.1: ".to_owned()] {
        assert!(line.contains(&expected), "misses {expected:?}: {line}");
    }
    assert_eq!(target.accepted(), 0);
}

#[test]
fn targets_that_nobody_reaches_are_told_of_ten_times_a_second_at_most() {
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "gone", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": format!("127.0.0.1:{}", free_port()) },
    }));
    check(&stagedoor, "no target could be reached", 10, || comes_to_nothing(&mut connect(listen)));
    let line = stagedoor.logged("sessions ended");
    assert!(line.contains("refused"), "why the last one failed: {line}");
    assert_eq!(service(&stagedoor)["refused_by"]["unreachable"], CLIENTS);
}

#[test]
fn a_filter_that_leaves_out_sessions_that_ended_well_leaves_out_what_they_share() {
    let target = Target::echo();
    let flooded = |level: &str| {
        let listen = free_port();
        let definition = json!({
            "name": "behind", "listen_port": listen, "listen_address": "127.0.0.1",
            "enable_proxy_protocol": true, "proxy_protocol_from": ["192.0.2.1"],
            "proxy": { "target_url": target.address() },
        });
        let stagedoor = Stagedoor::run_with(&definition, &["--set", level]);
        for _ in 0..20 {
            comes_to_nothing(&mut connect(listen));
        }
        stagedoor
    };
    // The quiet one's second ends before the other's.
    let quiet = flooded("log.level=info,stagedoor::proxy::outcome=warn");
    let loud = flooded("log.level=info");
    eventually("a line is shared", || (told(&loud, "not believed").1 == 20).then_some(()));
    assert_eq!(told(&quiet, "not believed"), (0, 0));
}
