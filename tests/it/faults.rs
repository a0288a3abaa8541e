//! What happens to living sessions when the network, the kernel or their target fails them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::harness::client::{Ended, check_bulk, connect, echoed, narrow, read_to_end, reset};
use crate::harness::eventually::eventually;
use crate::harness::injection::Injection;
use crate::harness::network::{self, in_own_network};
use crate::harness::pattern::pattern;
use crate::harness::port::free_port;
use crate::harness::process::comes_to_rest;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

fn definition(listen: u16, target: &Target) -> Value {
    json!({
        "name": "relay", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": { "target_url": format!("tcp://{}", target.address()) },
    })
}

fn proxy(target: &Target) -> (Stagedoor, u16) {
    let listen = free_port();
    (Stagedoor::run(&definition(listen, target)), listen)
}

#[test]
fn where_splicing_fails_bytes_are_copied_and_nothing_spins() {
    for fault in ["error=EINVAL", "error=ENOSYS", "error=EPERM", "error=EINVAL:when=20+"] {
        let (stagedoor, listen) = proxy(&Target::echo());
        let fault = format!("splice:{fault}");
        let Some(injection) = Injection::into(stagedoor.pid(), &fault) else { return };
        check_bulk(listen, 8 << 20);
        let mut idle = connect(listen);
        idle.write_all(&pattern(1 << 20)).unwrap();
        idle.read_exact(&mut vec![0; 1 << 20]).unwrap();
        comes_to_rest(stagedoor.pid());
        drop(injection);
        check_bulk(listen, 1 << 20);
    }
}

#[test]
fn urgent_data_makes_nothing_spin_and_what_is_around_it_arrives() {
    let (target, connections) = Target::handed_over();
    let (stagedoor, listen) = proxy(&target);
    let mut client = connect(listen);
    let mut server = connections.recv().unwrap();
    // The urgent byte itself is no part of the stream, as for any reader that asks for none.
    for _ in 0..3 {
        client.write_all(b"before").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"after").unwrap();
        let mut seen = [0; 11];
        server.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"beforeafter");
    }
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    comes_to_rest(stagedoor.pid());
    client.write_all(b"more").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut server), (b"more".to_vec(), Ended::Cleanly));
}

#[test]
fn a_window_that_stays_shut_makes_nothing_spin() {
    let (target, connections) = Target::handed_over();
    let (stagedoor, listen) = proxy(&target);
    let mut client = connect(listen);
    narrow(&client);
    let mut server = connections.recv().unwrap();
    let block = pattern(1 << 20);
    let writing = std::thread::spawn(move || while server.write_all(&block).is_ok() {});
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    comes_to_rest(stagedoor.pid());
    // A byte at a time opens and shuts it.
    for _ in 0..100 {
        client.read_exact(&mut first).unwrap();
    }
    comes_to_rest(stagedoor.pid());
    reset(client);
    // The writer hears of the reset too.
    writing.join().unwrap();
}

#[test]
fn bytes_one_way_keep_a_session_alive_and_silence_ends_it() {
    let (target, connections) = Target::handed_over();
    let listen = free_port();
    let mut definition = definition(listen, &target);
    definition["limits"] = json!({ "idle_timeout": "1s" });
    let stagedoor = Stagedoor::run(&definition);
    let (mut busy, mut served) = (connect(listen), connections.recv().unwrap());
    // Each silent session measures an idle timeout for the busy one to outlive.
    for _ in 0..2 {
        let silent = connect(listen);
        let _server = connections.recv().unwrap();
        silent.set_nonblocking(true).unwrap();
        eventually("the silent session ends", || {
            busy.write_all(b"x").unwrap();
            matches!((&silent).read(&mut [0]), Ok(0)).then_some(())
        });
    }
    stagedoor.logged("idle for too long");
    busy.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut served).1, Ended::Cleanly);
}

