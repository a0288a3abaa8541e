//! What a user writes: every mistake is a clear error with its file, line and key, and exit 2.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tokio::time::Instant;

/// A folder of files that go away with it.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    /// `stagedoor validate` of these files, run in their folder.
    pub(crate) fn validate(&self, names: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stagedoor"))
            .arg("validate")
            .args(names)
            .current_dir(self.0.path())
            .env_remove("NO_COLOR")
            .output()
            .unwrap()
    }
}

/// What a definition needs besides what a row of a table is about.
pub(crate) const TARGET: &str = r#""proxy": { "target_url": "127.0.0.1:7001" }"#;

/// `validate` refuses this text, and says all of this about it.
#[track_caller]
pub(crate) fn refused(name: &str, text: &str, expected: &[&str]) {
    let files = Files::new();
    let output = files.write(name, text).validate(&[name]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text:.200}\n{said}");
    for expected in expected {
        assert!(said.contains(expected), "{text:.200}\nmisses {expected:?} in:\n{said}");
    }
}

/// A JSON definition whose further keys are refused.
#[track_caller]
pub(crate) fn key_refused(keys: &str, expected: &[&str]) {
    refused("f.json", &format!("{{ {keys} }}"), expected);
}

/// A definition with this `uptime_tests.check_list[0].commands`.
#[track_caller]
fn commands_refused(commands: &str, expected: &[&str]) {
    let text = format!(
        "{{ \"listen_port\": 1, {TARGET}, \"uptime_tests\": {{ \"check_list\": [\n\
         {{ \"url\": \"127.0.0.1:7001\", \"commands\": [\n{commands}\n] }} ] }} }}"
    );
    refused("f.json", &text, expected);
}

#[test]
fn text_that_is_neither_json_nor_toml_is_refused() {
    refused("f.json", "{\n  \"a\": ,\n}", &["f.json:2:8", "this is not JSON"]);
    refused("f.json", "{\n  // a comment\n}", &["f.json:2:3", "JSON has no comments"]);
    refused("f.json", "{ \"active\": true, }", &["f.json:1:17", "nothing after it"]);
    refused("f.json", "", &["f.json", "nothing here"]);
    refused("f.json", "[]", &["f.json:1:1", "expected a table, found a list"]);
    refused("f.json", "{ \"name\": \"a\", \"name\": \"b\" }", &["f.json:1:16", "written twice"]);
    refused("f.json", "{ \"listen_port\": 1e400 }", &["f.json:1:18", "listen_port", "too large"]);
    refused("f.json", &"[".repeat(100_000), &["f.json:1:", "nested far too deep"]);
    refused("f.json", "{\"a\":\0}", &["f.json", "NUL"]);
    refused("f.json", "\u{feff}{}", &["f.json", "byte order mark"]);
    refused("f.toml", "a = = 1", &["f.toml:1:5", "this is not TOML"]);
    refused("f.toml", "name = \"a\"\nname = \"b\"", &["f.toml:2:1"]);
    refused("f.toml", &format!("a = {}", "[".repeat(100_000)), &["f.toml:1:", "not TOML"]);
    refused("f.txt", "{}", &["f.txt", "neither in .json nor in .toml"]);
}

#[test]
fn the_pages_misprinted_check_gets_a_hint() {
    refused(
        "f.json",
        "{\n\"uptime_tests\": {\n\"check_list\": [\n{ \"url\": \"127.0.0.1:6379\" },\n    \"commands\": []\n]\n}\n}",
        &["f.json:5:15", "`commands` stands outside the object of its check", "inside the braces"],
    );
}

