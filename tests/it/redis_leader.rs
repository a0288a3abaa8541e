//! The main job: the page's Redis definition, on real Redis servers, with the role swapped.

use serde_json::Value;

use crate::harness::eventually::eventually;
use crate::harness::page;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::stagedoor::Stagedoor;

fn definition(listen: u16, targets: &[&Redis]) -> Value {
    page::definition(listen, &targets.iter().map(|redis| redis.address()).collect::<Vec<_>>())
}

fn role(client: &mut Client) -> Option<String> {
    let info = client.try_call("INFO replication")?;
    info.lines().find_map(|line| line.strip_prefix("role:").map(str::to_owned))
}

fn port_reached(listen: u16) -> Option<u16> {
    let mut client = Client::try_connect(listen)?;
    let reply = client.try_call("CONFIG GET port")?;
    assert_eq!(reply, "*2");
    assert_eq!(client.reply()?, "port");
    client.reply()?.parse().ok()
}

#[test]
fn every_connection_from_the_first_on_reaches_the_master() {
    let master = Redis::master();
    let replica = Redis::replica_of(&master);
    let listen = free_port();
    // The master stands last, so that neither order nor turns could find it by chance.
    let stagedoor = Stagedoor::run(&definition(listen, &[&replica, &master]));
    for _ in 0..40 {
        assert_eq!(port_reached(listen), Some(master.port()));
    }
    let mut pipelining = Client::connect(listen);
    for number in 0..500 {
        pipelining.send(&format!("SET key{number} {number}")).unwrap();
    }
    for _ in 0..500 {
        assert_eq!(pipelining.reply().as_deref(), Some("+OK"));
    }
    assert!(
        stagedoor.log().iter().any(|line| line.contains("because every check expects role:master")),
        "says what it inferred"
    );
}

#[test]
fn after_a_swap_of_roles_new_connections_reach_the_new_master_and_old_sessions_are_closed() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let stagedoor = Stagedoor::run(&definition(listen, &[&old, &new]));
    let mut session = Client::connect(listen);
    assert_eq!(role(&mut session).as_deref(), Some("master"));
    let mark = stagedoor.mark();
    new.promote();
    old.demote_under(&new);
    eventually("a new connection reaches the new master", || {
        (port_reached(listen)? == new.port()).then_some(())
    });
    assert!(session.is_closed(), "the session on the demoted master is closed");
    for _ in 0..20 {
        assert_eq!(port_reached(listen), Some(new.port()));
    }
    // The reason is said: which step, and what came back instead.
    let line = stagedoor.logged_after(mark, "role:slave");
    assert!(line.contains("role:master"), "{line}");
}

#[test]
fn while_both_claim_to_be_master_only_one_leads() {
    let (first, listen) = (Redis::master(), free_port());
    let second = Redis::replica_of(&first);
    let stagedoor = Stagedoor::run(&definition(listen, &[&first, &second]));
    assert_eq!(port_reached(listen), Some(first.port()));
    // Promoted while the incumbent still claims the role: it takes over, and alone.
    second.promote();
    stagedoor.logged(&format!("target 127.0.0.1:{} leads", second.port()));
    for _ in 0..40 {
        assert_eq!(port_reached(listen), Some(second.port()));
    }
}

#[test]
fn a_master_that_only_hangs_is_replaced_and_does_not_lead_again_when_it_wakes() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let stagedoor = Stagedoor::run(&definition(listen, &[&old, &new]));
    assert_eq!(port_reached(listen), Some(old.port()));
    old.signal(rustix::process::Signal::STOP);
    stagedoor.logged("nobody leads");
    new.promote();
    stagedoor.logged(&format!("target 127.0.0.1:{} leads", new.port()));
    old.signal(rustix::process::Signal::CONT);
    // It wakes and still says `role:master`: it waits.
    stagedoor.logged(&format!("target 127.0.0.1:{} is up", old.port()));
    for _ in 0..20 {
        assert_eq!(port_reached(listen), Some(new.port()));
    }
}

#[test]
fn a_restart_refuses_nobody_while_nothing_is_known_yet() {
    let (master, listen) = (Redis::master(), free_port());
    let replica = Redis::replica_of(&master);
    for _ in 0..5 {
        let stagedoor = Stagedoor::run(&definition(listen, &[&replica, &master]));
        assert_eq!(port_reached(listen), Some(master.port()));
        drop(stagedoor);
    }
}

#[test]
fn the_tools_of_redis_work_through_it() {
    let (master, listen) = (Redis::master(), free_port());
    let replica = Redis::replica_of(&master);
    let _stagedoor = Stagedoor::run(&definition(listen, &[&replica, &master]));
    let run = |program: &str, arguments: &[&str]| {
        let port = listen.to_string();
        let output = std::process::Command::new(program)
            .args(["-p", &port])
            .args(arguments)
            .output()
            .expect("it is installed: `make test` does that");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program}: {said}{output:?}");
        said
    };
    assert_eq!(run("redis-cli", &["SET", "who", "me"]).trim(), "OK");
    assert_eq!(master.call("GET who"), "me");
    // A write that met the replica would be an error, and end the benchmark.
    let said =
        run("redis-benchmark", &["-n", "2000", "-c", "20", "-P", "16", "-q", "-t", "set,get"]);
    assert!(said.contains("SET") && said.contains("GET") && !said.contains("ERR"), "{said}");
    assert!(!said.contains("READONLY"), "{said}");
}
