//! Clients that come while no target is up: refused at once, or held, unread, within bounds.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::client::{connect, echoed, exchange, read_to_end, reset};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::process::Meter;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::Trust;

/// A service of one target, which is up while `judge` plays the master.
fn definition(listen: u16, target: &str, judge: &Actor, proxy: &Value) -> Value {
    let mut definition = json!({
        "name": "held", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "target_url": target, "check_host_against_uptime_tests": true, "balance": "round_robin",
        },
        "uptime_tests": {
            "config": { "interval": "50ms", "fast_interval": "50ms", "rise": 1 },
            "check_list": [{ "url": judge.address(), "target": target, "commands": [
                { "name": "send", "message": "INFO\r\n" },
                { "name": "expect", "message": "role:master" },
            ] }],
        },
    });
    for (key, value) in proxy.as_object().unwrap() {
        definition["proxy"][key] = value.clone();
    }
    definition
}

/// What a client hears that says nothing.
fn refused(listen: u16) -> Vec<u8> {
    read_to_end(&mut connect(listen)).0
}

fn live(stagedoor: &Stagedoor) -> u64 {
    stagedoor.json(&["status"])["services"][0]["live"].as_u64().unwrap()
}

#[track_caller]
fn wait_until_live(stagedoor: &Stagedoor, count: u64) {
    eventually(&format!("{count} sessions live"), || (live(stagedoor) == count).then_some(()));
}

#[test]
fn while_no_target_is_up_clients_are_refused_at_once_and_no_target_sees_them() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let stagedoor =
        Stagedoor::run(&definition(listen, &target.address(), &judge, &json!({ "hold": 0 })));
    stagedoor.logged("is down");
    for _ in 0..20 {
        assert_eq!(refused(listen), b"");
    }
    assert_eq!(target.accepted(), 0, "never a target that is known to be down");
    assert!(stagedoor.logged("session ended").contains("every target is down"));
    eventually("all are counted", || {
        (stagedoor.json(&["status"])["services"][0]["refused"] == 20).then_some(())
    });
}

#[test]
fn held_clients_wait_unread_and_are_served_as_soon_as_a_target_is_up() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let hold = json!({ "hold": "1h" });
    let stagedoor = Stagedoor::run(&definition(listen, &target.address(), &judge, &hold));
    stagedoor.logged("is down");
    let mut clients: Vec<TcpStream> = (0..10).map(|_| connect(listen)).collect();
    for client in &mut clients {
        client.write_all(b"first").unwrap();
    }
    wait_until_live(&stagedoor, 10);
    assert_eq!(target.accepted(), 0);
    judge.plays("master");
    for client in &mut clients {
        let mut reply = [0; 5];
        client.read_exact(&mut reply).unwrap();
        assert_eq!((&reply, &echoed(client, b"more")[..]), (b"first", &b"more"[..]));
    }
}

#[test]
fn a_held_client_is_refused_when_its_time_is_over() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let hold = json!({ "hold": "200ms" });
    let stagedoor = Stagedoor::run(&definition(listen, &target.address(), &judge, &hold));
    stagedoor.logged("is down");
    assert_eq!(refused(listen), b"");
    assert!(stagedoor.logged("session ended").contains("every target is down"));
    assert_eq!(target.accepted(), 0);
}

#[test]
fn at_most_the_limit_is_held_by_all_workers_together_and_who_gives_up_makes_room() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let hold = json!({ "hold": "1h", "hold_limit": 5 });
    let definition = definition(listen, &target.address(), &judge, &hold);
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "workers=3"]);
    stagedoor.logged("is down");
    let mut held: Vec<TcpStream> = (0..5).map(|_| connect(listen)).collect();
    wait_until_live(&stagedoor, 5);
    for _ in 0..10 {
        assert_eq!(refused(listen), b"", "one too many is refused at once");
    }
    wait_until_live(&stagedoor, 5);
    held.truncate(3);
    wait_until_live(&stagedoor, 3);
    // Their places are free again, though perhaps a moment later.
    eventually("another client is held", || {
        held.push(connect(listen));
        wait_until_settled(&stagedoor);
        (live(&stagedoor) == 5).then_some(())
    });
    judge.plays("master");
    let mut served = held.into_iter().filter_map(|mut client| {
        client.write_all(b"x").ok()?;
        client.read_exact(&mut [0]).ok()
    });
    assert!(served.by_ref().count() >= 5);
}

#[test]
fn clients_inside_tls_that_leave_while_they_are_held_are_noticed() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let authority = Authority::new("ca");
    let hold = json!({ "hold": "1h" });
    let mut definition = definition(listen, &target.address(), &judge, &hold);
    definition["protocol"] = json!("tls");
    definition["certificate"] = json!([authority.issue(&["a.test"]).path]);
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged("is down");
    let trust = Trust::of(&authority);
    let mut clients: Vec<_> = (0..5).map(|_| trust.connect(listen, "a.test").unwrap()).collect();
    wait_until_live(&stagedoor, 5);
    // The first has said something, and may wait for the answer.
    clients[0].write_all(b"question").unwrap();
    for tls in &mut clients {
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        tls.sock.shutdown(Shutdown::Write).unwrap();
    }
    wait_until_live(&stagedoor, 1);
    judge.plays("master");
    let mut answer = Vec::new();
    clients[0].read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"question");
    assert_eq!(target.accepted(), 1);
}

