//! The last good list of a directory outlives the process: what a start begins with while the
//! directory says nothing, and when that is not believed.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use stagedoor::discovery::kept::TARGETS;
use stagedoor::state::page::Page;
use stagedoor::state::wall_clock::WallTime;

use crate::harness::client::exchange;
use crate::harness::directory::{Directory, list, ok, say};
use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::Stagedoor;
use crate::harness::target::Target;

/// A directory, and a folder for state over which one proxy after the other is started.
struct Stage {
    directory: Directory,
    listen: u16,
    home: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { directory: Directory::new(), listen: free_port(), home }
    }

    fn definition(&self) -> Value {
        json!({
            "name": "redis", "listen_port": self.listen, "listen_address": "127.0.0.1",
            "protocol": "tcp",
            "proxy": {
                "enable_load_balancing": true, "on_removed": "close",
                "service_discovery": {
                    "use_discovery_service": true, "query_endpoint": self.directory.url("/redis"),
                    "endpoint_returns_list": true, "use_target_list": true, "cache_timeout": "1s",
                    "headers": { "X-Consul-Token": "hunter2" },
                },
            },
        })
    }

    fn lists(&self, targets: &[String]) {
        self.directory.lists("/redis", targets);
    }

    /// The directory has trouble from now on.
    fn fails(&self) {
        self.directory.answers("/redis", |stream, _| say(stream, b"HTTP/1.1 500 Oops\r\n\r\n"));
    }

    fn start(&self, definition: &Value) -> Stagedoor {
        let folder = format!("state_dir={}", self.folder().display());
        Stagedoor::run_with(definition, &["--set", &folder])
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The file with the list, once it is there and says this.
    fn kept(&self, target: &str) -> (PathBuf, Page) {
        eventually("the list is on disk", || {
            let path = file_in(&self.folder(), "targets")?;
            let page = Page::parse(TARGETS, &std::fs::read_to_string(&path).ok()?).ok()?;
            page.lines.contains(target).then_some((path, page))
        })
    }

    /// A process that has found this is killed, and then the directory fails.
    fn leaves(&self, target: &Target) -> (PathBuf, Page) {
        self.lists(&[target.address()]);
        let stagedoor = self.start(&self.definition());
        assert_eq!(served(self.listen), b"1");
        let kept = self.kept(&target.address());
        drop(stagedoor);
        self.fails();
        kept
    }
}

/// The file with this ending; one that is being written has another.
fn file_in(folder: &Path, ending: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|it| it == ending))
}

fn served(listen: u16) -> Vec<u8> {
    exchange(listen, b"").0
}

fn found(stagedoor: &Stagedoor) -> Value {
    stagedoor.status()["services"][0]["discovery"].clone()
}

