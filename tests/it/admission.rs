//! Who is admitted, on the real binary: access lists and limits by client address, on the address
//! that counts, exactly, and without a line of log for each who is turned away.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::client::{Ended, connect, connect_from, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::header::v2;
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

fn definition(listen: u16, target: &Target, more: Value) -> Value {
    let mut definition = json!({
        "name": "guarded", "listen_port": listen,
        "proxy": { "target_url": target.address() },
    });
    for (key, value) in more.as_object().unwrap() {
        definition[key] = value.clone();
    }
    definition
}

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

/// Reaches the target, which says its banner.
fn is_served(mut stream: TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(1))
}

/// A reload that has to succeed.
fn change(stagedoor: &Stagedoor, definition: &Value) {
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
    stagedoor.json(&["reload"]);
}

#[test]
fn only_those_are_served_who_are_allowed_and_not_denied() {
    let (target, listen) = (Target::banner(b"x"), free_port());
    let lists = json!({
        "enable_ip_whitelisting": true, "allowed_ips": ["127.0.0.0/24", "::1"],
        "enable_ip_blacklisting": true, "blacklisted_ips": ["127.0.0.9"],
    });
    let stagedoor = Stagedoor::run(&definition(listen, &target, lists));
    assert!(is_served(connect_from("127.0.0.2", listen)));
    let before = target.accepted();
    for source in ["127.0.0.9", "127.0.1.1"] {
        let mut refused = connect_from(source, listen);
        assert_eq!(read_to_end(&mut refused), (Vec::new(), Ended::Reset), "{source}");
    }
    assert_eq!(target.accepted(), before, "no target hears of them");
    // The dual-stack socket names IPv4 clients as IPv6; a real IPv6 client is itself.
    if let Ok(six) = TcpStream::connect(("::1", listen)) {
        assert!(is_served(six));
    }
    assert_eq!(service(&stagedoor)["refused_by"]["access"], 2);
    let line = stagedoor.logged("turned away");
    assert!(line.contains("session ended: turned away: their addresses are not served"), "{line}");
    assert!(line.contains("client=127.0.0.9:"), "{line}");
    let shown = stagedoor.command(&["status"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("2 refused (2 by access lists)"), "{shown}");
}

#[test]
fn lists_follow_a_reload_and_sessions_live_on() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target, json!({})));
    let mut before = connect(listen);
    assert_eq!(crate::harness::client::echoed(&mut before, b"one"), b"one");
    let denied = json!({ "enable_ip_blacklisting": true, "blacklisted_ips": ["127.0.0.0/8"] });
    change(&stagedoor, &definition(listen, &target, denied));
    assert_eq!(read_to_end(&mut connect(listen)).1, Ended::Reset);
    assert_eq!(crate::harness::client::echoed(&mut before, b"two"), b"two");
    change(&stagedoor, &definition(listen, &target, json!({})));
    assert_eq!(exchange(listen, b"three").0, b"three");
}

#[test]
fn behind_another_proxy_the_client_of_the_header_counts_and_the_sender_does_not() {
    let (target, listen) = (Target::echo(), free_port());
    let lists = json!({
        "listen_address": "127.0.0.1",
        "enable_proxy_protocol": true, "proxy_protocol_from": ["127.0.0.1/32"],
        "proxy_protocol_others": "direct",
        "enable_ip_blacklisting": true, "blacklisted_ips": ["192.0.2.0/24"],
        "limits": { "max_connections_per_ip": 1 },
    });
    let stagedoor = Stagedoor::run(&definition(listen, &target, lists));
    let say = |header: &[u8], payload: &[u8]| exchange(listen, &[header, payload].concat()).0;
    assert_eq!(say(&v2("198.51.100.7:1"), b"served"), b"served");
    assert_eq!(say(&v2("192.0.2.7:1"), b"denied"), b"");
    // One that holds its session takes only its own place.
    let mut first = connect(listen);
    let mut hello = v2("198.51.100.7:1");
    hello.extend(b"hold");
    std::io::Write::write_all(&mut first, &hello).unwrap();
    first.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(say(&v2("198.51.100.7:2"), b"more"), b"");
    assert_eq!(say(&v2("198.51.100.8:1"), b"another"), b"another");
    // What a header says that is not to be believed changes nothing: it is payload, from whoever
    // sent it.
    let forged = [&v2("192.0.2.7:1")[..], b"forged"].concat();
    let mut stranger = connect_from("127.0.0.2", listen);
    assert_eq!(crate::harness::client::echoed(&mut stranger, &forged), forged);
    drop(first);
    assert_eq!(service(&stagedoor)["refused_by"]["access"], 1);
    assert_eq!(service(&stagedoor)["refused_by"]["max_connections_per_ip"], 1);
}

