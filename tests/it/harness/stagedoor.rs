//! The real binary, with its log read line by line and its control socket at hand.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::harness::eventually::eventually;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_stagedoor");

/// A running proxy in a folder of its own; killed when dropped.
pub(crate) struct Stagedoor {
    child: Child,
    folder: tempfile::TempDir,
    log: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Stagedoor {
    /// Starts `stagedoor run` on one definition and waits until it listens.
    pub(crate) fn run(definition: &serde_json::Value) -> Self {
        Self::run_with(definition, &[])
    }

    /// The same with further arguments.
    pub(crate) fn run_with(definition: &serde_json::Value, arguments: &[&str]) -> Self {
        Self::run_under(&[], &[definition], arguments)
    }

    /// The same with several definitions, started by `wrapper`, which must become the proxy.
    pub(crate) fn run_under(
        wrapper: &[&str],
        definitions: &[&serde_json::Value],
        arguments: &[&str],
    ) -> Self {
        let stagedoor = Self::launch(wrapper, definitions, arguments);
        stagedoor.logged("ready");
        stagedoor
    }

    /// The same, without waiting until it listens: it may never do.
    pub(crate) fn launch(
        wrapper: &[&str],
        definitions: &[&serde_json::Value],
        arguments: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = definitions.iter().enumerate().map(|(index, definition)| {
            let file = definition_in(&folder, index);
            std::fs::write(&file, serde_json::to_vec_pretty(definition).expect("it is JSON"))
                .expect("the folder can be written to");
            file.into_os_string()
        });
        let mut line = wrapper.iter().map(Into::into).collect::<Vec<std::ffi::OsString>>();
        line.extend([BINARY.into(), "run".into()]);
        line.extend(files);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .args(["--set", &format!("admin.socket={}", socket_in(&folder).display())])
            .args(["--set", &format!("state_dir={}", folder.path().join("state").display())])
            .args(arguments)
            // Panics that are part of a test would fill its log.
            .env("RUST_BACKTRACE", "0")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary has been built");
        let log = Arc::default();
        let stderr = child.stderr.take().expect("it is piped");
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || follow(stderr, &log)
        });
        Self { child, folder, log }
    }

    /// The definition's file, to be changed before a reload.
    pub(crate) fn file(&self) -> PathBuf {
        definition_in(&self.folder, 0)
    }

    /// Its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.folder)
    }

    /// Waits for a log line that contains `text` and returns it.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) -> String {
        self.logged_after(0, text)
    }

    /// The same, of lines after the first `mark`.
    #[track_caller]
    pub(crate) fn logged_after(&self, mark: usize, text: &str) -> String {
        let found = || self.log().iter().skip(mark).find(|line| line.contains(text)).cloned();
        let mut waited = 0;
        eventually(&format!("the log says {text:?}"), || {
            waited += 1;
            assert!(waited < 11_990, "the log never says {text:?}:\n{}", self.log().join("\n"));
            found()
        })
    }

    /// How many lines there are now: a mark for `logged_after`.
    pub(crate) fn mark(&self) -> usize {
        self.log().len()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|(_, line)| line.clone()).collect()
    }

    /// When the first line after the first `mark` came that contains one of these.
    pub(crate) fn when_logged(&self, mark: usize, texts: &[&str]) -> Option<Instant> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let says = |line: &str| texts.iter().any(|text| line.contains(text));
        log.iter().skip(mark).find(|(_, line)| says(line)).map(|(at, _)| *at)
    }

    /// What it has complained of: everything at `warn` or above.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let level = |line: &String| line.split_whitespace().nth(1).map(str::to_owned);
        let is_loud = |line: &String| matches!(level(line).as_deref(), Some("warn" | "error"));
        self.log().into_iter().filter(is_loud).collect()
    }

    /// Runs another stagedoor command against this process.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY)
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .output()
            .expect("the binary runs")
    }

    /// The same, parsed as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.command(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is still there");
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().expect("a child can be awaited"))
    }

    /// Is it still running?
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be awaited").is_none()
    }

    /// Its threads.
    pub(crate) fn threads(&self) -> usize {
        let folder = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        std::fs::read_dir(folder).expect("the process is still there").count()
    }

    /// The memory it has touched, in KiB.
    #[cfg(feature = "chaos")]
    pub(crate) fn resident(&self) -> usize {
        let file = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(file).expect("the process is still there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("Linux tells it")
    }

    /// Its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(folder).expect("the process is still there").count()
    }
}

impl Drop for Stagedoor {
    fn drop(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
        if std::thread::panicking() {
            eprintln!("--- the log of the process under test\n{}", self.log().join("\n"));
        }
    }
}

/// Runs a command to its end.
pub(crate) fn stagedoor(arguments: &[&str], folder: &Path) -> Output {
    Command::new(BINARY).args(arguments).current_dir(folder).output().expect("the binary runs")
}

/// What `stagedoor probe` makes of a definition.
pub(crate) fn probed(definition: &serde_json::Value) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("a.json");
    std::fs::write(file, definition.to_string()).expect("the folder can be written to");
    stagedoor(&["probe", "a.json"], folder.path())
}

fn definition_in(folder: &tempfile::TempDir, index: usize) -> PathBuf {
    let number = if index == 0 { String::new() } else { format!("-{index}") };
    folder.path().join(format!("service{number}.json"))
}

fn socket_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("control.sock")
}

fn follow(stderr: std::process::ChildStderr, log: &Mutex<Vec<(Instant, String)>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        log.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
    }
}
