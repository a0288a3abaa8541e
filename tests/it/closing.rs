//! Many sessions that are closed together: over a window, or at once where one leads.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::client::{Ended, connect, echoed, read_to_end};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

const SESSIONS: usize = 300;

/// A checked target that can be made sick, behind a proxy with many sessions to it.
struct Crowd {
    stagedoor: Stagedoor,
    definition: Value,
    is_well: Arc<AtomicBool>,
    sessions: Vec<TcpStream>,
    _target: Target,
}

impl Crowd {
    fn gather(close_spread: &str, on_down: &str) -> Self {
        let (is_well, listen) = (Arc::new(AtomicBool::new(true)), free_port());
        let target = Target::checked(Arc::clone(&is_well));
        let definition = json!({
            "name": "crowd", "listen_port": listen, "listen_address": "127.0.0.1",
            "proxy": {
                "target_list": [target.address()], "enable_load_balancing": true,
                "check_host_against_uptime_tests": true,
                "close_spread": close_spread, "on_down": on_down, "on_removed": "close",
            },
            "uptime_tests": {
                "commands": [
                    { "name": "send", "message": "PING\r\n" },
                    { "name": "expect", "message": "+PONG" },
                ],
                "config": { "interval": "50ms", "fast_interval": "20ms", "rise": 1, "fall": 1 },
            },
        });
        let stagedoor = Stagedoor::run(&definition);
        let mut sessions: Vec<TcpStream> = (0..SESSIONS).map(|_| connect(listen)).collect();
        for session in &mut sessions {
            assert_eq!(echoed(session, b"before"), b"before");
        }
        Self { stagedoor, definition, is_well, sessions, _target: target }
    }

    fn live(&self) -> usize {
        let live = self.stagedoor.status()["services"][0]["live"].as_u64();
        live.unwrap().try_into().unwrap()
    }

    /// Every session ends with a reset.
    fn all_are_cut(&mut self) {
        for session in &mut self.sessions {
            assert_eq!(read_to_end(session), (Vec::new(), Ended::Reset));
        }
        let said = self.stagedoor.logged("sessions cut");
        assert!(said.contains(&format!("sessions={SESSIONS}")), "{said}");
    }
}

#[test]
fn sessions_of_a_target_that_went_down_are_cut_over_the_window_all_of_them() {
    let mut crowd = Crowd::gather("400ms", "close");
    crowd.is_well.store(false, Ordering::Relaxed);
    let said = crowd.stagedoor.logged("sessions are cut over 400ms");
    assert!(said.contains(&format!("sessions={SESSIONS}")), "{said}");
    crowd.all_are_cut();
}

#[test]
fn what_has_not_been_cut_goes_on_when_the_target_is_back() {
    let mut crowd = Crowd::gather("60s", "close");
    crowd.is_well.store(false, Ordering::Relaxed);
    crowd.stagedoor.logged("sessions are cut over 1m");
    eventually("some are cut", || (crowd.live() < SESSIONS).then_some(()));
    crowd.is_well.store(true, Ordering::Relaxed);
    let said = crowd.stagedoor.logged("it is back, and the other sessions go on");
    let cut: usize = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix("sessions="))
        .and_then(|count| count.parse().ok())
        .unwrap();
    eventually("those that were cut have left", || (crowd.live() == SESSIONS - cut).then_some(()));
    assert!(cut > 0 && cut < SESSIONS, "{said}");
    let mut gone = 0;
    for mut session in std::mem::take(&mut crowd.sessions) {
        session.set_nonblocking(true).unwrap();
        let mut byte = [0];
        match std::io::Read::read(&mut session, &mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                session.set_nonblocking(false).unwrap();
                assert_eq!(echoed(&mut session, b"after"), b"after");
            }
            _ => gone += 1,
        }
    }
    assert_eq!(gone, cut);
}

#[test]
fn those_that_are_left_at_the_end_of_a_drain_are_cut_over_the_window_too() {
    let mut crowd = Crowd::gather("300ms", "drain:100ms");
    // Some end by themselves, and are not waited for.
    crowd.sessions.truncate(SESSIONS - 20);
    eventually("they have ended", || (crowd.live() == SESSIONS - 20).then_some(()));
    crowd.is_well.store(false, Ordering::Relaxed);
    for session in &mut crowd.sessions {
        assert_eq!(read_to_end(session), (Vec::new(), Ended::Reset));
    }
    let said = crowd.stagedoor.logged("drain ended");
    assert!(said.contains(&format!("sessions={}", SESSIONS - 20)), "{said}");
}

#[test]
fn sessions_of_a_removed_target_are_cut_over_the_window() {
    let mut crowd = Crowd::gather("300ms", "keep");
    let other = Target::echo();
    crowd.definition["proxy"]["target_list"] = json!([other.address()]);
    std::fs::write(crowd.stagedoor.file(), crowd.definition.to_string()).unwrap();
    assert!(crowd.stagedoor.json(&["reload"])["changes"].is_array());
    crowd.stagedoor.logged("sessions are cut over 300ms: target was removed");
    crowd.all_are_cut();
}

#[test]
fn sessions_of_a_lost_leader_are_cut_at_once_whatever_the_window() {
    let (first, second) = (Actor::playing("master"), Actor::playing("slave"));
    let listen = free_port();
    let stagedoor = Stagedoor::run(&json!({
        "name": "led", "listen_port": listen, "listen_address": "127.0.0.1",
        "proxy": {
            "target_list": [first.address(), second.address()], "enable_load_balancing": true,
            "check_host_against_uptime_tests": true, "balance": "leader", "close_spread": "1h",
        },
        "uptime_tests": { "config": { "interval": "50ms" }, "commands": [
            { "name": "send", "message": "INFO replication\r\n" },
            { "name": "expect", "message": "role:master" },
        ] },
    }));
    let mut sessions: Vec<TcpStream> = (0..50).map(|_| connect(listen)).collect();
    for session in &mut sessions {
        assert_eq!(echoed(session, b"PING\r\n"), b"+PONG\r");
    }
    second.plays("master");
    let said = stagedoor.logged("sessions cut");
    assert!(said.contains("sessions=50"), "{said}");
    stagedoor.logged("leads: it was promoted");
    for session in &mut sessions {
        assert_eq!(read_to_end(session).1, Ended::Reset);
    }
}
