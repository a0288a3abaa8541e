//! Which target gets a connection, over all workers together, on the real binary.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::client::{connect, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, balance: &str, targets: &[Value]) -> Value {
    json!({
        "name": "balanced", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "enable_load_balancing": true, "balance": balance, "target_list": targets,
            "on_removed": "keep",
        },
    })
}

fn run(definition: &Value) -> Stagedoor {
    Stagedoor::run_with(definition, &["--set", "workers=3"])
}

/// Targets that say their letter and then hold the session.
fn lettered() -> [Target; 3] {
    [Target::banner(b"a"), Target::banner(b"b"), Target::banner(b"c")]
}

/// Opens a session and says which target it reached.
fn reach(listen: u16) -> (char, TcpStream) {
    let mut stream = connect(listen);
    let letter = letter(&mut stream);
    (letter, stream)
}

fn letter(stream: &mut impl Read) -> char {
    let mut letter = [0];
    stream.read_exact(&mut letter).unwrap();
    char::from(letter[0])
}

fn tally(sessions: &[(char, TcpStream)]) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for (letter, _) in sessions {
        *counts.entry(*letter).or_default() += 1;
    }
    counts
}

fn weighted(target: &Target, weight: u32) -> Value {
    json!({ "url": target.address(), "weight": weight })
}

#[test]
fn round_robin_takes_turns_by_weight_across_all_workers() {
    let ([a, b, c], listen) = (lettered(), free_port());
    // A repeated entry adds weight.
    let targets = [weighted(&a, 2), weighted(&b, 2), json!(c.address()), json!(a.address())];
    let _stagedoor = run(&definition(listen, "round_robin", &targets));
    let order: String = (0..18).map(|_| reach(listen).0).collect();
    assert_eq!(order, "abacba".repeat(3));
}

#[test]
fn least_connections_fills_whoever_has_the_fewest_for_its_weight() {
    let ([a, b, c], listen) = (lettered(), free_port());
    let targets = [weighted(&a, 1), weighted(&b, 1), weighted(&c, 2)];
    let stagedoor = run(&definition(listen, "least_connections", &targets));
    let mut sessions: Vec<_> = (0..12).map(|_| reach(listen)).collect();
    assert_eq!(tally(&sessions), BTreeMap::from([('a', 3), ('b', 3), ('c', 6)]));
    sessions.retain(|(letter, _)| *letter != 'b');
    eventually("those that left are not counted any more", || {
        (stagedoor.json(&["status"])["sessions"] == 9).then_some(())
    });
    let next: Vec<_> = (0..3).map(|_| reach(listen)).collect();
    assert_eq!(tally(&next), BTreeMap::from([('b', 3)]));
}

#[test]
fn random_two_takes_the_less_loaded_of_two() {
    let ([a, b, _], listen) = (lettered(), free_port());
    let _stagedoor =
        run(&definition(listen, "random_two", &[json!(a.address()), json!(b.address())]));
    let sessions: Vec<_> = (0..20).map(|_| reach(listen)).collect();
    assert_eq!(tally(&sessions), BTreeMap::from([('a', 10), ('b', 10)]));
}

#[test]
fn first_takes_the_first_that_is_up_and_goes_back_to_it() {
    let ([a, b, _], listen) = (lettered(), free_port());
    let judge = Actor::playing("master");
    let mut definition = definition(listen, "first", &[json!(a.address()), json!(b.address())]);
    judged(&mut definition, &judge, &[&a]);
    let stagedoor = run(&definition);
    stagedoor.logged("is up");
    let letters = |count| (0..count).map(|_| reach(listen).0).collect::<String>();
    assert_eq!(letters(5), "aaaaa");
    judge.plays("slave");
    stagedoor.logged("is down");
    assert_eq!(letters(5), "bbbbb");
    let mark = stagedoor.mark();
    judge.plays("master");
    stagedoor.logged_after(mark, "is up");
    assert_eq!(letters(5), "aaaaa");
}

/// These targets are up while `judge` plays the master.
fn judged(definition: &mut Value, judge: &Actor, targets: &[&Target]) {
    let check = |target: &&Target| {
        json!({ "url": judge.address(), "target": target.address(), "commands": [
            { "name": "send", "message": "INFO\r\n" },
            { "name": "expect", "message": "role:master" },
        ] })
    };
    definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
    definition["uptime_tests"] = json!({
        "config": { "interval": "40ms" },
        "check_list": targets.iter().map(check).collect::<Vec<_>>(),
    });
}

