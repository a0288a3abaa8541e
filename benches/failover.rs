//! Failovers of real servers, in full length: the timeline of each, and the distribution.
//!
//! The scenarios are those of `tests/it/failover`; what must be true is asserted there, and what it
//! takes is printed here. `STAGEDOOR_RUNS` says how often each is played (3); a word as argument
//! picks those whose names contain it.

#![allow(dead_code, reason = "a harness has more than one user")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up has failed")]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

#[path = "../tests/it/failover"]
mod failover {
    pub(crate) mod account;
    pub(crate) mod cast;
    pub(crate) mod figures;
    pub(crate) mod moments;
    pub(crate) mod postgres_scenario;
    pub(crate) mod postgres_session;
    pub(crate) mod redis_session;
    pub(crate) mod scenario;
    pub(crate) mod session;
    pub(crate) mod writers;
}

use std::process::Command;
use std::time::Duration;

use crate::failover::account::Account;
use crate::failover::figures::Figures;
use crate::failover::postgres_scenario::PostgresScenario;
use crate::failover::scenario::{Pace, Scenario};
use crate::harness::network::{drop_packets, in_own_network};
use crate::harness::sentinel::Haste;
use crate::harness::stagedoor::BINARY;

/// Sentinel as it comes, but for the 2 s.
const FULL: Pace = Pace {
    haste: Haste { down_after: Duration::from_secs(2), period: None },
    back: Duration::from_secs(3),
    still: Duration::from_secs(5),
    apart: Duration::from_secs(10),
};

/// A failover that can be played again and again.
struct Piece {
    title: String,
    cuts: bool,
    play: Box<dyn Fn() -> Account + Sync>,
}

fn main() {
    let runs = std::env::var("STAGEDOOR_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |piece: &Piece| {
        let title = piece.title.to_lowercase();
        wanted.is_empty() || wanted.iter().any(|word| title.contains(&word.to_lowercase()))
    };
    machine();
    let mut all = Vec::new();
    for piece in pieces().into_iter().filter(is_wanted) {
        let figures: Vec<Figures> = (1..=runs).filter_map(|run| play(&piece, run)).collect();
        all.push((piece.title, figures));
    }
    machine();
    distribution(&all);
}

/// In the order in which they are played.
fn pieces() -> Vec<Piece> {
    let redis = [
        Scenario::Killed,
        Scenario::KilledLoading,
        Scenario::Paused,
        Scenario::Partitioned,
        Scenario::Isolated,
        Scenario::Minority,
        Scenario::Amnesia,
        Scenario::Planned,
        Scenario::Manual,
    ];
    let postgres = [
        PostgresScenario::Stopped,
        PostgresScenario::Killed,
        PostgresScenario::Paused,
        PostgresScenario::Split,
    ];
    let redis = redis.into_iter().map(|scenario| Piece {
        title: format!("Redis, {scenario:?}"),
        cuts: scenario.cuts(),
        play: Box::new(move || scenario.play(&FULL)),
    });
    let postgres = postgres.into_iter().map(|scenario| Piece {
        title: format!("PostgreSQL, {scenario:?}"),
        cuts: false,
        play: Box::new(move || scenario.play()),
    });
    redis.chain(postgres).collect()
}

/// One failover. `None`, after saying so, without a right that it takes.
fn play(piece: &Piece, run: usize) -> Option<Figures> {
    let mut played = None;
    let mut once = || {
        let account = (piece.play)();
        println!("\n{}, run {run}", account.title);
        for (at, what) in account.timeline() {
            println!("{:>9.3} s  {what}", at.as_secs_f64());
        }
        let figures = account.figures();
        println!("{:>13}{figures}", "");
        played = Some(figures);
    };
    if piece.cuts {
        in_own_network(|| {
            if drop_packets(&[]) {
                once();
            }
        });
    } else {
        once();
    }
    played
}

fn distribution(all: &[(String, Vec<Figures>)]) {
    println!(
        "\nLeast, median and most of each; the first write counts from the promotion, or from"
    );
    println!("the healing where the proxy was cut off too.\n");
    let titles = ["first write, ms", "lost", "failed", "refused", "held", "longest wait, ms"];
    print!("{:<22}{:>5}", "", "runs");
    titles.iter().for_each(|title| print!("{title:>18}"));
    println!();
    for (title, figures) in all {
        print!("{title:<22}{:>5}", figures.len());
        let columns: [Vec<u128>; 6] = [
            figures.iter().filter_map(|it| Some(it.lead?.as_millis())).collect(),
            figures.iter().map(|it| it.lost as u128).collect(),
            figures.iter().map(|it| it.failed as u128).collect(),
            figures.iter().map(|it| it.refused as u128).collect(),
            figures.iter().map(|it| it.held as u128).collect(),
            figures.iter().map(|it| it.longest.as_millis()).collect(),
        ];
        columns.into_iter().for_each(|column| print!("{:>18}", spread(column)));
        println!();
    }
}

fn spread(mut values: Vec<u128>) -> String {
    values.sort_unstable();
    match values[..] {
        [] => "-".to_owned(),
        [least, .., most] => format!("{least} {} {most}", values[values.len() / 2]),
        [only] => only.to_string(),
    }
}

/// What all this ran on, and what else ran there.
fn machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("cores {cores}, kernel {}", read("/proc/sys/kernel/osrelease").trim());
    println!("load {}", read("/proc/loadavg").trim());
    for program in [BINARY, "redis-server"] {
        println!("{}", said(program).unwrap_or_else(|error| format!("{program}: {error}")));
    }
}
