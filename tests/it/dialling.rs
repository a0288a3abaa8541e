//! What happens on the way to a target: silence, faults of our own, clients that cannot wait.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::black_hole::BlackHole;
use crate::harness::client::{Ended, connect, exchange, read_to_end, reset};
use crate::harness::eventually::eventually;
use crate::harness::injection::Injection;
use crate::harness::network::{self, in_own_network};
use crate::harness::pattern::pattern;
use crate::harness::port::free_port;
use crate::harness::process::resident_kib;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, targets: &[String]) -> Value {
    json!({
        "name": "dial", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "enable_load_balancing": true, "target_list": targets, "balance": "first" },
    })
}

/// The same with targets that are asked `PING` every 50 ms, and are judged by one answer.
fn checked(listen: u16, targets: &[String]) -> Value {
    let mut definition = definition(listen, targets);
    definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
    definition["uptime_tests"] = json!({
        "commands": [
            { "name": "send", "message": "PING\r\n" },
            { "name": "expect", "message": "+PONG" },
        ],
        "config": { "interval": "50ms", "rise": 1, "fall": 1, "fall_refused": 1 },
    });
    definition
}

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

#[test]
fn a_target_that_does_not_answer_costs_its_connect_timeout_and_another_serves() {
    let (holes, good, listen) =
        ([BlackHole::open(), BlackHole::open()], Target::echo(), free_port());
    let targets = [holes[0].address().to_string(), holes[1].address().to_string(), good.address()];
    let mut definition = definition(listen, &targets);
    definition["proxy"]["connect_timeout"] = json!("150ms");
    let stagedoor = Stagedoor::run(&definition);
    assert_eq!(exchange(listen, b"patience"), (b"patience".to_vec(), Ended::Cleanly));
    assert_eq!(service(&stagedoor)["failed_dials"], 2);
}

#[test]
fn all_dials_of_a_client_together_are_bounded_however_many_targets_are_silent() {
    let (holes, listen) = ([(); 5].map(|()| BlackHole::open()), free_port());
    let mut definition =
        definition(listen, &holes.each_ref().map(|hole| hole.address().to_string()));
    definition["proxy"]["connect_timeout"] = json!("4s");
    definition["proxy"]["retries"] = json!(100);
    let stagedoor = Stagedoor::run(&definition);
    assert!(read_to_end(&mut connect(listen)).0.is_empty());
    let line = stagedoor.logged("session ended");
    assert!(line.contains("did not answer in time"), "{line}");
    // 4 s, 4 s, and the 2 s that are left of ten.
    assert_eq!(service(&stagedoor)["failed_dials"], 3);
}

#[test]
fn what_a_target_does_before_its_first_byte_is_passed_on_as_what_it_is() {
    for (close, expected) in
        [(reset as fn(TcpStream), Ended::Reset), (drop as fn(TcpStream), Ended::Cleanly)]
    {
        let ((target, connections), listen) = (Target::handed_over(), free_port());
        let stagedoor = Stagedoor::run(&definition(listen, &[target.address()]));
        let (mut client, mut server) = (connect(listen), connections.recv().unwrap());
        // Once this has arrived the dial is over: a reset before counts as a refusal.
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
        close(server);
        assert_eq!(read_to_end(&mut client), (Vec::new(), expected));
        drop(client);
        let line = stagedoor.logged("session ended");
        assert!(line.contains("by=target") && line.contains("stage=relay"), "{line}");
    }
}

