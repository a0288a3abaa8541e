//! Stored certificates, named by their IDs: presented, believed, shown to targets, pinned.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::client::{Ended, exchange};
use crate::harness::identity::{self, Asks, Identity, server_config};
use crate::harness::port::free_port;
use crate::harness::shelf::Shelf;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};
use crate::harness::tls_target::TlsTarget;

/// Runs a definition on a store.
fn run(shelf: &Shelf, definition: &Value) -> Stagedoor {
    let settings = shelf.settings();
    Stagedoor::run_with(definition, &settings.each_ref().map(String::as_str))
}

/// What `validate` says of a definition: its exit code, and everything it prints.
fn validate(shelf: &Shelf, definition: &Value) -> (Option<i32>, String) {
    let file = shelf.write("service.json", &definition.to_string());
    let output = shelf.run(&["validate", &file]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_service_presents_what_is_stored_and_believes_clients_whose_authority_is() {
    let (shelf, authority, target) = (Shelf::new(), Authority::new("ca"), Target::echo());
    let clients = Authority::new("clients");
    let issued = authority.issue(&["a.test"]);
    let id = shelf.add(&format!("{}{}", issued.certificate, issued.key));
    let of_clients = shelf.add(&clients.pem());
    let listen = free_port();
    let mut definition = json!({
        "name": "front", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tls",
        "certificates": [id.to_uppercase()],
        "proxy": { "target_url": target.address().to_string() },
    });
    let stagedoor = run(&shelf, &definition);
    let output = Command::new("openssl")
        .args(["s_client", "-brief", "-verify_return_error", "-servername", "a.test"])
        .args(["-connect", &format!("127.0.0.1:{listen}"), "-CAfile"])
        .arg(authority.path())
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed: `make test` does that");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Verification: OK") && said.contains("a.test"), "{said}");
    // What is added meanwhile can be named at the next reload.
    let renewed = authority.issue(&["b.test"]);
    definition["certificates"] =
        json!([shelf.add(&format!("{}{}", renewed.certificate, renewed.key))]);
    std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
    let output = stagedoor.command(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let trust = Trust::of(&authority);
    assert_eq!(echoed(&mut trust.connect(listen, "b.test").unwrap(), b"hello"), b"hello");
    drop(stagedoor);
    definition["certificates"] = json!(id);
    definition["use_mutual_tls_auth"] = json!(true);
    definition["client_certificates"] = json!([of_clients]);
    let _stagedoor = run(&shelf, &definition);
    let trust = Trust::of(&authority).showing(&clients.issue(&["me"]));
    assert_eq!(echoed(&mut trust.connect(listen, "a.test").unwrap(), b"hello"), b"hello");
    let trust = Trust::of(&authority).showing(&authority.issue(&["stranger"]));
    assert!(trust.refused(listen, "a.test").contains("alert"));
}

#[test]
fn a_target_is_believed_shown_and_pinned_by_what_is_stored() {
    let (shelf, authority) = (Shelf::new(), identity::Authority::new());
    let clients = identity::Authority::new();
    let server = authority.sign(&["127.0.0.1"]);
    let target = TlsTarget::echo(server_config(&server, Asks::Certificate(&clients)));
    let listen = free_port();
    let without_key = server.pem().split("-----BEGIN PRIVATE").next().unwrap().to_owned();
    let pin = shelf.add(&without_key);
    let other = shelf.add(&Identity::self_signed(&["other"]).pem());
    let mut definition = json!({
        "name": "back", "listen_port": listen, "listen_address": "127.0.0.1",
        "upstream_certificates": { "*": shelf.add(&clients.sign(&["me"]).pem()) },
        "pinned_public_keys": { "127.0.0.1": pin },
        "proxy": { "target_url": target.url(), "transport": {
            "ssl_ca": shelf.add(&std::fs::read_to_string(authority.file()).unwrap()),
        } },
    });
    let stagedoor = run(&shelf, &definition);
    assert_eq!(exchange(listen, b"hello"), (b"hello".to_vec(), Ended::Cleanly));
    assert!(target.seen().iter().all(|seen| seen.certified));
    drop(stagedoor);
    definition["pinned_public_keys"]["127.0.0.1"] = json!(other);
    let stagedoor = run(&shelf, &definition);
    assert_eq!(exchange(listen, b"hello").0, b"");
    stagedoor.logged(&format!("the SHA-256 of its key is {}", server.pin()));
    let file = stagedoor.file().display().to_string();
    for (id, key) in [(&other, "pinned_public_keys"), (&pin, "")] {
        let used = shelf.json(&["cert", "show", id, &file])["used_by"].clone();
        let keys: Vec<&str> =
            used.as_array().unwrap().iter().flat_map(|it| it["key"].as_str()).collect();
        let is_used = keys.iter().any(|it| it.starts_with(key) && !key.is_empty());
        assert_eq!(is_used, !key.is_empty(), "{used}");
    }
    for id in shelf.json(&["cert", "list", &file])["certificates"].as_array().unwrap() {
        let is_free = id["id"] == json!(pin);
        assert_eq!(id["used_by"].as_array().unwrap().is_empty(), is_free, "{id}");
    }
}

#[test]
fn validate_says_whose_key_a_pin_is_and_what_is_missing() {
    let shelf = Shelf::new();
    let stored = Identity::self_signed(&["redis.test"]);
    let id = shelf.add(&stored.pem());
    let hash = "ab".repeat(32);
    let definition = |pins: Value| {
        json!({
            "listen_port": 6379, "pinned_public_keys": pins,
            "proxy": {
                "target_url": "tls://redis.test:1", "transport": { "ssl_ca": "${file:ca.pem}" },
            },
        })
    };
    shelf.write("ca.pem", &stored.pem());
    let (code, said) = validate(&shelf, &definition(json!({ "redis.test": [id, hash] })));
    assert_eq!(code, Some(0), "{said}");
    let of_stored =
        format!("redis.test: {}, the key of stored certificate {}", stored.pin(), &id[..12]);
    assert!(said.contains(&of_stored), "{said}");
    assert!(said.contains(&format!("redis.test: {hash}\n")), "{said}");
    let file = shelf.around().join("service.json").display().to_string();
    let pins = shelf.json(&["validate", &file])["services"][0]["pins"].clone();
    assert_eq!(pins[0]["stored"], json!(id), "{pins}");
    assert_eq!((&pins[1]["stored"], &pins[1]["key"]), (&Value::Null, &json!(hash)), "{pins}");

    let mut disabled = definition(json!({ "redis.test": id }));
    disabled["certificate_pinning_disabled"] = json!(true);
    let (code, said) = validate(&shelf, &disabled);
    assert!(code == Some(0) && !said.contains(&stored.pin()), "no pin counts: {said}");

    // Tyk puts the ID of the organisation before it.
    for organisation in ["5e9d9544a1dcd60001d0ed20", "default"] {
        let reference = format!("{organisation}{id}");
        let (code, said) = validate(&shelf, &definition(json!({ "redis.test": reference })));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("says nothing here") && said.contains(&of_stored), "{said}");
    }
    let mut missing = definition(json!({}));
    missing["proxy"]["transport"]["ssl_ca"] = json!(hash);
    let (code, said) = validate(&shelf, &missing);
    assert_eq!(code, Some(2), "{said}");
    let folder = shelf.folder().display().to_string();
    for words in [&format!("there is no certificate {hash} in the store {folder}"), "cert add"] {
        assert!(said.contains(words), "misses {words:?} in {said}");
    }
    // Not what its name says.
    let path = shelf.folder().join(format!("{hash}.pem"));
    std::fs::copy(shelf.folder().join(format!("{id}.pem")), path).unwrap();
    let (code, said) = validate(&shelf, &missing);
    assert!(code == Some(2) && said.contains("which is not its name"), "{said}");
}

