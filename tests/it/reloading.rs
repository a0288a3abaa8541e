//! Reloads: all or nothing, and nothing that lives notices.

use std::io::{Read, Write};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, target: &str) -> Value {
    json!({
        "name": "relay", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": format!("tcp://{target}"), "on_removed": "keep" },
    })
}

fn rewrite(stagedoor: &Stagedoor, definition: &Value) {
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
}

fn changes(stagedoor: &Stagedoor) -> Vec<String> {
    let reply = stagedoor.json(&["reload"]);
    serde_json::from_value(reply["changes"].clone()).unwrap_or_else(|_| panic!("{reply}"))
}

#[test]
fn a_reload_moves_new_connections_and_leaves_living_ones_alone() {
    let (old, new, listen) = (Target::echo(), Target::numbered(2), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &old.address()));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    rewrite(&stagedoor, &definition(listen, &new.address()));
    assert!(!changes(&stagedoor).is_empty());
    assert_eq!(exchange(listen, b"").0, b"2");
    assert_eq!(echoed(&mut living, b"after"), b"after");
    assert!(changes(&stagedoor).is_empty(), "a second reload finds nothing new");
}

#[test]
fn hup_reloads() {
    let (old, new, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &old.address()));
    rewrite(&stagedoor, &definition(listen, &new.address()));
    stagedoor.signal(Signal::HUP);
    eventually("the new target serves", || (exchange(listen, b"").0 == b"2").then_some(()));
}

#[test]
fn a_wrong_file_is_refused_whole_and_the_answer_says_where() {
    let (target, listen) = (Target::numbered(1), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target.address()));
    for (text, place) in [
        ("{ \"name\": \"relay\",\n  oops }", "service.json:2"),
        ("{ \"name\": \"relay\",\n \"listen_port\": 70000, \"proxy\": {} }", "service.json:2"),
    ] {
        std::fs::write(stagedoor.file(), text).unwrap();
        let output = stagedoor.command(&["reload"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("nothing was changed") && said.contains(place), "{said}");
        assert_eq!(exchange(listen, b"").0, b"1");
    }
    assert_eq!(stagedoor.json(&["status"])["generation"], 1);
}

#[test]
fn a_port_that_is_taken_refuses_the_whole_reload() {
    let (target, listen) = (Target::numbered(1), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target.address()));
    let other = Target::numbered(2);
    // The new listener cannot be had, and the new target must not be in force either.
    rewrite(
        &stagedoor,
        &definition(other.port(), &other.address().replace("127.0.0.1", "localhost")),
    );
    let said = String::from_utf8(stagedoor.command(&["reload"]).stdout).unwrap();
    assert!(said.contains(&other.port().to_string()) && said.contains("relay"), "{said}");
    assert_eq!(exchange(listen, b"").0, b"1");
}

#[test]
fn a_service_that_moves_to_another_port_takes_its_living_sessions_along() {
    let (target, first, second) = (Target::echo(), free_port(), free_port());
    let stagedoor = Stagedoor::run(&definition(first, &target.address()));
    let mut living = connect(first);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    rewrite(&stagedoor, &definition(second, &target.address()));
    changes(&stagedoor);
    assert_eq!(exchange(second, b"new").0, b"new");
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", first)).is_err(),
        "the old port is given up"
    );
    assert_eq!(echoed(&mut living, b"after"), b"after");
    assert_eq!(stagedoor.json(&["status"])["services"][0]["live"], 1);
}

#[test]
fn sessions_of_a_removed_target_are_closed_if_the_service_says_so() {
    let (old, new, listen) = (Target::echo(), Target::numbered(2), free_port());
    let mut first = definition(listen, &old.address());
    first["proxy"]["on_removed"] = json!("close");
    let stagedoor = Stagedoor::run(&first);
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    rewrite(&stagedoor, &definition(listen, &new.address()));
    changes(&stagedoor);
    assert_eq!(read_to_end(&mut living), (Vec::new(), Ended::Reset));
    stagedoor.logged("target was removed");
}

