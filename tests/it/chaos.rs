//! Faults injected into every kind of component of the real binary, under traffic.
//!
//! Only the sessions on a killed arbiter may be lost; each of them is counted. `STAGEDOOR_CHAOS`
//! sets how many faults of each kind there are.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually::eventually;
use crate::harness::load::{Load, Relays};
use crate::harness::port::free_port;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

const RELAYS: usize = 20;
const SUPERVISION: [&str; 8] = [
    "--set",
    "supervision.intensity=1000000",
    "--set",
    "supervision.hang=200ms",
    "--set",
    "workers=2",
    "--set",
    "log.level=info,stagedoor::proxy::outcome=warn",
];

/// An echo service whose targets are checked, with a lasting count of everything.
fn definition(listen: u16, targets: &[Target]) -> Value {
    let url = |target: &Target| target.address();
    json!({
        "name": "echo", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "enable_load_balancing": true, "check_host_against_uptime_tests": true,
        "proxy": { "target_list": targets.iter().map(url).collect::<Vec<_>>() },
        "uptime_tests": {
            "check_list": targets.iter().map(|target| json!({ "url": url(target), "commands": [] }))
                .collect::<Vec<_>>(),
            "config": { "interval": "500ms" },
        },
    })
}

fn start(arguments: &[&str]) -> (Stagedoor, u16) {
    let (targets, listen) = ([0; 4].map(|_| Target::echo()), free_port());
    (Stagedoor::run_with(&definition(listen, &targets), arguments), listen)
}

/// How often each kind of fault is due.
struct Plan {
    soft: usize,
    kills: usize,
}

impl Plan {
    /// 200 in all; or as many of each kind as the environment says.
    fn from_environment() -> Self {
        match std::env::var("STAGEDOOR_CHAOS").ok().and_then(|count| count.parse().ok()) {
            Some(each) => Self { soft: each, kills: each },
            None => Self { soft: 48, kills: 8 },
        }
    }
}

/// What a process holds on to.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident: usize,
}

impl Held {
    fn by(stagedoor: &Stagedoor) -> Self {
        Self {
            descriptors: stagedoor.descriptors(),
            threads: stagedoor.threads(),
            resident: stagedoor.resident(),
        }
    }
}

#[test]
fn nothing_is_lost_whatever_component_fails_however() {
    let plan = Plan::from_environment();
    let (stagedoor, listen) = start(&SUPERVISION);
    eventually("everybody checks and answers", || {
        let targets = stagedoor.status()["services"][0]["targets"].as_array().cloned()?;
        targets.iter().all(|target| target["health"] == "up").then_some(())
    });
    let before = Held::by(&stagedoor);
    let mut relays = Relays::open(listen, RELAYS);
    let load = Load::start(listen, 4);
    eventually("the load runs", || (load.exchanges() > 200).then_some(()));
    let components: Vec<String> = stagedoor
        .tree()
        .into_iter()
        .map(|component| component.name)
        .filter(|name| name != "stagedoor" && !name.starts_with("arbiter/"))
        .collect();
    assert!(components.len() > 10, "{components:?}");
    let mut chance = fastrand::Rng::with_seed(7);
    let mut lost = 0;
    for round in 0..plan.soft.max(plan.kills) {
        if round < plan.soft {
            for fault in ["panic", "stop", "wedge", &format!("hang:{}", chance.u32(50..500))] {
                hit_any(&stagedoor, &components, fault, &mut chance);
            }
            relays.all_live(&format!("round {round}"));
        }
        if round < plan.kills {
            lost += load.excuse(|| kill_any(&stagedoor, &mut relays, &mut chance));
        }
    }
    relays.all_live("all of it");
    let (exchanges, slowest) = (load.exchanges(), load.slowest());
    let seen = load.stop();
    println!(
        "{lost} relays and {} exchanges on killed arbiters; {exchanges} in all, slowest {slowest:?}",
        seen.excused
    );
    assert!(seen.failures.is_empty(), "{:#?}", seen.failures);
    drop(relays);
    settled(&stagedoor, before);
}

/// Hits some component that runs just now. Those that take the hits are hit less often: while they
/// back off, nobody can be hit.
fn hit_any(stagedoor: &Stagedoor, components: &[String], fault: &str, chance: &mut fastrand::Rng) {
    eventually("some component can be hit", || {
        let component = &components[chance.usize(..components.len())];
        let takes_hits = ["control", "answers"].contains(&component.as_str());
        if takes_hits && chance.u8(..4) > 0 {
            return None;
        }
        stagedoor.hit(component, fault).then_some(())
    });
}

/// Kills some arbiter, waits until there is another, and counts the relays that went with it.
fn kill_any(stagedoor: &Stagedoor, relays: &mut Relays, chance: &mut fastrand::Rng) -> usize {
    let arbiter = ["arbiter/data/0", "arbiter/data/1", "arbiter/control"][chance.usize(..3)];
    let before = stagedoor.component(arbiter).restarts;
    // The one who answers may be on it: no answer is no news.
    stagedoor.hit(arbiter, "kill");
    eventually("the arbiter is replaced", || {
        (stagedoor.component(arbiter).restarts > before).then_some(())
    });
    let lost = relays.lose();
    assert!(arbiter != "arbiter/control" || lost == 0, "the control arbiter carries no relays");
    relays.fill_up(RELAYS);
    lost
}

/// With no client left, everything is as it was before the faults.
fn settled(stagedoor: &Stagedoor, before: Held) {
    let is_zero = |value: &Value| value.as_u64() == Some(0);
    eventually("every count of live sessions is 0", || {
        let status = stagedoor.status();
        let service = &status["services"][0];
        let targets = service["targets"].as_array()?;
        let live = [&status["sessions"], &service["live"]].into_iter();
        live.chain(targets.iter().map(|target| &target["live"])).all(is_zero).then_some(())
    });
    eventually("every component runs", || {
        stagedoor.tree().iter().all(|component| component.state == "running").then_some(())
    });
    let mut last = before;
    for _ in 0..1000 {
        last = Held::by(stagedoor);
        if last.descriptors <= before.descriptors && last.threads <= before.threads {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    println!("held before: {before:?}, after: {last:?}");
    assert!(last.descriptors <= before.descriptors, "{before:?} {last:?}");
    assert!(last.threads <= before.threads, "{before:?} {last:?}");
    // What the allocator keeps for threads that are gone is no leak; more than that would be.
    assert!(last.resident < before.resident + 32 * 1024, "{before:?} {last:?}");
}