#[test]
fn lost_packets_in_small_pieces_corrupt_nothing() {
    in_own_network(|| {
        network::set_mtu(576);
        if !network::drop_packets(&["numgen random mod 100 < 5"]) {
            return;
        }
        let (_stagedoor, listen) = proxy(&Target::echo());
        check_bulk(listen, 2 << 20);
    });
}

#[test]
fn a_socket_destroyed_by_an_administrator_ends_its_session_on_the_other_side_too() {
    in_own_network(|| {
        let (target, connections) = Target::handed_over();
        let (stagedoor, listen) = proxy(&target);
        for side in [listen, target.port()] {
            let mark = stagedoor.mark();
            let mut client = connect(listen);
            let mut server = connections.recv().unwrap();
            // The proxy's own socket: of the client's connection, and of the one to the target.
            let end = if side == listen { "sport" } else { "dport" };
            if !network::destroy_sockets(&format!("state established {end} = {side}")) {
                return;
            }
            assert_eq!(read_to_end(&mut client).1, Ended::Reset);
            assert_eq!(read_to_end(&mut server).1, Ended::Reset);
            stagedoor.logged_after(mark, "session ended");
        }
        drop(target);
    });
}

#[test]
fn a_target_whose_cable_is_pulled_is_noticed_idle_or_not() {
    in_own_network(|| {
        let (target, connections) = Target::handed_over();
        let listen = 5000;
        let mut definition = definition(listen, &target);
        definition["limits"] = json!({
            "keep_alive": { "idle": "1s", "interval": "1s", "count": 1 },
            "tcp_user_timeout": "1s",
        });
        let stagedoor = Stagedoor::run(&definition);
        let (mut idle, mut talking) = (connect(listen), connect(listen));
        let servers = [connections.recv().unwrap(), connections.recv().unwrap()];
        let port = target.port();
        let cut = [format!("tcp dport {port}"), format!("tcp sport {port}")];
        if !network::drop_packets(&cut.each_ref().map(String::as_str)) {
            return;
        }
        talking.write_all(b"is anybody there?").unwrap();
        for client in [&mut talking, &mut idle] {
            assert_eq!(read_to_end(client), (Vec::new(), Ended::Reset));
        }
        let line = stagedoor.logged("session ended");
        assert!(line.contains("the connection to the target failed"), "{line}");
        network::drop_nothing();
        drop(servers);
    });
}

#[test]
fn a_client_that_vanished_is_noticed_idle_or_not_and_leaves_nothing() {
    in_own_network(|| {
        let (target, connections) = Target::handed_over();
        let listen = 5000;
        let mut definition = definition(listen, &target);
        definition["limits"] = json!({
            "keep_alive": { "idle": "1s", "interval": "1s", "count": 1 },
            "tcp_user_timeout": "1s",
        });
        let stagedoor = Stagedoor::run(&definition);
        let clients = [connect(listen), connect(listen)];
        let mut servers = [connections.recv().unwrap(), connections.recv().unwrap()];
        let cut = [format!("tcp dport {listen}"), format!("tcp sport {listen}")];
        if !network::drop_packets(&cut.each_ref().map(String::as_str)) {
            return;
        }
        servers[0].write_all(b"is anybody there?").unwrap();
        for server in &mut servers {
            assert_eq!(read_to_end(server), (Vec::new(), Ended::Reset));
        }
        let line = stagedoor.logged("session ended");
        assert!(line.contains("the connection to the client failed"), "{line}");
        eventually("nothing is left", || {
            (stagedoor.json(&["status"])["services"][0]["live"] == 0).then_some(())
        });
        network::drop_nothing();
        drop(clients);
    });
}

