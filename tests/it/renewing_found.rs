//! Renewed certificates and reloads of a service whose targets are found: what was found stays, with
//! its counts and sessions, though its directory says nothing meanwhile.

use serde_json::{Value, json};

use crate::harness::certificates::{self, rename_over};
use crate::harness::client::{Ended, connect, echoed, exchange};
use crate::harness::directory::{Directory, say};
use crate::harness::eventually::eventually;
use crate::harness::identity::{self, Asks, Identity, server_config};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{self, Trust};
use crate::harness::tls_target::TlsTarget;

fn service(stagedoor: &Stagedoor) -> Value {
    stagedoor.status()["services"][0].clone()
}

fn discovery(directory: &Directory) -> Value {
    json!({
        "use_discovery_service": true, "query_endpoint": directory.url("/redis"),
        "endpoint_returns_list": true, "use_target_list": true, "cache_timeout": "1s",
    })
}

/// The directory has trouble from now on, and that has been noticed.
fn fails(directory: &Directory, stagedoor: &Stagedoor) {
    directory.answers("/redis", |stream, _| say(stream, b"HTTP/1.1 500 Oops\r\n\r\n"));
    stagedoor.logged("the 1 target of the last good list stays");
}

#[test]
fn a_certificate_of_a_service_with_found_targets_is_renewed_and_another_key_reloaded() {
    let authority = certificates::Authority::new("ca");
    let file = authority.folder().join("presented.pem");
    std::fs::copy(authority.issue(&["a.test"]).path, &file).unwrap();
    let renewed = authority.issue(&["b.test", "a.test"]);
    let (directory, one, two) = (Directory::new(), Target::echo(), Target::echo());
    directory.lists("/redis", &[one.address()]);
    let listen = free_port();
    let mut definition = json!({
        "name": "found", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tls",
        "certificates": file,
        "proxy": {
            "enable_load_balancing": true, "on_removed": "keep",
            "service_discovery": discovery(&directory),
        },
    });
    let stagedoor = Stagedoor::run(&definition);
    let trust = Trust::of(&authority).forgetful();
    let mut living = trust.connect(listen, "a.test").unwrap();
    assert_eq!(tls::echoed(&mut living, b"before"), b"before");
    fails(&directory, &stagedoor);
    let mut stays = |sessions: u64| {
        let shown = service(&stagedoor);
        let target = &shown["targets"][0];
        assert_eq!(target["address"], json!(one.address()), "{shown}");
        assert_eq!((&target["live"], &target["total"]), (&json!(1), &json!(sessions)), "{shown}");
        assert_eq!(shown["discovery"]["listed"], 1, "{shown}");
        assert_eq!(tls::echoed(&mut living, b"lives"), b"lives");
    };
    stays(1);
    // One model is renewed, and with it the other.
    rename_over(&file, &std::fs::read_to_string(&renewed.path).unwrap());
    stagedoor.logged(r#"certificate of service "found" renewed: b.test, a.test"#);
    drop(trust.connect(listen, "b.test").unwrap());
    eventually("the other session has ended", || {
        (service(&stagedoor)["targets"][0]["live"] == 1).then_some(())
    });
    stays(2);
    definition["proxy"]["retries"] = json!(7);
    definition["limits"] = json!({ "idle_timeout": "1h" });
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
    let changes = stagedoor.json(&["reload"])["changes"].to_string();
    assert!(changes.contains("limits changed"), "{changes}");
    stays(2);
    // What is found from now on is put over the renewed and reloaded model, not over the first.
    directory.lists("/redis", &[two.address()]);
    eventually("another list is in force", || {
        (service(&stagedoor)["targets"][0]["address"] == json!(two.address())).then_some(())
    });
    let mut other = trust.connect(listen, "b.test").unwrap();
    assert_eq!(tls::echoed(&mut other, b"to the other"), b"to the other");
    assert_eq!(tls::echoed(&mut living, b"lives"), b"lives");
    assert_eq!((one.accepted(), two.accepted()), (2, 1));
}

#[test]
fn what_is_shown_to_found_targets_is_renewed_and_they_stay_up() {
    let (targets, ours) = (identity::Authority::new(), identity::Authority::new());
    let server = server_config(&targets.sign(&["127.0.0.1"]), Asks::Certificate(&ours));
    let (target, listen) = (TlsTarget::echo(server), free_port());
    let (first, second) = (ours.sign(&["client"]), ours.sign(&["client"]));
    let file = first.file_in(ours.folder(), "client.pem");
    let directory = Directory::new();
    directory.lists("/redis", &[target.url()]);
    let stagedoor = Stagedoor::run(&json!({
        "name": "found", "listen_port": listen, "listen_address": "127.0.0.1",
        "upstream_certificates": { "*": file },
        "uptime_tests": {
            "commands": [
                { "name": "send", "message": "hello" }, { "name": "expect", "message": "hello" },
            ],
            "config": { "interval": "1s" },
        },
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": targets.file() },
            "service_discovery": discovery(&directory),
        },
    }));
    eventually("it is up", || (service(&stagedoor)["targets"][0]["health"] == "up").then_some(()));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    fails(&directory, &stagedoor);
    let mark = stagedoor.mark();
    rename_over(&file, &second.pem());
    stagedoor.logged_after(mark, r#"certificate for * of service "found" renewed: client"#);
    let shown = |identity: &Identity| Some(identity.der().to_vec());
    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
    eventually("sessions and checks show the new one", || {
        let seen = target.seen();
        (seen.iter().filter(|seen| seen.shown == shown(&second)).count() >= 2).then_some(())
    });
    assert_eq!(echoed(&mut living, b"lives"), b"lives");
    let says = |line: &&String| line.contains("unknown") || line.contains(" is down");
    assert_eq!(stagedoor.log().iter().skip(mark).find(says), None, "what is known of it is kept");
    let now = service(&stagedoor)["targets"][0].clone();
    assert_eq!((&now["health"], &now["live"]), (&json!("up"), &json!(1)), "{now}");
}
