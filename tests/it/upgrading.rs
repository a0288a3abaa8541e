//! An upgrade: another process of the program serves, and nobody notices; or nothing has changed.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::certificates::Authority;
use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::service::ending_tls;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::{BINARY, Stagedoor};
use crate::harness::target::Target;
use crate::harness::tls::{self, Trust};

/// A process whose program can be replaced, and those that succeed it; all are killed in the end.
struct House {
    first: Stagedoor,
    folder: tempfile::TempDir,
    successors: Mutex<Successors>,
}

impl House {
    fn new(definitions: &[&Value], variables: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("stagedoor").display().to_string();
        std::fs::copy(BINARY, &program).unwrap();
        // What follows is the path of the binary under test.
        let script = "program=$1; shift; shift; exec \"$program\" \"$@\"";
        let wrapper = [&["env"], variables, &["sh", "-c", script, "sh", program.as_str()]].concat();
        let first = Stagedoor::run_under(&wrapper, definitions, &["--set", "workers=2"]);
        Self { first, folder, successors: Mutex::default() }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("stagedoor")
    }

    /// Puts another file in the place of the program, as a package manager does.
    fn replace(&self, by: &str) {
        let new = self.folder.path().join("new");
        std::fs::copy(by, &new).unwrap();
        std::fs::rename(&new, self.program()).unwrap();
    }

    /// Upgrades whoever answers now, and returns who does then.
    fn upgrade(&self) -> i32 {
        let view = self.first.json(&["upgrade"]);
        assert!(view["took_ms"].is_u64(), "{view}");
        self.succeeded(&view["pid"])
    }

    fn succeeded(&self, pid: &Value) -> i32 {
        self.successors.lock().unwrap().add(pid)
    }

    /// Who answers at the control socket.
    fn answers(&self) -> i32 {
        i32::try_from(self.first.status()["pid"].as_i64().unwrap()).unwrap()
    }

    fn refused(&self) -> String {
        let output = self.first.command(&["upgrade"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Killed in the end.
#[derive(Default)]
struct Successors(Vec<Pid>);

impl Successors {
    fn add(&mut self, pid: &Value) -> i32 {
        let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
        self.0.push(Pid::from_raw(pid).unwrap());
        pid
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Most have ended.
            kill_process(*pid, Signal::KILL).ok();
        }
    }
}

fn echo(name: &str, listen: u16, target: &Target) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": target.address() },
    })
}

fn said(stream: &mut (impl Read + Write), text: &[u8]) -> Vec<u8> {
    stream.write_all(text).unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    heard
}

