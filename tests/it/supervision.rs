//! Restarts on request: of whatever part, under load, and without a session lost.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::client::{connect, echoed, exchange};
use crate::harness::eventually::eventually;
use crate::harness::load::{Load, Relays};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

const RELAYS: usize = 20;

fn definition(listen: u16, targets: &[Target]) -> Value {
    let urls: Vec<String> = targets.iter().map(Target::address).collect();
    let checks: Vec<Value> = urls.iter().map(|url| json!({ "url": url, "commands": [] })).collect();
    json!({
        "name": "echo", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "enable_load_balancing": true, "check_host_against_uptime_tests": true,
        "proxy": { "target_list": urls },
        "uptime_tests": { "check_list": checks, "config": { "interval": "500ms" } },
    })
}

fn start() -> (Stagedoor, u16) {
    let (targets, listen) = ([Target::echo(), Target::echo()], free_port());
    let arguments = ["--set", "workers=2", "--set", "log.level=info,stagedoor::proxy=warn"];
    (Stagedoor::run_with(&definition(listen, &targets), &arguments), listen)
}

#[test]
fn any_component_is_restarted_on_request_under_load_and_no_session_is_lost() {
    let (stagedoor, listen) = start();
    let mut relays = Relays::open(listen, RELAYS);
    let load = Load::start(listen, 4);
    eventually("the load runs", || (load.exchanges() > 20).then_some(()));
    let components = stagedoor.tree();
    for prefix in ["router/", "listener/", "checker/", "arbiter/data/", "arbiter/control"] {
        assert!(components.iter().any(|c| c.name.starts_with(prefix)), "{components:#?}");
    }
    let restartable = |name: &&str| !["stagedoor", "arbiter/system"].contains(name);
    for name in components.iter().map(|c| c.name.as_str()).filter(restartable) {
        let before = stagedoor.component(name).restarts;
        let output = stagedoor.command(&["restart", name]);
        assert!(output.status.success(), "{output:?}");
        let after = eventually("it is running again", || {
            let after = stagedoor.component(name);
            (after.restarts > before && after.state == "running").then_some(after)
        });
        if !name.starts_with("arbiter/") {
            assert_eq!(after.last_exit.as_deref(), Some("was ended on request"), "{name}");
        }
        relays.all_live(&format!("a restart of {name}"));
    }
    let seen = load.stop();
    assert!(seen.failures.is_empty() && seen.excused == 0, "{seen:#?}");
    println!("{} exchanges meanwhile", seen.exchanges);
    assert!(!stagedoor.log().iter().any(|line| line.contains(" error ")), "nothing failed");
}

#[test]
fn an_arbiter_that_was_restarted_leaves_nothing_behind_once_its_sessions_have_ended() {
    let (stagedoor, listen) = start();
    let held = |stagedoor: &Stagedoor| (stagedoor.threads(), stagedoor.descriptors());
    // Answered: so the control socket is served already, and counted.
    stagedoor.tree();
    let before = held(&stagedoor);
    let mut relays = Relays::open(listen, RELAYS);
    for round in 1..=3 {
        for arbiter in ["arbiter/data/0", "arbiter/data/1", "arbiter/control"] {
            stagedoor.restart(arbiter);
            eventually("it is replaced", || {
                (stagedoor.component(arbiter).restarts >= round).then_some(())
            });
        }
    }
    relays.all_live("nine restarts of arbiters");
    assert!(stagedoor.threads() > before.0, "the old ones carry relays");
    drop(relays);
    eventually("they have ended", || {
        let (threads, descriptors) = held(&stagedoor);
        (threads <= before.0 && descriptors <= before.1).then_some(())
    });
    assert_eq!(exchange(listen, b"still").0, b"still");
}

#[test]
fn a_restart_of_what_does_not_exist_says_so_and_changes_nothing() {
    let (stagedoor, listen) = start();
    let before = stagedoor.tree();
    for name in ["router/9", "arbiter/data/9", "arbiter/system", "stagedoor", "", "../x"] {
        let output = stagedoor.command(&["restart", name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("no component is called `{name}`")), "{said}");
        assert!(said.contains("stagedoor tree"), "{said}");
    }
    assert_eq!(stagedoor.tree(), before);
    assert_eq!(exchange(listen, b"still").0, b"still");
}

#[test]
fn restarts_forget_nothing_that_is_known_of_targets() {
    let (stagedoor, _listen) = start();
    let health = || {
        let status = stagedoor.status();
        let targets = status["services"][0]["targets"].as_array().cloned().unwrap_or_default();
        targets.iter().map(|target| target["health"].clone()).collect::<Vec<_>>()
    };
    eventually("both are up", || (health() == ["up", "up"]).then_some(()));
    let mark = stagedoor.mark();
    for name in ["health", "checkers", "arbiter/control"] {
        let before = stagedoor.component(name).restarts;
        stagedoor.restart(name);
        eventually("it runs again", || {
            assert_eq!(health(), ["up", "up"], "while {name} restarts");
            (stagedoor.component(name).restarts > before).then_some(())
        });
    }
    let log = stagedoor.log().split_off(mark);
    assert!(!log.iter().any(|line| line.contains("unknown")), "{log:#?}");
}

#[test]
fn a_client_that_waits_for_a_place_is_not_lost_with_its_listener() {
    let (targets, listen) = ([Target::echo(), Target::echo()], free_port());
    let settings = ["--set", "workers=1", "--set", "limits.max_connections=1"];
    let stagedoor = Stagedoor::run_with(&definition(listen, &targets), &settings);
    let mut first = connect(listen);
    assert_eq!(echoed(&mut first, b"first"), b"first");
    let mut second = connect(listen);
    second.write_all(b"second").unwrap();
    let listener = stagedoor.tree().into_iter().find(|c| c.name.starts_with("listener/")).unwrap();
    for restarts in 1..=3 {
        stagedoor.restart(&listener.name);
        eventually("it runs again", || {
            (stagedoor.component(&listener.name).restarts == restarts).then_some(())
        });
    }
    drop(first);
    let mut heard = [0; 6];
    second.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"second");
}
