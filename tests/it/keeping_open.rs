//! `keep_open`: the connection that a check leaves open, and what its end brings about.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::page;
use crate::harness::port::free_port;
use crate::harness::redis::Redis;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0].clone()
}

/// Waits until the last check of the second target came to this.
fn second_says(stagedoor: &Stagedoor, words: &str) {
    eventually(words, || {
        let verdict = service(stagedoor)["targets"][1]["checks"][0]["verdict"].clone();
        verdict.as_str()?.contains(words).then_some(())
    });
}

/// A replica dies and is back as a master of nothing before anybody asks by himself. Who leads?
fn leader_after_amnesia(keep_open: bool) -> (Redis, Redis, Value) {
    let master = Redis::master();
    let mut replica = Redis::replica_of(&master);
    let mut definition = page::definition(free_port(), &[master.address(), replica.address()]);
    definition["uptime_tests"]["config"] = json!({ "interval": "1h", "keep_open": keep_open });
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged(&format!("target {} leads", master.address()));
    second_says(&stagedoor, "role:slave");
    replica.kill();
    if keep_open {
        second_says(&stagedoor, "refused");
    }
    replica.start_again(&[]);
    // As the next check would, an hour later.
    let checker = format!("checker/Redis Sentinel/{}", replica.address());
    assert!(stagedoor.command(&["restart", &checker]).status.success());
    second_says(&stagedoor, "passed");
    let leader = service(&stagedoor)["leader"].clone();
    (master, replica, leader)
}

#[test]
fn a_replica_that_is_back_as_an_empty_master_is_not_taken_for_promoted() {
    let (master, _replica, leader) = leader_after_amnesia(true);
    assert_eq!(leader, master.address().to_string());
}

/// The limit that `keep_open` does away with, as the documentation has it.
#[test]
fn without_a_connection_that_is_kept_nobody_can_tell() {
    let (_master, replica, leader) = leader_after_amnesia(false);
    assert_eq!(leader, replica.address().to_string());
}

#[test]
fn a_target_that_closes_after_each_answer_is_asked_once_more_and_not_all_the_time() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let target = Target::new(move |mut stream| {
        let mut question = [0; 6];
        if stream.read_exact(&mut question).is_ok() && stream.write_all(b"+PONG\r\n").is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let stagedoor = Stagedoor::run(&json!({
        "name": "closing", "listen_port": free_port(), "protocol": "tcp",
        "proxy": { "target_url": target.address(), "check_host_against_uptime_tests": true },
        "uptime_tests": {
            "commands": [
                { "name": "send", "message": "PING\\r\\n" },
                { "name": "expect", "message": "+PONG" },
            ],
            "config": { "interval": "1h", "keep_open": true },
        },
    }));
    eventually("it is asked again", || (asked.load(Ordering::SeqCst) == 2).then_some(()));
    for _ in 0..20 {
        assert_eq!(service(&stagedoor)["targets"][0]["health"], "up");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
