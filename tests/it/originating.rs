//! TLS to targets: who is believed, what is presented, and what becomes of clients when it fails.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::client::{Ended, check_bulk, connect, echoed, exchange};
use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, Identity, server_config};
use crate::harness::port::free_port;
use crate::harness::redis;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls_target::TlsTarget;

/// A service whose targets are believed if `authority` vouches for them.
fn definition(listen: u16, targets: &[String], authority: &Authority) -> Value {
    json!({
        "name": "secure", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "enable_load_balancing": true, "target_list": targets, "balance": "first",
            "transport": { "ssl_ca": authority.file() },
        },
    })
}

fn echo(identity: &Identity) -> TlsTarget {
    TlsTarget::echo(server_config(identity, Asks::Nothing))
}

/// A client gets its bytes back.
#[track_caller]
fn is_served(listen: u16) {
    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
}

/// A client gets nothing, and the log says why.
#[track_caller]
fn is_refused(stagedoor: &Stagedoor, listen: u16, why: &str) {
    let mark = stagedoor.mark();
    assert_eq!(exchange(listen, b"hello").0, b"");
    stagedoor.logged_after(mark, why);
}

#[test]
fn bytes_reach_a_target_inside_tls_and_ends_are_kept() {
    let (authority, listen) = (Authority::new(), free_port());
    let target = echo(&authority.sign(&["127.0.0.1"]));
    let stagedoor = Stagedoor::run(&definition(listen, &[target.url()], &authority));
    is_served(listen);
    check_bulk(listen, 8 * 1024 * 1024);
    assert!(stagedoor.complaints().is_empty(), "{:?}", stagedoor.complaints());
    let shown = stagedoor.json(&["status"])["services"][0]["targets"][0].clone();
    assert_eq!(shown["name"], json!(target.url()), "{shown}");
}

#[test]
fn a_target_is_asked_for_its_name_and_never_for_an_address() {
    let (authority, listen) = (Authority::new(), [free_port(), free_port(), free_port()]);
    let target = echo(&authority.sign(&["127.0.0.1", "localhost", "redis.test"]));
    let by_name = format!("tls://localhost:{}", target.port());
    let by_address = definition(listen[0], &[target.url()], &authority);
    let mut by_host = definition(listen[1], std::slice::from_ref(&by_name), &authority);
    by_host["name"] = json!("by host");
    let mut by_choice = definition(listen[2], &[by_name], &authority);
    by_choice["name"] = json!("by choice");
    by_choice["proxy"]["transport"]["ssl_server_name"] = json!("Redis.TEST");
    by_choice["proxy"]["transport"]["ssl_alpn"] = json!(["redis", "x"]);
    let _stagedoor = Stagedoor::run_under(&[], &[&by_address, &by_host, &by_choice], &[]);
    listen.into_iter().for_each(is_served);
    let names: Vec<_> = target.seen().into_iter().map(|seen| seen.name).collect();
    assert_eq!(names, [None, Some("localhost".to_owned()), Some("redis.test".to_owned())]);
}

#[test]
fn a_target_that_cannot_prove_itself_gets_nothing_and_another_serves() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = echo(&authority.sign(&["127.0.0.1"]));
    for (identity, why) in [
        (authority.sign_expired(&["127.0.0.1"]), "its certificate expired on 2021-01-01"),
        (authority.sign(&["10.0.0.1"]), "its certificate is not for 127.0.0.1, but for 10.0.0.1"),
        (Identity::self_signed(&["127.0.0.1"]), "its certificate is self-signed (CN=127.0.0.1)"),
        (stranger.sign(&["127.0.0.1"]), "whom nobody here trusts"),
    ] {
        let (bad, listen) = (echo(&identity), free_port());
        let alone = Stagedoor::run(&definition(listen, &[bad.url()], &authority));
        is_refused(&alone, listen, why);
        drop(alone);
        let targets = [bad.url(), good.url()];
        let _both = Stagedoor::run(&definition(listen, &targets, &authority));
        is_served(listen);
        assert!(bad.seen().is_empty(), "{why}: a handshake succeeded");
    }
    let (plain, listen) = (Target::banner(b"+OK hello\r\n"), free_port());
    let url = format!("tls://{}", plain.address());
    let stagedoor = Stagedoor::run(&definition(listen, &[url], &authority));
    is_refused(&stagedoor, listen, "failed the TLS handshake: what it says is not TLS");
}