#[test]
fn an_address_has_exactly_as_many_sessions_as_it_may_have_on_all_workers_together() {
    let (target, listen) = (Target::banner(b"x"), free_port());
    let limits = json!({ "limits": { "max_connections_per_ip": 10 } });
    let definition = definition(listen, &target, limits);
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "workers=3"]);
    for round in 1..=2 {
        let clients: Vec<_> = (0..100)
            .map(|number| {
                std::thread::spawn(move || {
                    let source = format!("127.0.0.{}", 2 + number % 2);
                    let mut stream = connect_from(&source, listen);
                    matches!(stream.read(&mut [0]), Ok(1)).then_some(stream)
                })
            })
            .collect();
        let served: Vec<TcpStream> =
            clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert_eq!(served.len(), 20, "ten of each of two addresses");
        let status = service(&stagedoor);
        assert_eq!(status["live"], 20);
        assert_eq!(status["refused_by"]["max_connections_per_ip"], 80 * round);
        drop(served);
        eventually("they have left", || (service(&stagedoor)["live"] == 0).then_some(()));
    }
}

#[test]
fn a_lowered_limit_counts_the_sessions_that_are() {
    let (target, listen) = (Target::banner(b"x"), free_port());
    let with = |most: usize| {
        definition(listen, &target, json!({ "limits": { "max_connections_per_ip": most } }))
    };
    let stagedoor = Stagedoor::run(&with(5));
    let held: Vec<TcpStream> = (0..3).map(|_| connect(listen)).collect();
    for mut stream in &held {
        stream.read_exact(&mut [0]).unwrap();
    }
    change(&stagedoor, &with(2));
    assert!(!is_served(connect(listen)));
    change(&stagedoor, &with(4));
    let _fourth = {
        let mut stream = connect(listen);
        stream.read_exact(&mut [0]).unwrap();
        stream
    };
    assert!(!is_served(connect(listen)));
}

#[test]
fn an_address_that_comes_too_often_is_turned_away_and_told_of_once_a_second_at_most() {
    let (target, listen) = (Target::banner(b"x"), free_port());
    let limits = json!({ "limits": { "connection_rate_per_ip": "20/1h" } });
    let stagedoor = Stagedoor::run(&definition(listen, &target, limits));
    let start = tokio::time::Instant::now();
    let served = (0..520).filter(|_| is_served(connect(listen))).count();
    assert_eq!(served, 20);
    assert!(is_served(connect_from("127.0.0.2", listen)), "another address has a rate of its own");
    let status = service(&stagedoor);
    assert_eq!(status["refused_by"]["connection_rate_per_ip"], 500);
    assert_eq!(status["refused"], 500);
    let told = || -> (usize, u64) {
        let log = stagedoor.log();
        let lines = log.iter().filter(|line| line.contains("over connection_rate_per_ip"));
        let counts = lines.map(|line| match line.split("clients=").nth(1) {
            Some(count) => count.split([' ', '"']).next().unwrap().parse::<u64>().unwrap(),
            None => 1,
        });
        let counts: Vec<u64> = counts.collect();
        (counts.len(), counts.iter().sum())
    };
    eventually("all of them are told of", || (told().1 == 500).then_some(()));
    let most = 2 + start.elapsed().as_secs() as usize;
    assert!(told().0 <= most, "{} lines in {most} s", told().0);
}

