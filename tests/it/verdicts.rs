//! What becomes of verdicts: wrong answers, flapping, several claimants, trouble of our own, and
//! checks that a reload removes.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::{Value, json};

use crate::harness::client::{connect, echoed, exchange};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::speaker::{Actor, Then, info, say, speaker};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A service of checked targets; each check is asked at `judge`.
fn definition(listen: u16, targets: &[(&Target, &Target)]) -> Value {
    let check = |(target, judge): &(&Target, &Target)| {
        json!({ "url": judge.address(), "target": target.address(), "commands": [
            { "name": "send", "message": "INFO\r\n" },
            { "name": "expect", "message": "role:master" },
        ] })
    };
    json!({
        "name": "judged", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "balance": "round_robin",
            "target_list": targets.iter().map(|(target, _)| target.address()).collect::<Vec<_>>(),
        },
        "uptime_tests": {
            "config": { "interval": "40ms", "fast_interval": "40ms", "timeout": "10s" },
            "check_list": targets.iter().map(check).collect::<Vec<_>>(),
        },
    })
}

/// Waits until `target` has been asked so many times more.
fn asked_more(target: &Target, times: usize) {
    let before = target.accepted();
    eventually("checks go on", || (target.accepted() >= before + times).then_some(()));
}

fn health(stagedoor: &Stagedoor, index: usize) -> Value {
    stagedoor.json(&["status"])["services"][0]["targets"][index]["health"].clone()
}

fn count(stagedoor: &Stagedoor, text: &str) -> usize {
    stagedoor.log().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_wrong_answer_is_known_in_one_round_trip_and_one_is_enough() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("master"), free_port());
    let mut definition = definition(listen, &[(&target, judge.target())]);
    // Were it waited for, or counted, it would not be known for hours.
    definition["uptime_tests"]["config"]["timeout"] = json!("1h");
    definition["uptime_tests"]["config"]["fall"] = json!(1_000);
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged("is up");
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"x"), b"x");
    let mark = stagedoor.mark();
    judge.plays("slave");
    let line = stagedoor.logged_after(mark, "is down");
    assert!(line.contains("role:slave") && line.contains("role:master"), "{line}");
    // A session on a target that went down is closed.
    assert!(matches!(session.read(&mut [0]), Ok(0) | Err(_)));
    judge.plays("master");
    stagedoor.logged_after(mark, "is up");
    assert_eq!(exchange(listen, b"again").0, b"again");
}

/// A judge that says yes and no in turns; no is said in this way.
fn fickle(no: fn(&mut std::net::TcpStream) -> Then) -> Target {
    let asked = AtomicUsize::new(0);
    speaker(move |stream, _| match asked.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => say(stream, info("master").as_bytes()),
        _ => no(stream),
    })
}

#[test]
fn failures_that_alternate_with_passes_take_nothing_down() {
    let (target, listen) = (Target::echo(), free_port());
    let judge = fickle(|_| Then::Close);
    let stagedoor = Stagedoor::run(&definition(listen, &[(&target, &judge)]));
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"x"), b"x");
    asked_more(&judge, 20);
    assert_eq!(count(&stagedoor, "is down"), 0, "{:?}", stagedoor.log());
    assert_eq!(echoed(&mut session, b"y"), b"y");
}

#[test]
fn contradictions_that_alternate_with_passes_take_a_target_down_once() {
    let (target, listen) = (Target::echo(), free_port());
    let judge = fickle(|stream| say(stream, info("slave").as_bytes()));
    let stagedoor = Stagedoor::run(&definition(listen, &[(&target, &judge)]));
    stagedoor.logged("is down");
    asked_more(&judge, 20);
    assert_eq!((count(&stagedoor, "is down"), count(&stagedoor, "is up")), (1, 1));
    assert_eq!(health(&stagedoor, 0), "down");
}

/// A judge that says no, then resets so many connections, then says yes.
fn promoted_after_resets(resets: usize) -> Target {
    let asked = AtomicUsize::new(0);
    speaker(move |stream, _| match asked.fetch_add(1, Ordering::Relaxed) {
        0..5 => say(stream, info("slave").as_bytes()),
        number if number < 5 + resets => Then::Reset,
        _ => say(stream, info("master").as_bytes()),
    })
}

/// What is logged of a replica that becomes master after resets, while its old master still passes.
fn claim_after_resets(resets: usize) -> String {
    let (old, new, listen) = (Actor::playing("master"), promoted_after_resets(resets), free_port());
    let mut definition = definition(listen, &[(old.target(), old.target()), (&new, &new)]);
    definition["proxy"]["balance"] = json!("leader");
    let stagedoor = Stagedoor::run(&definition);
    stagedoor.logged(&format!("target {} is up", new.address()));
    let claim = |line: &String| line.contains("leads: it was promoted") || line.contains("too;");
    eventually("it claims the lead", || stagedoor.log().into_iter().find(claim))
}

#[test]
fn a_reset_of_a_server_that_lives_is_no_death() {
    // Sentinel has whom it promotes close all connections, and that may be a check's.
    let line = claim_after_resets(1);
    assert!(line.contains("it was promoted"), "{line}");
}

#[test]
fn a_server_that_resets_again_at_once_has_died() {
    // As behind a forwarder that accepts for it.
    let line = claim_after_resets(2);
    assert!(line.contains("claims the lead too"), "{line}");
}

