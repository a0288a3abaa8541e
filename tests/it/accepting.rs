//! What happens at the listening socket: faults of accepting, stalls, addresses that cannot be had.

use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::client::{Ended, connect, echoed, exchange, read_to_end, reset};
use crate::harness::eventually::eventually;
use crate::harness::injection::{Injection, may_trace};
use crate::harness::network::{self, in_own_network};
use crate::harness::port::free_port;
use crate::harness::process::{comes_to_rest, take_all_descriptors};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// More than a worker's turn takes, and less than the accept queue holds.
const CROWD: usize = 1_000;

fn definition(name: &str, listen: u16, target: &str) -> Value {
    json!({
        "name": name, "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": format!("tcp://{target}") },
    })
}

fn proxy(target: &Target) -> (Stagedoor, u16) {
    let listen = free_port();
    (Stagedoor::run(&definition("relay", listen, &target.address())), listen)
}

fn rests(stagedoor: &Stagedoor) {
    eventually("every gauge is at rest", || {
        let status = stagedoor.json(&["status"]);
        let service = &status["services"][0];
        let live = [&service["live"], &service["targets"][0]["live"], &status["sessions"]];
        live.iter().all(|live| **live == 0).then_some(())
    });
}

/// A client that connects after such a fault has been put into ten accepts of each thread in turn
/// is served.
fn survives(error: &str, complaint: Option<&str>) {
    let (stagedoor, listen) = proxy(&Target::echo());
    let mut living = connect(listen);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    let fault = format!("accept4:error={error}:when=1..10");
    let Some(injection) = Injection::into(stagedoor.pid(), &fault) else { return };
    assert_eq!(exchange(listen, b"new"), (b"new".to_vec(), Ended::Cleanly), "{error}");
    assert_eq!(echoed(&mut living, b"after"), b"after", "{error}");
    drop(injection);
    let complaints = stagedoor.complaints();
    match complaint {
        Some(words) => {
            assert!(complaints.iter().all(|line| line.contains(words)), "{error}: {complaints:?}");
            // Ten pauses last about half a second.
            assert!((1..=5).contains(&complaints.len()), "{error}: {complaints:?}");
        }
        None => assert!(complaints.is_empty(), "{error}: {complaints:?}"),
    }
}

#[test]
fn a_shortage_at_accept_pauses_the_listener_and_ends_nothing() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM"] {
        survives(error, Some("cannot accept, trying again"));
    }
}

#[test]
fn an_accept_that_fails_for_one_client_is_passed_over_in_silence() {
    for error in ["ECONNABORTED", "EPROTO", "EINTR"] {
        survives(error, None);
    }
}

#[test]
fn a_listener_that_cannot_accept_does_not_spin() {
    let (stagedoor, listen) = proxy(&Target::echo());
    let Some(injection) = Injection::into(stagedoor.pid(), "accept4:error=EMFILE") else { return };
    let waiting: Vec<TcpStream> = (0..3).map(|_| connect(listen)).collect();
    stagedoor.logged("cannot accept");
    comes_to_rest(stagedoor.pid());
    drop(injection);
    for mut client in waiting {
        assert_eq!(echoed(&mut client, b"at last"), b"at last");
    }
}

#[test]
fn clients_that_reset_in_the_accept_queue_are_no_trouble_and_leave_nothing() {
    let (stagedoor, listen) = proxy(&Target::echo());
    exchange(listen, b"warm");
    let before = stagedoor.descriptors();
    stagedoor.signal(Signal::STOP);
    let mut clients: Vec<TcpStream> = (0..300).map(|_| connect(listen)).collect();
    for (index, client) in clients.drain(..).enumerate() {
        if index % 2 == 0 {
            // Unread bytes in front of the reset.
            std::io::Write::write_all(&mut &client, b"hello").unwrap();
        }
        reset(client);
    }
    stagedoor.signal(Signal::CONT);
    assert_eq!(exchange(listen, b"next"), (b"next".to_vec(), Ended::Cleanly));
    rests(&stagedoor);
    assert_eq!(stagedoor.complaints(), [""; 0]);
    let left = stagedoor.descriptors().saturating_sub(before);
    assert!(left <= 16, "{left} descriptors more than before");
}

#[test]
fn a_crowd_that_gathered_in_a_stall_is_served_and_nobody_else_waits_for_it() {
    take_all_descriptors();
    let (crowded, quiet) = (free_port(), free_port());
    let (echo, numbered) = (Target::echo(), Target::numbered(7));
    let stagedoor = Stagedoor::run_under(
        &[],
        &[
            &definition("quiet", quiet, &echo.address()),
            &definition("crowded", crowded, &numbered.address()),
        ],
        &[],
    );
    let mut living = connect(quiet);
    assert_eq!(echoed(&mut living, b"before"), b"before");
    stagedoor.signal(Signal::STOP);
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(crowded)).collect();
    let mut late = connect(quiet);
    stagedoor.signal(Signal::CONT);
    assert_eq!(echoed(&mut living, b"during"), b"during");
    assert_eq!(echoed(&mut late, b"new"), b"new");
    for mut client in crowd {
        assert_eq!(read_to_end(&mut client), (b"7".to_vec(), Ended::Cleanly));
    }
    assert_eq!(echoed(&mut living, b"after"), b"after");
    assert_eq!(stagedoor.complaints(), [""; 0]);
    let status = stagedoor.json(&["status"]);
    assert_eq!(status["services"][0]["accepted"], CROWD);
    assert_eq!(numbered.accepted(), CROWD);
}

