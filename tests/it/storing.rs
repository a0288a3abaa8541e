//! The certificate store: what goes in and out, who may look, and that its IDs mean what they say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::shelf::Shelf;

/// What `openssl` prints.
fn openssl(arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed: `make test` does that");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// The SHA-256 that `sha256sum` would print.
fn sha256(bytes: &[u8]) -> String {
    stagedoor::wire::certificate::Digest::of(bytes).to_string()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// A definition that ends TLS with this certificate.
fn definition(certificate: &str) -> Value {
    json!({
        "name": "front", "listen_port": 6379, "protocol": "tls", "certificate": certificate,
        "proxy": { "target_url": "10.0.0.1:6379" },
    })
}

#[test]
fn what_is_added_is_listed_shown_and_removed_by_its_id() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let file = shelf.write("service.json", &definition("${env:CERT}").to_string());
    let issued = authority.issue(&["a.test", "*.b.test"]);
    let output = shelf.run(&["cert", "add", &issued.path.display().to_string()]);
    assert!(output.status.success(), "{output:?}");
    let id = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    assert!(String::from_utf8_lossy(&output.stderr).contains("with key, a.test, *.b.test"));
    let path = issued.path.display().to_string();
    let der = openssl(&["x509", "-in", &path, "-outform", "der"], shelf.around());
    assert_eq!(id, sha256(&der), "the ID is that of Tyk");
    let public = openssl(&["pkey", "-in", &path, "-pubout", "-outform", "der"], shelf.around());
    let of_authority = shelf.add(&authority.pem());

    let used = shelf.write("used.json", &definition(&id).to_string());
    let listed = shelf.json(&["cert", "list", &used]);
    assert_eq!(listed["use_is_known"], true, "{listed}");
    let all = listed["certificates"].as_array().unwrap();
    assert_eq!(all.len(), 2, "{listed}");
    let find = |id: &str| all.iter().find(|it| it["id"] == *id).unwrap();
    assert_eq!(find(&of_authority)["kind"], "authority");
    assert_eq!(find(&of_authority)["used_by"], json!([]));
    let shown = find(&id);
    assert_eq!(shown["names"], json!(["a.test", "*.b.test"]));
    assert_eq!((&shown["has_key"], &shown["key"]), (&json!(true), &json!("ECDSA P-256")));
    assert_eq!(shown["uses"], json!(["servers", "clients"]));
    assert_eq!(shown["spki_sha256"], sha256(&public));
    let place = json!([{ "service": "front", "active": true, "key": "certificates" }]);
    assert_eq!(shown["used_by"], place);

    let human = shelf.run(&["cert", "list", &used]);
    let said = String::from_utf8_lossy(&human.stdout).into_owned();
    assert!(said.contains(&id[..12]) && said.contains("front: certificates"), "{said}");
    let human = shelf.run(&["cert", "show", &id[..8].to_uppercase(), &used]);
    let said = String::from_utf8_lossy(&human.stdout).into_owned();
    for words in [&id, "CN=ca", "a.test, *.b.test", "servers, clients", "sha256/", "front: "] {
        assert!(said.contains(words), "misses {words:?} in {said}");
    }
    assert!(!said.contains("PRIVATE"), "{said}");

    shelf
        .refuses(&["cert", "remove", &id, &used], &["is in use: front: certificates. ", "--force"]);
    shelf.refuses(&["cert", "remove", &id, &file], &["cannot be known", "stagedoor validate"]);
    let by_path = format!("./store/../store/{id}.pem");
    let by_path = shelf.write("path.json", &definition(&by_path).to_string());
    shelf.refuses(&["cert", "remove", &id, &by_path], &["is in use: front: certificates"]);
    let mut inactive = definition(&id);
    inactive["active"] = json!(false);
    let inactive = shelf.write("inactive.json", &inactive.to_string());
    shelf.refuses(&["cert", "remove", &id, &inactive], &["front: certificates (not active)"]);
    let unused = shelf.write("unused.json", &definition("other.pem").to_string());
    shelf.write("other.pem", &std::fs::read_to_string(&issued.path).unwrap());
    assert_eq!(shelf.json(&["cert", "remove", &id[..9], &unused])["removed"], id);
    assert_eq!(shelf.json(&["cert", "remove", &of_authority, "--force"])["removed"], of_authority);
    assert_eq!(shelf.json(&["cert", "list", &unused])["certificates"], json!([]));
    shelf.refuses(&["cert", "show", &id], &["there is no certificate"]);
}

#[test]
fn a_revocation_list_that_is_not_stored_is_told_and_where_it_belongs() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let list = authority.revoke(&[7]);
    let file = shelf.write("both.pem", &format!("{}{list}{}", issued.certificate, issued.key));
    let output = shelf.run(&["cert", "add", &file]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in ["1 revocation list is not stored", "`client_crl`"] {
        assert!(said.contains(expected), "misses {expected:?} in {said}");
    }
    let id = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    let stored = std::fs::read_to_string(shelf.folder().join(format!("{id}.pem"))).unwrap();
    assert!(stored.contains("BEGIN CERTIFICATE") && !stored.contains("CRL"), "{stored}");
    let alone = shelf.write("alone.pem", &authority.issue(&["b.test"]).certificate);
    let output = shelf.run(&["cert", "add", &alone]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("revocation"), "{output:?}");
}

#[test]
fn what_could_not_be_used_is_refused_and_nothing_is_stored() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let old = authority.issue_as(&["old"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let refused = |text: &str, words: &str| {
        let file = shelf.write("file.pem", text);
        shelf.refuses(&["cert", "add", &file], &["file.pem cannot be added", words]);
    };
    refused(&format!("{}{}", old.certificate, old.key), "it has expired on 2020-01-01T00:00:00Z");
    refused(&format!("{}{}", one.certificate, other.key), "does not belong");
    refused(&format!("{}{}{}", one.certificate, one.key, other.key), "more than one private key");
    refused(&one.key, "there is no certificate in it");
    refused("hello", "there is no PEM block in it");
    let locked = shelf.write("key.pem", &one.key);
    let locked = ["pkey", "-in", &locked, "-aes256", "-passout", "pass:secret"];
    let locked = String::from_utf8(openssl(&locked, shelf.around())).unwrap();
    refused(&format!("{}{locked}", one.certificate), "encrypted");
    shelf.refuses(&["cert", "add", "none.pem"], &["none.pem cannot be read", "no such file"]);
    let certificate = shelf.write("a.pem", &one.certificate);
    let key = shelf.write("b.key", &other.key);
    let both = ["cert", "add", &certificate, "--key", &key];
    shelf.refuses(&both, &["a.pem", "with", "b.key", "does not belong"]);
    let none = ["cert", "add", &certificate, "--key", &certificate];
    shelf.refuses(&none, &["there is no private key", "--key"]);
    assert!(!shelf.folder().exists(), "not even a folder has been made");
    let output = shelf.run(&["cert", "add", &certificate, "--set", "certificates.floder=x"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = shelf.json(&["cert", "show", "0123456"])["error"].clone();
    assert!(said.as_str().unwrap().contains("8 to 64 first digits"), "{said}");
}

#[test]
fn a_key_in_a_file_of_its_own_is_taken_and_completes_what_lacks_it_once() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let chain = format!("{}{}", issued.certificate, authority.pem());
    let (full, key) = (shelf.write("fullchain.pem", &chain), shelf.write("key.pem", &issued.key));
    let id = shelf.add(&chain);
    assert_eq!(shelf.json(&["cert", "show", &id])["has_key"], false);
    shelf.refuses(&["cert", "add", &full], &["is in the store", "already", &id]);
    let output = shelf.run(&["cert", "add", &full, "--key", &key]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), id);
    assert!(String::from_utf8_lossy(&output.stderr).contains("its key was missing, and is added"));
    let shown = shelf.json(&["cert", "show", &id]);
    assert_eq!((&shown["has_key"], &shown["chain"]), (&json!(true), &json!(2)), "{shown}");
    shelf.refuses(&["cert", "add", &full, "--key", &key], &["already"]);
    let path = shelf.folder().join(format!("{id}.pem"));
    openssl(&["pkey", "-in", &path.display().to_string(), "-noout", "-check"], shelf.around());
}

#[test]
fn keys_of_every_kind_and_form_are_stored_and_a_bare_public_key_too() {
    let shelf = Shelf::new();
    let folder = shelf.around();
    for (name, make, kind) in [
        ("ed", &["genpkey", "-algorithm", "ED25519"][..], "Ed25519"),
        ("rsa", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "RSA 2048"),
        ("sec1", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"], "ECDSA P-256"),
        ("p384", &["ecparam", "-name", "secp384r1", "-genkey"], "ECDSA P-384"),
    ] {
        std::fs::write(folder.join("x.key"), openssl(make, folder)).unwrap();
        let subject = format!("/CN={name}");
        let sign = ["req", "-x509", "-key", "x.key", "-days", "9", "-subj", &subject];
        std::fs::write(folder.join("x.crt"), openssl(&sign, folder)).unwrap();
        if name == "rsa" {
            let key = openssl(&["rsa", "-in", "x.key", "-traditional"], folder);
            assert!(key.starts_with(b"-----BEGIN RSA PRIVATE KEY"));
            std::fs::write(folder.join("x.key"), key).unwrap();
        }
        let added = shelf.json(&["cert", "add", "x.crt", "--key", "x.key"]);
        assert_eq!((&added["key"], &added["has_key"]), (&json!(kind), &json!(true)), "{added}");
        let der = openssl(&["x509", "-in", "x.crt", "-outform", "der"], folder);
        assert_eq!(added["id"], sha256(&der));
        openssl(&["pkey", "-in", "x.key", "-pubout", "-out", "x.pub"], folder);
        let bare = shelf.json(&["cert", "add", "x.pub"]);
        assert_eq!((&bare["kind"], &bare["key"]), (&json!("public key"), &json!(kind)), "{bare}");
        assert_eq!(bare["id"], added["spki_sha256"], "a public key is known by its pin");
    }
}

#[test]
fn the_store_is_for_its_owner_alone_and_another_one_is_told_of() {
    let (shelf, authority) = (Shelf::new(), Authority::new("ca"));
    let id = shelf.add(&std::fs::read_to_string(authority.issue(&["a.test"]).path).unwrap());
    assert_eq!(mode(&shelf.folder()), 0o700);
    assert_eq!(mode(&shelf.folder().join(format!("{id}.pem"))), 0o600);
    let service = shelf.write("service.json", &definition(&id).to_string());
    let output = shelf.run(&["validate", &service]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let shown = format!("shown stored certificate {} for a.test", &id[..12]);
    assert!(said.contains(&shown), "{said}");
    std::fs::set_permissions(shelf.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    let output = shelf.run(&["validate", &service]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder = shelf.folder().display().to_string();
    for words in ["certificates.folder", "others may look", &format!("chmod 0700 {folder}")] {
        assert!(said.contains(words), "misses {words:?} in {said}");
    }
}
