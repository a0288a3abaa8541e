//! Checks over TLS: on the road that sessions take, and judged by what they meet there.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, Identity, server_config};
use crate::harness::service::judged;
use crate::harness::stagedoor::{Stagedoor, probed};
use crate::harness::target::Target;
use crate::harness::tls_target::TlsTarget;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A service with one target and these checks of it, judged by one answer.
fn definition(target: &str, checks: Value, authority: &Authority) -> Value {
    let config = json!({ "interval": "50ms", "rise": 1, "fall": 1, "fall_refused": 1 });
    judged(target, &json!({ "check_list": checks, "config": config }), authority)
}

fn ping(url: &str) -> Value {
    json!([{ "url": url, "commands": [
        { "name": "send", "message": "PING\r\n" }, { "name": "expect", "message": "+PONG" },
    ] }])
}

fn serve(identity: &Identity, answer: &'static [u8]) -> TlsTarget {
    TlsTarget::answering(server_config(identity, Asks::Nothing), answer)
}

/// Waits until the only target is `health`, and returns what is shown of it.
#[track_caller]
fn becomes(stagedoor: &Stagedoor, health: &str) -> String {
    eventually(&format!("the target is {health}"), || {
        let target = stagedoor.json(&["status"])["services"][0]["targets"][0].clone();
        (target["health"] == health).then(|| target.to_string())
    })
}

fn probe(definition: &Value) -> (Output, String) {
    let output = probed(definition);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

#[test]
fn scripts_run_inside_tls_where_the_target_speaks_it() {
    let authority = Authority::new();
    let target = serve(&authority.sign(&["127.0.0.1"]), b"+PONG\r\n");
    // Of the URL only the address counts where it says no more.
    for url in [target.address(), target.url()] {
        let stagedoor = Stagedoor::run(&definition(&target.url(), ping(&url), &authority));
        becomes(&stagedoor, "up");
    }
    let mut all = definition(&target.url(), json!([]), &authority);
    all["uptime_tests"]["commands"] = ping("x")[0]["commands"].clone();
    all["uptime_tests"]["check_list"] = Value::Null;
    becomes(&Stagedoor::run(&all), "up");
}

#[test]
fn a_connect_check_completes_the_handshake() {
    let authority = Authority::new();
    let target = serve(&authority.sign(&["127.0.0.1"]), b"");
    let url = json!([{ "url": target.address() }]);
    becomes(&Stagedoor::run(&definition(&target.url(), url, &authority)), "up");
    let plain = Target::banner(b"SSH-2.0-x\r\n");
    let (address, url) = (plain.address(), format!("tls://{}", plain.address()));
    let stagedoor = Stagedoor::run(&definition(&url, json!([{ "url": address }]), &authority));
    let shown = becomes(&stagedoor, "down");
    assert!(shown.contains("TLS: what it says is not TLS"), "{shown}");
}

#[test]
fn a_target_that_cannot_prove_itself_is_down_and_says_why() {
    let authority = Authority::new();
    let good = authority.sign(&["127.0.0.1"]);
    let expired = serve(&authority.sign_expired(&["127.0.0.1"]), b"+PONG\r\n");
    let check = definition(&expired.url(), ping(&expired.url()), &authority);
    let shown = becomes(&Stagedoor::run(&check), "down");
    assert!(shown.contains("TLS: its certificate expired on 2021-01-01T00:00:00Z"), "{shown}");

    let pinned = serve(&good, b"+PONG\r\n");
    let mut check = definition(&pinned.url(), ping(&pinned.url()), &authority);
    check["pinned_public_keys"] = json!({ "*": "0".repeat(64) });
    let shown = becomes(&Stagedoor::run(&check), "down");
    assert!(shown.contains(&good.pin()), "{shown}");
    check["pinned_public_keys"] = json!({ "*": ["0".repeat(64), good.pin()] });
    becomes(&Stagedoor::run(&check), "up");
}

#[test]
fn a_target_that_refuses_our_certificate_is_down_even_for_a_connect_check() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let asking = server_config(&authority.sign(&["127.0.0.1"]), Asks::Certificate(&clients));
    let target = TlsTarget::answering(asking, b"+PONG\r\n");
    let mut check = definition(&target.url(), json!([{ "url": target.url() }]), &authority);
    let shown = becomes(&Stagedoor::run(&check), "down");
    assert!(shown.contains("it wants a client certificate"), "{shown}");
    let right = clients.sign(&["me"]).file_in(authority.folder(), "right.pem");
    check["upstream_certificates"] = json!({ target.address(): right });
    becomes(&Stagedoor::run(&check), "up");
}

#[test]
fn https_checks_ask_over_tls() {
    let authority = Authority::new();
    let target = serve(&authority.sign(&["localhost", "127.0.0.1"]), OK);
    let url = format!("https://{}/health", target.address());
    let check = definition(&target.url(), json!([{ "url": url }]), &authority);
    becomes(&Stagedoor::run(&check), "up");
    let mut other = check.clone();
    other["uptime_tests"]["check_list"] = json!([{ "url": url, "expect_status": 204 }]);
    let shown = becomes(&Stagedoor::run(&other), "down");
    assert!(shown.contains("answered with status 200"), "{shown}");
    // Beside a target that is spoken to in the clear.
    let plain = Target::echo();
    let mut beside = definition(&plain.address(), json!([]), &authority);
    beside["uptime_tests"]["check_list"] = json!([{ "url": format!("https://localhost:{}/", target.port()), "target": plain.address() }]);
    becomes(&Stagedoor::run(&beside), "up");
}

#[test]
fn a_probe_shows_the_handshake_and_the_key_to_pin() {
    let authority = Authority::new();
    let good = authority.sign(&["127.0.0.1"]);
    let target = serve(&good, b"+PONG\r\n");
    let (output, said) = probe(&definition(&target.url(), ping(&target.url()), &authority));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("TLS 1.3, with CN=127.0.0.1 until "), "{said}");
    assert!(said.contains(&format!("key {}", good.pin())), "{said}");

    let own = Identity::self_signed(&["127.0.0.1"]);
    let target = serve(&own, b"+PONG\r\n");
    let (output, said) = probe(&definition(&target.url(), ping(&target.url()), &authority));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("failed: TLS: its certificate is self-signed (CN=127.0.0.1)"), "{said}");
}
