//! Directories of HTTPS: who is believed, what is shown to them, and what stays when they are not.

use serde_json::{Value, json};

use crate::definitions::refused;
use crate::harness::balancer::Balancer;
use crate::harness::certificates::rename_over;
use crate::harness::client::exchange;
use crate::harness::directory::SecureDirectory;
use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, Identity, server_config};
use crate::harness::port::free_port;
use crate::harness::stagedoor::{Stagedoor, stagedoor};
use crate::harness::target::Target;

/// A service that finds its targets at this URL, by these rules of TLS.
fn definition(listen: u16, url: &str, transport: Value) -> Value {
    json!({
        "name": "redis", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "on_removed": "close",
            "service_discovery": {
                "use_discovery_service": true, "query_endpoint": url, "endpoint_returns_list": true,
                "use_target_list": true, "cache_timeout": "1s", "transport": transport,
            },
        },
    })
}

fn served(listen: u16) -> Vec<u8> {
    exchange(listen, b"").0
}

fn found(stagedoor: &Stagedoor) -> Value {
    stagedoor.status()["services"][0]["discovery"].clone()
}

/// A directory with this certificate, that lists a target which says `1`.
fn directory(identity: &Identity) -> (SecureDirectory, Target) {
    let target = Target::numbered(1);
    let config = server_config(identity, Asks::Nothing);
    (SecureDirectory::new(config, &[target.address()]), target)
}

/// By these rules the directory is believed, and its target serves.
#[track_caller]
fn is_believed(directory: &SecureDirectory, host: &str, transport: Value) {
    let listen = free_port();
    let stagedoor = Stagedoor::run(&definition(listen, &directory.url(host), transport));
    assert_eq!(served(listen), b"1");
    assert_eq!(found(&stagedoor)["listed"], 1);
}

/// By these rules it is not, and what is said of it is this.
#[track_caller]
fn is_not_believed(directory: &SecureDirectory, host: &str, transport: Value, why: &str) {
    let (listen, before) = (free_port(), directory.seen().len());
    let stagedoor = Stagedoor::run(&definition(listen, &directory.url(host), transport));
    let said = stagedoor.logged(why);
    assert!(said.contains("there has been no list yet"), "{said}");
    assert_eq!(served(listen), b"", "nobody is served by it");
    let found = found(&stagedoor);
    assert!(found["fault"].as_str().unwrap().contains(why), "{found}");
    assert_eq!((&found["listed"], directory.seen().len()), (&Value::Null, before));
}

#[test]
fn nginx_of_a_private_authority_is_asked_in_a_version_that_both_speak() {
    let (authority, target) = (Authority::new(), Target::numbered(1));
    let (port, listen) = (free_port(), free_port());
    let file = authority.sign(&["localhost"]).file_in(authority.folder(), "nginx.pem");
    let (file, address) = (file.display(), target.address());
    let server = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {file}; ssl_certificate_key {file}; \
         ssl_protocols TLSv1.2; \
         location /redis {{ return 200 '[\"{address}\"]'; }} }}"
    );
    let _nginx = Balancer::nginx_http(&server, port);
    let url = format!("https://localhost:{port}/redis");
    let mut rules = json!({ "ssl_ca": authority.file(), "ssl_max_version": "1.2" });
    let stagedoor = Stagedoor::run(&definition(listen, &url, rules.clone()));
    assert_eq!(served(listen), b"1");
    drop(stagedoor);
    rules = json!({ "ssl_ca": authority.file(), "ssl_min_version": "1.3" });
    let stagedoor = Stagedoor::run(&definition(listen, &url, rules));
    stagedoor.logged("it speaks no version of TLS that is wanted here");
}

