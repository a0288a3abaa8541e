//! Checkers on the real binary: targets that misbehave in every way beside good ones, and what a
//! check can ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::reset;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::process::Meter;
use crate::harness::speaker::{Actor, Then, info, say, speaker};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A service without a leader, whose targets are called as told and checked by the page's script.
fn definition(targets: &[(&str, String)]) -> Value {
    let entry = |(name, url): &(&str, String)| json!({ "url": url, "name": name });
    json!({
        "name": "checked", "listen_port": free_port(), "listen_address": "127.0.0.1",
        "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "balance": "round_robin",
            "target_list": targets.iter().map(entry).collect::<Vec<_>>(),
        },
        "uptime_tests": {
            "config": { "interval": "100ms", "timeout": "600ms" },
            "commands": [
                { "name": "send", "message": "PING\r\n" },
                { "name": "expect", "message": "+PONG" },
                { "name": "send", "message": "info  replication\r\n" },
                { "name": "expect", "message": "role:master" },
                { "name": "send", "message": "QUIT\r\n" },
                { "name": "send", "message": "+OK" },
            ],
        },
    })
}

/// A service of one target with one check.
fn one(target: &Target, check: &Value) -> Value {
    let mut definition = definition(&[("it", target.address())]);
    let mut check = check.clone();
    check["url"] = check.get("url").cloned().unwrap_or_else(|| json!(target.address()));
    definition["uptime_tests"] = json!({
        "config": { "interval": "100ms", "timeout": "600ms" }, "check_list": [check],
    });
    definition
}

/// What `status --json` says of a target.
fn target(stagedoor: &Stagedoor, name: &str) -> Value {
    let status = stagedoor.json(&["status"]);
    let targets = status["services"][0]["targets"].as_array().unwrap().clone();
    targets.into_iter().find(|target| target["name"] == name).unwrap()
}

/// The one check of the one target makes it this, for this reason.
#[track_caller]
fn check(definition: &Value, health: &str, reason: &str) -> Value {
    let stagedoor = Stagedoor::run(definition);
    let line = stagedoor.logged("target it is ");
    assert!(line.contains(&format!("target it is {health}: {reason}")), "{line}");
    let shown = target(&stagedoor, "it");
    assert_eq!(shown["health"], health, "{shown}");
    let verdict = shown["checks"][0]["verdict"].as_str().unwrap();
    assert!(verdict.contains(reason), "{shown}");
    shown
}

fn script(commands: &[(&str, &str)]) -> Value {
    let command = |(name, message): &(&str, &str)| json!({ "name": name, "message": message });
    json!({ "commands": commands.iter().map(command).collect::<Vec<_>>() })
}

fn hold_open(mut stream: TcpStream) {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}

/// Speaks Redis, but sends each answer in its own way.
fn redis_that(send: impl Fn(&mut TcpStream, &[u8]) -> Then + Send + Sync + 'static) -> Target {
    speaker(move |stream, line| match line.split(' ').next() {
        Some("PING") => send(stream, b"+PONG\r\n"),
        Some("info") => send(stream, info("master").as_bytes()),
        Some(_) | None => Then::Close,
    })
}

fn flood() -> Target {
    Target::new(|mut stream| while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {})
}

fn drip() -> Target {
    Target::new(|mut stream| {
        while stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(200));
        }
    })
}

fn closes_when_it_hears(word: &'static str) -> Target {
    speaker(move |stream, line| match line.split(' ').next() {
        Some(heard) if heard == word => Then::Close,
        Some("PING") => say(stream, b"+PONG\r\n"),
        Some(_) | None => Then::Close,
    })
}

fn resets_after_its_answer() -> Target {
    speaker(|stream, line| match line.split(' ').next() {
        Some("PING") => say(stream, b"+PONG\r\n"),
        Some(_) | None => {
            say(stream, info("master").as_bytes());
            Then::Reset
        }
    })
}