#[test]
fn keys_are_known_or_refused() {
    key_refused(
        &format!("\"listenport\": 1, {TARGET}"),
        &["f.json:1:3", "listenport", "did you mean `listen_port`?"],
    );
    key_refused(
        &format!("\"listen_port\": 1, \"retries\": 1, {TARGET}"),
        &["f.json:1:21", "it belongs into `proxy`"],
    );
    key_refused(
        "\"listen_port\": 1, \"proxy\": { \"target_list\": [{ \"url\": \"a:1\", \"wight\": 2 }] }",
        &["proxy.target_list[0].wight", "did you mean `weight`?"],
    );
    refused(
        "f.toml",
        "listen_port = 1\n[proxy]\ntarget_url = \"a:1\"\nballance = \"first\"",
        &["f.toml:4:1", "proxy.ballance", "did you mean `balance`?"],
    );
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    for port in ["0", "65536", "70000", "-1", "\"6379\"", "6379.5", "null", "true"] {
        key_refused(&format!("\"listen_port\": {port}, {TARGET}"), &["f.json:1:", "listen_port"]);
    }
    key_refused("\"listen_port\": \"6379\"", &["f.json:1:18", "write 6379 without quotes"]);
    key_refused(TARGET, &["listen_port", "is missing"]);
    for port in ["0", "70000", "-1", "", "x"] {
        key_refused(
            &format!("\"listen_port\": 1, \"proxy\": {{ \"target_url\": \"a:{port}\" }}"),
            &["f.json:1:46", "proxy.target_url", "port"],
        );
    }
}

#[test]
fn a_service_has_a_target() {
    key_refused("\"listen_port\": 1", &["f.json", "the service has no target"]);
    key_refused(
        "\"listen_port\": 1, \"proxy\": { \"target_list\": [] }",
        &["f.json:1:47", "proxy.target_list", "the list of targets is empty"],
    );
    key_refused(
        "\"listen_port\": 1, \"proxy\": { \"target_url\": \"http://a:1\" }",
        &["proxy.target_url", "`http://` is no scheme of a TCP target"],
    );
    key_refused(
        "\"listen_port\": 1, \"proxy\": { \"target_url\": \"127.0.0.1:1\" }",
        &["a target is this service itself"],
    );
}

#[test]
fn values_are_what_their_keys_ask_for() {
    let proxy = |keys: &str, expected: &[&str]| {
        let text = format!("\"listen_port\": 1, \"proxy\": {{ \"target_url\": \"a:1\", {keys} }}");
        key_refused(&text, expected);
    };
    proxy("\"connect_timeout\": \"5\"", &["f.json:1:72", "proxy.connect_timeout", "has no unit"]);
    proxy("\"connect_timeout\": \"fast\"", &["proxy.connect_timeout", "is no duration"]);
    proxy("\"connect_timeout\": -1", &["proxy.connect_timeout", "-1 is not a duration"]);
    proxy("\"connect_timeout\": 0", &["proxy.connect_timeout", "cannot be 0"]);
    proxy("\"retries\": 101", &["proxy.retries", "from 0 to 100"]);
    proxy("\"balance\": \"leadr\"", &["proxy.balance", "did you mean `leader`?"]);
    proxy("\"on_down\": \"drain\"", &["proxy.on_down", "how long"]);
    proxy("\"on_removed\": \"drain:x\"", &["proxy.on_removed", "is no duration"]);
    proxy("\"hold\": [1]", &["proxy.hold", "found a list"]);
    proxy("\"target_url\": \"b:1\"", &["target_url", "written twice"]);
    proxy("\"target_list\": [\"${env:NO_SUCH_VARIABLE}:1\"]", &["NO_SUCH_VARIABLE is not set"]);
    proxy("\"balance\": \"leader\"", &["proxy.balance", "needs `check_host_against_uptime_tests`"]);
    key_refused(
        &format!(
            "\"listen_port\": 1, \"enable_load_balancing\": true, {TARGET}, \
                  \"limits\": {{ \"keep_alive\": {{ \"idle\": \"1500ms\" }} }}"
        ),
        &["limits.keep_alive.idle", "whole seconds"],
    );
    key_refused(
        &format!("\"listen_port\": 1, \"listen_address\": \"localhost\", {TARGET}"),
        &["listen_address", "is no IP address"],
    );
    for (key, expected) in [
        ("\"protocol\": \"tls\"", "needs a certificate"),
        ("\"certificate\": [\"x\"]", "needs TLS"),
        ("\"protocol\": \"tls\", \"certificate\": \"x.pem\"", "x.pem cannot be read"),
        ("\"domain\": \"10.0.0.1\"", "is no SNI name"),
        ("\"tls\": { \"ciphers\": [\"TLS_AES_128_GCM_SHA25\"] }", "needs TLS"),
    ] {
        key_refused(&format!("\"listen_port\": 1, {key}, {TARGET}"), &[expected]);
    }
    let tls = |rest: &str| {
        format!(
            "\"listen_port\": 1, \"protocol\": \"tls\", \"certificate\": \"x\", {rest}, {TARGET}"
        )
    };
    for (key, expected) in [
        ("{ \"ciphers\": [\"TLS_AES_128_GCM_SHA25\"] }", "did you mean `TLS_AES_128_GCM_SHA256`?"),
        ("{ \"ciphers\": [\"TLS_AES_128_GCM_SHA256\"] }", "no cipher suite of TLS 1.2 is left"),
        ("{ \"min_version\": \"1.3\", \"max_version\": \"1.2\" }", "no version is left"),
        ("{ \"min_version\": \"1.1\" }", "min_version"),
    ] {
        key_refused(&tls(&format!("\"tls\": {key}")), &[expected]);
    }
}

