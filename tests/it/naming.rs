//! Targets given by name.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::client::{connect, exchange, read_to_end};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

#[test]
fn a_name_works_from_the_first_connection_and_is_checked_where_it_leads() {
    let (target, listen) = (Target::echo(), free_port());
    let name = format!("LocalHost.:{}", target.port());
    let stagedoor = Stagedoor::run(&json!({
        "name": "named", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": format!("tcp://{name}"), "check_host_against_uptime_tests": true },
        "uptime_tests": { "commands": [] },
    }));
    assert_eq!(exchange(listen, b"by name").0, b"by name");
    let status = stagedoor.json(&["status"]);
    let shown = &status["services"][0]["targets"][0];
    assert_eq!(shown["address"], format!("localhost:{}", target.port()));
    assert_eq!(shown["health"], "up");
}

#[test]
fn a_name_that_nobody_knows_is_our_own_trouble_and_others_serve_on() {
    let (target, listen) = (Target::numbered(1), free_port());
    let definition = |checked: bool| {
        json!({
            "name": "named", "listen_port": listen, "listen_address": "127.0.0.1",
            "proxy": {
                "enable_load_balancing": true, "check_host_against_uptime_tests": checked,
                "balance": "first", "target_list": ["nobody.invalid:1", target.address()],
            },
            "uptime_tests": { "commands": [], "config": { "interval": "50ms" } },
        })
    };
    let stagedoor = Stagedoor::run(&definition(true));
    for _ in 0..5 {
        assert_eq!(exchange(listen, b"").0, b"1");
    }
    let line = stagedoor.logged("target nobody.invalid:1 could not be checked");
    assert!(line.contains("stays unknown") && line.contains("`nobody.invalid`"), "{line}");
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["targets"][0]["health"], "unknown");
    drop(stagedoor);
    let unchecked = Stagedoor::run(&definition(false));
    for _ in 0..5 {
        assert_eq!(exchange(listen, b"").0, b"1", "a retry goes to the next");
    }
    drop(unchecked);
}

#[test]
fn a_refused_reload_leaves_the_names_in_force_alone() {
    let (target, taken, listen) = (Target::numbered(1), Target::numbered(2), free_port());
    let definition = |port: u16, target: &str| {
        json!({
            "name": "named", "listen_port": port, "listen_address": "127.0.0.1",
            "proxy": { "target_url": target },
        })
    };
    let in_force = definition(listen, &format!("localhost:{}", target.port()));
    let stagedoor = Stagedoor::run(&in_force);
    assert_eq!(exchange(listen, b"").0, b"1");
    let refused = definition(taken.port(), "nobody.invalid:1").to_string();
    std::fs::write(stagedoor.file(), refused).unwrap();
    assert_eq!(stagedoor.command(&["reload"]).status.code(), Some(1));
    assert_eq!(exchange(listen, b"").0, b"1");
}

#[test]
fn with_no_other_target_the_client_is_refused_and_the_log_says_why() {
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "named", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": "nobody.invalid:1" },
    }));
    assert_eq!(read_to_end(&mut connect(listen)).0, b"");
    let line = stagedoor.logged("session ended");
    assert!(line.contains("`nobody.invalid` cannot be looked up"), "{line}");
}

#[test]
fn a_name_may_stand_for_an_address_of_either_family() {
    // Of `localhost` one address is taken; whichever it is, somebody listens there.
    let Ok(v6) = TcpListener::bind("[::1]:0") else { return };
    let port = v6.local_addr().unwrap().port();
    let Ok(v4) = TcpListener::bind(("127.0.0.1", port)) else { return };
    for listener in [v6, v4] {
        std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(drop));
    }
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "named", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": { "target_url": format!("localhost:{port}") },
    }));
    assert_eq!(read_to_end(&mut connect(listen)).0, b"");
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["failed_dials"], 0);
}
