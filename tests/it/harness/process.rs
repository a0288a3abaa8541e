//! What the kernel knows of a running proxy.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::stagedoor::Stagedoor;

/// Linux counts processor time in hundredths of a second, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);

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

/// Its resident memory.
pub(crate) fn resident_kib(stagedoor: &Stagedoor) -> u64 {
    let status = read(stagedoor, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn read(stagedoor: &Stagedoor, file: &str) -> String {
    let path = format!("/proc/{}/{file}", stagedoor.pid().as_raw_nonzero());
    std::fs::read_to_string(path).expect("the process is still there")
}

/// Processor time that it has used so far.
fn processor_time(stagedoor: &Stagedoor) -> Duration {
    let stat = read(stagedoor, "stat");
    // The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
    TICK * fields.skip(11).take(2).map(|field| field.parse::<u32>().expect("ticks")).sum()
}
