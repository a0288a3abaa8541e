//! `stagedoor probe`: a check run once from the command line, step by step.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::port::free_port;
use crate::harness::redis::Redis;
use crate::harness::speaker::{Actor, Then, say, speaker};
use crate::harness::stagedoor::stagedoor;
use crate::harness::target::Target;

/// The check file for a Redis master that ships.
const MASTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/checks/redis-master.toml");

/// Runs `stagedoor probe`; its exit code and what it printed, errors last.
fn probe(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output: Output = stagedoor(&[&["probe"], arguments].concat(), folder);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn check(ran: (Option<i32>, String), code: i32, expected: &[&str]) -> String {
    let (exit, said) = ran;
    assert_eq!(exit, Some(code), "{said}");
    for expected in expected {
        assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
    }
    assert!(!said.contains('\x1b'), "colour, and no terminal:\n{said}");
    said
}

/// A folder with one definition, `service.toml`, of these targets and these lines below
/// `[uptime_tests]`.
fn definition(targets: &str, tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"Redis\"\nlisten_port = 6379\n[proxy]\ntarget_list = [{targets}]\n\
         enable_load_balancing = true\ncheck_host_against_uptime_tests = true\n\
         [uptime_tests]\n{tests}\n"
    );
    std::fs::write(folder.path().join("service.toml"), text).unwrap();
    folder
}

fn commands(list: &[(&str, &str)]) -> String {
    let command =
        |(name, message): &(&str, &str)| format!("{{ name = \"{name}\", message = '{message}' }},");
    format!("commands = [{}]", list.iter().map(command).collect::<String>())
}

fn ping() -> String {
    commands(&[("send", r"PING\r\n"), ("expect", "+PONG")])
}

