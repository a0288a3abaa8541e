//! Stopping: TERM and INT drain, a second one ends now, and the exit code says how it went.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::stagedoor::{BINARY, Stagedoor};
use crate::harness::target::Target;

fn definition(listen: u16, target: &Target) -> Value {
    json!({
        "name": "relay", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": format!("tcp://{}", target.address()) },
    })
}

#[test]
fn term_lets_sessions_end_by_themselves_and_accepts_no_new_ones() {
    for signal in [Signal::TERM, Signal::INT] {
        let (target, listen) = (Target::echo(), free_port());
        let mut stagedoor = Stagedoor::run(&definition(listen, &target));
        let mut living = connect(listen);
        assert_eq!(echoed(&mut living, b"before"), b"before");
        stagedoor.signal(signal);
        stagedoor.logged("may end by themselves");
        eventually("nobody listens", || {
            std::net::TcpStream::connect(("127.0.0.1", listen)).is_err().then_some(())
        });
        assert_eq!(echoed(&mut living, b"after"), b"after");
        assert!(stagedoor.is_running());
        drop(living);
        assert_eq!(stagedoor.ended().code(), Some(0));
        assert!(!stagedoor.socket().exists(), "the control socket is cleared away");
    }
}

#[test]
fn who_waits_in_the_accept_queue_when_the_port_is_given_up_is_served() {
    let (target, listen) = (Target::echo(), free_port());
    let mut stagedoor = Stagedoor::run(&definition(listen, &target));
    stagedoor.signal(Signal::STOP);
    let waiting: Vec<_> = (0..200).map(|_| connect(listen)).collect();
    stagedoor.signal(Signal::TERM);
    stagedoor.signal(Signal::CONT);
    for mut client in waiting {
        assert_eq!(echoed(&mut client, b"in time"), b"in time");
    }
    assert_eq!(stagedoor.ended().code(), Some(0));
}

#[test]
fn a_second_term_ends_it_now() {
    let (target, listen) = (Target::echo(), free_port());
    let mut stagedoor = Stagedoor::run(&definition(listen, &target));
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    stagedoor.signal(Signal::TERM);
    stagedoor.logged("may end by themselves");
    stagedoor.signal(Signal::TERM);
    assert_eq!(stagedoor.ended().code(), Some(0));
    assert_eq!(read_to_end(&mut living), (Vec::new(), Ended::Reset));
    stagedoor.logged("session ended: shutdown");
}

#[test]
fn a_drain_ends_at_its_limit() {
    let (target, listen) = (Target::echo(), free_port());
    let arguments = ["--set", "shutdown.timeout=200ms"];
    let mut stagedoor = Stagedoor::run_with(&definition(listen, &target), &arguments);
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    stagedoor.signal(Signal::TERM);
    assert_eq!(stagedoor.ended().code(), Some(0));
    stagedoor.logged("sessions cut sessions=1");
}

#[test]
fn a_held_client_that_is_cut_at_the_limit_did_not_leave() {
    let (listen, nobody) = (free_port(), free_port());
    let mut definition = definition(listen, &Target::echo());
    definition["proxy"] = json!({ "target_url": format!("127.0.0.1:{nobody}"), "hold": "1h" });
    let mut stagedoor = Stagedoor::run_with(&definition, &["--set", "shutdown.timeout=200ms"]);
    let mut held = connect(listen);
    eventually("it is held", || {
        let status = stagedoor.json(&["status"]);
        (status["services"][0]["failed_dials"].as_u64()? >= 1).then_some(())
    });
    stagedoor.signal(Signal::TERM);
    assert_eq!(stagedoor.ended().code(), Some(0));
    assert_eq!(read_to_end(&mut held), (Vec::new(), Ended::Reset));
    stagedoor.logged("session ended: shutdown");
}

#[test]
fn a_signal_without_a_meaning_ends_nothing() {
    let (target, listen) = (Target::echo(), free_port());
    let mut stagedoor = Stagedoor::run(&definition(listen, &target));
    stagedoor.signal(Signal::USR1);
    stagedoor.logged("signal USR1 has no meaning");
    assert!(stagedoor.is_running());
    assert_eq!(exchange(listen, b"still").0, b"still");
}

#[test]
fn a_port_that_is_taken_ends_the_start_and_names_the_address_and_the_service() {
    let target = Target::echo();
    let folder = tempfile::tempdir().unwrap();
    let free = free_port();
    for (name, port) in [("a", free), ("b", target.port())] {
        let mut service = definition(port, &Target::echo());
        service["name"] = json!(name);
        std::fs::write(folder.path().join(format!("{name}.json")), service.to_string()).unwrap();
    }
    let output = std::process::Command::new(BINARY)
        .arg("run")
        .arg(folder.path())
        .args(["--set", &format!("admin.socket={}/s", folder.path().display())])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let address = format!("127.0.0.1:{}", target.port());
    assert!(said.contains(&address) && said.contains("\"b\""), "{said}");
    assert!(!said.contains("listening on"), "none of them is half started: {said}");
}

#[test]
fn the_log_is_coloured_on_a_terminal_only_and_only_if_colours_are_wanted() {
    let target = Target::echo();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken.json");
    std::fs::write(&file, definition(target.port(), &Target::echo()).to_string()).unwrap();
    let run = format!("{BINARY} run {} --set admin.socket=/nowhere", file.display());
    let on_a_terminal = |unwanted: bool| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &run, "/dev/null"]).env_remove("NO_COLOR");
        if unwanted {
            script.env("NO_COLOR", "1");
        }
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    let (wanted, unwanted) = (on_a_terminal(false), on_a_terminal(true));
    assert!(wanted.contains("\u{1b}[31merror\u{1b}[0m cannot start"), "{wanted:?}");
    assert!(unwanted.contains("error cannot start"), "{unwanted:?}");
}