/// Clients with addresses of their own, so that the ports that they use up are not the proxy's.
fn connect_from(last: u8, listen: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)), 0);
    socket.bind(&local.into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, listen)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn a_shortage_of_ports_is_our_own_fault_and_never_held_against_the_target() {
    in_own_network(|| {
        if !network::set("ipv4/ip_local_port_range", "40000 40015") {
            return;
        }
        let (target, listen) = (Target::checked(Arc::new(AtomicBool::new(true))), 5000);
        let stagedoor = Stagedoor::run(&checked(listen, &[target.address()]));
        stagedoor.logged("is up");
        let mark = stagedoor.mark();
        let mut clients: Vec<TcpStream> = (1..=20).map(|last| connect_from(last, listen)).collect();
        let line = stagedoor.logged_after(mark, "fault on our own side");
        assert!(line.contains(" error ") && line.contains(&target.address()), "{line}");
        assert!(line.contains("session ended"), "once a session: {line}");
        let is_served = |client: &mut TcpStream| {
            client.write_all(b"x").is_ok() && client.read_exact(&mut [0]).is_ok()
        };
        let served = clients.iter_mut().map(is_served).filter(|served| *served).count();
        assert!((1..20).contains(&served), "those that have a port are served on: {served}");
        // The checks are as short of ports as the sessions: that says nothing of the target.
        stagedoor.logged("could not be checked, and stays up");
        assert_eq!(service(&stagedoor)["targets"][0]["health"], "up");
        drop(clients);
        // The kernel keeps some of the ports in TIME_WAIT.
        assert!(network::set("ipv4/ip_local_port_range", "41000 42000"));
        eventually("a new client is served", || {
            (exchange(listen, b"new").0 == b"new").then_some(())
        });
        let downs = stagedoor.log().iter().filter(|line| line.contains(" is down")).count();
        assert_eq!(downs, 0);
    });
}

#[test]
fn a_dial_that_the_system_denies_is_our_own_fault_and_never_held_against_the_target() {
    for error in ["EADDRNOTAVAIL", "ENETUNREACH", "EPERM", "ENOBUFS"] {
        let (target, listen) = (Target::checked(Arc::new(AtomicBool::new(true))), free_port());
        let stagedoor = Stagedoor::run(&checked(listen, &[target.address()]));
        stagedoor.logged("is up");
        let fault = format!("connect:error={error}");
        let Some(injection) = Injection::into(stagedoor.pid(), &fault) else { return };
        assert!(exchange(listen, b"").0.is_empty());
        stagedoor.logged("fault on our own side");
        stagedoor.logged("could not be checked, and stays up");
        drop(injection);
        eventually("it serves again", || (exchange(listen, b"again").0 == b"again").then_some(()));
        assert!(!stagedoor.log().iter().any(|line| line.contains(" is down")), "{error}");
    }
}

#[test]
fn a_target_that_we_have_no_way_to_does_not_keep_clients_from_another() {
    in_own_network(|| {
        // A network of its own has no route out.
        let (good, listen) = (Target::echo(), free_port());
        let targets = ["203.0.113.1:80".to_owned(), good.address()];
        let stagedoor = Stagedoor::run(&definition(listen, &targets));
        assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
        assert_eq!(service(&stagedoor)["failed_dials"], 1);
        assert_eq!(stagedoor.complaints(), [""; 0]);
    });
}

#[test]
fn of_two_targets_the_silent_one_is_not_tried_first_twice_in_a_row() {
    for balance in ["round_robin", "least_connections"] {
        let (hole, good, listen) = (BlackHole::open(), Target::echo(), free_port());
        let mut definition = definition(listen, &[hole.address().to_string(), good.address()]);
        definition["proxy"]["balance"] = json!(balance);
        definition["proxy"]["connect_timeout"] = json!("100ms");
        let stagedoor = Stagedoor::run(&definition);
        let mut failed = 0;
        for turn in 0..6 {
            assert_eq!(exchange(listen, b"hello").0, b"hello");
            let now = service(&stagedoor)["failed_dials"].as_u64().unwrap();
            assert!(turn % 2 == 0 || now == failed, "{balance}: twice in a row");
            failed = now;
        }
    }
}

