//! Faults put into the system calls of a running process, by strace.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Goes on until it is dropped.
pub(crate) struct Injection {
    strace: Child,
}

impl Injection {
    /// Puts `fault`, such as `accept4:error=EMFILE:when=1..5`, into every thread of a process.
    /// `None`, after saying so, without the right to trace.
    pub(crate) fn into(process: Pid, fault: &str) -> Option<Self> {
        let (call, _) = fault.split_once(':').expect("CALL:WHAT");
        let mut strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={fault}")])
            .args(["-p", &process.as_raw_nonzero().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: `make test` does that");
        let mut said = BufReader::new(strace.stderr.take().expect("it is piped")).lines();
        let attached = said.by_ref().map_while(Result::ok).any(|line| line.contains("attached"));
        if !attached {
            strace.wait().expect("a child can be awaited");
            eprintln!("skipped: no right to trace another process");
            return None;
        }
        std::thread::spawn(move || said.for_each(drop));
        Some(Self { strace })
    }
}

/// May this user trace processes? If not, says so.
pub(crate) fn may_trace() -> bool {
    let mut somebody = Command::new("sleep").arg("60").spawn().expect("every system has it");
    let injection = Injection::into(Pid::from_child(&somebody), "accept4:error=EPERM");
    let may = injection.is_some();
    drop(injection);
    somebody.kill().expect("a child can be killed");
    somebody.wait().expect("a child can be awaited");
    may
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It lets go of the process before it ends.
        kill_process(Pid::from_child(&self.strace), Signal::INT).expect("strace is still there");
        self.strace.wait().expect("a child can be awaited");
    }
}