#[test]
fn whoever_cannot_prove_itself_says_nothing_that_counts() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ours = json!({ "ssl_ca": authority.file() });
    let right = authority.sign(&["127.0.0.1", "consul.test"]);
    let (good, _target) = directory(&right);
    is_believed(&good, "127.0.0.1", ours.clone());
    for (identity, why) in [
        (authority.sign_expired(&["127.0.0.1"]), "its certificate expired on 2021-01-01"),
        (authority.sign(&["10.0.0.1"]), "its certificate is not for 127.0.0.1, but for 10.0.0.1"),
        (Identity::self_signed(&["127.0.0.1"]), "its certificate is self-signed (CN=127.0.0.1)"),
        (stranger.sign(&["127.0.0.1"]), "whom nobody here trusts"),
    ] {
        let (bad, _target) = directory(&identity);
        is_not_believed(&bad, "127.0.0.1", ours.clone(), why);
        is_believed(&bad, "127.0.0.1", json!({ "ssl_insecure_skip_verify": true }));
    }
    is_not_believed(&good, "127.0.0.1", json!({}), "whom nobody here trusts");
    let mut named = json!({ "ssl_ca": authority.file(), "ssl_server_name": "Consul.TEST" });
    is_believed(&good, "127.0.0.1", named.clone());
    assert_eq!(good.seen().last().unwrap().name.as_deref(), Some("consul.test"));
    named["ssl_server_name"] = json!("other.test");
    is_not_believed(&good, "127.0.0.1", named, "its certificate is not for other.test");
}

#[test]
fn a_pin_is_of_the_directorys_own_key() {
    let authority = Authority::new();
    let identity = authority.sign(&["127.0.0.1"]);
    let (asked, _target) = directory(&identity);
    let other = "0".repeat(64);
    let pinned = |pins: Value| json!({ "ssl_ca": authority.file(), "pinned_public_keys": pins });
    is_believed(&asked, "127.0.0.1", pinned(json!([other, identity.pin()])));
    let why = format!("the SHA-256 of its key is {}", identity.pin());
    is_not_believed(&asked, "127.0.0.1", pinned(json!([other])), &why);
    let alone = |pin: &str| json!({ "pinned_public_keys": { "keys": pin, "pin_only": true } });
    is_believed(&asked, "127.0.0.1", alone(&identity.pin()));
    is_not_believed(&asked, "127.0.0.1", alone(&other), &why);
}