#[test]
fn what_a_client_sends_before_its_target_is_connected_stays_in_the_kernel_and_arrives_whole() {
    const SENT: usize = 10 << 20;
    let (listen, port) = (free_port(), free_port());
    let mut definition = definition(listen, &[format!("127.0.0.1:{port}")]);
    definition["proxy"]["hold"] = json!("60s");
    let stagedoor = Stagedoor::run(&definition);
    let before = resident_kib(stagedoor.pid());
    let mut client = connect(listen);
    client.set_nonblocking(true).unwrap();
    // What is sent fills the windows and then stands still.
    let (request, mut taken, mut still) = (pattern(SENT), 0, 0);
    eventually("the kernel takes no more", || {
        match client.write(&request[taken..]) {
            Ok(count) => (taken, still) = (taken + count, 0),
            Err(_) => still += 1,
        }
        (still == 20).then_some(())
    });
    assert!(0 < taken && taken < SENT, "{taken} bytes: the client is held back");
    let grown = resident_kib(stagedoor.pid()).saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB");
    let target = TcpListener::bind(("127.0.0.1", port)).unwrap();
    client.set_nonblocking(false).unwrap();
    let writing = std::thread::spawn(move || {
        client.write_all(&request[taken..]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
    let mut arrived = Vec::new();
    target.accept().unwrap().0.read_to_end(&mut arrived).unwrap();
    writing.join().unwrap();
    assert!(arrived == pattern(SENT), "{} bytes", arrived.len());
}

#[test]
fn with_every_session_taken_there_are_descriptors_for_checks_commands_and_reloads() {
    let (is_well, listen) = (Arc::new(AtomicBool::new(true)), free_port());
    let target = Target::checked(Arc::clone(&is_well));
    let mut definition = checked(listen, &[target.address()]);
    definition["proxy"]["on_down"] = json!("keep");
    let few = ["prlimit", "--nofile=160:160"];
    let arguments = ["--set", "workers=2", "--set", "limits.max_connections=500"];
    let stagedoor = Stagedoor::run_under(&few, &[&definition], &arguments);
    let line = stagedoor.logged("limits.max_connections is 500");
    let enough: usize =
        line.split("enough for ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Each moves bulk both ways and reads none of it, so that whoever can have pipes has them.
    let block = pattern(1 << 20);
    let clients: Vec<TcpStream> = (0..enough + 5).map(|_| connect(listen)).collect();
    for mut client in &clients {
        client.set_nonblocking(true).unwrap();
        while client.write(&block).is_ok() {}
    }
    eventually("as many as there may be", || (service(&stagedoor)["live"] == enough).then_some(()));
    for (health, word) in [(false, "is down"), (true, "is up")] {
        let mark = stagedoor.mark();
        is_well.store(health, Ordering::Relaxed);
        stagedoor.logged_after(mark, word);
    }
    definition["proxy"]["retries"] = json!(5);
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
    assert_eq!(stagedoor.json(&["reload"])["generation"], 2);
    drop(clients);
    assert_eq!(exchange(listen, b"room again").0, b"room again");
    let shortages = |line: &&String| line.contains("Too many open files");
    assert_eq!(stagedoor.log().iter().find(shortages), None);
}

#[test]
fn a_circle_of_processes_ends_at_the_limit_of_sessions_and_dissolves_with_its_client() {
    // Within one process, validation finds it.
    let (one, two) = (free_port(), free_port());
    let few = ["prlimit", "--nofile=160:160"];
    let circle = [(one, two), (two, one)].map(|(listen, target)| {
        let definition = definition(listen, &[format!("127.0.0.1:{target}")]);
        Stagedoor::run_under(&few, &[&definition], &["--set", "workers=2"])
    });
    let sessions = || -> Option<u64> {
        circle.iter().map(|one| one.json(&["status"])["sessions"].as_u64()).sum()
    };
    let client = connect(one);
    let (mut last, mut still) = (0, 0);
    eventually("it grows no more", || {
        let now = sessions()?;
        still = if now == last && now > 4 { still + 1 } else { 0 };
        last = now;
        (still == 5).then_some(())
    });
    reset(client);
    eventually("nobody is left", || (sessions() == Some(0)).then_some(()));
    for one in &circle {
        assert!(!one.log().iter().any(|line| line.contains("Too many open files")));
    }
}