#[test]
fn a_pin_that_may_be_an_id_is_told_of_where_nobody_may_look() {
    let shelf = Shelf::new();
    // A folder that cannot be looked into, for root neither.
    shelf.write("store", "");
    let hash = "ab".repeat(32);
    let definition = json!({
        "listen_port": 6379, "pinned_public_keys": { "10.0.0.1": hash },
        "proxy": { "target_url": "tls://10.0.0.1:1" },
    });
    let (code, said) = validate(&shelf, &definition);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is shut") && said.contains("write sha256/BASE64"), "{said}");
    assert!(said.contains(&format!("10.0.0.1: {hash}\n")), "{said}");
    shelf.refuses(&["cert", "show", &hash], &["cannot be read: not a directory"]);
}

#[test]
fn what_lacks_its_key_is_not_presented_and_another_folder_is_another_store() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let id = shelf.add(&issued.certificate);
    let definition = json!({
        "listen_port": 6379, "protocol": "tls", "certificate": id,
        "proxy": { "target_url": "10.0.0.1:1" },
    });
    let (code, said) = validate(&shelf, &definition);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no private key") && said.contains("cert add --key"), "{said}");
    let key = shelf.write("a.key", &issued.key);
    let certificate = shelf.write("a.pem", &issued.certificate);
    assert_eq!(shelf.json(&["cert", "add", &certificate, "--key", &key])["completed"], true);
    assert_eq!(validate(&shelf, &definition).0, Some(0));
    // Relative to the file that names it; the last one wins.
    std::fs::create_dir(shelf.around().join("etc")).unwrap();
    std::fs::rename(shelf.folder(), shelf.around().join("etc/certs")).unwrap();
    assert_eq!(validate(&shelf, &definition).0, Some(2));
    shelf.write("etc/stagedoor.toml", "certificates.folder = \"certs\"\n");
    let arguments = ["validate", "--config", "etc/stagedoor.toml", "service.json"];
    let output = crate::harness::stagedoor::stagedoor(&arguments, shelf.around());
    assert!(output.status.success(), "{output:?}");
}
