//! A crowd of TLS clients that do not get on: thousands that say nothing, a thousand that say their
//! hello byte by byte. Others are served as ever, and what each of the crowd costs is bounded.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::harness::certificates::Authority;
use crate::harness::client::connect_from;
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::process::{resident_kib, take_all_descriptors};
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;
use crate::harness::tls::{Trust, echoed};

/// Clients that say nothing.
const SILENT: usize = 8_500;
/// Clients that say a byte now and then.
const SLOW: usize = 1_000;
/// What one of them may cost, at most. docs/tls.md states it.
const KIB_EACH: u64 = 24;

#[test]
fn clients_that_say_nothing_or_hardly_anything_hold_up_nobody_and_cost_little() {
    take_all_descriptors();
    let (authority, target, listen) = (Authority::new("ca"), Target::echo(), free_port());
    let definition = json!({
        "name": "crowded", "listen_port": listen, "listen_address": "127.0.0.1",
        "protocol": "tls", "certificates": authority.issue(&["a.test"]).path,
        "limits": { "handshake_timeout": "10m" },
        "proxy": { "target_url": target.address() },
    });
    let stagedoor = Stagedoor::run_with(&definition, &["--set", "workers=2"]);
    let trust = Trust::of(&authority);
    let serve = || {
        let mut tls = trust.connect(listen, "a.test").unwrap();
        assert_eq!(echoed(&mut tls, b"served"), b"served");
    };
    serve();
    let before = resident_kib(stagedoor.pid());
    let from = |index: usize| connect_from(&format!("127.0.1.{}", 1 + index % 200), listen);
    let mut crowd: Vec<TcpStream> = (0..SILENT + SLOW).map(from).collect();
    let gathered = || (stagedoor.descriptors() >= SILENT + SLOW).then_some(());
    eventually("all of them are there", gathered);
    serve();
    // The beginning of a hello that is as long as one may be.
    let hello = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..], &[7; 60]].concat();
    for byte in hello.chunks(1) {
        for slow in &mut crowd[SILENT..] {
            slow.write_all(byte).unwrap();
        }
    }
    for _ in 0..20 {
        serve();
    }
    let each = (resident_kib(stagedoor.pid()) - before) / (SILENT + SLOW) as u64;
    println!("a client that has not said its hello costs {each} KiB");
    assert!(each <= KIB_EACH, "{each} KiB for each");
    assert_eq!(target.accepted(), 22, "no target hears of them");
    drop(crowd);
    eventually("they are forgotten", || (stagedoor.descriptors() < 500).then_some(()));
}
