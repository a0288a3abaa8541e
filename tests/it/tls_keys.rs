//! What a user writes of TLS to targets: every mistake is an error with its key, before anything
//! starts.

use serde_json::{Value, json};

use crate::harness::identity::{Authority, Identity};
use crate::harness::stagedoor::stagedoor;

/// `validate` of a definition, in the authority's folder: its exit code, and what it says.
fn validate(definition: &Value, authority: &Authority) -> (Option<i32>, String) {
    let text = serde_json::to_string_pretty(definition).unwrap();
    std::fs::write(authority.folder().join("a.json"), text).unwrap();
    let output = stagedoor(&["validate", "a.json"], authority.folder());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A definition with one target over TLS, and more.
fn with(more: &Value) -> Value {
    let mut definition = json!({
        "listen_port": 6379,
        "proxy": { "target_url": "tls://redis.test:6380", "transport": { "ssl_ca": "ca.pem" } },
    });
    for (key, value) in more.as_object().unwrap() {
        match key.strip_prefix("transport.") {
            Some(key) => definition["proxy"]["transport"][key] = value.clone(),
            None => definition[key] = value.clone(),
        }
    }
    definition
}

#[track_caller]
fn check(more: &Value, code: i32, expected: &[&str]) {
    let authority = Authority::new();
    Identity::self_signed(&["me"]).file_in(authority.folder(), "me.pem");
    std::fs::write(authority.folder().join("junk.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
    let (found, said) = validate(&with(more), &authority);
    assert_eq!(found, Some(code), "{more}\n{said}");
    for expected in expected {
        assert!(said.contains(expected), "{more} misses {expected:?} in:\n{said}");
    }
    assert!(!said.contains("PRIVATE KEY"), "{said}");
}

#[track_caller]
fn refused(more: &Value, expected: &[&str]) {
    check(more, 2, expected);
}

#[test]
fn a_pin_that_says_nothing_or_nonsense_is_refused() {
    let pin = |pin: Value, why: &str| {
        let key = "pinned_public_keys.\"redis.test\"";
        refused(&json!({ "pinned_public_keys": { "redis.test": pin } }), &[key, why]);
    };
    let good = "0".repeat(64);
    pin(json!(""), "it is empty");
    pin(json!(format!("{good},")), "it is empty");
    pin(json!([]), "there is no pin");
    pin(json!([good, " "]), "it is empty");
    pin(json!({ "keys": [], "pin_only": true }), "there is no pin");
    pin(json!({ "pin_only": true }), "`keys` is missing");
    pin(json!(&good[1..]), "a SHA-256 has 64 hexadecimal digits, and this has 63");
    pin(json!("sha256/AQID"), "not 32 bytes in base64");
    pin(json!("sha1/AQID"), "a pin is a SHA-256, not a SHA-1");
    pin(json!("AB:CD"), "the fingerprint of a certificate");
    pin(json!("no.pem"), "this is no pin, and no file: no.pem");
    pin(json!("junk.pem"), "the PEM block `CERTIFICATE` has no end");
    pin(json!(7), "found a number");
    for (host, why) in [
        ("redis.test:6380", "has no port"),
        ("*:1", "a `*` stands for the first label"),
        ("a b", "is no host name"),
    ] {
        refused(&json!({ "pinned_public_keys": { host: good } }), &[why]);
    }
    let twice = json!({ "redis.test": good, "REDIS.test.": good });
    refused(&json!({ "pinned_public_keys": twice }), &["redis.test has two entries"]);
}

#[test]
fn a_certificate_of_our_own_has_its_key() {
    let shown = |reference: &str, why: &str| {
        let key = "upstream_certificates.\"*\"";
        refused(&json!({ "upstream_certificates": { "*": reference } }), &[key, why]);
    };
    shown("no.pem", "no.pem cannot be read: there is no such file");
    shown("ca.pem", "ca.pem cannot be used: there is no private key beside the certificate");
    shown("junk.pem", "has no end");
    shown(&"0".repeat(64), "there is no certificate 0000");
    let (one, other) = (Identity::self_signed(&["a"]).pem(), Identity::self_signed(&["b"]).pem());
    let certificate = one.split("-----BEGIN PRIVATE").next().unwrap();
    let key = &other[other.find("-----BEGIN PRIVATE").unwrap()..];
    refused(
        &json!({ "upstream_certificates": { "*": "${file:both.pem}" } }),
        &["upstream_certificates.\"*\"", "both.pem"],
    );
    let authority = Authority::new();
    std::fs::write(authority.folder().join("both.pem"), format!("{certificate}{key}")).unwrap();
    let more = json!({ "upstream_certificates": { "*": "${file:both.pem}" } });
    let (code, said) = validate(&with(&more), &authority);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("does not belong to its first certificate"), "{said}");
    std::fs::write(authority.folder().join("both.pem"), one).unwrap();
    assert_eq!(validate(&with(&more), &authority).0, Some(0));
}

#[test]
fn the_keys_of_transport_are_held_to_what_can_be_done() {
    let one = |key: &str, value: Value, why: &[&str]| {
        refused(&json!({ format!("transport.{key}"): value }), why);
    };
    one("ssl_ca", json!("junk.pem"), &["proxy.transport.ssl_ca", "junk.pem", "has no end"]);
    one("ssl_ca", json!(["ca.pem", "no.pem"]), &["no.pem cannot be read"]);
    one("ssl_min_version", json!("1.1"), &["TLS 1.0 and 1.1 are broken"]);
    one("ssl_min_version", json!(769), &["TLS 1.0 and 1.1 are broken"]);
    one("ssl_max_version", json!("1.4"), &["this is no version of TLS", "\"1.2\" or \"1.3\""]);
    one("ssl_server_name", json!("a b"), &["this is no host name"]);
    one("ssl_server_name", json!("${client.sni}"), &["clients of this service ask for no name"]);
    one("ssl_server_name", json!("${client.name}"), &["`${client.name}` means nothing here"]);
    one("ssl_alpn", json!([""]), &["ssl_alpn[0]", "1 to 255 bytes"]);
    let only = json!(["TLS_RSA_WITH_AES_128_CBC_SHA"]);
    one("ssl_ciphers", only, &["no cipher suite of TLS 1.2 is left", "is not spoken here"]);
    let crossed = json!({ "transport.ssl_min_version": 772, "transport.ssl_max_version": "1.2" });
    refused(&crossed, &["no version is left"]);
}

#[test]
fn what_gives_something_away_or_does_nothing_is_warned_of() {
    check(
        &json!({ "transport.ssl_insecure_skip_verify": true }),
        0,
        &["warning: proxy.transport.ssl_insecure_skip_verify", "whoever they are"],
    );
    check(
        &json!({ "transport.ssl_force_common_name_check": true }),
        0,
        &["the common name of a certificate is not looked at"],
    );
    check(
        &json!({ "pinned_public_keys": { "reds.test": "0".repeat(64) } }),
        0,
        &["reds.test is no target that TLS is spoken to"],
    );
    let plain = json!([{ "url": "tcp://redis.test:6380" }]);
    check(
        &json!({ "uptime_tests": { "check_list": plain } }),
        0,
        &["spoken to over TLS, and this check asks in the clear"],
    );
}

#[test]
fn what_is_right_is_accepted_as_people_write_it() {
    let pin = "0".repeat(64);
    check(
        &json!({
            "pinned_public_keys": {
                "Redis.TEST": format!("{pin}, me.pem"), "*.test": ["ca.pem"], "*": pin,
            },
            "upstream_certificates": { "*": "me.pem", "redis.test:6380": "me.pem" },
            "transport.ssl_ca": ["ca.pem", "me.pem"],
            "transport.ssl_min_version": 771, "transport.ssl_max_version": "1.3",
            "transport.ssl_server_name": "Redis.test.", "transport.ssl_alpn": ["redis"],
            "transport.ssl_ciphers": ["tls_ecdhe_rsa_with_aes_128_gcm_sha256"],
        }),
        0,
        &[],
    );
}

#[test]
fn a_system_without_authorities_is_told_what_to_do() {
    let authority = Authority::new();
    let text = json!({ "listen_port": 6379, "proxy": { "target_url": "tls://redis.test:6380" } });
    std::fs::write(authority.folder().join("a.json"), text.to_string()).unwrap();
    let output = std::process::Command::new(crate::harness::stagedoor::BINARY)
        .args(["validate", "a.json"])
        .current_dir(authority.folder())
        .env("SSL_CERT_FILE", "none.pem")
        .env("SSL_CERT_DIR", "none")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for expected in ["proxy.target_url", "knows no authority", "ca-certificates", "ssl_ca"] {
        assert!(said.contains(expected), "{said}");
    }
}
