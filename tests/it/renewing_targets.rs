//! What is said of targets in files is watched as well: what they are shown, and whom to believe.

use serde_json::{Value, json};

use crate::harness::certificates::rename_over;
use crate::harness::client::{Ended, exchange};
use crate::harness::eventually::eventually;
use crate::harness::identity::{self, Asks, Identity, server_config};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::tls_target::TlsTarget;

fn first_target(stagedoor: &Stagedoor) -> Value {
    stagedoor.json(&["status"])["services"][0]["targets"][0].clone()
}

#[test]
fn what_is_shown_to_targets_is_renewed_and_they_stay_up() {
    let (targets, ours) = (identity::Authority::new(), identity::Authority::new());
    let server = server_config(&targets.sign(&["127.0.0.1"]), Asks::Certificate(&ours));
    let (target, listen) = (TlsTarget::echo(server), free_port());
    let (first, second) = (ours.sign(&["client"]), ours.sign(&["client"]));
    let file = first.file_in(ours.folder(), "client.pem");
    let stagedoor = Stagedoor::run(&json!({
        "name": "checked", "listen_port": listen, "listen_address": "127.0.0.1",
        "upstream_certificates": { "*": file },
        "uptime_tests": { "check_list": [{ "url": target.url() }] },
        "proxy": {
            "enable_load_balancing": true, "target_list": [target.url()],
            "check_host_against_uptime_tests": true,
            "transport": { "ssl_ca": targets.file() },
        },
    }));
    eventually("the target is up", || (first_target(&stagedoor)["health"] == "up").then_some(()));
    // The log is read a little later than it is written.
    stagedoor.logged("is up: passed");
    let mark = stagedoor.mark();
    rename_over(&file, &second.pem());
    stagedoor.logged_after(mark, r#"certificate for * of service "checked" renewed: client"#);
    let shown = |identity: &Identity| Some(identity.der().to_vec());
    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
    eventually("sessions and checks show the new one", || {
        let seen = target.seen();
        (seen.iter().filter(|seen| seen.shown == shown(&second)).count() >= 2).then_some(())
    });
    assert!(target.seen().iter().any(|seen| seen.shown == shown(&first)), "before that, the old");
    let says = |line: &&String| line.contains("unknown") || line.contains(" is down");
    let log = stagedoor.log();
    assert_eq!(log.iter().skip(mark).find(says), None, "what is known of it is kept");
    assert_eq!(first_target(&stagedoor)["health"], "up");
}

#[test]
fn whom_to_believe_is_renewed() {
    let (authority, stranger) = (identity::Authority::new(), identity::Authority::new());
    let (proof, other) = (authority.sign(&["127.0.0.1"]), Identity::self_signed(&["other"]));
    let (target, listen) = (TlsTarget::echo(server_config(&proof, Asks::Nothing)), free_port());
    let folder = tempfile::tempdir().unwrap();
    let (believed, pinned) = (folder.path().join("ca.pem"), folder.path().join("pinned.pem"));
    std::fs::copy(stranger.file(), &believed).unwrap();
    std::fs::write(&pinned, proof.pem()).unwrap();
    let stagedoor = Stagedoor::run(&json!({
        "name": "believing", "listen_port": listen, "listen_address": "127.0.0.1",
        "pinned_public_keys": { "127.0.0.1": pinned },
        "proxy": { "target_url": target.url(), "transport": { "ssl_ca": believed } },
    }));
    assert_eq!(exchange(listen, b"hello").0, b"");
    rename_over(&believed, &std::fs::read_to_string(authority.file()).unwrap());
    stagedoor.logged(r#"authorities of targets of service "believing" renewed"#);
    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
    rename_over(&pinned, &other.pem());
    stagedoor.logged(r#"pinned key of 127.0.0.1 of service "believing" renewed"#);
    assert_eq!(exchange(listen, b"hello").0, b"");
    stagedoor.logged("its public key is none of those that are pinned");
}

#[test]
fn a_target_that_is_believed_whoever_it_is_is_shown_as_insecure() {
    let identity = Identity::self_signed(&["127.0.0.1"]);
    let target = TlsTarget::echo(server_config(&identity, Asks::Nothing));
    let run = |pins: Value| {
        let transport = json!({ "ssl_insecure_skip_verify": true });
        Stagedoor::run(&json!({
            "name": "open", "listen_port": free_port(), "listen_address": "127.0.0.1",
            "pinned_public_keys": pins,
            "proxy": { "target_url": target.url(), "transport": transport },
        }))
    };
    let open = run(json!({}));
    assert_eq!(first_target(&open)["insecure"], true);
    let shown = String::from_utf8_lossy(&open.command(&["status"]).stdout).into_owned();
    assert!(shown.contains(", insecure"), "{shown}");
    let pinned = run(json!({ "127.0.0.1": identity.pin() }));
    assert_eq!(first_target(&pinned)["insecure"], false, "its key is known");
}
