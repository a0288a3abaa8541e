//! What this process sleeps through, stopped with its machine or starved of a processor, and what
//! must not be taken for the silence of others; and a wall clock that nothing here goes by.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::client::{connect, echoed};
use crate::harness::eventually::{eventually, within};
use crate::harness::injection::Injection;
use crate::harness::port::free_port;
use crate::harness::speaker::{Then, info, say, speaker};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A check may take this long.
const TIMEOUT: Duration = Duration::from_millis(400);
/// A target thinks so long about an answer: it is not there yet when we look in passing.
const THOUGHT: Duration = Duration::from_millis(20);
const TARGETS: usize = 4;

/// A service of these targets, each checked by two questions; one failure takes a target down.
fn definition(listen: u16, targets: &[&Target]) -> Value {
    json!({
        "name": "slept", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "balance": "round_robin",
            "target_list": targets.iter().map(|target| target.address()).collect::<Vec<_>>(),
        },
        "uptime_tests": {
            "config": {
                "interval": "50ms", "timeout": format!("{}ms", TIMEOUT.as_millis()),
                "fall": 1, "fall_refused": 1, "rise": 1,
            },
            "commands": [
                { "name": "send", "message": "PING\r\n" },
                { "name": "expect", "message": "+PONG" },
                { "name": "send", "message": "INFO\r\n" },
                { "name": "expect", "message": "role:master" },
            ],
        },
    })
}

/// Answers the questions of the check as a healthy one.
fn answers(stream: &mut TcpStream, question: &str) -> Then {
    passes(THOUGHT);
    match question {
        "PING" => say(stream, b"+PONG\r\n"),
        _ => say(stream, info("master").as_bytes()),
    }
}

/// Answers so, and echoes what is no question; when told to, `then` comes between a first question
/// and its answer.
fn master(then: impl Fn() + Send + Sync + 'static) -> (Target, Arc<AtomicBool>) {
    let told = Arc::new(AtomicBool::new(false));
    let target = speaker({
        let told = Arc::clone(&told);
        move |stream, line| match line {
            "PING" | "INFO" => {
                if line == "PING" && told.swap(false, Ordering::Relaxed) {
                    then();
                }
                answers(stream, line)
            }
            other => say(stream, format!("{other}\n").as_bytes()),
        }
    });
    (target, told)
}

fn of_health(stagedoor: &Stagedoor, health: &str) -> usize {
    let status = stagedoor.json(&["status"]);
    let targets = status["services"][0]["targets"].as_array().unwrap();
    targets.iter().filter(|target| target["health"] == health).count()
}

fn all_up(stagedoor: &Stagedoor, targets: usize) {
    eventually("all are up", || (of_health(stagedoor, "up") == targets).then_some(()));
}

/// Waits until the runs that were under way have ended, and others after them.
fn checked_again(targets: &[&Target]) {
    let before: Vec<usize> = targets.iter().map(|target| target.accepted()).collect();
    eventually("all are checked again", || {
        let more = |(target, before): (&&Target, &usize)| target.accepted() > before + 2;
        targets.iter().zip(&before).all(more).then_some(())
    });
}

fn went_down(stagedoor: &Stagedoor) -> Vec<String> {
    stagedoor.log().into_iter().filter(|line| line.contains("is down")).collect()
}

/// Lets so much time pass.
fn passes(time: Duration) {
    assert_eq!(within(time, || None::<()>), None);
}

fn is_stopped(process: Pid) -> bool {
    let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = std::fs::read_to_string(stat).expect("the process is still there");
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn a_machine_that_slept_in_the_middle_of_its_checks_blames_no_target() {
    let proxy = Arc::new(std::sync::OnceLock::<Pid>::new());
    let masters: Vec<_> = (0..TARGETS)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            master(move || kill_process(*proxy.get().unwrap(), Signal::STOP).unwrap())
        })
        .collect();
    let listen = free_port();
    let targets: Vec<&Target> = masters.iter().map(|(target, _)| target).collect();
    let stagedoor = Stagedoor::run(&definition(listen, &targets));
    proxy.set(stagedoor.pid()).unwrap();
    all_up(&stagedoor, TARGETS);
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"before\n"), b"before\n");
    // Shorter than what is left of a check, so long that nothing is, and longer than a whole one.
    for (stop, target) in [TIMEOUT / 2, TIMEOUT, TIMEOUT * 3].into_iter().zip(&masters) {
        target.1.store(true, Ordering::Relaxed);
        eventually("it stops", || is_stopped(stagedoor.pid()).then_some(()));
        passes(stop);
        session.write_all(b"during\n").unwrap();
        stagedoor.signal(Signal::CONT);
        let mut heard = [0; 7];
        session.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"during\n");
        checked_again(&targets);
    }
    assert_eq!(of_health(&stagedoor, "up"), TARGETS);
    assert_eq!(went_down(&stagedoor), [""; 0]);
}