#[test]
fn check_scripts_are_read_before_they_run() {
    let refuse = commands_refused;
    refuse("{ \"name\": \"sned\", \"message\": \"x\" }", &["f.json:3:11", "did you mean `send`?"]);
    refuse(
        "{ \"name\": \"send\", \"message\": \"a\\\\q\" }",
        &["f.json:3:30", "`\\q` is no escape"],
    );
    refuse("{ \"name\": \"send\" }", &["commands[0].message", "no `message`"]);
    refuse("{ \"message\": \"x\" }", &["commands[0].name", "`name` is missing"]);
    refuse("{ \"name\": \"expect\", \"message\": \"\" }", &["f.json:3:32", "found in anything"]);
    refuse("{ \"name\": \"expect_regex\", \"message\": \"a(\" }", &["no regular expression"]);
    refuse("{ \"name\": \"expect_regex\", \"message\": \"a*\" }", &["passes on anything"]);
    refuse("{ \"name\": \"expect_hex\", \"message\": \"0\" }", &["half a byte"]);
    refuse("{ \"name\": \"send_hex\", \"message\": \"xy\" }", &["no hexadecimal digit"]);
    refuse("{ \"name\": \"reject\", \"message\": \"x\" }", &["no `expect` follows"]);
    refuse("{ \"name\": \"compare\", \"message\": \"1 = 1\" }", &["no operator"]);
    refuse("{ \"name\": \"wait\", \"message\": \"5\" }", &["has no unit"]);
    refuse("{ \"name\": \"starttls\", \"message\": \"x\" }", &["f.json:3:34", "smtp or postgres"]);
    refuse(
        "{ \"name\": \"starttls\" },\n{ \"name\": \"starttls\" }",
        &["f.json:4:1", "one `starttls`"],
    );
    refuse(
        "{ \"name\": \"expect_regex\", \"message\": \"lag:(?<lag>[0-9]+)\" },\n\
         { \"name\": \"compare\", \"message\": \"${capture.lug} < 10\" }",
        &["f.json:4:33", "nothing before this captures `lug`", "did you mean `${capture.lag}`?"],
    );
    let many = vec!["{ \"name\": \"send\", \"message\": \"x\" }"; 1_001].join(",\n");
    refuse(&many, &["1001 commands are too many"]);
}