#[test]
fn a_full_table_of_connections_on_the_way_hurts_new_ones_only_and_another_target_serves() {
    in_own_network(|| {
        let (first, second, listen) = (Target::echo(), Target::numbered(2), 5000);
        let mut definition = definition(listen, &first);
        definition["proxy"] = json!({
            "enable_load_balancing": true, "balance": "first", "connect_timeout": "200ms",
            "target_list": [first.address(), second.address()],
        });
        // As a connection tracker that is full: what it knows passes, and what is new is dropped.
        let full = format!("tcp dport {} ct state new ct count over 2", first.port());
        if !network::drop_packets(&[&full]) {
            return;
        }
        let _stagedoor = Stagedoor::run(&definition);
        let mut old = [connect(listen), connect(listen)];
        for session in &mut old {
            assert_eq!(echoed(session, b"before"), b"before");
        }
        assert_eq!(read_to_end(&mut connect(listen)), (b"2".to_vec(), Ended::Cleanly));
        for session in &mut old {
            assert_eq!(echoed(session, b"after"), b"after");
        }
    });
}

/// A checked service whose target is made sick with a session open; what becomes of the session.
fn when_the_target_goes_down(on_down: &str) -> (Stagedoor, TcpStream) {
    let (is_well, listen) = (Arc::new(AtomicBool::new(true)), free_port());
    let target = Target::checked(Arc::clone(&is_well));
    let mut definition = definition(listen, &target);
    definition["proxy"]["check_host_against_uptime_tests"] = json!(true);
    definition["proxy"]["on_down"] = json!(on_down);
    definition["uptime_tests"] = json!({
        "commands": [
            { "name": "send", "message": "PING\r\n" },
            { "name": "expect", "message": "+PONG" },
        ],
        "config": { "interval": "50ms", "rise": 1, "fall": 1 },
    });
    let stagedoor = Stagedoor::run(&definition);
    let mut session = connect(listen);
    assert_eq!(echoed(&mut session, b"before"), b"before");
    is_well.store(false, Ordering::Relaxed);
    stagedoor.logged("is down");
    (stagedoor, session)
}

#[test]
fn sessions_of_a_target_that_went_down_are_closed_kept_or_drained_as_the_service_says() {
    let (stagedoor, mut session) = when_the_target_goes_down("close");
    assert_eq!(read_to_end(&mut session), (Vec::new(), Ended::Reset));
    stagedoor.logged("session ended: target went down");

    let (stagedoor, mut session) = when_the_target_goes_down("drain:300ms");
    assert_eq!(read_to_end(&mut session), (Vec::new(), Ended::Reset));
    stagedoor.logged("session ended: target went down");

    let (stagedoor, mut session) = when_the_target_goes_down("drain:1h");
    assert_eq!(echoed(&mut session, b"after"), b"after");
    drop(session);
    let line = stagedoor.logged("session ended");
    assert!(line.contains("the client finished first"), "{line}");

    let (stagedoor, mut session) = when_the_target_goes_down("keep");
    assert_eq!(echoed(&mut session, b"after"), b"after");
    drop(session);
    let line = stagedoor.logged("session ended");
    assert!(line.contains("the client finished first"), "{line}");
}

#[test]
fn what_is_counted_is_what_happened() {
    let (stagedoor, listen) = proxy(&Target::echo());
    let sizes = [0, 1, 16 * 1024, 1 << 20];
    for size in sizes {
        check_bulk(listen, size);
    }
    let cut = connect(listen);
    eventually("it is relayed", || {
        (stagedoor.json(&["status"])["services"][0]["live"] == 1).then_some(())
    });
    reset(cut);
    let bytes: usize = sizes.iter().sum();
    let expected = [
        ("live", 0),
        ("accepted", sizes.len() + 1),
        ("refused", 0),
        ("failed_dials", 0),
        ("cut", 0),
        ("bytes_to_target", bytes),
        ("bytes_to_client", bytes),
    ];
    eventually("every count is right", || {
        let service = &stagedoor.json(&["status"])["services"][0];
        let is_right = expected.iter().all(|(count, number)| service[*count] == *number);
        (is_right && service["targets"][0]["live"] == 0).then_some(())
    });
    assert_eq!(stagedoor.json(&["status"])["services"][0]["targets"][0]["total"], sizes.len() + 1);
}
