//! PEM files as people and tools leave them: what is taken, what is refused, and with which words.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::certificates::{Authority, Issued};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::{BINARY, Stagedoor};
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// The key that a certificate is named by, as it stands in the definition.
const KEY: &str = "certificates";

struct World {
    authority: Authority,
    target: Target,
    listen: u16,
    issued: Issued,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("ca");
        let issued = authority.issue(&["a.test"]);
        Self { authority, target: Target::echo(), listen: free_port(), issued }
    }

    fn folder(&self) -> &Path {
        self.authority.folder()
    }

    fn definition(&self) -> Value {
        json!({
            "name": "pem", "listen_port": self.listen, "listen_address": "127.0.0.1",
            "protocol": "tls", KEY: self.folder().join("presented.pem"),
            "proxy": { "target_url": self.target.address().to_string() },
        })
    }

    fn write(&self, text: &str) {
        std::fs::write(self.folder().join("presented.pem"), text).unwrap();
    }

    /// Texts that can be used: they all hold the same certificate.
    fn good(&self) -> Vec<(&'static str, String)> {
        let Issued { certificate, key, .. } = &self.issued;
        let both = format!("{certificate}{key}");
        vec![
            ("as openssl writes it", both.clone()),
            ("the key first", format!("{key}{certificate}")),
            ("Windows line ends", both.replace('\n', "\r\n")),
            ("a byte order mark", format!("\u{feff}{both}")),
            ("trailing junk", format!("{both}\n# made by hand\0\u{1}")),
            ("text between", format!("subject=CN=a.test\n{certificate}\nBag Attributes\n{key}")),
            ("no line break at the end", both.trim_end().to_owned()),
        ]
    }

    /// Texts that cannot, each with the reason.
    fn bad(&self) -> Vec<(&'static str, String)> {
        let Issued { certificate, key, .. } = &self.issued;
        let other = self.authority.issue(&["other.test"]);
        vec![
            ("its private key does not belong to its first", format!("{certificate}{}", other.key)),
            ("more than one private key", format!("{certificate}{key}{}", other.key)),
            ("no private key beside the certificate", certificate.clone()),
            ("there is no certificate in it", key.clone()),
            ("its private key is encrypted", format!("{certificate}{}", self.encrypted(key))),
            ("`CERTIFICATE` has no end", certificate[..certificate.len() / 2].to_owned()),
            ("is not base64", format!("{}{key}", certificate.replacen("MII", "M*I", 1))),
            ("there is no PEM block in it", "not found\n".to_owned()),
            ("there is no PEM block in it", String::new()),
        ]
    }

    fn encrypted(&self, key: &str) -> String {
        let file = self.folder().join("plain.key");
        std::fs::write(&file, key).unwrap();
        let openssl = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
            .arg(&file)
            .output()
            .expect("openssl is installed: `make test` does that");
        let text = String::from_utf8(openssl.stdout).unwrap();
        assert!(text.contains("ENCRYPTED PRIVATE KEY"), "{text}");
        text
    }

    /// The exit code of `validate`, and what it says; `wrapper` becomes it.
    fn validated(&self, wrapper: &[&str]) -> (Option<i32>, String) {
        let file = self.folder().join("service.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&self.definition()).unwrap()).unwrap();
        let line = [wrapper, &[BINARY, "validate"]].concat();
        let output = Command::new(line[0]).args(&line[1..]).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// `service.json:` and the line on which the certificate is named.
    fn place(&self) -> String {
        let text = serde_json::to_string_pretty(&self.definition()).unwrap();
        let line = text.lines().position(|line| line.contains(KEY)).unwrap();
        format!("service.json:{}", line + 1)
    }

    /// The names of the certificate that is presented to a new client, which is served.
    fn is_served(&self) {
        let trust = Trust::of(&self.authority).forgetful();
        let mut tls = trust.connect(self.listen, "a.test").unwrap();
        assert_eq!(echoed(&mut tls, b"hello"), b"hello");
    }
}

#[test]
fn what_does_no_harm_is_taken() {
    let world = World::new();
    for (how, text) in world.good() {
        world.write(&text);
        let (code, said) = world.validated(&[]);
        assert_eq!(code, Some(0), "{how}: {said}");
        assert!(said.contains("for a.test, good for"), "{how}: {said}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_at_its_place_with_the_reason_and_no_key_is_shown() {
    let world = World::new();
    for (why, text) in world.bad() {
        world.write(&text);
        let (code, said) = world.validated(&[]);
        assert_eq!(code, Some(2), "{why}: {said}");
        assert!(said.contains(why), "{why}: {said}");
        assert!(said.contains(&world.place()), "{why}: {} in {said}", world.place());
        let secret = world.issued.key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "{why}: {said}");
    }
}

#[test]
fn one_that_may_not_be_read_or_is_no_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let file = world.folder().join("presented.pem");
    world.write(&world.good()[0].1);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, unless that right is taken away.
    let bare = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let (code, said) = world.validated(&bare);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("presented.pem cannot be read: this user may not read it"), "{said}");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (code, said) = world.validated(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("it is a folder, not a regular file"), "{said}");
}

#[test]
fn a_reload_that_meets_a_bad_one_keeps_the_old_one_and_the_next_takes_the_good_one() {
    let world = World::new();
    world.write(&world.good()[0].1);
    let stagedoor = Stagedoor::run(&world.definition());
    for (why, text) in world.bad() {
        world.write(&text);
        let output = stagedoor.command(&["reload"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(why), "{why}: {said}");
        world.is_served();
    }
    for (how, text) in world.good() {
        world.write(&text);
        assert!(stagedoor.command(&["reload"]).status.success(), "{how}");
        world.is_served();
    }
}

#[test]
fn a_renewed_one_that_may_not_be_read_changes_nothing_until_it_may() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let file = world.folder().join("presented.pem");
    world.write(&world.good()[0].1);
    let bare = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let stagedoor = Stagedoor::run_under(&bare, &[&world.definition()], &[]);
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&file, mode(0o000)).unwrap();
    let line = stagedoor.logged("it cannot be read: this user may not read it");
    assert!(line.contains("stays in use"), "{line}");
    world.is_served();
    let renewed = world.authority.issue(&["a.test", "renewed.test"]);
    std::fs::copy(&renewed.path, &file).unwrap();
    std::fs::set_permissions(&file, mode(0o600)).unwrap();
    stagedoor.logged("renewed: a.test, renewed.test");
    eventually("the fault is gone", || {
        let status = stagedoor.json(&["status"]);
        status["services"][0]["certificates"][0]["fault"].is_null().then_some(())
    });
    world.is_served();
}