#[test]
fn services_do_not_get_in_each_others_way() {
    let files = Files::new();
    let service = |name: &str, keys: &str| format!("{{ \"name\": \"{name}\", {keys}, {TARGET} }}");
    files
        .write("a.json", service("one", "\"listen_port\": 1000"))
        .write("b.json", service("one", "\"listen_port\": 1001"))
        .write("c.json", service("two", "\"listen_port\": 1000"))
        .write("d.json", service("three", "\"listen_port\": 1000, \"active\": false"))
        .write(
            "e.toml",
            "listen_port = 1001\nlisten_address = \"10.0.0.1\"\nproxy.target_url = \"a:1\"",
        )
        .write(
            "f.toml",
            "listen_port = 2000\nlisten_address = \"10.0.0.1\"\nproxy.target_url = \"a:1\"",
        )
        .write(
            "g.toml",
            "listen_port = 2000\nlisten_address = \"10.0.0.2\"\nproxy.target_url = \"a:1\"",
        );
    let output = files.validate(&["."]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for expected in [
        "two services are named one",
        "./b.json:1:11",
        "one and two would both listen on *:1000",
        "./c.json:1:33",
        "one and e would both listen on 10.0.0.1:1001",
        "./e.toml:1:15",
        "3 errors",
    ] {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let files = Files::new();
    files
        .write(
            "a.json",
            "{ \"listen_port\": 0, \"nmae\": 1, \"proxy\": { \"target_url\": \"a\" } }",
        )
        .write("b.toml", "listen_port = 1\nproxy.target_url = \"a:1\"\nproxy.hold = \"x\"\n")
        .write("c.json", "{ \"listen_port\": }");
    let output = files.validate(&["a.json", "b.toml", "c.json", "missing.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "a.json:1:18",
        "a.json:1:21",
        "a.json:1:57",
        "b.toml:3:14",
        "c.json:1:18",
        "missing.json",
        "there is no such file",
        "6 errors",
    ] {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let files = Files::new();
    let fifo = files.path("f.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink("l.json", files.path("l.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", files.path("z.json")).unwrap();
    let huge = std::fs::File::create(files.path("h.json")).unwrap();
    huge.set_len(1 << 30).unwrap();
    let started = Instant::now();
    let output = files.validate(&["f.json", "l.json", "z.json", "h.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(2));
    for expected in ["it is a FIFO", "run in a circle", "it is a device", "larger than 16 MiB"] {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
}

#[test]
fn ten_megabytes_of_nonsense_are_a_short_error() {
    let started = Instant::now();
    let nonsense = "{\"a\": [\"b\", 1], ".repeat(640_000);
    for text in [nonsense, "x".repeat(10 << 20), " ".repeat(10 << 20)] {
        let files = Files::new();
        let output = files.write("f.json", text).validate(&["f.json"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.len() < 4_000, "{}", output.stderr.len());
        assert!(String::from_utf8(output.stderr).unwrap().contains("f.json"));
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn validate_says_how_fast_each_check_notices_what() {
    let definition = r#"{ "listen_port": 1, "enable_load_balancing": true,
        "check_host_against_uptime_tests": true,
        "proxy": { "target_list": ["127.0.0.1:7001", "127.0.0.1:7002"] },
        "uptime_tests": { "commands": [
            { "name": "send", "message": "INFO replication\r\n" },
            { "name": "expect", "message": "role:master" } ] } }"#;
    let files = Files::new();
    let output = files.write("f.json", definition).validate(&["f.json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "notices    a killed target within 0.28 s\n",
        "             a silent target within 3.31 s\n",
        "a promoted one within 0.28 s",
    ] {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
    let output = files.validate(&["f.json", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let worst = &said["services"][0]["checks"][1]["worst_case_ms"];
    assert_eq!((&worst["killed"], &worst["silent"]), (&276.into(), &3_301.into()));
    // Each check by itself, where they differ.
    let differing = r#"{ "listen_port": 1, "proxy": { "target_url": "127.0.0.1:7001" },
        "uptime_tests": { "check_list": [
            { "url": "127.0.0.1:7001", "timeout": "2s" }, { "url": "127.0.0.1:7001" } ] } }"#;
    let output = files.write("g.json", differing).validate(&["g.json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("127.0.0.1:7001: a killed target within 1.33 s, a silent"), "{said}");
}