#[test]
fn a_processor_that_others_have_takes_no_target_down_and_hides_no_dead_one() {
    let (well, _) = master(|| ());
    let hangs = Arc::new(AtomicBool::new(false));
    let mortal = speaker({
        let hangs = Arc::clone(&hangs);
        move |stream, line| {
            let is_hung = hangs.load(Ordering::Relaxed);
            if is_hung { Then::Listen } else { answers(stream, line) }
        }
    });
    let targets = [&well, &mortal];
    let stagedoor = Stagedoor::run(&definition(free_port(), &targets));
    all_up(&stagedoor, targets.len());
    // With each of two questions a check loses half of its time, before it has asked.
    let late = format!("sendto:delay_enter={}", TIMEOUT.as_micros() / 2);
    let Some(injection) = Injection::into(stagedoor.pid(), &late) else { return };
    checked_again(&targets);
    assert_eq!(went_down(&stagedoor), [""; 0]);
    hangs.store(true, Ordering::Relaxed);
    stagedoor.logged("is down");
    drop(injection);
    let down = went_down(&stagedoor);
    assert!(down.len() == 1 && down[0].contains(&mortal.address()), "{down:?}");
}

#[test]
fn relays_that_were_busy_while_the_machine_slept_are_not_idle() {
    const CLIENTS: usize = 200;
    let listen = free_port();
    let target = Target::echo();
    let definition = json!({
        "name": "slept", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": format!("tcp://{}", target.address()) },
        "limits": { "idle_timeout": "1s" },
    });
    let stagedoor = Stagedoor::run(&definition);
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(listen)).collect();
    for client in &mut clients {
        assert_eq!(echoed(client, b"before"), b"before");
    }
    stagedoor.signal(Signal::STOP);
    for client in &mut clients {
        client.write_all(b"during").unwrap();
    }
    passes(Duration::from_secs(2));
    stagedoor.signal(Signal::CONT);
    for client in &mut clients {
        let mut heard = [0; 6];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"during");
    }
}

/// The library that lies to a process about the wall clock, and tells the truth about the time
/// that has passed.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("every system has it").flatten();
    let mut libraries = folders.map(|it| it.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|path| path.exists()).expect("libfaketime is installed: `make test` does that")
}

#[test]
fn a_wall_clock_that_jumps_moves_nothing_but_the_stamps_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let library = format!("LD_PRELOAD={}", faketime().display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    let settings = ["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let wrapper = [&["env", &library, &file], &settings[..]].concat();
    let ((target, _), listen) = (master(|| ()), free_port());
    let mut definition = definition(listen, &[&target]);
    definition["limits"] = json!({ "idle_timeout": "10m", "max_session_age": "30m" });
    let stagedoor = Stagedoor::run_under(&wrapper, &[&definition], &[]);
    all_up(&stagedoor, 1);
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"before\n"), b"before\n");
    for (at, year) in [("+400d", "20"), ("@1970-01-02 00:00:00", "1970"), ("+0", "20")] {
        let mark = stagedoor.mark();
        std::fs::write(&clock, at).unwrap();
        checked_again(&[&target]);
        assert_eq!(echoed(&mut session, b"after\n"), b"after\n");
        assert_eq!(echoed(&mut connect(listen), b"new\n"), b"new\n");
        let line = stagedoor.logged_after(mark, "session ended");
        assert!(line.starts_with(year), "the clock did not jump: {line}");
    }
    assert_eq!(went_down(&stagedoor), [""; 0]);
}
