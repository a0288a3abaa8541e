//! The report of a failover: in the log and in `status`, on real Redis servers.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::stagedoor::Stagedoor;

fn definition(listen: u16, targets: &[&Redis]) -> Value {
    let url = |redis: &&Redis| format!("127.0.0.1:{}", redis.port());
    json!({
        "name": "reported", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "target_list": targets.iter().map(url).collect::<Vec<_>>(), "hold": "30s",
        },
        "uptime_tests": { "commands": [
            { "name": "send", "message": "INFO replication\r\n" },
            { "name": "expect", "message": "role:master" },
        ] },
    })
}

fn address(redis: &Redis) -> Value {
    json!(format!("127.0.0.1:{}", redis.port()))
}

fn failovers(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0]["failovers"].clone()
}

#[test]
fn a_master_that_was_killed_is_reported_from_its_last_good_answer_to_the_first_byte_to_the_new_one()
{
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let stagedoor = Stagedoor::run(&definition(listen, &[&old, &new]));
    let mut session = Client::connect(listen);
    assert_eq!(session.call("SET who old"), "+OK");
    assert_eq!(failovers(&stagedoor), json!([]));
    old.signal(Signal::KILL);
    stagedoor.logged("nobody leads");
    let under_way = &failovers(&stagedoor)[0];
    assert_eq!((&under_way["from"], &under_way["to"]), (&address(&old), &Value::Null));
    // Comes while nobody leads, and waits.
    let waiting = std::thread::spawn(move || Client::connect(listen).call("SET who new"));
    eventually("a client is held", || {
        let held = stagedoor.json(&["status"])["services"][0]["held"].as_u64()?;
        (held > 0).then_some(())
    });
    new.promote();
    assert_eq!(waiting.join().unwrap(), "+OK");
    let line = stagedoor.logged("failover: from");
    let report = &failovers(&stagedoor)[0];
    assert_eq!((&report["from"], &report["to"]), (&address(&old), &address(&new)), "{report}");
    assert!(report["verdict"].as_str().unwrap().contains("refused"), "{report}");
    assert_eq!((&report["held"], &report["refused"]), (&json!(1), &json!(0)), "{report}");
    let time = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert!(time("last_good_ms") >= time("first_bad_ms"), "{report}");
    assert!(time("first_byte_ms") >= time("leaderless_ms"), "{report}");
    assert!(line.contains(report["summary"].as_str().unwrap()), "{line}: {report}");
    let shown = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(shown.contains("last failover ") && shown.contains("first byte"), "{shown}");
}

#[test]
fn sessions_on_a_master_that_still_answers_are_counted_as_cut_when_another_is_promoted() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let stagedoor = Stagedoor::run(&definition(listen, &[&old, &new]));
    let mut sessions: Vec<Client> = (0..5).map(|_| Client::connect(listen)).collect();
    for session in &mut sessions {
        assert_eq!(session.call("PING"), "+PONG");
    }
    new.promote();
    stagedoor.logged(&format!("target 127.0.0.1:{} leads", new.port()));
    assert!(sessions.iter_mut().all(Client::is_closed));
    assert_eq!(Client::connect(listen).call("PING"), "+PONG");
    stagedoor.logged("failover: from");
    let report = &failovers(&stagedoor)[0];
    assert_eq!((&report["cut"], &report["first_bad_ms"]), (&json!(5), &Value::Null), "{report}");
    assert!(report["verdict"].as_str().unwrap().contains("promoted"), "{report}");
}

#[test]
fn with_no_client_the_report_is_closed_all_the_same() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let stagedoor = Stagedoor::run(&definition(listen, &[&old, &new]));
    new.promote();
    let line = stagedoor.logged("failover: from");
    assert!(line.contains("no client has come since"), "{line}");
}