#[test]
fn sessions_of_a_removed_target_that_was_checked_and_up_may_stay_if_the_service_says_so() {
    let (old, new, listen) = (Target::echo(), Target::numbered(2), free_port());
    let checked = |target: &Target| {
        let mut definition = definition(listen, &target.address());
        definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
        definition["uptime_tests"] = json!({ "commands": [], "config": { "interval": "50ms" } });
        definition
    };
    let stagedoor = Stagedoor::run(&checked(&old));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    rewrite(&stagedoor, &checked(&new));
    changes(&stagedoor);
    assert_eq!(exchange(listen, b"").0, b"2");
    assert_eq!(echoed(&mut living, b"after"), b"after");
}

#[test]
fn sessions_of_a_target_that_is_back_before_its_drain_has_ended_go_on() {
    let (old, new, listen) = (Target::echo(), Target::numbered(2), free_port());
    let drained = |target: &Target| {
        let mut definition = definition(listen, &target.address());
        definition["proxy"]["on_removed"] = json!("drain:1s");
        definition
    };
    let stagedoor = Stagedoor::run(&drained(&old));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    for target in [&new, &old] {
        rewrite(&stagedoor, &drained(target));
        changes(&stagedoor);
    }
    stagedoor.logged("drain ended");
    assert_eq!(echoed(&mut living, b"after"), b"after");
}

#[test]
fn reloads_under_load_fail_nobody() {
    let (one, two, listen) = (Target::echo(), Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &one.address()));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut served = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
                    served += 1;
                }
                served
            })
        })
        .collect();
    for round in 0..100 {
        let target = if round % 2 == 0 { &two } else { &one };
        rewrite(&stagedoor, &definition(listen, &target.address()));
        assert!(!changes(&stagedoor).is_empty());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let served: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(served > 100, "{served}");
}

#[test]
fn a_storm_of_reloads_is_answered_and_ends_with_the_last_file() {
    let (one, two, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &one.address()));
    for _ in 0..50 {
        stagedoor.signal(Signal::HUP);
    }
    rewrite(&stagedoor, &definition(listen, &two.address()));
    changes(&stagedoor);
    assert_eq!(exchange(listen, b"").0, b"2");
}

#[test]
fn verdicts_and_the_leader_survive_a_reload_with_two_claimants() {
    let (first, listen) = (Redis::master(), free_port());
    let second = Redis::replica_of(&first);
    let target = |redis: &Redis| format!("127.0.0.1:{}", redis.port());
    let definition = |retries: u32| {
        json!({
            "name": "redis", "listen_port": listen, "protocol": "tcp",
            "proxy": {
                "enable_load_balancing": true, "check_host_against_uptime_tests": true,
                "balance": "leader", "retries": retries,
                "target_list": [target(&first), target(&second)],
            },
            "uptime_tests": { "commands": [
                { "name": "send", "message": "INFO replication\r\n" },
                { "name": "expect", "message": "role:master" },
            ] },
        })
    };
    let stagedoor = Stagedoor::run(&definition(1));
    let mut session = Client::connect(listen);
    assert_eq!(session.call("SET key value"), "+OK");
    stagedoor.logged(&format!("target {} leads", target(&first)));
    // Both claim the role: a rule without memory would have to guess after the reload.
    second.promote();
    stagedoor.logged(&format!("target {} leads", target(&second)));
    for retries in [2, 3, 4] {
        rewrite(&stagedoor, &definition(retries));
        assert!(!changes(&stagedoor).is_empty());
        let leader = &stagedoor.json(&["status"])["services"][0]["leader"];
        assert_eq!(*leader, target(&second));
        assert_eq!(Client::connect(listen).call("SET key value"), "+OK");
    }
    let lead_changes = stagedoor.log().iter().filter(|line| line.contains(" leads: ")).count();
    assert_eq!(lead_changes, 2, "the first leader and the promoted one");
}