#[test]
fn twenty_upgrades_under_load_lose_no_connection_and_no_byte() {
    let (target, listen, folder) = (Target::echo(), free_port(), tempfile::tempdir().unwrap());
    let path = folder.path().join("s");
    let mut unix = echo("unix", 0, &target);
    unix["listen_address"] = json!(format!("unix:{}", path.display()));
    unix.as_object_mut().unwrap().remove("listen_port");
    let mut checked = echo("checked", listen, &target);
    checked["proxy"]["check_host_against_uptime_tests"] = json!(true);
    checked["uptime_tests"] = json!({ "config": { "interval": "50ms" } });
    let mut house = House::new(&[&checked, &unix], &[]);
    let (mut long, mut local) = (connect(listen), UnixStream::connect(&path).unwrap());
    assert_eq!(said(&mut long, b"begin"), b"begin");
    assert_eq!(said(&mut local, b"begin"), b"begin");
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (is_over, served, path) = (&is_over, &served, &path);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let text = format!("client {client} says {}", served.load(Ordering::Relaxed));
                    if client == 0 {
                        let mut stream = UnixStream::connect(path).unwrap();
                        assert_eq!(said(&mut stream, text.as_bytes()), text.as_bytes());
                    } else {
                        assert_eq!(exchange(listen, text.as_bytes()).0, text.as_bytes());
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let upgrades = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..20 {
                house.replace(BINARY);
                let pid = house.upgrade();
                assert_eq!(house.answers(), pid);
                let before = served.load(Ordering::Relaxed);
                eventually("it serves", || (served.load(Ordering::Relaxed) > before).then_some(()));
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        upgrades.unwrap();
    });
    assert_eq!(said(&mut long, b"end"), b"end");
    assert_eq!(said(&mut local, b"end"), b"end");
    assert!(house.first.is_running());
    drop(local);
    assert_eq!(said(&mut long, b"the last"), b"the last");
    drop(long);
    assert!(house.first.ended().success());
    // The last one is as any other: it reads its configuration, and ends when it is told to.
    let reloaded = house.first.command(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(exchange(listen, b"still").0, b"still");
    let last = *house.successors.lock().unwrap().0.last().unwrap();
    let mark = house.first.mark();
    kill_process(last, Signal::TERM).unwrap();
    house.first.logged_after(mark, "stopped");
    eventually("the control socket goes", || (!house.first.socket().exists()).then_some(()));
}

#[test]
fn what_does_not_come_to_serve_changes_nothing() {
    let (target, listen) = (Target::echo(), free_port());
    let definition = echo("kept", listen, &target);
    let mut house = House::new(&[&definition], &[]);
    let pid = house.answers();
    let mut long = connect(listen);
    assert_eq!(said(&mut long, b"begin"), b"begin");
    let mut check = |house: &mut House, why: &str| {
        let refused = house.refused();
        assert!(refused.contains("nothing was changed") && refused.contains(why), "{refused}");
        house.first.logged("not upgraded, nothing was changed");
        assert_eq!(house.answers(), pid);
        assert_eq!(exchange(listen, b"still").0, b"still");
        assert_eq!(said(&mut long, b"still"), b"still");
    };
    std::fs::write(house.first.file(), "{").unwrap();
    check(&mut house, "exit status: 2");
    std::fs::write(house.first.file(), definition.to_string()).unwrap();
    house.replace("/bin/false");
    check(&mut house, "exit status: 1");
    std::fs::remove_file(house.program()).unwrap();
    check(&mut house, "cannot be started");
    // Once it is mended, it goes, by a signal, too.
    house.replace(BINARY);
    house.first.signal(Signal::USR2);
    let line = house.first.logged("upgraded: process ");
    let next = line.split("process ").nth(1).unwrap().split(' ').next().unwrap();
    let next = house.succeeded(&json!(next.parse::<i32>().unwrap()));
    assert_eq!(house.answers(), next);
    // The old one drains: nothing but a stop means anything to it.
    house.first.signal(Signal::USR2);
    house.first.logged("not upgraded: another process serves since an upgrade");
    house.first.signal(Signal::HUP);
    house.first.logged("reload refused, nothing was changed:");
    assert_eq!(said(&mut long, b"end"), b"end");
    house.first.signal(Signal::TERM);
    house.first.signal(Signal::TERM);
    assert!(house.first.ended().success());
    assert_eq!(read_to_end(&mut long), (Vec::new(), Ended::Reset));
    assert_eq!(exchange(listen, b"new").0, b"new");
}

#[test]
fn of_two_upgrades_at_once_one_is_refused() {
    let (target, listen) = (Target::echo(), free_port());
    // A newcomer does not serve before its first verdict.
    let actor = Actor::playing("master");
    let mut slow = echo("slow", free_port(), actor.target());
    slow["proxy"]["check_host_against_uptime_tests"] = json!(true);
    slow["uptime_tests"] = json!({
        "config": { "interval": "20ms", "timeout": "5s" },
        "commands": [{ "name": "send", "message": "PING\r\n" }, { "name": "expect", "message": "m" }],
    });
    let house = House::new(&[&echo("fast", listen, &target), &slow], &[]);
    let outputs = std::thread::scope(|scope| {
        let ask = || house.first.command(&["upgrade", "--json"]);
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    let mut done = 0;
    for output in outputs {
        let view: Value = serde_json::from_slice(&output.stdout).unwrap();
        if output.status.success() {
            house.succeeded(&view["pid"]);
            done += 1;
        } else {
            let why = view["error"].as_str().unwrap_or_default();
            assert!(why.contains("under way") || why.contains("only drains"), "{view}");
        }
    }
    assert!(done > 0);
    assert_eq!(exchange(listen, b"served").0, b"served");
}

#[test]
fn a_failover_after_an_upgrade_cuts_the_sessions_of_both_processes() {
    let (first, second, listen) = (Actor::playing("master"), Actor::playing("slave"), free_port());
    let definition = json!({
        "name": "Redis", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "target_list": [first.address(), second.address()], "enable_load_balancing": true,
            "check_host_against_uptime_tests": true, "balance": "leader",
        },
        "uptime_tests": {
            "config": { "interval": "50ms", "fast_interval": "20ms" },
            "commands": [
                { "name": "send", "message": "INFO replication\r\n" },
                { "name": "expect", "message": "role:master" },
            ],
        },
    });
    let mut house = House::new(&[&definition], &[]);
    // The second is promoted, and the first does not know: only who remembers can tell.
    house.first.logged("leads: it alone claims the lead");
    second.plays("master");
    house.first.logged(&format!("target {} leads: it was promoted", second.address()));
    let leader = |house: &House| house.first.status()["services"][0]["leader"].clone();
    assert_eq!(leader(&house), json!(second.address()));
    let mut old = connect(listen);
    assert!(!said_info(&mut old).is_empty());
    house.upgrade();
    assert_eq!(leader(&house), json!(second.address()));
    let mut new = connect(listen);
    assert!(!said_info(&mut new).is_empty());
    assert!(!said_info(&mut old).is_empty());
    second.plays("slave");
    for session in [&mut old, &mut new] {
        assert_eq!(read_to_end(session).1, Ended::Reset);
    }
    assert!(house.first.ended().success());
    eventually("the other leads", || (leader(&house) == json!(first.address())).then_some(()));
}

fn said_info(stream: &mut std::net::TcpStream) -> Vec<u8> {
    stream.write_all(b"INFO replication\r\n").unwrap();
    let mut heard = vec![0; 4096];
    let length = stream.read(&mut heard).unwrap();
    heard.truncate(length);
    heard
}

#[test]
fn a_manager_hears_who_serves_and_nothing_of_the_old_one_any_more() {
    let (target, listen, folder) = (Target::echo(), free_port(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hears = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("it is told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut house = House::new(&[&echo("managed", listen, &target)], &[&variable]);
    assert!(hears().starts_with("READY=1"));
    let mut long = connect(listen);
    assert_eq!(echoed(&mut long, b"begin"), b"begin");
    let next = house.upgrade();
    assert_eq!(hears(), format!("MAINPID={next}"));
    assert_eq!(echoed(&mut long, b"end"), b"end");
    drop(long);
    assert!(house.first.ended().success());
    // It does not say that it stops: the service does not.
    house.first.command(&["reload"]);
    assert!(hears().starts_with("RELOADING=1"));
    assert!(hears().starts_with("READY=1"));
}

#[test]
fn an_address_that_is_no_longer_wanted_is_given_up_and_a_new_one_bound() {
    let (target, listen, other) = (Target::echo(), free_port(), free_port());
    let house = House::new(&[&echo("moves", listen, &target)], &[]);
    std::fs::write(house.first.file(), echo("moves", other, &target).to_string()).unwrap();
    let mut long = connect(listen);
    assert_eq!(echoed(&mut long, b"begin"), b"begin");
    house.upgrade();
    assert_eq!(exchange(other, b"new").0, b"new");
    eventually("nobody listens there", || {
        std::net::TcpStream::connect(("127.0.0.1", listen)).is_err().then_some(())
    });
    assert_eq!(echoed(&mut long, b"end"), b"end");
}

#[test]
fn while_a_newcomer_waits_for_verdicts_no_other_starts_and_a_stop_ends_it() {
    let (target, listen) = (Target::echo(), free_port());
    let silent = Target::new(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let mut unheard = echo("unheard", free_port(), &silent);
    unheard["proxy"]["check_host_against_uptime_tests"] = json!(true);
    unheard["uptime_tests"] = json!({
        "config": { "timeout": "30s" },
        "commands": [{ "name": "send", "message": "PING\r\n" }, { "name": "expect", "message": "+" }],
    });
    let mut house = House::new(&[&echo("fast", listen, &target), &unheard], &[]);
    let pid = house.answers();
    let mark = house.first.mark();
    house.first.signal(Signal::USR2);
    house.first.logged_after(mark, "listening on");
    assert!(house.refused().contains("an upgrade is under way"));
    assert_eq!(house.answers(), pid);
    assert_eq!(exchange(listen, b"served").0, b"served");
    house.first.signal(Signal::TERM);
    assert!(house.first.ended().success());
    let refused = std::net::TcpStream::connect(("127.0.0.1", listen)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_port_with_tls_and_sockets_of_a_manager_go_over_as_well() {
    let (authority, target) = (Authority::new("ca"), Target::echo());
    let (listen, other) = (free_port(), free_port());
    let issued = authority.issue(&["a.test"]);
    let definition = |port| {
        let mut definition =
            ending_tls("tls", port, &issued, &format!("tcp://{}", target.address()));
        definition["listen_address"] = json!("127.0.0.1");
        definition
    };
    let address = format!("--listen=127.0.0.1:{listen}");
    let wrapper = ["systemd-socket-activate", &address];
    let mut first = Stagedoor::launch(&wrapper, &[&definition(listen)], &[]);
    let trust = Trust::of(&authority);
    let first_client = || std::net::TcpStream::connect(("127.0.0.1", listen)).ok();
    let stream = eventually("somebody listens", first_client);
    let mut long = trust.over(stream, "a.test").unwrap();
    assert_eq!(tls::echoed(&mut long, b"begin"), b"begin");
    let mut successors = Successors::default();
    for _ in 0..2 {
        successors.add(&first.json(&["upgrade"])["pid"]);
        let mut session = trust.connect(listen, "a.test").unwrap();
        assert_eq!(tls::echoed(&mut session, b"new"), b"new");
    }
    // Given up and wanted again: it is still known whose it is.
    for port in [other, listen] {
        std::fs::write(first.file(), definition(port).to_string()).unwrap();
        let output = first.command(&["reload"]);
        assert!(output.status.success(), "{output:?}");
        let mut session = trust.connect(port, "a.test").unwrap();
        assert_eq!(tls::echoed(&mut session, b"moved"), b"moved");
    }
    assert_eq!(tls::echoed(&mut long, b"end"), b"end");
    drop(long);
    assert!(first.ended().success());
}