#[test]
fn two_claimants_at_the_start_mean_nobody_and_an_alarm_until_one_says_no() {
    let (one, two) = (Actor::playing("master"), Actor::playing("master"));
    let listen = free_port();
    let (one_up, two_up) = ((one.target(), one.target()), (two.target(), two.target()));
    let mut definition = definition(listen, &[one_up, two_up]);
    definition["proxy"]["balance"] = json!("leader");
    let stagedoor = Stagedoor::run(&definition);
    let alarm = stagedoor.logged("all claim the lead and nothing tells them apart");
    assert!(alarm.contains("error"), "{alarm}");
    let said = exchange_line(listen);
    assert_eq!(said, b"", "fail closed");
    let status = stagedoor.json(&["status"]);
    let service = &status["services"][0];
    assert_eq!(
        (&service["leader"], &service["targets"][0]["health"]),
        (&Value::Null, &json!("up"))
    );
    let shown = service["alarms"][0].as_str().unwrap();
    assert!(shown.contains(&one.address()) && shown.contains(&two.address()), "{shown}");
    let text = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(text.contains("ALARM: nobody leads"), "{text}");
    one.plays("slave");
    stagedoor.logged(&format!("target {} leads", two.address()));
    assert_eq!(exchange_line(listen), b"+PONG\r\n");
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["alarms"], json!([]));
}

/// What a `PING` is answered by.
fn exchange_line(listen: u16) -> Vec<u8> {
    use std::io::Write;
    let mut client = connect(listen);
    // Who is refused may be gone already.
    drop(client.write_all(b"PING\r\n"));
    let mut reply = vec![0; 64];
    let length = client.read(&mut reply).unwrap_or(0);
    reply.truncate(length);
    reply
}

#[test]
fn with_no_descriptor_left_no_target_is_blamed() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("master"), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &[(&target, judge.target())]));
    stagedoor.logged("is up");
    let limit = |count| {
        let limit = Rlimit { current: Some(count), ..getrlimit(Resource::Nofile) };
        prlimit(Some(stagedoor.pid()), Resource::Nofile, limit).unwrap();
    };
    limit(3);
    let line = stagedoor.logged("could not be checked");
    assert!(line.contains("stays up") && line.contains("no file descriptor left"), "{line}");
    limit(10_000);
    stagedoor.logged("can be checked again");
    assert_eq!(count(&stagedoor, "is down"), 0);
    assert_eq!(exchange(listen, b"as ever").0, b"as ever");
}

/// strace at work on a running proxy.
struct Injected(Child);

impl Injected {
    /// Every `connect` of TCP fails so from now on.
    fn into_connects(stagedoor: &Stagedoor, error: &str) -> Self {
        let pid = stagedoor.pid().as_raw_nonzero().to_string();
        let inject = format!("inject=connect:error={error}");
        let child = Command::new("strace")
            .args(["-f", "-q", "-p", &pid, "-e", "trace=connect", "-e", &inject])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed: `make test` does that");
        Self(child)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Asked nicely, it lets go of the process that it traces.
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it is still there");
        self.0.wait().expect("a child can be awaited");
    }
}

#[test]
fn with_no_local_port_left_no_target_is_blamed() {
    let (target, judge, listen) = (Target::echo(), Actor::playing("master"), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &[(&target, judge.target())]));
    stagedoor.logged("is up");
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"x"), b"x");
    let injected = Injected::into_connects(&stagedoor, "EADDRNOTAVAIL");
    let line = stagedoor.logged("could not be checked");
    assert!(line.contains("stays up") && line.contains("no local port left"), "{line}");
    let status = stagedoor.json(&["status"]);
    let shown = &status["services"][0]["targets"][0];
    assert_eq!(shown["health"], "up");
    let verdict = shown["checks"][0]["verdict"].as_str().unwrap();
    assert!(verdict.contains("the check could not run"), "{verdict}");
    drop(injected);
    stagedoor.logged("can be checked again");
    assert_eq!(count(&stagedoor, "is down"), 0);
    assert_eq!(echoed(&mut session, b"y"), b"y");
}

#[test]
fn a_removed_check_stops_and_leaves_no_connection_behind() {
    let (good, silent, listen) = (Actor::playing("master"), silent(), free_port());
    let slave = Actor::playing("slave");
    let of = |target| (good.target(), target);
    let all = [of(good.target()), (&silent.0, &silent.0), (slave.target(), slave.target())];
    let stagedoor = Stagedoor::run(&definition(listen, &all));
    eventually("the silent one is being asked", || (silent.1.live() == 1).then_some(()));
    std::fs::write(stagedoor.file(), definition(listen, &all[..1]).to_string()).unwrap();
    let reply = stagedoor.json(&["reload"]);
    assert!(!reply["changes"].as_array().unwrap().is_empty(), "{reply}");
    // The probe that was under way, with ten seconds to go, has been given up.
    eventually("nobody asks the silent one", || (silent.1.live() == 0).then_some(()));
    let (slaves, silents) = (slave.target().accepted(), silent.0.accepted());
    asked_more(good.target(), 10);
    assert_eq!((slave.target().accepted(), silent.0.accepted()), (slaves, silents));
}

/// Connections that are open at a target.
#[derive(Clone, Default)]
struct Open(std::sync::Arc<AtomicUsize>);

impl Open {
    fn live(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn silent() -> (Target, Open) {
    let open = Open::default();
    let counted = open.clone();
    let target = Target::new(move |mut stream| {
        counted.0.fetch_add(1, Ordering::Relaxed);
        while let Ok(1..) = stream.read(&mut [0; 64]) {}
        counted.0.fetch_sub(1, Ordering::Relaxed);
    });
    (target, open)
}