#[test]
fn the_systems_authorities_are_believed_where_none_are_named() {
    let (authority, listen) = (Authority::new(), free_port());
    let target = echo(&authority.sign(&["127.0.0.1"]));
    let mut definition = definition(listen, &[target.url()], &authority);
    definition["proxy"]["transport"] = json!({});
    let system = format!("SSL_CERT_FILE={}", authority.file().display());
    let stagedoor = Stagedoor::run_under(&["env", &system], &[&definition], &[]);
    is_served(listen);
    drop(stagedoor);
    let nobody = Authority::new();
    let system = format!("SSL_CERT_FILE={}", nobody.file().display());
    let stagedoor = Stagedoor::run_under(&["env", &system], &[&definition], &[]);
    is_refused(&stagedoor, listen, "whom nobody here trusts");
}

#[test]
fn a_pin_is_the_leafs_key_and_leaves_hosts_without_one_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (right, listen) = (authority.sign(&["127.0.0.1", "localhost"]), free_port());
    let target = echo(&right);
    let unverified = echo(&stranger.sign(&["localhost"]));
    let pinned = |url: String, pins: Value| {
        let mut definition = definition(listen, &[url], &authority);
        definition["pinned_public_keys"] = pins;
        Stagedoor::run(&definition)
    };
    let other = "0".repeat(64);
    drop((pinned(target.url(), json!({ "127.0.0.1": right.pin() })), is_served(listen)));
    let _two = pinned(target.url(), json!({ "*": format!("{other}, {}", right.pin()) }));
    is_served(listen);
    drop(_two);
    let wrong = pinned(target.url(), json!({ "127.0.0.1": other }));
    let why = format!("the SHA-256 of its key is {}", right.pin());
    is_refused(&wrong, listen, &why);
    drop(wrong);
    // A pin of one host is no licence for another.
    let elsewhere = format!("tls://localhost:{}", unverified.port());
    let stagedoor = pinned(elsewhere, json!({ "127.0.0.1": right.pin() }));
    is_refused(&stagedoor, listen, "whom nobody here trusts");
}

#[test]
fn a_pin_alone_is_enough_for_a_target_that_signs_itself() {
    let (authority, listen) = (Authority::new(), free_port());
    let own = Identity::self_signed(&["elsewhere.test"]);
    let target = echo(&own);
    let mut definition = definition(listen, &[target.url()], &authority);
    definition["pinned_public_keys"] =
        json!({ "127.0.0.1": { "keys": [own.pin()], "pin_only": true } });
    let stagedoor = Stagedoor::run(&definition);
    is_served(listen);
    drop(stagedoor);
    definition["pinned_public_keys"] = json!({ "127.0.0.1": own.pin() });
    let stagedoor = Stagedoor::run(&definition);
    is_refused(&stagedoor, listen, "its certificate is self-signed");
}

#[test]
fn a_target_that_asks_is_shown_the_certificate_that_is_meant_for_it() {
    let (authority, clients, listen) = (Authority::new(), Authority::new(), free_port());
    let server = authority.sign(&["127.0.0.1"]);
    let target = TlsTarget::echo(server_config(&server, Asks::Certificate(&clients)));
    let spare = echo(&server);
    let right = clients.sign(&["me"]).file_in(authority.folder(), "right.pem");
    let wrong = authority.sign(&["me"]).file_in(authority.folder(), "wrong.pem");
    let run = |urls: &[String], certificates: Value| {
        let mut definition = definition(listen, urls, &authority);
        definition["upstream_certificates"] = certificates;
        Stagedoor::run(&definition)
    };
    let stagedoor = run(&[target.url()], json!({ "*": wrong, "127.0.0.1": right }));
    is_served(listen);
    assert!(target.seen().iter().all(|seen| seen.certified));
    drop(stagedoor);
    // With TLS 1.3 the refusal comes when our side of the handshake is long done.
    let stagedoor = run(&[target.url()], json!({ "*": right, target.address(): wrong }));
    is_refused(&stagedoor, listen, "it does not accept our client certificate");
    drop(stagedoor);
    let stagedoor = run(&[target.url()], json!({}));
    is_refused(&stagedoor, listen, "it wants a client certificate: upstream_certificates");
    drop(stagedoor);
    let _stagedoor = run(&[target.url(), spare.url()], json!({ "*": wrong }));
    is_served(listen);
}

