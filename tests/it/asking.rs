//! `ssl_server_name = "${client.sni}"`: targets are asked for the name that the client asked for.

use serde_json::{Value, json};

use crate::harness::certificates;
use crate::harness::eventually::eventually;
use crate::harness::identity::{Asks, Authority, server_config};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::tls::{Trust, echoed};
use crate::harness::tls_target::TlsTarget;

fn names(target: &TlsTarget) -> Vec<Option<String>> {
    target.seen().into_iter().map(|seen| seen.name).collect()
}

#[test]
fn a_target_is_asked_for_what_the_client_asked_for_and_has_to_prove_it() {
    let (ours, theirs, listen) =
        (certificates::Authority::new("ca"), Authority::new(), free_port());
    let issued = ours.issue(&["a.test", "b.test", "127.0.0.1"]);
    let target =
        TlsTarget::echo(server_config(&theirs.sign(&["a.test", "localhost"]), Asks::Nothing));
    let definition: Value = json!({
        "name": "as asked", "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls", "certificate": [issued.path],
        "proxy": {
            "target_url": format!("tls://localhost:{}", target.port()),
            "transport": { "ssl_ca": theirs.file(), "ssl_server_name": "${client.sni}" },
        },
    });
    let stagedoor = Stagedoor::run(&definition);
    let trust = Trust::of(&ours).forgetful();
    assert_eq!(echoed(&mut trust.connect(listen, "A.test").unwrap(), b"x"), b"x");
    assert_eq!(names(&target), [Some("a.test".to_owned())]);
    // Nobody has asked for anything: the host of the target.
    let mut nameless = trust.clone().nameless().connect(listen, "127.0.0.1").unwrap();
    assert_eq!(echoed(&mut nameless, b"x"), b"x");
    assert_eq!(names(&target)[1..], [Some("localhost".to_owned())]);
    trust.refused(listen, "b.test");
    stagedoor.logged("its certificate is not for b.test, but for a.test");
    assert_eq!(names(&target).len(), 2, "a handshake succeeded");
    assert_eq!(echoed(&mut nameless, b"y"), b"y");
}

#[test]
fn checks_ask_for_the_host_and_what_clients_ask_for_marks_no_target() {
    let (ours, theirs, listen) =
        (certificates::Authority::new("ca"), Authority::new(), free_port());
    let issued = ours.issue(&["a.test", "b.test"]);
    let target =
        TlsTarget::echo(server_config(&theirs.sign(&["a.test", "localhost"]), Asks::Nothing));
    let url = format!("tls://localhost:{}", target.port());
    let stagedoor = Stagedoor::run(&json!({
        "name": "checked", "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls", "certificate": [issued.path],
        "proxy": {
            "target_url": url, "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": theirs.file(), "ssl_server_name": "${client.sni}" },
        },
        "uptime_tests": { "check_list": [{ "url": url }], "config": { "interval": "1h", "rise": 1 } },
    }));
    eventually("it is up", || {
        let status = stagedoor.json(&["status"]);
        (status["services"][0]["targets"][0]["health"] == "up").then_some(())
    });
    let trust = Trust::of(&ours).forgetful();
    trust.refused(listen, "b.test");
    stagedoor.logged("its certificate is not for b.test");
    assert_eq!(echoed(&mut trust.connect(listen, "a.test").unwrap(), b"x"), b"x");
    let asked = names(&target);
    let (session, checks) = asked.split_last().unwrap();
    assert_eq!(session.as_deref(), Some("a.test"));
    assert!(checks.iter().all(|name| name.as_deref() == Some("localhost")), "{checks:?}");
    assert!(!checks.is_empty());
}
