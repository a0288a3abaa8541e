//! What happens to bytes, ends and faults on their way through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::harness::black_hole::BlackHole;
use crate::harness::client::{
    Ended, check_bulk, connect, echoed, exchange, narrow, read_to_end, reset,
};
use crate::harness::eventually::eventually;
use crate::harness::pattern::pattern;
use crate::harness::port::free_port;
use crate::harness::process::{comes_to_rest, resident_kib, take_all_descriptors};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, targets: &[String]) -> Value {
    json!({
        "name": "relay", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "enable_load_balancing": true, "target_list": targets, "balance": "first" },
    })
}

fn proxy(target: &Target) -> (Stagedoor, u16) {
    let listen = free_port();
    (Stagedoor::run(&definition(listen, &[target.address()])), listen)
}

#[test]
fn a_client_that_finishes_first_still_gets_the_whole_answer() {
    let target = Target::new(|mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        stream.write_all(&pattern(1 << 20)).unwrap();
    });
    let (_stagedoor, listen) = proxy(&target);
    let (answer, ended) = exchange(listen, b"all of it, please");
    assert_eq!(ended, Ended::Cleanly);
    assert!(answer == pattern(1 << 20), "{} bytes", answer.len());
}

#[test]
fn a_target_that_finishes_first_still_gets_the_whole_request() {
    let (target, connections) = Target::handed_over();
    let (_stagedoor, listen) = proxy(&target);
    let mut client = connect(listen);
    let mut server = connections.recv().unwrap();
    server.write_all(b"bye").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), (b"bye".to_vec(), Ended::Cleanly));
    client.write_all(&pattern(1 << 20)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (request, ended) = read_to_end(&mut server);
    assert!(request == pattern(1 << 20) && ended == Ended::Cleanly);
}

#[test]
fn a_reset_by_the_target_reaches_the_client_as_a_reset_after_what_was_sent() {
    let (target, connections) = Target::handed_over();
    let (_stagedoor, listen) = proxy(&target);
    let mut client = connect(listen);
    let mut server = connections.recv().unwrap();
    server.write_all(b"half an answ").unwrap();
    let mut seen = [0; 12];
    client.read_exact(&mut seen).unwrap();
    reset(server);
    assert_eq!(&seen, b"half an answ");
    assert_eq!(read_to_end(&mut client), (Vec::new(), Ended::Reset));
}

#[test]
fn a_reset_by_the_client_reaches_the_target_as_a_reset() {
    let (target, connections) = Target::handed_over();
    let (stagedoor, listen) = proxy(&target);
    let client = connect(listen);
    let mut server = connections.recv().unwrap();
    reset(client);
    assert_eq!(read_to_end(&mut server), (Vec::new(), Ended::Reset));
    let line = stagedoor.logged("session ended");
    assert!(
        line.contains("the client reset the connection") && line.contains("by=client"),
        "{line}"
    );
}

#[test]
fn a_server_that_speaks_first_is_heard_by_a_client_that_says_nothing() {
    let (_stagedoor, listen) = proxy(&Target::banner(b"220 ready\r\n"));
    let mut client = connect(listen);
    let mut banner = [0; 11];
    client.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
}

#[test]
fn bulk_both_ways_at_once_arrives_whole_and_in_order() {
    let (_stagedoor, listen) = proxy(&Target::echo());
    check_bulk(listen, 32 << 20);
}

#[test]
fn single_bytes_go_through_one_by_one() {
    let (_stagedoor, listen) = proxy(&Target::echo());
    let mut client = connect(listen);
    client.set_nodelay(true).unwrap();
    for byte in pattern(500) {
        assert_eq!(echoed(&mut client, &[byte]), [byte]);
    }
}

/// So many readers stall, and each of their writers writes until nothing moves any more: what the
/// proxy has grown by then, in KiB.
fn grown_by_stalled_readers(readers: usize) -> u64 {
    let (target, connections) = Target::handed_over();
    let (stagedoor, listen) = proxy(&target);
    let before = resident_kib(stagedoor.pid());
    let mut writers = Vec::new();
    let mut stalled = Vec::new();
    for _ in 0..readers {
        let client = connect(listen);
        narrow(&client);
        let server = connections.recv().unwrap();
        server.set_nonblocking(true).unwrap();
        SockRef::from(&server).set_send_buffer_size(4096).unwrap();
        writers.push(server);
        stalled.push(client);
    }
    let block = vec![7; 64 * 1024];
    for writer in &mut writers {
        let mut quiet = 0;
        while quiet < 20 {
            match writer.write(&block) {
                Ok(1..) => quiet = 0,
                Ok(0) => panic!("a socket takes something or says so"),
                Err(_) => {
                    quiet += 1;
                    std::thread::yield_now();
                }
            }
        }
    }
    comes_to_rest(stagedoor.pid());
    let grown = resident_kib(stagedoor.pid()).saturating_sub(before);
    drop(stalled);
    grown
}