#[test]
fn where_tls_is_ended_the_service_that_is_asked_for_decides_before_the_handshake() {
    let authority = Authority::new("ca");
    let (target, listen) = (Target::echo(), free_port());
    let service = |name: &str, more: Value| {
        let certificate = authority.issue(&[&format!("{name}.test")]);
        let mut definition = definition(listen, &target, more);
        definition["name"] = json!(name);
        definition["protocol"] = json!("tls");
        definition["domain"] = json!(format!("{name}.test"));
        definition["certificates"] = json!([certificate.path]);
        definition
    };
    let lists = json!({
        "enable_ip_whitelisting": true, "allowed_ips": ["127.0.0.2"],
        "limits": { "max_connections_per_ip": 1 },
    });
    let (open, closed) = (service("open", json!({})), service("closed", lists));
    let stagedoor = Stagedoor::run_under(&[], &[&open, &closed], &[]);
    let trust = Trust::of(&authority);
    let mut tls = trust.connect(listen, "open.test").unwrap();
    assert_eq!(echoed(&mut tls, b"anybody"), b"anybody");
    trust.connect(listen, "closed.test").map(drop).unwrap_err();
    let from = || trust.over(connect_from("127.0.0.2", listen), "closed.test");
    let mut first = from().unwrap();
    assert_eq!(echoed(&mut first, b"allowed"), b"allowed");
    from().map(drop).unwrap_err();
    drop(first);
    let line = stagedoor.logged("their addresses are not served");
    assert!(line.contains("closed"), "{line}");
    eventually("the place is free again", || {
        let mut again = from().ok()?;
        (echoed(&mut again, b"again") == b"again").then_some(())
    });
}

#[test]
fn with_few_descriptors_a_crowd_is_no_end_the_port_lives_and_checks_go_on() {
    let (target, listen) = (Target::banner(b"x"), free_port());
    let mut definition = definition(listen, &target, json!({}));
    definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
    definition["uptime_tests"] = json!({
        "commands": [{ "name": "expect", "message": "x" }],
        "config": { "interval": "100ms" },
    });
    let few = ["prlimit", "--nofile=256:256"];
    let stagedoor = Stagedoor::run_under(&few, &[&definition], &["--set", "workers=2"]);
    let crowd: Vec<TcpStream> = (0..1_000).map(|_| connect(listen)).collect();
    let full = eventually("as many are served as can be", || {
        let live = service(&stagedoor)["live"].as_u64().unwrap();
        (live > 50).then_some(live)
    });
    assert!(full < 128, "{full} sessions have two descriptors each");
    let checked = || {
        let ago = service(&stagedoor)["targets"][0]["checks"][0]["ago_ms"].as_u64();
        ago.is_some_and(|ago| ago < 1_000)
    };
    for _ in 0..3 {
        eventually("checks go on", || checked().then_some(()));
    }
    drop(crowd);
    assert!(is_served(connect(listen)));
    eventually("nothing is left", || (service(&stagedoor)["live"] == 0).then_some(()));
    assert_eq!(stagedoor.log().iter().find(|line| line.contains("Too many open")), None);
}

#[test]
fn a_session_of_its_longest_life_is_ended_and_says_why() {
    let (target, listen) = (Target::echo(), free_port());
    let limits = json!({ "limits": { "max_session_age": "300ms" } });
    let stagedoor = Stagedoor::run(&definition(listen, &target, limits));
    let mut client = connect(listen);
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(crate::harness::client::echoed(&mut client, b"x"), b"x");
    assert_eq!(read_to_end(&mut client).0, b"");
    stagedoor.logged("it reached its longest life");
    assert_eq!(service(&stagedoor)["cut"], 1);
}