fn byte_by_byte() -> Target {
    redis_that(|stream, answer| {
        stream.set_nodelay(true).unwrap();
        for byte in answer {
            if say(stream, &[*byte]) == Then::Close {
                return Then::Close;
            }
            std::thread::yield_now();
        }
        Then::Listen
    })
}

fn both_answers_at_once() -> Target {
    speaker(|stream, line| match line {
        "PING" => say(stream, format!("+PONG\r\n{}", info("master")).as_bytes()),
        _ => Then::Listen,
    })
}

fn a_megabyte_first() -> Target {
    redis_that(|stream, answer| {
        if answer.starts_with(b"+") {
            return say(stream, answer);
        }
        say(stream, &[b"$1000011\r\n", &[b'y'; 1_000_000][..], b"role:master\r\n"].concat())
    })
}

#[test]
fn targets_that_misbehave_get_their_verdicts_and_cost_no_other_a_check() {
    let master = || Actor::playing("master");
    let (first, second, slave) = (master(), master(), Actor::playing("slave"));
    let silent = Target::new(hold_open);
    let evil = [
        ("flood", flood()),
        ("drip", drip()),
        ("hangs up", Target::new(drop)),
        ("no ping", closes_when_it_hears("PING")),
        ("no info", closes_when_it_hears("info")),
        ("resets", Target::new(hold_open_then_reset)),
        ("rst after", resets_after_its_answer()),
        ("bytes", byte_by_byte()),
        ("at once", both_answers_at_once()),
        ("megabyte", a_megabyte_first()),
    ];
    let mut targets = vec![
        ("first", first.address()),
        ("silent", silent.address()),
        ("slave", slave.address()),
        ("refuses", format!("127.0.0.1:{}", free_port())),
        ("second", second.address()),
    ];
    targets.extend(evil.iter().map(|(name, target)| (*name, target.address())));
    let stagedoor = Stagedoor::run(&definition(&targets));
    for (name, verdict) in [
        ("first", "up: passed"),
        ("second", "up: passed"),
        ("silent", r#"down: step 2 expect "+PONG": not in time (heard nothing)"#),
        ("flood", r#"down: step 2 expect "+PONG": 64 KiB came without it (heard "xxxx"#),
        ("drip", r#"down: step 2 expect "+PONG": not in time (heard "xx"#),
        // Our question is unread when it closes, which may be heard as a reset.
        ("hangs up", "down: step "),
        ("no ping", r#"down: step 2 expect "+PONG": the target closed the connection first"#),
        ("no info", r#"down: step 4 expect "role:master": the target closed the connection first"#),
        ("resets", r#"down: step 2 expect "+PONG": connection reset by the target"#),
        ("rst after", "up: passed"),
        ("bytes", "up: passed"),
        ("at once", "up: passed"),
        ("megabyte", r#"down: step 4 expect "role:master": 64 KiB came without it (heard "yyy"#),
        ("slave", r#"down: step 4 expect "role:master": the reply was complete without it"#),
        ("refuses", "down: connection refused"),
    ] {
        let line = stagedoor.logged(&format!("target {name} is "));
        assert!(line.contains(verdict), "{line}");
    }
    let shown = target(&stagedoor, "slave");
    let transcript = shown["checks"][0]["transcript"].as_str().unwrap();
    for part in ["send \"PING\\r\\n\"", "expect \"+PONG\": met", "role:slave", "failed: step 4"] {
        assert!(transcript.contains(part), "{part} in {transcript}");
    }
    assert!(shown["checks"][0]["changed_by"].as_str().unwrap().contains("role:slave"), "{shown}");
    stay_on_time(&stagedoor, &silent, [&first, &second]);
}

fn hold_open_then_reset(mut stream: TcpStream) {
    // What is unread would make even a close a reset; this is one on purpose.
    drop(stream.read(&mut [0; 64]));
    reset(stream);
}

/// While the silent one uses up its timeout six times, the good ones are asked at their own pace.
fn stay_on_time(stagedoor: &Stagedoor, silent: &Target, good: [&Actor; 2]) {
    let (rounds, meter) = (silent.accepted(), Meter::start(stagedoor));
    let before = good.map(|actor| actor.target().accepted());
    eventually("the silent one is asked again", || (silent.accepted() >= rounds + 6).then_some(()));
    println!("ten evil targets: processor {:.1} %", 100.0 * meter.share());
    for (actor, before) in good.iter().zip(before) {
        let asked = actor.target().accepted() - before;
        assert!(asked > 12, "asked {asked} times while a silent target was asked 6 times");
    }
}

#[test]
fn no_command_at_all_asks_only_whether_one_can_connect() {
    let silent = Target::new(hold_open);
    check(&one(&silent, &json!({ "commands": [] })), "up", "passed");
    let nobody = format!("127.0.0.1:{}", free_port());
    let elsewhere = json!({ "url": nobody, "target": silent.address(), "commands": [] });
    check(&one(&silent, &elsewhere), "down", "connection refused");
}

#[test]
fn a_check_may_ask_another_port_than_the_targets() {
    let (silent, slave) = (Target::new(hold_open), Actor::playing("slave"));
    let mut elsewhere = script(&[("send", "info\r\n"), ("expect", "role:slave")]);
    elsewhere["url"] = json!(slave.address());
    elsewhere["target"] = json!(silent.address());
    check(&one(&silent, &elsewhere), "up", "passed");
    assert_eq!(silent.accepted(), 0, "only the check's own port is asked");
}

#[test]
fn a_reject_fails_at_once_and_says_what_was_heard() {
    let slave = speaker(|stream, _| say(stream, b"I am not a redis\r\nrole:slave\r\n"));
    let asked = script(&[("send", "?\r\n"), ("reject", "role:slave"), ("expect", "role:master")]);
    let mut definition = one(&slave, &asked);
    // It would be waited for long: framing does not help on a protocol that is not RESP.
    definition["uptime_tests"]["config"]["timeout"] = json!("1h");
    check(&definition, "down", r#"step 2 reject "role:slave": was heard"#);
}

#[test]
fn what_a_regex_captures_is_compared_and_sent() {
    let lag = |lag: &'static str| {
        speaker(move |stream, line| match line {
            "LAG" => say(stream, format!("lag={lag};\n").as_bytes()),
            _ => say(stream, format!("you say {line}\n").as_bytes()),
        })
    };
    let asked = script(&[
        ("send", "LAG\r\n"),
        ("expect_regex", "lag=(?<lag>[0-9]+);"),
        ("compare", "${capture.lag} < 10"),
        ("send", "lag ${capture.lag} at ${target.host}\r\n"),
        ("expect", "you say lag ${capture.lag} at 127.0.0.1"),
    ]);
    check(&one(&lag("7"), &asked), "up", "passed");
    let reason = r#"step 3 compare ${capture.lag} < 10: does not hold ("70" < "10")"#;
    check(&one(&lag("70"), &asked), "down", reason);
}

#[test]
fn a_target_may_be_expected_to_close() {
    let asked = script(&[("send", "QUIT\r\n"), ("expect_close", "")]);
    check(&one(Actor::playing("master").target(), &asked), "up", "passed");
    let stays = speaker(|stream, _| say(stream, b"why?\r\n"));
    check(&one(&stays, &asked), "down", "step 2 expect_close: not in time");
}

#[test]
fn zero_bytes_and_what_is_no_text_are_sent_and_expected_in_hex() {
    let binary = Target::new(|mut stream| {
        let mut asked = [0; 4];
        if stream.read_exact(&mut asked).is_ok() && asked == [0, 0xff, b'\r', b'\n'] {
            say(&mut stream, b"\x00\xfe\r\n");
        }
        hold_open(stream);
    });
    let asked = script(&[("send_hex", "00 ff 0d 0a"), ("expect_hex", "00fe0d0a")]);
    check(&one(&binary, &asked), "up", "passed");
    let escaped = script(&[("send", "\\x00\\xff\\r\\n"), ("expect", "\\x00\\xfe\\r\\n")]);
    check(&one(&binary, &escaped), "up", "passed");
}

#[test]
fn a_thousand_commands_are_run() {
    let echo = Target::echo();
    let round = [("send", "ping\n"), ("expect", "ping\n")];
    check(&one(&echo, &script(&round.repeat(500))), "up", "passed");
}

#[test]
fn an_http_check_expects_a_status() {
    let http = |status: &'static str| {
        speaker(move |stream, line| {
            if !line.is_empty() {
                return Then::Listen;
            }
            say(stream, format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes())
        })
    };
    let asked = |target: &Target, expected: Value| {
        let url = format!("http://{}/health?full", target.address());
        one(target, &json!({ "url": url, "expect_status": expected }))
    };
    let (fine, busy) = (http("204 No Content"), http("503 Service Unavailable"));
    check(&asked(&fine, json!("2xx")), "up", "passed");
    check(&asked(&fine, json!([200, 204])), "up", "passed");
    check(&asked(&fine, json!(200)), "down", "answered with status 204");
    check(&asked(&busy, json!("200-299")), "down", "answered with status 503");
    let silent = Target::new(hold_open);
    check(&asked(&silent, json!(200)), "down", "no answer in time");
}

#[test]
fn a_check_of_nobodys_runs_and_is_shown_with_a_warning() {
    let (good, nobody) = (Actor::playing("master"), Actor::playing("slave"));
    let mut definition = one(good.target(), &json!({ "commands": [] }));
    let list = definition["uptime_tests"]["check_list"].as_array_mut().unwrap();
    let mut stray = script(&[("send", "INFO\r\n"), ("expect", "role:master")]);
    stray["url"] = json!(nobody.address());
    list.push(stray);
    let stagedoor = Stagedoor::run(&definition);
    let shown = eventually("it has run", || {
        let shown = stagedoor.json(&["status"])["services"][0]["stray_checks"][0].clone();
        shown["verdict"].as_str().is_some().then_some(shown)
    });
    assert_eq!(shown["address"], nobody.address());
    assert!(shown["verdict"].as_str().unwrap().contains("role:slave"), "{shown}");
    assert_eq!(target(&stagedoor, "it")["health"], "up");
    let warned =
        format!("no target is at {}: the check runs, and decides nothing", nobody.address());
    assert!(stagedoor.log().join("\n").contains(&warned), "{:?}", stagedoor.log());
    let text = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(
        text.contains(&format!("a check of {}, which is no target", nobody.address())),
        "{text}"
    );
}

#[test]
fn a_target_without_a_check_among_checked_ones_is_served_with_a_warning() {
    let (checked, unchecked) = (Actor::playing("slave"), Target::numbered(7));
    let targets = [("checked", checked.address()), ("free", unchecked.address())];
    let mut definition = definition(&targets);
    let commands = definition["uptime_tests"]["commands"].take();
    let check = json!({ "url": checked.address(), "commands": commands });
    definition["uptime_tests"] = json!({ "check_list": [check] });
    let stagedoor = Stagedoor::run(&definition);
    let listen = definition["listen_port"].as_u64().unwrap();
    for _ in 0..4 {
        let listen = u16::try_from(listen).unwrap();
        assert_eq!(crate::harness::client::exchange(listen, b"").0, b"7");
    }
    assert_eq!(target(&stagedoor, "free")["health"], "unchecked");
    let warned = "free has no check: it gets connections whatever becomes of it";
    assert!(stagedoor.log().join("\n").contains(warned), "{:?}", stagedoor.log());
}