#[test]
fn a_reader_that_stalls_holds_the_writer_back_and_not_the_memory_of_the_proxy() {
    let grown = grown_by_stalled_readers(50);
    assert!(grown < 50 * 64, "{grown} KiB for 50 stalled relays");
}

#[test]
fn two_thousand_stalled_readers_fit_into_sixty_four_mebibytes() {
    take_all_descriptors();
    let grown = grown_by_stalled_readers(2_000);
    assert!(grown < 64 * 1024, "{grown} KiB for 2,000 stalled relays");
}

#[test]
fn a_target_that_refuses_is_passed_over_for_another() {
    let dead = format!("127.0.0.1:{}", free_port());
    let (good, listen) = (Target::numbered(2), free_port());
    let stagedoor = Stagedoor::run(&definition(listen, &[dead, good.address()]));
    for _ in 0..10 {
        assert_eq!(exchange(listen, b""), (b"2".to_vec(), Ended::Cleanly));
    }
    assert_eq!(stagedoor.json(&["status"])["services"][0]["failed_dials"], 10);
}

#[test]
fn a_client_whose_every_target_refuses_is_closed_at_once() {
    let dead = || format!("127.0.0.1:{}", free_port());
    let listen = free_port();
    let stagedoor = Stagedoor::run(&definition(listen, &[dead(), dead()]));
    let (answer, _) = exchange(listen, b"");
    assert!(answer.is_empty());
    let line = stagedoor.logged("session ended");
    assert!(line.contains("no target could be reached") && line.contains("stage=dial"), "{line}");
}

#[test]
fn a_client_that_leaves_while_its_target_is_dialled_is_forgotten_at_once() {
    let hole = BlackHole::open();
    let listen = free_port();
    let mut definition = definition(listen, &[hole.address().to_string()]);
    definition["proxy"]["connect_timeout"] = json!("60s");
    let stagedoor = Stagedoor::run(&definition);
    let client = connect(listen);
    eventually("the session dials", || {
        (stagedoor.json(&["status"])["services"][0]["targets"][0]["live"] == 1).then_some(())
    });
    reset(client);
    let line = stagedoor.logged("session ended");
    assert!(line.contains("the client left before it was connected"), "{line}");
    assert_eq!(stagedoor.json(&["status"])["services"][0]["targets"][0]["live"], 0);
}

#[test]
fn an_idle_session_is_ended_and_says_why() {
    let (target, listen) = (Target::echo(), free_port());
    let mut definition = definition(listen, &[target.address()]);
    definition["limits"] = json!({ "idle_timeout": "150ms" });
    let stagedoor = Stagedoor::run(&definition);
    let mut client = connect(listen);
    assert_eq!(echoed(&mut client, b"hello"), b"hello");
    read_to_end(&mut client);
    stagedoor.logged("idle for too long");
}

#[test]
fn a_half_closed_session_ends_after_its_own_timeout() {
    let (target, connections) = Target::handed_over();
    let listen = free_port();
    let mut definition = definition(listen, &[target.address()]);
    definition["limits"] = json!({ "half_close_timeout": "150ms" });
    let stagedoor = Stagedoor::run(&definition);
    let mut client = connect(listen);
    let _server = connections.recv().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut client);
    stagedoor.logged("half-closed for too long");
}

#[test]
fn the_port_outlives_a_shortage_of_descriptors() {
    let (stagedoor, listen) = proxy(&Target::echo());
    let room = stagedoor.descriptors() as u64 + 8;
    let limit = |current| rustix::process::Rlimit { current: Some(current), maximum: Some(4096) };
    let set = |limit| {
        rustix::process::prlimit(Some(stagedoor.pid()), rustix::process::Resource::Nofile, limit)
            .unwrap()
    };
    set(limit(room));
    let clients: Vec<TcpStream> = (0..30).map(|_| connect(listen)).collect();
    stagedoor.logged("cannot accept, trying again");
    drop(clients);
    set(limit(4096));
    eventually("a new client is served", || {
        (exchange(listen, b"again").0 == b"again").then_some(())
    });
    let complaints = stagedoor.log().iter().filter(|line| line.contains("cannot accept")).count();
    assert!(complaints < 20, "{complaints} lines: once a second at most");
}

#[test]
fn nothing_is_left_behind_after_many_sessions() {
    let (stagedoor, listen) = proxy(&Target::echo());
    exchange(listen, b"warm");
    let before = stagedoor.descriptors();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for round in 0..50 {
                    match round % 3 {
                        0 => assert_eq!(exchange(listen, b"x").0, b"x"),
                        1 => drop(connect(listen)),
                        _ => reset(connect(listen)),
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    eventually("every gauge is at rest", || {
        let status = stagedoor.json(&["status"]);
        let service = &status["services"][0];
        (service["live"] == 0 && service["targets"][0]["live"] == 0 && status["sessions"] == 0)
            .then_some(())
    });
    // Pooled pipes may stay; they are bounded.
    let left = stagedoor.descriptors().saturating_sub(before);
    assert!(left <= 16, "{left} descriptors more than before");
}