#[test]
fn sessions_from_before_a_service_was_led_end_unless_they_are_with_the_leader() {
    let (first, listen) = (Redis::master(), free_port());
    let second = Redis::replica_of(&first);
    let target = |redis: &Redis| format!("127.0.0.1:{}", redis.port());
    let definition = |balance: &str| {
        let targets = [target(&first), target(&second)];
        let commands = json!([
            { "name": "send", "message": "INFO replication\r\n" },
            { "name": "expect", "message": "role:master" },
        ]);
        let is_led = balance == "leader";
        let uptime_tests = if is_led { json!({ "commands": commands }) } else { json!({}) };
        json!({
            "name": "redis", "listen_port": listen, "protocol": "tcp",
            "proxy": {
                "enable_load_balancing": true, "on_down": "keep", "balance": balance,
                "check_host_against_uptime_tests": is_led,
                "target_list": targets,
            },
            "uptime_tests": uptime_tests,
        })
    };
    let stagedoor = Stagedoor::run(&definition("round_robin"));
    let mut relays = [connect(listen), connect(listen)];
    for relay in &mut relays {
        relay.write_all(b"PING\r\n").unwrap();
        relay.read_exact(&mut [0; 7]).unwrap();
    }
    rewrite(&stagedoor, &definition("leader"));
    changes(&stagedoor);
    stagedoor.logged("sessions with others than the leader cut");
    let mut answered = 0;
    for relay in &mut relays {
        let asked = relay.write_all(b"PING\r\n").is_ok();
        answered += usize::from(asked && relay.read_exact(&mut [0; 7]).is_ok());
    }
    assert_eq!(answered, 1, "the one with the leader goes on");
}

#[test]
fn two_processes_do_not_fight_over_one_control_socket() {
    let (target, listen) = (Target::numbered(1), free_port());
    let first = Stagedoor::run(&definition(listen, &target.address()));
    let socket = format!("admin.socket={}", first.socket().display());
    let other = free_port();
    let second = Stagedoor::run_with(&definition(other, &target.address()), &["--set", &socket]);
    second.logged("another stagedoor answers there; this process runs without one");
    assert_eq!(exchange(other, b"").0, b"1");
    drop(second);
    assert_eq!(first.json(&["status"])["services"][0]["listen"], format!("127.0.0.1:{listen}"));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(first.socket()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_command_that_nobody_answers_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let output = crate::harness::stagedoor::stagedoor(
        &["status", "--socket", socket.to_str().unwrap()],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("no running stagedoor answers") && said.contains("stagedoor run"),
        "{said}"
    );
}

#[test]
fn nonsense_on_the_control_socket_is_answered_and_harms_nobody() {
    let (target, listen) = (Target::numbered(1), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &target.address()));
    for nonsense in [&b"\xff\xfe\n"[..], b"{}\n", b"[[[[\n", b"\n", &[b'x'; 100_000]] {
        let mut stream = std::os::unix::net::UnixStream::connect(stagedoor.socket()).unwrap();
        // The process may have answered and closed before all of it is written.
        if stream.write_all(nonsense).is_ok() {
            let mut answer = String::new();
            drop(stream.read_to_string(&mut answer));
            assert!(answer.contains("error") || answer.is_empty(), "{answer}");
        }
    }
    assert_eq!(stagedoor.json(&["status"])["services"][0]["name"], "relay");
}

#[test]
fn a_check_that_a_reload_changes_goes_on_being_asked() {
    let (well, listen) =
        (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true)), free_port());
    let target = Target::checked(std::sync::Arc::clone(&well));
    let definition = |timeout: &str| {
        json!({
            "name": "relay", "listen_port": listen, "listen_address": "127.0.0.1",
            "protocol": "tcp",
            "proxy": {
                "target_url": format!("tcp://{}", target.address()),
                "check_host_against_uptime_tests": true,
            },
            "uptime_tests": {
                "config": { "interval": "50ms" },
                "check_list": [{
                    "url": format!("tcp://{}", target.address()), "timeout": timeout,
                    "commands": [{ "name": "send", "message": "PING\r\n" },
                                 { "name": "expect", "message": "+PONG" }],
                }],
            },
        })
    };
    let stagedoor = Stagedoor::run(&definition("1s"));
    stagedoor.logged("is up");
    for timeout in ["900ms", "800ms", "700ms"] {
        rewrite(&stagedoor, &definition(timeout));
        assert!(!changes(&stagedoor).is_empty());
        let asked = target.accepted();
        eventually("the new check is asked", || (target.accepted() > asked + 2).then_some(()));
    }
    let mark = stagedoor.mark();
    well.store(false, std::sync::atomic::Ordering::Relaxed);
    stagedoor.logged_after(mark, "is down");
}
