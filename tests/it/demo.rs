//! `stagedoor demo`: what it counts is counted, and it leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::harness::control::ask;
use crate::harness::eventually::eventually;
use crate::harness::stagedoor::BINARY;

/// A demo with a temporary folder of its own; its output can be read line by line.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Box::new(output.lines().map_while(Result::ok));
        Self { child, folder, lines }
    }

    /// What its proxy says of itself, once it runs.
    fn proxy(&self) -> Value {
        let entries = || std::fs::read_dir(self.folder.path()).unwrap().flatten();
        eventually("the proxy of the demo answers", || {
            let socket = entries().next()?.path().join("control.sock");
            let status = ask(&socket, &serde_json::json!({ "command": "status" }))?;
            // It listens a moment before it is known who leads.
            let status = status.get("status")?.clone();
            status["services"][0]["leader"].is_string().then_some(status)
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code, and what it said that was not read yet.
    fn ended(&mut self) -> (Option<i32>, Vec<String>) {
        let said = self.lines.by_ref().collect();
        (self.child.wait().unwrap().code(), said)
    }
}

/// Asserts that the proxy, its ports and the folder of a demo are gone.
#[track_caller]
fn is_gone(proxy: &Value, folder: &Path) {
    let pid = Pid::from_raw(i32::try_from(proxy["pid"].as_u64().unwrap()).unwrap()).unwrap();
    // A demo that was killed leaves its end to the proxy itself.
    eventually("the proxy is gone", || test_kill_process(pid).is_err().then_some(()));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "its folder is left");
    let service = &proxy["services"][0];
    let targets = service["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    let addresses = targets.iter().map(|target| &target["address"]).chain([&service["listen"]]);
    for address in addresses {
        let address = address.as_str().unwrap();
        eventually("its port is free", || TcpListener::bind(address).ok());
    }
}

#[test]
fn every_failover_is_accounted_for_and_nothing_is_left() {
    let mut demo = Demo::start(&["--failovers", "4", "--every", "3", "--json"]);
    let proxy = demo.proxy();
    let (code, said) = demo.ended();
    let objects: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [reports @ .., summary] = objects.as_slice() else { panic!("{said:?}") };
    let summary = &summary["summary"];
    assert_eq!(code, Some(0), "{said:#?}");
    assert_eq!((&summary["kept"], &summary["broken"]), (&Value::Bool(true), &Value::Null));
    let kinds: Vec<&str> =
        reports.iter().map(|report| report["failover"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["planned swap", "master killed", "master frozen", "master cut off"]);
    let mut acknowledged = 0;
    for (report, (from, to)) in reports.iter().zip([("A", "B"), ("B", "A")].iter().cycle()) {
        let report = &report["failover"];
        assert_eq!((report["from"].as_str(), report["to"].as_str()), (Some(*from), Some(*to)));
        assert!(report["landed"][to].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["lost"]["after_switch"], 0, "{report}");
        assert_eq!(report["tries"]["given_up"], 0, "{report}");
        let own = report["proxy_says"].as_str().unwrap();
        assert!(own.contains(&format!("from {from} to {to}")), "the proxy says the same: {own}");
        assert!(report["first_write_ms"].is_u64() && report["settled"] == true, "{report}");
        acknowledged += report["acknowledged"].as_u64().unwrap();
    }
    // What the two have in common is lost by neither; only a master that is cut off takes writes
    // that its replica never hears of.
    for report in &reports[..3] {
        assert_eq!(report["failover"]["lost"]["before_promotion"], 0, "{report}");
    }
    assert_eq!(reports[0]["failover"]["lost"]["until_switch"], 0, "a swap loses nothing");
    assert_eq!(reports[0]["failover"]["two_masters_ms"], 0);
    let lost = &reports[3]["failover"]["lost"];
    let count = |when: &str| lost[when].as_u64().unwrap();
    assert!(count("before_promotion") + count("until_switch") > 0, "honestly: {lost}");
    assert!(summary["acknowledged"].as_u64().unwrap() >= acknowledged && acknowledged > 0);
    is_gone(&proxy, demo.folder.path());
}

#[test]
fn ctrl_c_ends_it_with_a_summary() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Demo::start(&[]);
        let proxy = demo.proxy();
        assert!(demo.lines.next().unwrap().starts_with("Two Redis servers"));
        demo.signal(signal);
        let (code, said) = demo.ended();
        assert_eq!(code, Some(0), "{said:#?}");
        let said = said.join("\n");
        assert!(said.contains("0 failovers in ") && !said.contains('\x1b'), "{said}");
        is_gone(&proxy, demo.folder.path());
    }
}

#[test]
fn a_proxy_that_is_killed_ends_it_and_is_named() {
    let mut demo = Demo::start(&[]);
    let proxy = demo.proxy();
    assert!(demo.lines.next().unwrap().starts_with("Two Redis servers"));
    let pid = i32::try_from(proxy["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let (code, said) = demo.ended();
    let said = said.join("\n");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("The proxy has ended: signal: 9") && said.contains(" leads: "), "{said}");
    is_gone(&proxy, demo.folder.path());
}

#[test]
fn a_demo_that_is_killed_leaves_no_proxy_behind() {
    let mut demo = Demo::start(&[]);
    let proxy = demo.proxy();
    demo.signal(Signal::KILL);
    demo.ended();
    is_gone(&proxy, demo.folder.path());
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let output = Command::new(BINARY).arg("demo").env("TMPDIR", "/proc/none").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/proc/none/stagedoor-demo-") && said.contains("TMPDIR"), "{said}");
}