#[test]
fn a_directory_that_asks_is_shown_our_certificate_and_a_renewed_one_next() {
    let (authority, ours, listen) = (Authority::new(), Authority::new(), free_port());
    let server = server_config(&authority.sign(&["127.0.0.1"]), Asks::Certificate(&ours));
    let (one, two) = (Target::numbered(1), Target::numbered(2));
    let asked = SecureDirectory::new(server, &[one.address()]);
    let without = json!({ "ssl_ca": authority.file() });
    let why = "it wants a client certificate: write it as service_discovery.transport.certificate";
    is_not_believed_late(&asked, without, why);
    let wrong = authority.sign(&["me"]).file_in(authority.folder(), "wrong.pem");
    let shows = |file| json!({ "ssl_ca": authority.file(), "certificate": file });
    is_not_believed_late(&asked, shows(&wrong), "it does not accept our client certificate");

    let (first, second) = (ours.sign(&["me"]), ours.sign(&["me"]));
    let file = first.file_in(ours.folder(), "shown.pem");
    let stagedoor = Stagedoor::run(&definition(listen, &asked.url("127.0.0.1"), shows(&file)));
    assert_eq!(served(listen), b"1");
    let shown = |identity: &Identity| Some(identity.der().to_vec());
    assert_eq!(asked.seen().last().unwrap().shown, shown(&first));
    let mark = stagedoor.mark();
    rename_over(&file, &second.pem());
    stagedoor.logged_after(mark, r#"certificate for the directory of service "redis" renewed: me"#);
    eventually("the renewed one is shown", || {
        (asked.seen().last().unwrap().shown == shown(&second)).then_some(())
    });
    let log = stagedoor.log();
    let says = |line: &&String| line.contains("discovery: ") || line.contains("no list yet");
    assert_eq!(log.iter().skip(mark).find(says), None, "the list is what it was");
    asked.lists(&[two.address()]);
    eventually("it is heard on", || (served(listen) == b"2").then_some(()));
    let status = stagedoor.status()["services"][0]["certificates"].to_string();
    assert!(status.contains("proxy.service_discovery.transport.certificate"), "{status}");
    let said = stagedoor.log().join("\n") + &status;
    assert!(!said.contains("PRIVATE"), "{said}");
}

/// The same where it refuses us only when our side of the handshake is done.
#[track_caller]
fn is_not_believed_late(directory: &SecureDirectory, transport: Value, why: &str) {
    let listen = free_port();
    let stagedoor = Stagedoor::run(&definition(listen, &directory.url("127.0.0.1"), transport));
    stagedoor.logged(why);
    assert_eq!(served(listen), b"");
    assert!(directory.seen().is_empty(), "a handshake succeeded");
}

#[test]
fn the_last_good_list_stays_while_the_directory_cannot_prove_itself() {
    let (authority, stranger, listen) = (Authority::new(), Authority::new(), free_port());
    let (asked, _target) = directory(&authority.sign(&["127.0.0.1"]));
    let believed = authority.folder().join("believed.pem");
    std::fs::copy(authority.file(), &believed).unwrap();
    let rules = json!({ "ssl_ca": believed });
    let stagedoor = Stagedoor::run(&definition(listen, &asked.url("127.0.0.1"), rules));
    assert_eq!(served(listen), b"1");
    rename_over(&believed, &std::fs::read_to_string(stranger.file()).unwrap());
    stagedoor.logged(r#"authorities of the directory of service "redis" renewed"#);
    let said = stagedoor.logged("whom nobody here trusts");
    assert!(said.contains("the 1 target of the last good list stays"), "{said}");
    assert_eq!(served(listen), b"1");
    assert!(found(&stagedoor)["stale_ms"].is_u64());
    rename_over(&believed, &std::fs::read_to_string(authority.file()).unwrap());
    stagedoor.logged("it answers again");
}

#[test]
fn what_is_wrong_with_the_table_is_told_and_no_token_is() {
    let with = |table: &str| {
        format!(
            "{{ \"listen_port\": 1, \"proxy\": {{ \"service_discovery\": {{\n\
             \"use_discovery_service\": true, \"query_endpoint\": \"https://c:1/\",\n\
             \"transport\": {{ {table} }} }} }} }}"
        )
    };
    let check = |table: &str, expected: &[&str]| refused("f.json", &with(table), expected);
    let key = "proxy.service_discovery.transport.";
    check(r#""ssl_ca": "none.pem""#, &[&format!("{key}ssl_ca"), "none.pem cannot be read"]);
    check(r#""ssl_ca": "f.json""#, &["f.json cannot be used: there is no PEM block in it"]);
    check(r#""certificate": "none.pem""#, &[&format!("{key}certificate"), "cannot be read"]);
    check(r#""pinned_public_keys": ["x"]"#, &[&format!("{key}pinned_public_keys[0]"), "no pin"]);
    check(r#""pinned_public_keys": []"#, &["there is no pin"]);
    check(r#""ssl_min_version": "1.1""#, &[&format!("{key}ssl_min_version"), "are broken"]);
    check(r#""ssl_min_version": "1.3", "ssl_max_version": "1.2""#, &["no version is left"]);
    check(r#""ssl_server_name": "a b""#, &[&format!("{key}ssl_server_name"), "no host name"]);
    check(r#""ssl_server_name": "${client.sni}""#, &[&format!("{key}ssl_server_name")]);
    check(r#""ssl_ciphers": []"#, &["ssl_ciphers"]);

    let folder = tempfile::tempdir().unwrap();
    let idle = with(r#""ssl_insecure_skip_verify": true"#);
    let validate = |text: &str| {
        std::fs::write(folder.path().join("f.json"), text).unwrap();
        let output = stagedoor(&["validate", "f.json"], folder.path());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = validate(&idle);
    assert!(said.contains("the directory is believed whoever it is"), "{said}");
    let said = validate(&idle.replace("https", "http"));
    assert!(said.contains("nobody is asked over TLS: this does nothing"), "{said}");
    let token = r#""headers": { "X-Consul-Token": "hunter2", "X": "a\nhunter2" }, "timeout": 0, "#;
    let said = validate(&idle.replace(r#""transport""#, &format!("{token}\"transport\"")));
    assert!(said.contains("no line breaks") && said.contains("timeout"), "{said}");
    assert!(!said.contains("hunter"), "{said}");
}
