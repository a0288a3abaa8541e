//! Targets that are asked for TLS as PostgreSQL is: for clients whose TLS is passed on, and for
//! `starttls = "postgres"`, by sessions and by checks.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::client::connect;
use crate::harness::eventually::eventually;
use crate::harness::identity;
use crate::harness::port::free_port;
use crate::harness::postgres::{Postgres, client, done};
use crate::harness::stagedoor::{Stagedoor, stagedoor};
use crate::harness::target::Target;
use crate::harness::tls::Trust;
use crate::harness::tls_target::TlsTarget;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const IS_SECURE: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn secured(issued: &Issued) -> Postgres {
    Postgres::secured(&format!("{}{}", issued.certificate, issued.key))
}

/// A target that gives this answer to whatever it is asked, and notes nothing.
fn answering(answer: &'static [u8]) -> Target {
    Target::new(move |mut stream| {
        if stream.read_exact(&mut [0; 8]).is_ok() && stream.write_all(answer).is_ok() {
            // Until it is left.
            drop(stream.read(&mut [0]));
        }
    })
}

#[test]
fn a_target_that_declines_is_a_failed_dial_and_another_one_serves() {
    let authority = Authority::new("ca");
    let good = secured(&authority.issue(&["a.test"]));
    for (answer, words) in [
        (&b"N"[..], "it answers PostgreSQL's request for TLS with no"),
        (b"ESFATAL\0\0", "it answers PostgreSQL's request for TLS with an error"),
        (b"S\0", "it says more than yes to PostgreSQL's request for TLS"),
        (b"-ERR\r\n", "is not PostgreSQL"),
    ] {
        let (bad, listen) = (answering(answer), free_port());
        let definition = json!({
            "name": "through", "listen_port": listen, "listen_address": "127.0.0.1",
            "protocol": "tls_passthrough",
            "proxy": {
                "target_list": [bad.address().to_string(), good.address()],
                "enable_load_balancing": true, "balance": "first",
            },
        });
        let stagedoor = Stagedoor::run(&definition);
        let mut stream = connect(listen);
        stream.write_all(&SSL_REQUEST).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        Trust::of(&authority).over(stream, "a.test").unwrap();
        assert_eq!(bad.accepted(), 1, "{words}");
        let counts = stagedoor.json(&["status"])["services"][0].clone();
        assert_eq!(counts["failed_dials"], 1, "{counts}");
        drop(stagedoor);
        let mut alone = definition.clone();
        alone["proxy"]["target_list"] = json!([bad.address().to_string()]);
        let stagedoor = Stagedoor::run(&alone);
        let mut stream = connect(listen);
        stream.write_all(&SSL_REQUEST).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        Trust::of(&authority).over(stream, "a.test").unwrap_err();
        stagedoor.logged(words);
    }
}

/// A service in the clear, before targets that are asked for TLS.
fn asking(listen: u16, targets: &[&Postgres], authority: &Authority) -> Value {
    let targets: Vec<String> =
        targets.iter().map(|target| format!("tls://{}", target.address())).collect();
    json!({
        "name": "asking", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "target_list": targets, "enable_load_balancing": true,
            "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": authority.path(), "starttls": "postgres" },
        },
        "uptime_tests": {
            "check": "postgres-primary", "with": { "user": "trusted" },
            "config": { "interval": "50ms", "rise": 1, "fall": 1, "fall_refused": 1, "timeout": "5s" },
        },
    })
}

fn becomes(stagedoor: &Stagedoor, health: &str) -> String {
    eventually(&format!("the target is {health}"), || {
        let target = stagedoor.json(&["status"])["services"][0]["targets"][0].clone();
        (target["health"] == health).then(|| target.to_string())
    })
}

#[test]
fn sessions_and_presets_ask_targets_for_tls_and_then_verify_them() {
    let (authority, listen) = (Authority::new("ca"), free_port());
    let server = secured(&authority.issue(&["127.0.0.1"]));
    let definition = asking(listen, &[&server], &authority);
    let stagedoor = Stagedoor::run(&definition);
    becomes(&stagedoor, "up");
    // Nobody is asked for TLS inside of TLS.
    let said = done(client("psql", listen).env("PGSSLMODE", "disable").args(["-Atc", IS_SECURE]));
    assert_eq!(said.stdout, b"t\n");
    let secure = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE ssl AND usename = 'trusted'";
    eventually("a check over TLS", || server.try_sql(secure).filter(|count| count != "0"));
    drop(stagedoor);

    // One without it says no, to both.
    let plain = Postgres::primary();
    let stagedoor = Stagedoor::run(&asking(listen, &[&plain], &authority));
    let shown = becomes(&stagedoor, "down");
    assert!(shown.contains("TLS: it answers PostgreSQL's request for TLS with no"), "{shown}");
    drop(stagedoor);

    let mut distrusting = definition;
    let other = Authority::new("other");
    distrusting["proxy"]["transport"]["ssl_ca"] = json!(other.path());
    let path = authority.folder().join("distrusting.json");
    std::fs::write(&path, distrusting.to_string()).unwrap();
    let output = stagedoor_probe(&path);
    assert!(
        output.contains("failed: TLS: its certificate is signed by CN=ca, whom nobody"),
        "{output}"
    );
}

fn stagedoor_probe(definition: &std::path::Path) -> String {
    let arguments = ["probe", definition.to_str().unwrap()];
    let output = stagedoor(&arguments, definition.parent().unwrap());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn checks_that_are_no_postgresql_are_not_asked_for_it() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let trusted = identity::Authority::new();
    let own = trusted.sign(&["127.0.0.1"]);
    let server = Postgres::secured(&own.pem());
    let config = identity::server_config(&own, identity::Asks::Nothing);
    let agent = TlsTarget::answering(config, OK);
    let target = format!("tls://{}", server.address());
    let definition = json!({
        "name": "beside", "listen_port": free_port(), "listen_address": "127.0.0.1",
        "proxy": {
            "target_url": target, "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": trusted.file(), "starttls": "postgres" },
        },
        "uptime_tests": { "check_list": [
            { "url": target, "timeout": "5s" },
            { "url": format!("https://{}/", agent.address()), "target": target, "timeout": "5s" },
            { "url": agent.url(), "target": target, "timeout": "5s", "commands": [
                { "name": "send", "message": "GET / HTTP/1.0\r\n\r\n" },
                { "name": "expect", "message": "200 OK" },
            ] },
        ] },
    });
    becomes(&Stagedoor::run(&definition), "up");
}
