//! The presets for PostgreSQL on real servers: every way to log in, both roles, promotion.

use std::process::Stdio;

use serde_json::json;

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::postgres::{PASSWORD, Postgres, client, sql};
use crate::harness::stagedoor::{Stagedoor, stagedoor};

const KNOWN: &str = "password=${file:password}";

/// Probes a preset, or the check file `own.toml` with this text.
fn probe(check: &str, port: u16, with: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
    let name = if check.contains('\n') { "own.toml" } else { check };
    std::fs::write(folder.path().join("own.toml"), check).unwrap();
    let target = format!("127.0.0.1:{port}");
    let mut arguments = vec!["probe", name, "--target", &target];
    arguments.extend(with.iter().flat_map(|parameter| ["--with", parameter]));
    let output = stagedoor(&arguments, folder.path());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!tells_the_password(&said), "{said}");
    (output.status.code(), said)
}

fn tells_the_password(text: &str) -> bool {
    text.contains(PASSWORD) || text.contains("pass \\\"word")
}

#[track_caller]
fn check(preset: &str, server: &Postgres, with: &[&str], expected: &str) {
    let (code, said) = probe(preset, server.port(), with);
    let verdict = |line: &&str| line.contains("passed") || line.contains("failed:");
    let verdict = said.lines().find(verdict).unwrap_or_else(|| panic!("no verdict: {said}"));
    assert!(verdict.contains(expected), "misses {expected:?} in:\n{said}");
    assert_eq!(code, Some(i32::from(expected != "passed")), "{said}");
}

