//! Checks that begin TLS in the middle: SMTP, PostgreSQL, and whatever its commands ask.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, Identity, server_config};
use crate::harness::postgres::Postgres;
use crate::harness::service::judged;
use crate::harness::stagedoor::{Stagedoor, probed};
use crate::harness::target::Target;

/// A mail server that grants TLS in these words.
fn mail(config: ServerConfig, offers: &'static str, grants: &'static str) -> Target {
    let config = Arc::new(config);
    Target::new(move |stream| drop(serve(stream, &config, offers, grants)))
}

fn serve(
    mut stream: TcpStream,
    config: &Arc<ServerConfig>,
    offers: &str,
    grants: &str,
) -> std::io::Result<()> {
    stream.write_all(b"220-mail.test\r\n220 ESMTP\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    assert!(line.starts_with("EHLO "), "{line}");
    stream.write_all(offers.as_bytes())?;
    line.clear();
    lines.read_line(&mut line)?;
    if line != "STARTTLS\r\n" {
        return Ok(());
    }
    stream.write_all(grants.as_bytes())?;
    let connection = ServerConnection::new(Arc::clone(config)).expect("it is sound");
    let mut lines = BufReader::new(StreamOwned::new(connection, stream));
    line.clear();
    while lines.read_line(&mut line)? > 0 {
        lines.get_mut().write_all(b"250-mail.test\r\n250 INSIDE\r\n")?;
    }
    Ok(())
}

const OFFERS: &str = "250-mail.test\r\n250-STARTTLS\r\n250 HELP\r\n";
const GRANTS: &str = "220 go ahead\r\n";

fn definition(target: &str, commands: Value, authority: &Authority) -> Value {
    let config = json!({ "interval": "50ms", "fall": 1, "timeout": "5s" });
    judged(target, &json!({ "commands": commands, "config": config }), authority)
}

fn smtp() -> Value {
    json!([
        { "name": "starttls", "message": "smtp" },
        { "name": "send", "message": "EHLO [127.0.0.1]\r\n" },
        { "name": "expect", "message": "250 INSIDE" },
        { "name": "send", "message": "QUIT\r\n" },
    ])
}

fn plain(identity: &Identity) -> ServerConfig {
    server_config(identity, Asks::Nothing)
}

fn probe(definition: &Value) -> String {
    let output = probed(definition);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[track_caller]
fn says(definition: &Value, words: &str) {
    let said = probe(definition);
    assert!(said.contains(words), "misses {words:?} in:\n{said}");
}

#[test]
fn a_mail_server_is_asked_for_tls_and_then_verified() {
    let authority = Authority::new();
    let good = authority.sign(&["127.0.0.1"]);
    let target = mail(plain(&good), OFFERS, GRANTS);
    let address = target.address().to_string();
    let check = definition(&address, smtp(), &authority);
    let stagedoor = Stagedoor::run(&check);
    eventually("the target is up", || {
        let target = stagedoor.json(&["status"])["services"][0]["targets"][0].clone();
        (target["health"] == "up").then_some(())
    });
    let said = probe(&check);
    let line = said.lines().find(|line| line.contains("TLS 1.3, with CN=127.0.0.1")).unwrap();
    assert!(line.contains("ms    1  TLS"), "{line}");
    assert!(said.contains(&good.pin()) && said.contains("starttls \"smtp\": met"), "{said}");
    // The commands before it may do the asking.
    let by_hand = json!([
        { "name": "expect", "message": "220 ESMTP\r\n" },
        { "name": "send", "message": "EHLO x\r\n" },
        { "name": "expect", "message": "250 HELP\r\n" },
        { "name": "send", "message": "STARTTLS\r\n" },
        { "name": "expect_regex", "message": "220 [^\n]*\n" },
        { "name": "starttls" },
        { "name": "send", "message": "EHLO x\r\n" },
        { "name": "expect", "message": "250 INSIDE" },
    ]);
    says(&definition(&address, by_hand, &authority), " passed");
}

#[test]
fn a_mail_server_that_is_not_good_fails_in_words() {
    let authority = Authority::new();
    let good = || plain(&authority.sign(&["127.0.0.1"]));
    let fails = |target: &Target, words: &str| {
        let said = format!("failed: step 1 starttls \"smtp\": TLS: {words}");
        says(&definition(&target.address().to_string(), smtp(), &authority), &said);
    };
    let expired = plain(&authority.sign_expired(&["127.0.0.1"]));
    fails(&mail(expired, OFFERS, GRANTS), "its certificate expired on 2021-01-01");
    let other = plain(&authority.sign(&["10.0.0.1"]));
    fails(&mail(other, OFFERS, GRANTS), "its certificate is not for 127.0.0.1");
    fails(&mail(good(), "250 HELP\r\n", GRANTS), "it does not offer STARTTLS");
    fails(&mail(good(), OFFERS, "454 not now\r\n"), "it answers STARTTLS with 454");
    let injected = mail(good(), OFFERS, "220 go\r\n250 INSIDE\r\n");
    fails(&injected, "more came than was asked for, before TLS has begun");
}

#[test]
fn postgresql_is_asked_for_tls_and_then_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Postgres::secured(&authority.sign(&["127.0.0.1"]).pem());
    let ask = json!([{ "name": "starttls", "message": "postgres" }]);
    says(&definition(&server.address(), ask.clone(), &authority), "TLS 1.3, with CN=127.0.0.1");
    says(&definition(&server.address(), ask.clone(), &authority), " passed");
    let words = "failed: step 1 starttls \"postgres\": TLS: its certificate is signed by";
    says(&definition(&server.address(), ask.clone(), &stranger), words);
    let clear = Postgres::primary();
    let words = "TLS: it answers PostgreSQL's request for TLS with no";
    says(&definition(&clear.address(), ask, &authority), words);
}

#[test]
fn tls_does_not_begin_where_it_has_begun() {
    let authority = Authority::new();
    says(&definition("tls://127.0.0.1:1", smtp(), &authority), "over TLS from its beginning");
    let mut listed = definition("127.0.0.1:1", smtp(), &authority);
    listed["uptime_tests"]["commands"] = Value::Null;
    listed["uptime_tests"]["check_list"] =
        json!([{ "url": "tls://127.0.0.1:1", "commands": smtp() }]);
    says(&listed, "over TLS from its beginning");
}
