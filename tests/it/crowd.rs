//! A thousand checked targets in one service: all come up, all are asked in time, at little cost.

use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::process::{Meter, resident_kib};
use crate::harness::stagedoor::Stagedoor;

const COUNT: u16 = 1_000;

/// One listener that is a target at every address of the loopback; counts who was asked how often.
struct Crowd {
    port: u16,
    asked: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Crowd {
    fn gather() -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        let asked: Arc<Mutex<HashMap<IpAddr, u32>>> = Arc::default();
        std::thread::spawn({
            let asked = Arc::clone(&asked);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let local = stream.local_addr().unwrap().ip();
                    *lock(&asked).entry(local).or_default() += 1;
                }
            }
        });
        Self { port, asked }
    }

    fn address(&self, index: u16) -> SocketAddr {
        let [high, low] = index.to_be_bytes();
        (Ipv4Addr::new(127, 77, high, low), self.port).into()
    }

    fn counts(&self) -> HashMap<IpAddr, u32> {
        lock(&self.asked).clone()
    }
}

fn lock(asked: &Mutex<HashMap<IpAddr, u32>>) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

fn up(stagedoor: &Stagedoor) -> usize {
    let status = stagedoor.json(&["status"]);
    let targets = status["services"][0]["targets"].as_array().cloned().unwrap_or_default();
    targets.iter().filter(|target| target["health"] == "up").count()
}

#[test]
fn a_thousand_targets_come_up_and_are_asked_evenly() {
    let (crowd, listen) = (Crowd::gather(), free_port());
    let urls: Vec<Value> = (0..COUNT).map(|i| json!(crowd.address(i).to_string())).collect();
    let stagedoor = Stagedoor::run(&json!({
        "name": "crowd", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "enable_load_balancing": true, "check_host_against_uptime_tests": true,
            "target_list": urls,
        },
        "uptime_tests": { "commands": [], "config": { "interval": "1s" } },
    }));
    eventually("all of them are up", || (up(&stagedoor) == usize::from(COUNT)).then_some(()));
    let (before, meter) = (crowd.counts(), Meter::start(&stagedoor));
    let rounds = 5;
    eventually("everybody has been asked again and again", || {
        let now = crowd.counts();
        let asked = |(who, count): (&IpAddr, &u32)| now[who] >= count + rounds;
        before.iter().all(asked).then_some(())
    });
    let (after, took, share) = (crowd.counts(), meter.elapsed(), meter.share());
    let more: Vec<u32> = before.iter().map(|(who, count)| after[who] - count).collect();
    let most = more.iter().max().copied().unwrap_or_default();
    println!(
        "{COUNT} targets: {rounds} to {most} checks each in {took:?}, processor {:.1} %, {} MiB",
        100.0 * share,
        resident_kib(stagedoor.pid()) / 1024
    );
    assert!(most <= 2 * rounds + 2, "nobody is asked much more often than another: {most}");
    let mut client = TcpStream::connect(("127.0.0.1", listen)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "a target of the crowd takes it and closes");
}