#[test]
fn every_way_to_log_in_and_every_way_to_be_refused() {
    let server = Postgres::primary();
    check("postgres", &server, &[], "passed");
    for right in [&["user=trusted"][..], &["user=scram", KNOWN], &["user=md5", KNOWN]] {
        check("postgres", &server, right, "passed");
        check("postgres-primary", &server, right, "passed");
    }
    for user in ["scram", "md5"] {
        let (with, wrong) = (format!("user={user}"), "FATAL 28P01 \"password authentication");
        check("postgres-primary", &server, &[&with, "password=wrong"], wrong);
        check("postgres", &server, &[&with], "the server wants a password, and none is given");
    }
    check("postgres", &server, &["user=clear", KNOWN], "the server wants the password in clear");
    check("postgres", &server, &["user=refused"], "FATAL 28000 \"pg_hba.conf rejects");
    check("postgres", &server, &["user=nobody"], "FATAL 28000 \"no pg_hba.conf entry");
    check("postgres", &server, &["user=trusted", "database=none"], "FATAL 3D000 \"database");
    server.sql("ALTER ROLE scram CONNECTION LIMIT 0");
    check("postgres-primary", &server, &["user=scram", KNOWN], "FATAL 53300 \"too many conn");
    let other = crate::harness::redis::Redis::master();
    let (code, said) = probe("postgres", other.port(), &[]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn a_primary_and_its_standby_are_told_apart_and_a_promotion_is_seen() {
    let primary = Postgres::primary();
    let standby = Postgres::standby_of(&primary);
    let login = ["user=scram", KNOWN];
    check("postgres", &standby, &login, "passed");
    let standing_by = "step 3 expect \"f\": the reply was complete without it (heard \"t\")";
    check("postgres-primary", &standby, &login, standing_by);
    // A primary on which nobody writes by default is one all the same.
    primary.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    check("postgres-primary", &primary, &login, "passed");
    standby.promote();
    check("postgres-primary", &standby, &login, "passed");
}

#[test]
fn each_step_is_shown_and_the_server_has_nothing_to_complain_of() {
    let server = Postgres::primary();
    // Whoever waited for it to answer may have come too early, and been told.
    let before = server.log().len();
    let (code, said) = probe("postgres-primary", server.port(), &["user=scram", KNOWN]);
    assert_eq!(code, Some(0), "{said}");
    let mut rest = said.as_str();
    for expected in [
        "connected",
        "1  send StartupMessage \"scram\" \"postgres\"",
        "heard AuthenticationSASL \"SCRAM-SHA-256\"",
        "1  send SASLInitialResponse SCRAM-SHA-256",
        "heard AuthenticationSASLContinue",
        "1  send SASLResponse (the proof)",
        "AuthenticationSASLFinal, AuthenticationOk, ReadyForQuery",
        "1  log in as \"scram\": met",
        "2  send Query \"SELECT pg_is_in_recovery()\"",
        "heard DataRow \"f\", CommandComplete, ReadyForQuery",
        "3  expect \"f\": met",
        "  passed",
        "send Terminate",
    ] {
        let at = rest.find(expected).unwrap_or_else(|| panic!("misses {expected:?} in:\n{said}"));
        rest = &rest[at + expected.len()..];
    }
    for with in [&["user=trusted"][..], &["user=md5", KNOWN]] {
        check("postgres", &server, with, "passed");
    }
    let log = server.log();
    assert_eq!(log[before..].trim(), "", "a check leaves no line in the server's log");
}

#[test]
fn a_question_of_ones_own() {
    let server = Postgres::primary();
    let own = |query: &str, expect: &str| {
        format!("[postgres]\nuser = \"trusted\"\nquery = \"{query}\"\n{expect}\n")
    };
    let lag = "SELECT NOT pg_is_in_recovery(), current_database(), NULL, '${target.port}'";
    let row = format!("expect = \"t|trusted||{}\"", server.port());
    let database = |text: String| format!("{text}database = \"${{with.database:-postgres}}\"\n");
    let row = row.replace("trusted", "postgres");
    check(&database(own(lag, &row)), &server, &[], "passed");
    check(&database(own("SELECT 1 WHERE false", "expect = \"1\"")), &server, &[], "(heard no row)");
    check(&database(own("SELECT 1", "")), &server, &[], "passed");
    let wrong = "step 2 query \"SELEC 1\": the reply is an error (heard ERROR 42601 \"syntax error";
    check(&database(own("SELEC 1", "")), &server, &[], wrong);
    // With no database named it is the one of the role's name.
    check(&own("SELECT 1", ""), &server, &[], "FATAL 3D000");
}

#[test]
fn a_server_that_shuts_down_takes_no_connections() {
    let server = Postgres::primary();
    let mut session = client("psql", server.port())
        .args(["--command", "SELECT pg_sleep(600)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
    eventually("a session is busy", || (server.sql(sleeping) == "1").then_some(()));
    server.stop_when_idle();
    let port = server.port();
    eventually("it shuts down", || probe("postgres", port, &[]).1.contains("57P03").then_some(()));
    check("postgres", &server, &[], "start up: the reply is an error (heard FATAL 57P03");
    check("postgres-primary", &server, &["user=scram", KNOWN], "FATAL 57P03");
    session.kill().unwrap();
    session.wait().unwrap();
}

#[test]
fn the_leader_is_the_primary_also_after_a_promotion_and_the_return_of_the_old_one() {
    let mut old = Postgres::primary();
    let new = Postgres::standby_of(&old);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
    let password = format!("${{file:{}}}", folder.path().join("password").display());
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "PostgreSQL", "listen_port": listen,
        "proxy": {
            "target_list": [new.address(), old.address()], "enable_load_balancing": true,
            "check_host_against_uptime_tests": true, "balance": "leader", "hold": "60s",
        },
        "uptime_tests": {
            "check": "postgres-primary", "with": { "user": "scram", "password": password },
        },
    }));
    let port = || sql(listen, "SHOW port").unwrap_or_default();
    assert_eq!(port(), old.port().to_string());
    sql(listen, "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    let replayed = || new.try_sql("SELECT n FROM t").filter(|n| n == "1");
    eventually("the row arrives", replayed);
    let mark = stagedoor.mark();
    old.kill();
    stagedoor.logged_after(mark, "nobody leads");
    new.promote();
    assert_eq!(port(), new.port().to_string(), "who comes meanwhile is held");
    stagedoor.logged_after(mark, &format!("target {} leads", new.address()));
    assert_eq!(sql(listen, "INSERT INTO t VALUES (2); SELECT sum(n) FROM t").unwrap(), "3");
    // It comes back as it was, and claims to be the primary too.
    old.start();
    stagedoor.logged_after(mark, &format!("target {} is up", old.address()));
    for _ in 0..10 {
        assert_eq!(port(), new.port().to_string());
    }
    let status = stagedoor.json(&["status"]).to_string();
    assert!(!tells_the_password(&status) && !tells_the_password(&stagedoor.log().join("\n")));
}
