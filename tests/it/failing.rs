//! One fault at a time, in the real binary: what goes on meanwhile, and what becomes of a part that
//! cannot be kept running.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end};
use crate::harness::control::ask;
use crate::harness::eventually::eventually;
use crate::harness::load::{Load, Relays};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A service of these targets, each with a check of these commands.
fn definition(listen: u16, targets: &[&Target], commands: &Value) -> Value {
    let urls: Vec<String> = targets.iter().map(|target| target.address()).collect();
    let check = |url: &String| json!({ "url": url, "commands": commands });
    json!({
        "name": "echo", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "enable_load_balancing": true, "check_host_against_uptime_tests": true,
        "proxy": { "target_list": urls },
        "uptime_tests": {
            "check_list": urls.iter().map(check).collect::<Vec<_>>(),
            "config": { "interval": "100ms" },
        },
    })
}

/// An echo service with two checked targets, under these settings.
fn start(settings: &[&str]) -> (Stagedoor, u16) {
    let (targets, listen) = ([Target::echo(), Target::echo()], free_port());
    let definition = definition(listen, &[&targets[0], &targets[1]], &json!([]));
    let mut arguments = vec!["--set", "workers=2"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    (Stagedoor::run_with(&definition, &arguments), listen)
}

/// Hits a component each time that it is back, until the process has ended.
fn hit_until_it_ends(stagedoor: &mut Stagedoor, component: &str) -> Option<i32> {
    while stagedoor.is_running() {
        stagedoor.hit(component, "panic");
        std::thread::park_timeout(Duration::from_millis(2));
    }
    stagedoor.ended().code()
}

#[test]
fn a_process_with_a_part_that_cannot_be_kept_running_drains_and_exits_with_70() {
    for component in ["health", "router/0"] {
        let settings = ["supervision.intensity=3", "shutdown.timeout=500ms"];
        let (mut stagedoor, listen) = start(&settings);
        let mut relay = connect(listen);
        assert_eq!(echoed(&mut relay, b"before"), b"before");
        // While it drains, the relay lives.
        let talking = std::thread::spawn(move || {
            let mut count = 0;
            while relay.write_all(b"x").is_ok() && relay.read_exact(&mut [0]).is_ok() {
                count += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
            count
        });
        assert_eq!(hit_until_it_ends(&mut stagedoor, component), Some(70), "{component}");
        assert!(talking.join().unwrap() > 50, "{component}: the relay was cut before the drain");
        for said in ["cannot be kept running", "sessions may end by themselves", "info  stopped"] {
            stagedoor.logged(said);
        }
        assert!(!stagedoor.socket().exists(), "the control socket is cleared away");
    }
}

#[test]
fn a_process_whose_arbiters_hang_for_good_one_after_the_other_exits_with_70() {
    let settings =
        ["supervision.intensity=1000", "supervision.hang=200ms", "shutdown.timeout=500ms"];
    let (mut stagedoor, _) = start(&settings);
    for hung in 1..=8 {
        eventually("it is there", || stagedoor.hit("router/1", "hang:60000").then_some(()));
        let line = stagedoor.logged(&format!(" generation={hung} "));
        assert!(line.contains("arbiter replaced"), "{line}");
        assert!(line.contains(&format!(" hung={hung}")), "{line}");
    }
    assert_eq!(stagedoor.ended().code(), Some(70));
    stagedoor.logged("8 of its arbiters hang");
}

#[test]
fn status_is_told_while_the_health_supervisor_is_stuck() {
    let (stagedoor, _) = start(&["supervision.hang=60s"]);
    let health = || stagedoor.status()["services"][0]["targets"][0]["health"].clone();
    eventually("the target is up", || (health() == "up").then_some(()));
    assert!(stagedoor.hit("health", "wedge"));
    let began = Instant::now();
    assert_eq!(health(), "up");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_checker_that_cannot_be_kept_running_is_parked_and_its_target_keeps_its_verdict() {
    let (stagedoor, listen) = start(&["supervision.intensity=3"]);
    let checkers: Vec<String> = stagedoor
        .tree()
        .into_iter()
        .map(|component| component.name)
        .filter(|name| name.starts_with("checker/"))
        .collect();
    let noisy = &checkers[0];
    let parked = eventually("it is parked", || {
        stagedoor.hit(noisy, "panic");
        Some(stagedoor.component(noisy)).filter(|component| component.state == "parked")
    });
    assert!(parked.last_exit.is_some_and(|exit| exit.contains("panicked: injected")));
    assert_eq!(stagedoor.component(&checkers[1]).restarts, 0, "the others are not concerned");
    assert_eq!(stagedoor.component("checkers").restarts, 0);
    let snapshot = || stagedoor.status()["snapshot"].clone();
    let before = snapshot();
    let load = Load::start(listen, 2);
    eventually("the load runs", || (load.exchanges() > 50).then_some(()));
    assert!(load.stop().failures.is_empty());
    let status = stagedoor.status();
    for target in status["services"][0]["targets"].as_array().unwrap() {
        assert_eq!(target["health"], "up", "{status:#}");
        assert!(target["total"].as_u64() > Some(5), "both get traffic: {status:#}");
    }
    assert_eq!(snapshot(), before, "nothing is published without news");
    // A person may try again at once.
    stagedoor.restart(noisy);
    eventually("it checks again", || (stagedoor.component(noisy).state == "running").then_some(()));
}

#[test]
fn a_hung_data_arbiter_is_replaced_while_the_other_worker_serves() {
    let (stagedoor, listen) = start(&["supervision.hang=1s"]);
    // The one that does not carry the listener: that one's clients wait in the accept queue.
    let tree = stagedoor.tree();
    let listener = tree.iter().find(|c| c.name.starts_with("listener/")).unwrap();
    let (router, arbiter) = match listener.arbiter.as_str() {
        "data/1" => ("router/0", "arbiter/data/0"),
        _ => ("router/1", "arbiter/data/1"),
    };
    let mut relays = Relays::open(listen, 10);
    let load = Load::start(listen, 4);
    eventually("the load runs", || (load.exchanges() > 50).then_some(()));
    load.slowest();
    let began = Instant::now();
    assert!(stagedoor.hit(router, "hang:4000"));
    let before = load.exchanges();
    eventually("others are served", || (load.exchanges() > before + 100).then_some(()));
    eventually("it is replaced", || (stagedoor.component(arbiter).restarts == 1).then_some(()));
    let replaced = began.elapsed();
    assert!(replaced < Duration::from_secs(3), "after {replaced:?}");
    // One that had a session there already waits for it to wake; all others are rescued.
    relays.all_live("a hang");
    let seen = load.stop();
    assert!(seen.failures.is_empty(), "{seen:#?}");
    println!("replaced after {replaced:?}, {} exchanges", seen.exchanges);
    drop(relays);
    let live = || stagedoor.status()["sessions"].as_u64();
    eventually("every session is gone", || (live() == Some(0)).then_some(()));
}

#[test]
fn clients_in_the_accept_queue_of_a_hung_arbiter_are_served_by_its_replacement() {
    let (stagedoor, listen) = start(&["supervision.hang=500ms"]);
    let tree = stagedoor.tree();
    let listener = tree.iter().find(|c| c.name.starts_with("listener/")).unwrap();
    let began = Instant::now();
    assert!(stagedoor.hit(&listener.name, "hang:5000"));
    for _ in 0..10 {
        assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_hung_control_arbiter_holds_up_no_relay_and_no_client() {
    let (stagedoor, listen) = start(&["supervision.hang=30s"]);
    let mut relays = Relays::open(listen, 10);
    assert!(stagedoor.hit("health", "hang:2000"));
    let began = Instant::now();
    for _ in 0..50 {
        relays.all_live("a hang of the control arbiter");
        assert_eq!(exchange(listen, b"hello").0, b"hello");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    // It wakes, and answers.
    assert_eq!(stagedoor.component("health").restarts, 0);
}

#[test]
fn a_killed_data_arbiter_takes_its_own_sessions_and_no_others() {
    let (stagedoor, listen) = start(&[]);
    let mut relays = Relays::open(listen, 20);
    assert!(stagedoor.hit("arbiter/data/0", "kill"));
    eventually("it is replaced", || {
        (stagedoor.component("arbiter/data/0").restarts == 1).then_some(())
    });
    assert_eq!(relays.lose(), 10, "half of them were there");
    relays.fill_up(20);
    relays.all_live("the kill");
    let live = || stagedoor.status()["sessions"].as_u64();
    assert_eq!(live(), Some(20), "what was lost is not counted any more");
}

/// A target that answers `ROLE` as Redis would, and echoes everything else.
fn with_a_role(leads: &Arc<AtomicBool>) -> Target {
    let leads = Arc::clone(leads);
    Target::new(move |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let said: &[u8] = match (&buffer[..count], leads.load(Ordering::Acquire)) {
                (b"ROLE\r\n", true) => b"$11\r\nrole:master\r\n",
                (b"ROLE\r\n", false) => b"$10\r\nrole:slave\r\n",
                (other, _) => other,
            };
            if stream.write_all(said).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_session_to_a_lost_leader_is_reset_though_its_arbiter_hangs() {
    let roles = [true, false].map(|leads| Arc::new(AtomicBool::new(leads)));
    let targets = [with_a_role(&roles[0]), with_a_role(&roles[1])];
    let listen = free_port();
    let commands = json!([
        { "name": "send", "message": "ROLE\r\n" }, { "name": "expect", "message": "role:master" },
    ]);
    let definition = definition(listen, &[&targets[0], &targets[1]], &commands);
    let arguments = ["--set", "workers=1", "--set", "supervision.hang=60s"];
    let stagedoor = Stagedoor::run_with(&definition, &arguments);
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"before"), b"before");
    let hang = Duration::from_secs(5);
    assert!(stagedoor.hit("router/0", &format!("hang:{}", hang.as_millis())));
    let began = Instant::now();
    roles[0].store(false, Ordering::Release);
    roles[1].store(true, Ordering::Release);
    assert_eq!(read_to_end(&mut session), (Vec::new(), Ended::Reset));
    let took = began.elapsed();
    assert!(took < hang / 2, "it was reset only when the arbiter woke: {took:?}");
    assert!(session.write_all(b"after").is_err());
    // Who comes meanwhile waits, and is led to the new leader.
    assert_eq!(exchange(listen, b"new").0, b"new");
    assert!(began.elapsed() >= hang - Duration::from_millis(200), "the arbiter did hang");
    stagedoor.logged("session ended: target went down");
    let status = stagedoor.status();
    assert_eq!(status["services"][0]["leader"], targets[1].address(), "{status:#}");
}

#[test]
fn a_reload_is_whole_though_the_reloader_falls_in_the_middle_of_it() {
    let target = Target::echo();
    let ports = [free_port(), free_port()];
    let service = |port| definition(port, &[&target], &json!([]));
    let settings = ["--set", "workers=2", "--set", "supervision.intensity=1000000"];
    let stagedoor = Stagedoor::run_with(&service(ports[0]), &settings);
    let reload = || ask(&stagedoor.socket(), &json!({ "command": "reload" }));
    let mut chance = fastrand::Rng::with_seed(3);
    for round in 1..=25 {
        let (new, old) = (ports[round % 2], ports[(round + 1) % 2]);
        std::fs::write(stagedoor.file(), service(new).to_string()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(reload);
            std::thread::park_timeout(Duration::from_micros(chance.u64(0..6000)));
            stagedoor.hit("reloader", ["panic", "stop"][round % 2]);
        });
        // At once, and not after a back-off of seconds.
        stagedoor.restart("reloader");
        eventually("it is reloaded", || reload()?.get("reload").cloned());
        assert_eq!(exchange(new, b"new").0, b"new", "round {round}");
        assert!(std::net::TcpStream::connect(("127.0.0.1", old)).is_err(), "round {round}");
        let tree = stagedoor.tree();
        let listeners = tree.iter().filter(|component| component.name.starts_with("listener/"));
        assert_eq!(listeners.count(), 1, "round {round}: {tree:#?}");
    }
}