/// A process whose system fails it so from the start says what it lacks, and ends in order.
fn cannot_start(fault: &str, why: &str) {
    let (call, _) = fault.split_once(':').unwrap();
    let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let definition = definition("relay", free_port(), "127.0.0.1:1");
    let mut stagedoor = Stagedoor::launch(&strace, &[&definition], &[]);
    assert_eq!(stagedoor.ended().code(), Some(1), "{:?}", stagedoor.log());
    stagedoor.logged(why);
    let panic = stagedoor.log().into_iter().find(|line| line.contains("panicked"));
    assert_eq!(panic, None);
}

#[test]
fn a_system_that_gives_no_threads_or_nothing_to_wait_with_is_an_error_that_says_so() {
    if !may_trace() {
        return;
    }
    // The thread of the log, and then those of the workers.
    cannot_start("clone3:error=EAGAIN:when=1", "cannot log: no thread can be started");
    for workers in 2..4 {
        let fault = format!("clone3:error=EAGAIN:when={workers}");
        cannot_start(&fault, "cannot start: a thread for each worker cannot be started");
    }
    cannot_start("epoll_ctl:error=ENOSPC:when=1", "fs.epoll.max_user_watches");
    cannot_start("epoll_create1:error=EMFILE:when=1", "`ulimit -n`");
}

/// Starts the binary with the IPv6 sockets of its first calls failing as on a kernel without IPv6.
fn without_ipv6(definition: &Value) -> Option<Stagedoor> {
    if !may_trace() {
        return None;
    }
    // -D: the child that we started becomes the proxy, and strace a stranger beside it.
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=socket"];
    let fault = ["-e", "inject=socket:error=EAFNOSUPPORT:when=1"];
    Some(Stagedoor::launch(&[&strace[..], &fault].concat(), &[definition], &[]))
}

#[test]
fn without_ipv6_the_default_address_is_every_ipv4_address() {
    let (target, listen) = (Target::echo(), free_port());
    let mut definition = definition("relay", listen, &target.address());
    definition.as_object_mut().unwrap().remove("listen_address");
    let Some(stagedoor) = without_ipv6(&definition) else { return };
    stagedoor.logged("ready");
    stagedoor.logged(&format!("listening on 0.0.0.0:{listen}"));
    // The fault is put into the first call of each thread: some dials fail before.
    eventually("it serves IPv4", || (exchange(listen, b"v4").0 == b"v4").then_some(()));
}

#[test]
fn without_ipv6_a_written_address_is_an_error_that_says_so() {
    let (target, listen) = (Target::echo(), free_port());
    let mut definition = definition("relay", listen, &target.address());
    definition["listen_address"] = json!("::");
    let Some(mut stagedoor) = without_ipv6(&definition) else { return };
    assert_eq!(stagedoor.ended().code(), Some(1));
    let line = stagedoor.logged("cannot start");
    assert!(line.contains("\"relay\"") && line.contains(&format!("[::]:{listen}")), "{line}");
    assert!(line.contains("IPv6 is off?"), "{line}");
}

#[test]
fn where_ipv6_has_no_addresses_the_default_still_serves_ipv4_and_a_written_one_is_an_error() {
    in_own_network(|| {
        if !network::set("ipv6/conf/all/disable_ipv6", "1") {
            return;
        }
        let (target, listen) = (Target::echo(), free_port());
        let mut definition = definition("relay", listen, &target.address());
        definition.as_object_mut().unwrap().remove("listen_address");
        let stagedoor = Stagedoor::run(&definition);
        assert_eq!(exchange(listen, b"v4").0, b"v4");
        drop(stagedoor);
        definition["listen_address"] = json!("::1");
        let mut refused = Stagedoor::launch(&[], &[&definition], &[]);
        assert_eq!(refused.ended().code(), Some(1));
        let line = refused.logged("cannot start");
        assert!(line.contains("[::1]") && line.contains("no such address"), "{line}");
    });
}

#[test]
fn a_privileged_port_without_the_right_to_it_is_an_error_that_says_what_is_needed() {
    in_own_network(|| {
        let definition = definition("relay", 80, &Target::echo().address());
        let bare = ["setpriv", "--bounding-set=-net_bind_service", "--"];
        let mut refused = Stagedoor::launch(&bare, &[&definition], &[]);
        assert_eq!(refused.ended().code(), Some(2));
        refused.logged("this user may not open ports below 1024");
        refused.logged("CAP_NET_BIND_SERVICE");
    });
}
