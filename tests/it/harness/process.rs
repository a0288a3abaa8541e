//! What the kernel says of a process: its memory, its threads, its connections.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::harness::eventually::eventually;
use crate::harness::stagedoor::Stagedoor;

/// Linux counts processor time in hundredths of a second, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);
/// Looks in a row that have to find every thread asleep.
const LOOKS: usize = 20;

/// Waits until every thread of a process sleeps, and goes on sleeping: one that spins never does.
#[track_caller]
pub(crate) fn comes_to_rest(process: Pid) {
    let mut asleep = 0;
    eventually("every thread sleeps", || {
        asleep = if is_asleep(process) { asleep + 1 } else { 0 };
        (asleep == LOOKS).then_some(())
    });
}

fn is_asleep(process: Pid) -> bool {
    let threads = format!("/proc/{}/task", process.as_raw_nonzero());
    std::fs::read_dir(threads).expect("the process is still there").flatten().all(|thread| {
        // A thread may end between the two.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('S'))
    })
}

/// How much of a processor a proxy uses from now on.
pub(crate) struct Meter<'a> {
    stagedoor: &'a Stagedoor,
    used: Duration,
    since: Instant,
}

impl<'a> Meter<'a> {
    /// Begins to measure.
    pub(crate) fn start(stagedoor: &'a Stagedoor) -> Self {
        Self { stagedoor, used: processor_time(stagedoor), since: Instant::now() }
    }

    /// The share of one processor that it has used since.
    pub(crate) fn share(&self) -> f64 {
        let used = processor_time(self.stagedoor) - self.used;
        used.as_secs_f64() / self.elapsed().as_secs_f64()
    }

    /// How long it has been measured.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// Resident memory, in KiB.
pub(crate) fn resident_kib(process: Pid) -> u64 {
    let status = format!("/proc/{}/status", process.as_raw_nonzero());
    let text = std::fs::read_to_string(status).expect("the process is still there");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Lets this process, the tests, have as many descriptors as it may.
pub(crate) fn take_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to its maximum");
}

/// Processor time that it has used so far.
fn processor_time(stagedoor: &Stagedoor) -> Duration {
    let path = format!("/proc/{}/stat", stagedoor.pid().as_raw_nonzero());
    let stat = std::fs::read_to_string(path).expect("the process is still there");
    // The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
    TICK * fields.skip(11).take(2).map(|field| field.parse::<u32>().expect("ticks")).sum()
}