/// Everybody who was refused has left.
fn wait_until_settled(stagedoor: &Stagedoor) {
    eventually("nobody is in between", || {
        let status = stagedoor.json(&["status"]);
        let service = &status["services"][0];
        let [live, accepted, refused] =
            ["live", "accepted", "refused"].map(|key| service[key].as_u64().unwrap());
        (live <= 5 && accepted >= refused + live).then_some(())
    });
}

#[test]
fn hundreds_that_wait_cost_next_to_nothing() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("slave"), free_port());
    let hold = json!({ "hold": "1h" });
    let stagedoor = Stagedoor::run(&definition(listen, &target.address(), &judge, &hold));
    stagedoor.logged("is down");
    let clients: Vec<TcpStream> = (0..500).map(|_| connect(listen)).collect();
    wait_until_live(&stagedoor, 500);
    let (asked, meter) = (judge.target().accepted(), Meter::start(&stagedoor));
    eventually("checks go on", || (judge.target().accepted() >= asked + 20).then_some(()));
    let share = meter.share();
    println!("500 held clients: processor {:.1} %", 100.0 * share);
    assert!(share < 0.6, "{share}");
    judge.plays("master");
    for mut client in clients {
        assert_eq!(echoed(&mut client, b"x"), b"x");
    }
}

#[test]
fn clients_whose_every_target_refuses_are_held_too_and_served_once_somebody_listens() {
    let (judge, listen, port) = (Actor::playing("master"), free_port(), free_port());
    let target = format!("127.0.0.1:{port}");
    let stagedoor = Stagedoor::run(&definition(listen, &target, &judge, &json!({ "hold": "1h" })));
    stagedoor.logged("is up");
    let mut client = connect(listen);
    eventually("it has been refused again and again", || {
        let status = stagedoor.json(&["status"]);
        (status["services"][0]["failed_dials"].as_u64()? >= 5).then_some(())
    });
    let listener = TcpListener::bind(&target).unwrap();
    listener.accept().unwrap().0.write_all(b"at last").unwrap();
    assert_eq!(read_to_end(&mut client).0, b"at last");
}

#[test]
fn a_refused_dial_has_the_target_checked_at_once_and_not_more_than_once_per_fast_interval() {
    let (judge, listen, port) = (Actor::playing("master"), free_port(), free_port());
    let target = format!("127.0.0.1:{port}");
    let mut definition = definition(listen, &target, &judge, &json!({}));
    definition["uptime_tests"]["config"] = json!({ "interval": "1h", "fast_interval": "1h" });
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged("is up");
    assert_eq!(judge.target().accepted(), 1, "by itself it is not asked again for an hour");
    judge.plays("slave");
    assert_eq!(refused(listen), b"");
    stagedoor.logged("is down");
    assert_eq!(judge.target().accepted(), 2);
    judge.plays("master");
    for _ in 0..20 {
        assert_eq!(refused(listen), b"");
    }
    assert_eq!(judge.target().accepted(), 2);
}

#[test]
fn nobody_waits_for_a_target_that_is_not_yet_known_while_another_is_up() {
    let silent = Target::new(|mut stream| while let Ok(1..) = stream.read(&mut [0; 64]) {});
    let (good, listen) = (Target::banner(b"welcome"), free_port());
    let stagedoor = Stagedoor::run(&json!({
        "name": "greeting", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "target_list": [silent.address(), good.address()],
        },
        "uptime_tests": {
            "config": { "timeout": "1h" },
            "commands": [{ "name": "expect", "message": "welcome" }],
        },
    }));
    for _ in 0..10 {
        assert_eq!(&read_some(listen), b"welcome", "the first verdict is enough");
    }
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["targets"][0]["health"], "unknown");
}

fn read_some(listen: u16) -> [u8; 7] {
    let mut reply = [0; 7];
    connect(listen).read_exact(&mut reply).unwrap();
    reply
}

#[test]
fn without_a_single_check_that_runs_every_target_is_taken_to_be_up() {
    let (target, listen) = (Target::echo(), free_port());
    let stagedoor = Stagedoor::run(&json!({
        "name": "bare", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": target.address(), "check_host_against_uptime_tests": true },
    }));
    assert_eq!(exchange(listen, b"hello").0, b"hello");
    assert_eq!(stagedoor.json(&["status"])["services"][0]["targets"][0]["health"], "unchecked");
}

#[test]
fn a_burst_of_resets_has_the_target_checked_at_once() {
    let (judge, listen) = (Actor::playing("master"), free_port());
    let target = Target::new(|mut stream| {
        drop(stream.read(&mut [0; 1]));
        reset(stream);
    });
    let mut definition = definition(listen, &target.address(), &judge, &json!({}));
    definition["uptime_tests"]["config"] = json!({ "interval": "1h", "fast_interval": "1h" });
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged("is up");
    judge.plays("slave");
    for _ in 0..6 {
        let mut client = connect(listen);
        client.write_all(b"x").unwrap();
        drop(client.read(&mut [0]));
    }
    stagedoor.logged("is down");
    assert_eq!(judge.target().accepted(), 2);
}