#[test]
fn a_check_file_tells_a_master_from_its_replica_and_shows_each_step() {
    let (master, here) = (Redis::master(), Path::new("."));
    let replica = Redis::replica_of(&master);
    let at = |redis: &Redis| format!("127.0.0.1:{}", redis.port());
    let steps =
        ["connected", r#"1  send "PING\r\n""#, r#"heard "+PONG\r\n" (7 bytes)"#, "2  expect"];
    let said = check(probe(&[MASTER, "--target", &at(&master)], here), 0, &steps);
    assert!(said.trim_end().ends_with("passed"), "{said}");
    assert!(said.starts_with(&at(&master)), "{said}");
    let wrong = r#"failed: step 4 expect "role:master": the reply was complete without it"#;
    let told = [&steps[..], &[wrong, "role:slave"]].concat();
    check(probe(&[MASTER, "--target", &at(&replica)], here), 1, &told);
}

#[test]
fn every_target_of_a_service_is_probed_or_the_one_that_is_named() {
    let (master, replica) = (Actor::playing("master"), Actor::playing("slave"));
    let targets = format!(
        "{{ url = \"{}\", name = \"one\" }}, {{ url = \"{}\", name = \"two\" }}",
        master.address(),
        replica.address()
    );
    let script = commands(&[("send", r"INFO replication\r\n"), ("expect", "role:master")]);
    let folder = definition(&targets, &script);
    let one = format!("Redis · one ({})", master.address());
    let two = format!("Redis · two ({})", replica.address());
    let run = |more: &[&str]| probe(&[&["service.toml"], more].concat(), folder.path());
    check(run(&[]), 1, &[&one, &two, "role:slave", "1 of 2 checks passed"]);
    let said = check(run(&["--service", "Redis", "--target", "one"]), 0, &[&one, "passed"]);
    assert!(!said.contains("two"), "{said}");
    check(run(&["--target", &replica.address()]), 1, &[&two, "failed: step 2"]);
}

#[test]
fn a_refused_connection_and_a_name_that_is_nobodys_fail() {
    let address = format!("127.0.0.1:{}", free_port());
    let folder = definition(&format!("\"{address}\""), &ping());
    let ran = probe(&["service.toml"], folder.path());
    check(ran, 1, &["failed: connection refused"]);
    let here = Path::new(".");
    let ran = probe(&[MASTER, "--target", "nobody.invalid:1"], here);
    check(ran, 1, &["could not run: `nobody.invalid` cannot be looked up"]);
}

#[test]
fn names_are_looked_up() {
    let target = Actor::playing("master");
    let port = target.address().rsplit_once(':').unwrap().1.to_owned();
    // Where `localhost` is `::1` nobody listens there, which is an answer too.
    let (code, said) = probe(&[MASTER, "--target", &format!("localhost:{port}")], Path::new("."));
    assert!(code == Some(0) || said.contains("connection refused"), "{said}");
}

#[test]
fn a_secret_is_never_shown_even_if_the_target_echoes_it() {
    let target = speaker(|stream, line| say(stream, format!("-ERR {line}\r\n").as_bytes()));
    let script = commands(&[("send", r"AUTH ${file:password}\r\n"), ("expect", "+OK")]);
    let folder = definition(&format!("\"{}\"", target.address()), &script);
    std::fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    for arguments in [&["service.toml"][..], &["service.toml", "--json"]] {
        let said = check(probe(arguments, folder.path()), 1, &["AUTH ***", "-ERR AUTH ***"]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_a_target_says_is_escaped() {
    let target = speaker(|stream, _| {
        say(stream, b"\x1b[31m\x00\xff\n");
        Then::Close
    });
    let folder = definition(&format!("\"{}\"", target.address()), &ping());
    check(probe(&["service.toml"], folder.path()), 1, &[r"\x1b[31m\x00\xff\n"]);
}

#[test]
fn json_is_an_object_a_run() {
    let (master, replica) = (Actor::playing("master"), Actor::playing("slave"));
    let targets = format!("\"{}\", \"{}\"", master.address(), replica.address());
    let script = commands(&[("send", r"INFO replication\r\n"), ("expect", "role:master")]);
    let folder = definition(&targets, &script);
    let said = check(probe(&["service.toml", "--json"], folder.path()), 1, &[]);
    let runs: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.len(), 2, "{said}");
    assert_eq!(runs[0]["service"], "Redis");
    assert_eq!(runs[0]["address"], master.address());
    assert_eq!((&runs[0]["verdict"], &runs[0]["reason"]), (&"passed".into(), &Value::Null));
    assert_eq!(runs[1]["target"], replica.address());
    assert_eq!((&runs[1]["verdict"], &runs[1]["failed_step"]), (&"failed".into(), &2.into()));
    let sent = &runs[1]["entries"][1];
    assert_eq!(
        (&sent["event"], &sent["step"], &sent["bytes"]),
        (&"sent".into(), &1.into(), &18.into())
    );
    assert!(runs[1]["took_ms"].is_f64() && sent["at_ms"].is_f64(), "{said}");
}

#[test]
fn http_checks_are_probed_too() {
    let target = speaker(|stream, line| {
        if !line.is_empty() {
            return Then::Listen;
        }
        say(stream, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Then::Close
    });
    let address = target.address();
    let check_list = |status: u16| {
        format!("check_list = [{{ url = \"http://{address}/primary\", expect_status = {status} }}]")
    };
    for (status, code, expected) in [(503, 0, "passed"), (200, 1, "failed: ")] {
        let folder = definition(&format!("\"{address}\""), &check_list(status));
        check(probe(&["service.toml"], folder.path()), code, &[expected, "503"]);
    }
}

#[test]
fn a_wrong_choice_or_configuration_ends_with_2_and_says_what_is_right() {
    let folder = definition("\"127.0.0.1:1\"", &ping());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bad.toml", "commands = [{ name = \"sned\", message = \"x\" }]");
    write("good.toml", "commands = [{ name = \"send\", message = \"x\" }]");
    write("plain.toml", "listen_port = 2\n[proxy]\ntarget_url = \"127.0.0.1:1\"\n");
    let refused = |arguments: &[&str], expected: &[&str]| {
        check(probe(arguments, folder.path()), 2, expected);
    };
    refused(&["none.toml"], &["none.toml", "no such file"]);
    refused(&["bad.toml", "--target", "127.0.0.1:1"], &["bad.toml:1:", "send"]);
    refused(&["good.toml"], &["--target host:port"]);
    refused(&["good.toml", "--target", "127.0.0.1"], &["the port is missing"]);
    refused(&["good.toml", "--target", "a:1", "--service", "x"], &["leave --service out"]);
    refused(&["plain.toml"], &["plain has no checks"]);
    refused(&["plain.toml", "service.toml"], &["--service", "Redis", "plain"]);
    refused(&["service.toml", "--service", "Redsi"], &["did you mean `Redis`?"]);
    refused(&["service.toml", "--target", "127.0.0.1:2"], &["no checked target", "127.0.0.1:1"]);
}

#[test]
fn watch_has_a_line_a_run_and_the_whole_transcript_at_a_change() {
    let target = Actor::playing("slave");
    let script = commands(&[("send", r"INFO replication\r\n"), ("expect", "role:master")]);
    let tests = format!("{script}\nconfig.interval = \"20ms\"");
    let folder = definition(&format!("\"{}\"", target.address()), &tests);
    let mut child = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["probe", "service.toml", "--watch"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut wait_for = |text: &str| {
        let found = lines.find(|line| line.contains(text));
        assert!(found.is_some(), "misses {text:?}");
    };
    wait_for("connected");
    wait_for("failed: step 2");
    wait_for("still failed at step 2");
    target.plays("master");
    wait_for("connected");
    wait_for("  passed");
    wait_for("still passed");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Read on, so that it is the signal that ends it and not a reader that went away.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_target_that_says_nothing_fails_in_time() {
    let target = Target::echo();
    let tests = format!("{}\nconfig.timeout = \"50ms\"", ping());
    let folder = definition(&format!("\"{}\"", target.address()), &tests);
    check(probe(&["service.toml"], folder.path()), 1, &["step 2 expect \"+PONG\": ", "PING"]);
}