#[test]
fn a_reload_keeps_sessions_and_tickets_and_holds_new_sessions_to_new_rules() {
    let (authority, listen) = (Authority::new(), free_port());
    let right = authority.sign(&["127.0.0.1"]);
    let target = echo(&right);
    let mut written = definition(listen, &[target.url()], &authority);
    let stagedoor = Stagedoor::run(&written);
    let reload = |definition: &Value| {
        std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
        let output = stagedoor.command(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    };
    is_served(listen);
    let mut live = connect(listen);
    assert_eq!(echoed(&mut live, b"before"), b"before");
    written["proxy"]["retries"] = json!(1);
    reload(&written);
    is_served(listen);
    let resumed: Vec<bool> = target.seen().into_iter().map(|seen| seen.resumed).collect();
    assert_eq!(resumed, [false, true, true]);
    written["pinned_public_keys"] = json!({ "127.0.0.1": "0".repeat(64) });
    reload(&written);
    is_refused(&stagedoor, listen, "none of those that are pinned for it");
    assert_eq!(echoed(&mut live, b"after"), b"after");
}

#[test]
fn services_side_by_side_have_each_their_own_rules() {
    let (one, other) = (Authority::new(), Authority::new());
    let ports = [free_port(), free_port()];
    let target = echo(&one.sign(&["127.0.0.1"]));
    let strict = definition(ports[0], &[target.url()], &other);
    let mut right = definition(ports[1], &[target.url()], &one);
    right["name"] = json!("right");
    let stagedoor = Stagedoor::run_under(&[], &[&strict, &right], &[]);
    is_served(ports[1]);
    is_refused(&stagedoor, ports[0], "whom nobody here trusts");
    is_served(ports[1]);
    is_refused(&stagedoor, ports[0], "whom nobody here trusts");
}

/// A server of the `openssl` command, ended when dropped.
struct Openssl(Child);

impl Openssl {
    fn serve(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: `make test` does that");
        eventually("openssl listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child)
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        self.0.kill().expect("a child can be killed");
        self.0.wait().expect("a child can be awaited");
    }
}

#[test]
fn openssl_is_a_target_with_either_version_and_judges_our_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.sign(&["127.0.0.1"]).file_in(authority.folder(), "server.pem");
    let right = clients.sign(&["me"]).file_in(authority.folder(), "right.pem");
    let wrong = authority.sign(&["me"]).file_in(authority.folder(), "wrong.pem");
    let (server, ca) = (server.display().to_string(), clients.file().display().to_string());
    for version in ["-tls1_2", "-tls1_3"] {
        let (port, listen) = (free_port(), free_port());
        let judging = ["-Verify", "1", "-verify_return_error", "-CAfile", &ca];
        let arguments = [&["-cert", &server, "-key", &server, version, "-rev"], &judging[..]];
        let _openssl = Openssl::serve(port, &arguments.concat());
        let mut definition = definition(listen, &[format!("tls://127.0.0.1:{port}")], &authority);
        definition["upstream_certificates"] = json!({ "*": right });
        let stagedoor = Stagedoor::run(&definition);
        let mut client = connect(listen);
        // It sends lines back turned round.
        assert_eq!(echoed(&mut client, b"abc\n"), b"cba\n", "{version}");
        drop(stagedoor);
        definition["upstream_certificates"] = json!({ "*": wrong });
        let stagedoor = Stagedoor::run(&definition);
        is_refused(&stagedoor, listen, "it does not accept our client certificate");
    }
}

#[test]
fn redis_behind_tls_is_led_by_its_checks() {
    let (authority, listen) = (Authority::new(), free_port());
    let server = authority.sign(&["127.0.0.1"]).file_in(authority.folder(), "server.pem");
    let redis = redis::Redis::master_over_tls(&server, &authority.file());
    let mut definition = definition(listen, &[redis.tls_url()], &authority);
    definition["upstream_certificates"] = json!({ "*": server });
    definition["proxy"]["balance"] = json!("leader");
    definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
    definition["uptime_tests"] = json!({ "commands": [
        { "name": "send", "message": "INFO replication\r\n" },
        { "name": "expect", "message": "role:master" },
    ] });
    let _stagedoor = Stagedoor::run(&definition);
    let mut client = eventually("the master leads", || redis::Client::try_connect(listen));
    assert_eq!(client.call("PING"), "+PONG");
    assert!(client.call("INFO replication").contains("role:master"));
}