#[test]
fn a_start_without_its_directory_begins_with_what_was_found_last() {
    let (stage, target, other) = (Stage::new(), Target::numbered(1), Target::numbered(2));
    let (path, page) = stage.leaves(&target);
    let mode = std::fs::metadata(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let text = page.to_text();
    assert!(!text.contains("hunter") && !text.contains("127.0.0.1:0"), "{text}");
    // Killed again: what was kept is still there.
    drop(stage.start(&stage.definition()));
    // A directory that says nothing at all holds up the start, and does not prevent it.
    let silent = |stream: &mut TcpStream, _| drop(std::io::copy(stream, &mut std::io::sink()));
    stage.directory.answers("/redis", silent);
    let stagedoor = stage.start(&stage.definition());
    stagedoor.logged("discovery takes long: going on without");
    assert_eq!(served(stage.listen), b"1");
    drop(stagedoor);
    stage.fails();
    let stagedoor = stage.start(&stage.definition());
    assert_eq!(served(stage.listen), b"1");
    let said = stagedoor.logged("discovery: no good answer yet: beginning with the list of ");
    assert!(said.contains(" ago, 1 target, which was kept"), "{said}");
    stagedoor.logged("it answered with status 500; the 1 target of the last good list stays");
    let shown = found(&stagedoor);
    assert_eq!((&shown["kept"], &shown["listed"]), (&json!(true), &json!(1)), "{shown}");
    assert!(shown["stale_ms"].as_u64() >= shown["good_ms"].as_u64(), "{shown}");
    let people = String::from_utf8(stagedoor.command(&["status"]).stdout).unwrap();
    assert!(people.contains(", kept from before the start; STALE for "), "{people}");
    stage.lists(&[other.address()]);
    eventually("the first good answer wins", || (served(stage.listen) == b"2").then_some(()));
    let shown = found(&stagedoor);
    assert_eq!((&shown["kept"], &shown["stale_ms"]), (&json!(false), &Value::Null), "{shown}");
    stage.kept(&other.address());
}

#[test]
fn an_answer_at_the_start_wins_at_once_and_nothing_is_said_of_what_was_kept() {
    let (stage, target, other) = (Stage::new(), Target::numbered(1), Target::numbered(2));
    stage.leaves(&target);
    stage.lists(&[other.address()]);
    let stagedoor = stage.start(&stage.definition());
    assert_eq!(served(stage.listen), b"2");
    assert_eq!(stagedoor.complaints(), Vec::<String>::new());
    assert_eq!(found(&stagedoor)["kept"], false);
}

#[test]
fn what_was_found_is_newer_than_what_is_written() {
    let (stage, target, written) = (Stage::new(), Target::numbered(1), Target::numbered(2));
    stage.leaves(&target);
    let mut definition = stage.definition();
    definition["proxy"]["target_list"] = json!([written.address()]);
    drop(stage.start(&definition));
    let _stagedoor = stage.start(&definition);
    assert_eq!(served(stage.listen), b"1");
}

#[test]
fn a_renewed_token_is_no_other_directory_and_another_path_is() {
    let (stage, target) = (Stage::new(), Target::numbered(1));
    stage.leaves(&target);
    let mut definition = stage.definition();
    let table = &mut definition["proxy"]["service_discovery"];
    table["headers"]["X-Consul-Token"] = json!("renewed");
    table["cache_timeout"] = json!("2s");
    drop(stage.start(&definition));
    let stagedoor = stage.start(&definition);
    assert_eq!(served(stage.listen), b"1");
    drop(stagedoor);
    definition["proxy"]["service_discovery"]["query_endpoint"] =
        json!(stage.directory.url("/other"));
    let stagedoor = stage.start(&definition);
    let said = stagedoor.logged("starting without the list of targets that was kept");
    assert!(said.contains("it is what another directory said"), "{said}");
    assert_eq!(served(stage.listen), b"");
    assert_eq!(found(&stagedoor)["listed"], Value::Null);
}

#[test]
fn what_is_damaged_or_from_the_future_is_not_believed_and_told_once() {
    let (stage, target) = (Stage::new(), Target::numbered(1));
    let (path, page) = stage.leaves(&target);
    let text = page.to_text();
    let ahead = WallTime::now().after(Duration::from_secs(3_600)).unwrap();
    let check = |bytes: &[u8], why: &str| {
        std::fs::write(&path, bytes).unwrap();
        let stagedoor = stage.start(&stage.definition());
        let said = stagedoor.logged("starting without the list of targets that was kept");
        assert!(said.contains(why) && said.contains(&path.display().to_string()), "{said}");
        let told = stagedoor.complaints().into_iter().filter(|line| line.contains("was kept"));
        assert_eq!(told.count(), 1);
        assert_eq!(served(stage.listen), b"");
    };
    check(&text.as_bytes()[..text.len() / 2], "its end is missing");
    check(text.replace("127.0.0.1", "127.0.0.2").as_bytes(), "damaged or edited");
    check(b"", "its end is missing");
    check(&[0xff; 4096], "not text");
    let lines = page.lines.replace("main", "half");
    check(Page { lines, ..page.clone() }.to_text().as_bytes(), "line 6 is not as stagedoor");
    check(Page { written: ahead, ..page }.to_text().as_bytes(), "from the future");
}

#[test]
fn an_old_list_is_believed_only_where_its_targets_are_checked() {
    let (stage, target) = (Stage::new(), Target::numbered(1));
    let (path, page) = stage.leaves(&target);
    let written = WallTime::now().before(Duration::from_secs(24 * 3_600)).unwrap();
    let old = Page { written, ..page }.to_text();
    std::fs::write(&path, &old).unwrap();
    let stagedoor = stage.start(&stage.definition());
    let said = stagedoor.logged("starting without the list of targets that was kept");
    assert!(said.contains("it is 1day old, and older than 10m is not believed"), "{said}");
    assert_eq!(served(stage.listen), b"");
    drop(stagedoor);
    let mut checked = stage.definition();
    checked["proxy"]["check_host_against_uptime_tests"] = json!(true);
    checked["uptime_tests"] = json!({ "commands": [{ "name": "expect", "message": "1" }] });
    std::fs::write(&path, &old).unwrap();
    let stagedoor = stage.start(&checked);
    stagedoor.logged("beginning with the list of 1day");
    eventually("it has passed its check", || (served(stage.listen) == b"1").then_some(()));
}

#[test]
fn without_a_folder_nothing_is_kept() {
    let (stage, target) = (Stage::new(), Target::numbered(1));
    stage.lists(&[target.address()]);
    for _ in 0..2 {
        let stagedoor = Stagedoor::run_with(&stage.definition(), &["--set", "state_dir=none"]);
        let asked = stage.directory.asked("/redis");
        eventually("it is asked again", || (stage.directory.asked("/redis") > asked).then_some(()));
        drop(stagedoor);
        assert!(!stage.folder().exists());
    }
}

/// A led service whose targets, both masters, are found; the second leads. Then it is killed, and
/// its directory fails.
fn leave_two_masters(stage: &Stage) -> (Value, Actor, Actor) {
    let (first, second) = (Actor::playing("master"), Actor::playing("slave"));
    let mut led = stage.definition();
    led["proxy"]["check_host_against_uptime_tests"] = json!(true);
    led["proxy"]["balance"] = json!("leader");
    led["uptime_tests"] = json!({
        "config": { "interval": "50ms", "fast_interval": "20ms" },
        "commands": [
            { "name": "send", "message": "INFO replication\r\n" },
            { "name": "expect", "message": "role:master" },
        ],
    });
    stage.lists(&[first.address(), second.address()]);
    let stagedoor = stage.start(&led);
    stagedoor.logged(&leads(&first, "it alone claims the lead"));
    second.plays("master");
    stagedoor.logged(&leads(&second, "it was promoted"));
    stage.kept(&second.address());
    eventually("who leads is on disk", || {
        let path = file_in(&stage.folder(), "leader")?;
        let text = std::fs::read_to_string(path).ok()?;
        text.contains(&format!("leads {}\n", second.address())).then_some(())
    });
    drop(stagedoor);
    stage.fails();
    (led, first, second)
}

fn leads(target: &Actor, why: &str) -> String {
    format!("target {} leads: {why}", target.address())
}

#[test]
fn a_led_service_that_begins_with_a_kept_list_remembers_its_leader() {
    let stage = Stage::new();
    let (led, _first, second) = leave_two_masters(&stage);
    for _ in 0..2 {
        let stagedoor = stage.start(&led);
        stagedoor.logged(&leads(&second, "it led before the start"));
        let nobody = stagedoor.log().into_iter().find(|line| line.contains("nobody leads"));
        assert_eq!(nobody, None, "nobody contends");
    }
}

#[test]
fn a_led_service_whose_first_list_comes_late_remembers_its_leader() {
    let stage = Stage::new();
    let (mut led, first, second) = leave_two_masters(&stage);
    std::fs::remove_file(file_in(&stage.folder(), "targets").unwrap()).unwrap();
    let stagedoor = stage.start(&led);
    stagedoor.logged("there has been no list yet");
    // A change of another key meanwhile makes no end of the start.
    led["proxy"]["retries"] = json!(7);
    std::fs::write(stagedoor.file(), led.to_string()).unwrap();
    stagedoor.json(&["reload"]);
    assert!(stagedoor.status()["services"][0]["leader"].is_null());
    let body = list(&[first.address(), second.address()]);
    stage.directory.answers("/redis", move |stream, _| say(stream, &ok(&body)));
    stagedoor.logged("remembered from ");
    stagedoor.logged(&leads(&second, "it led before the start"));
    let nobody = stagedoor.log().into_iter().find(|line| line.contains("nobody leads"));
    assert_eq!(nobody, None, "nobody contends");
}
