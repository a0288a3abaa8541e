//! A real PostgreSQL behind the proxy: its tools, its replication, its crashes.

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::postgres::{Postgres, client, done, sql};
use crate::harness::stagedoor::Stagedoor;

/// A service whose targets only have to take a connection.
fn definition(listen: u16, targets: &[&Postgres]) -> Value {
    let addresses: Vec<_> = targets.iter().map(|server| server.address()).collect();
    let checks: Vec<_> = addresses.iter().map(|address| json!({ "url": address })).collect();
    json!({
        "name": "PostgreSQL",
        "listen_port": listen,
        "proxy": {
            "target_list": addresses,
            "enable_load_balancing": true,
            "check_host_against_uptime_tests": true,
            "balance": "first",
        },
        "uptime_tests": { "check_list": checks },
    })
}

#[test]
fn the_tools_of_postgresql_work_through_it() {
    let (server, listen) = (Postgres::primary(), free_port());
    let _stagedoor = Stagedoor::run(&definition(listen, &[&server]));
    done(client("pgbench", listen).args(["--initialize", "--quiet", "--scale=1"]));
    let ran = done(client("pgbench", listen).args(["-c", "4", "-t", "25", "-M", "prepared"]));
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(said.contains("100/100"), "{said}");
    assert_eq!(server.sql("SELECT count(*) FROM pgbench_history"), "100");
    let dump = done(&mut client("pg_dump", listen)).stdout;
    let rows = String::from_utf8(dump).unwrap().lines().filter(|line| line.contains('\t')).count();
    assert!(rows > 100_000, "{rows} rows of the copy");
}

#[test]
fn a_standby_streams_through_it() {
    let (primary, listen) = (Postgres::primary(), free_port());
    let _stagedoor = Stagedoor::run(&definition(listen, &[&primary]));
    let standby = Postgres::standby_by(listen);
    primary.sql("CREATE TABLE t AS SELECT 7 AS n");
    eventually("the row arrives", || standby.try_sql("SELECT n FROM t").filter(|n| n == "7"));
    standby.promote();
    assert_eq!(standby.sql("INSERT INTO t VALUES (8); SELECT sum(n) FROM t"), "15");
}

#[test]
fn clients_go_to_another_server_when_one_is_killed_and_come_back_when_it_is_well() {
    let (mut first, listen) = (Postgres::primary(), free_port());
    let second = Postgres::standby_of(&first);
    let stagedoor = Stagedoor::run(&definition(listen, &[&first, &second]));
    let port = || sql(listen, "SHOW port").ok();
    stagedoor.logged(&format!("target {} is up", first.address()));
    assert_eq!(port(), Some(first.port().to_string()));
    first.kill();
    eventually("the second serves", || port().filter(|it| *it == second.port().to_string()));
    first.start();
    eventually("the first serves again", || port().filter(|it| *it == first.port().to_string()));
    first.stop();
    eventually("the second serves", || port().filter(|it| *it == second.port().to_string()));
    second.signal(rustix::process::Signal::STOP);
    second.signal(rustix::process::Signal::CONT);
    assert_eq!(port(), Some(second.port().to_string()));
}