#[test]
fn a_backup_serves_only_while_no_other_target_is_up() {
    let ([a, b, c], listen) = (lettered(), free_port());
    let judge = Actor::playing("master");
    let backup = json!({ "url": c.address(), "backup": true });
    let targets = [backup, json!(a.address()), json!(b.address())];
    let mut definition = definition(listen, "round_robin", &targets);
    judged(&mut definition, &judge, &[&a, &b]);
    let stagedoor = run(&definition);
    for target in [&a, &b] {
        stagedoor.logged(&format!("target {} is up", target.address()));
    }
    let letters = |count| (0..count).map(|_| reach(listen).0).collect::<String>();
    let served = letters(6);
    assert!(served == "ababab" || served == "bababa", "{served}");
    judge.plays("slave");
    for target in [&a, &b] {
        stagedoor.logged(&format!("target {} is down", target.address()));
    }
    assert_eq!(letters(4), "cccc");
}

/// Opens a session from an address of the loopback.
fn reach_from(source: Ipv4Addr, listen: u16) -> char {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, listen)).into()).unwrap();
    letter(&mut TcpStream::from(socket))
}

#[test]
fn source_hash_keeps_a_client_at_its_target_and_moves_only_those_of_one_that_left() {
    let ([a, b, c], listen) = (lettered(), free_port());
    let all = [json!(a.address()), json!(b.address()), json!(c.address())];
    let stagedoor = run(&definition(listen, "source_hash", &all));
    let clients: Vec<Ipv4Addr> = (1..=60).map(|last| Ipv4Addr::new(127, 0, 7, last)).collect();
    let reached =
        || -> Vec<char> { clients.iter().map(|client| reach_from(*client, listen)).collect() };
    let before = reached();
    assert_eq!(reached(), before, "whatever its port, a client reaches its target");
    for letter in ['a', 'b', 'c'] {
        let share = before.iter().filter(|reached| **reached == letter).count();
        assert!((5..=40).contains(&share), "{letter} has {share} of 60");
    }
    std::fs::write(stagedoor.file(), definition(listen, "source_hash", &all[..2]).to_string())
        .unwrap();
    stagedoor.json(&["reload"]);
    for (before, after) in before.iter().zip(reached()) {
        assert!(after != 'c' && (*before == 'c' || after == *before), "{before} became {after}");
    }
}

#[test]
fn retries_go_to_other_targets_as_often_as_the_service_says() {
    let (good, listen) = (Target::numbered(1), free_port());
    let dead = |_| json!(format!("127.0.0.1:{}", free_port()));
    let mut targets: Vec<Value> = (0..3).map(dead).collect();
    targets.push(json!(good.address()));
    let mut definition = definition(listen, "first", &targets);
    let stagedoor = run(&definition);
    // Two retries by default: the fourth target is not reached.
    assert_eq!(read_to_end(&mut connect(listen)).0, b"");
    definition["proxy"]["retries"] = json!(3);
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
    stagedoor.json(&["reload"]);
    assert_eq!(exchange(listen, b"").0, b"1");
    assert_eq!(stagedoor.json(&["status"])["services"][0]["failed_dials"], 6);
}

#[test]
fn a_service_has_exactly_as_many_sessions_as_it_may_have() {
    let ([a, ..], listen) = (lettered(), free_port());
    let mut definition = definition(listen, "round_robin", &[json!(a.address())]);
    definition["limits"] = json!({ "max_connections": 10 });
    let stagedoor = run(&definition);
    for round in 1..=3 {
        let clients: Vec<_> = (0..50)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut stream = connect(listen);
                    let served = matches!(stream.read(&mut [0]), Ok(1));
                    served.then_some(stream)
                })
            })
            .collect();
        let served: Vec<TcpStream> =
            clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert_eq!(served.len(), 10, "all at once, on three workers");
        let status = stagedoor.json(&["status"]);
        assert_eq!(status["services"][0]["live"], 10);
        assert_eq!(status["services"][0]["refused"], 40 * round);
        drop(served);
        eventually("they have left", || {
            (stagedoor.json(&["status"])["services"][0]["live"] == 0).then_some(())
        });
    }
    assert!(stagedoor.logged("turned away").contains("over max_connections"));
}

#[test]
fn a_unix_socket_is_as_good_a_target_and_as_good_a_place_to_listen() {
    let folder = tempfile::tempdir().unwrap();
    let [target, listen] = ["target.sock", "listen.sock"].map(|name| folder.path().join(name));
    let listener = UnixListener::bind(&target).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut asked = [0; 4];
            if stream.read_exact(&mut asked).is_ok() {
                drop(stream.write_all(&asked));
            }
        }
    });
    let url = format!("unix:{}", target.display());
    let stagedoor = run(&json!({
        "name": "local", "listen_address": format!("unix:{}", listen.display()),
        "proxy": { "target_url": url, "check_host_against_uptime_tests": true },
        "uptime_tests": { "check_list": [{ "url": url, "commands": [
            { "name": "send", "message": "ping" }, { "name": "expect", "message": "ping" },
        ] }] },
    }));
    for _ in 0..5 {
        let mut stream = UnixStream::connect(&listen).unwrap();
        stream.write_all(b"echo").unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, b"echo");
    }
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["targets"][0]["health"], "up");
    assert_eq!(status["services"][0]["targets"][0]["address"], url);
}
