//! Who leads outlives the process: what is kept on disk, and when it is not believed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use stagedoor::health::kept::Kept;
use stagedoor::state::wall_clock::WallTime;

use crate::harness::eventually::eventually;
use crate::harness::port::free_port;
use crate::harness::redis::{Client, Redis};
use crate::harness::speaker::Actor;
use crate::harness::stagedoor::Stagedoor;

fn definition(listen: u16, targets: &[String]) -> Value {
    json!({
        "name": "Redis", "listen_port": listen, "listen_address": "127.0.0.1", "protocol": "tcp",
        "proxy": {
            "target_list": targets, "enable_load_balancing": true,
            "check_host_against_uptime_tests": true, "balance": "leader",
        },
        "uptime_tests": {
            "config": { "interval": "50ms", "fast_interval": "20ms" },
            "commands": [
                { "name": "send", "message": "INFO replication\r\n" },
                { "name": "expect", "message": "role:master" },
            ],
        },
    })
}

/// Two targets and a folder for state, over which one proxy after the other is started.
struct Stage {
    first: Actor,
    second: Actor,
    listen: u16,
    home: tempfile::TempDir,
}

impl Stage {
    /// The first plays the master, the second a replica.
    fn new() -> Self {
        let (first, second) = (Actor::playing("master"), Actor::playing("slave"));
        Self { first, second, listen: free_port(), home: tempfile::tempdir().unwrap() }
    }

    fn definition(&self) -> Value {
        definition(self.listen, &[self.first.address(), self.second.address()])
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn start(&self) -> Stagedoor {
        run_in(&self.folder(), &self.definition())
    }

    /// The only file there is, once it says who leads.
    fn kept(&self, leader: &Actor) -> (PathBuf, Kept) {
        kept(&self.folder(), &leader.address())
    }

    /// Both claim to be master, the second leads, and that is on disk; the proxy is killed.
    fn leave_two_masters(&self) -> PathBuf {
        let stagedoor = self.start();
        stagedoor.logged(&leads(&self.first.address(), "it alone claims the lead"));
        self.second.plays("master");
        stagedoor.logged(&leads(&self.second.address(), "it was promoted"));
        self.kept(&self.second).0
    }
}

fn run_in(folder: &Path, definition: &Value) -> Stagedoor {
    Stagedoor::run_with(definition, &["--set", &format!("state_dir={}", folder.display())])
}

fn leads(target: &str, why: &str) -> String {
    format!("target {target} leads: {why}")
}

fn kept(folder: &Path, leader: &str) -> (PathBuf, Kept) {
    eventually("who leads is on disk", || {
        let mut entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let path = entries.find(|path| path.extension().is_some_and(|it| it == "leader"))?;
        let kept = Kept::parse(&std::fs::read_to_string(&path).ok()?).ok()?;
        (kept.leads.as_deref() == Some(leader)).then_some((path, kept))
    })
}

fn port_reached(listen: u16) -> Option<u16> {
    let mut client = Client::try_connect(listen)?;
    assert_eq!(client.try_call("CONFIG GET port")?, "*2");
    assert_eq!(client.reply()?, "port");
    client.reply()?.parse().ok()
}

#[test]
fn of_two_masters_the_one_that_led_still_leads_after_a_kill() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let targets = [&old, &new].map(|redis| format!("127.0.0.1:{}", redis.port()));
    let home = tempfile::tempdir().unwrap();
    let definition = definition(listen, &targets);
    let stagedoor = run_in(home.path(), &definition);
    assert_eq!(port_reached(listen), Some(old.port()));
    new.promote();
    stagedoor.logged(&leads(&targets[1], "it was promoted"));
    kept(home.path(), &targets[1]);
    drop(stagedoor);
    for _ in 0..3 {
        // Killed again, perhaps before it has heard of anybody.
        drop(run_in(home.path(), &definition));
    }
    let stagedoor = run_in(home.path(), &definition);
    for _ in 0..20 {
        assert_eq!(port_reached(listen), Some(new.port()));
    }
    let said = stagedoor.logged("remembered from");
    assert!(said.contains(&format!("ago: {} led", targets[1])), "{said}");
    stagedoor.logged(&leads(&targets[1], "it led before the start"));
    assert_eq!(stagedoor.complaints(), Vec::<String>::new(), "nobody contends");
}

#[test]
fn who_was_promoted_while_no_proxy_ran_leads() {
    let (old, listen) = (Redis::master(), free_port());
    let new = Redis::replica_of(&old);
    let targets = [&old, &new].map(|redis| format!("127.0.0.1:{}", redis.port()));
    let home = tempfile::tempdir().unwrap();
    let definition = definition(listen, &targets);
    let stagedoor = run_in(home.path(), &definition);
    stagedoor.logged(&leads(&targets[0], "it alone claims the lead"));
    stagedoor.logged(&format!("target {} is down", targets[1]));
    kept(home.path(), &targets[0]);
    drop(stagedoor);
    new.promote();
    // The old one has not been told yet: both claim to be master.
    let stagedoor = run_in(home.path(), &definition);
    for _ in 0..20 {
        assert_eq!(port_reached(listen), Some(new.port()));
    }
    stagedoor.logged(&leads(&targets[1], "it was promoted"));
}

#[test]
fn a_stop_on_request_leaves_who_leads_and_when_that_was_last_known() {
    let stage = Stage::new();
    let mut stagedoor = stage.start();
    let (_, first) = stage.kept(&stage.first);
    stagedoor.signal(Signal::TERM);
    assert_eq!(stagedoor.ended().code(), Some(0));
    let (path, last) = stage.kept(&stage.first);
    assert!(last.says_the_same(&first), "{last:?}");
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
    };
    assert_eq!((mode(&path) & 0o777, mode(&stage.folder()) & 0o777), (0o600, 0o700));
    stage.second.plays("master");
    let stagedoor = stage.start();
    // It has been promoted meanwhile.
    stagedoor.logged(&leads(&stage.second.address(), "it was promoted"));
}

#[test]
fn what_is_too_old_from_the_future_or_damaged_is_not_believed_and_the_log_says_why() {
    let stage = Stage::new();
    let path = stage.leave_two_masters();
    let text = std::fs::read_to_string(&path).unwrap();
    let kept = Kept::parse(&text).unwrap();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let old = Kept { written: WallTime::now().before(minutes(11)).unwrap(), ..kept.clone() };
    let ahead = WallTime::now().after(minutes(60)).unwrap();
    let future = Kept { written: ahead, ..kept.clone() };
    let foreign = Kept {
        of: stagedoor::state::page::Owner { service: "other".into(), ..kept.of.clone() },
        ..kept
    };
    let check = |text: &[u8], level: &str, why: &str| {
        std::fs::write(&path, text).unwrap();
        let stagedoor = stage.start();
        let said = stagedoor.logged("starting without what was remembered");
        assert!(said.contains(why) && said.contains(&path.display().to_string()), "{said}");
        assert_eq!(said.split_whitespace().nth(1), Some(level), "{said}");
        // A start as any other: both claim the lead, and nobody has it.
        stagedoor.logged("nobody leads");
        assert!(!stagedoor.log().iter().any(|line| line.contains(" leads: it ")));
    };
    check(old.to_text().as_bytes(), "info", "it is 11m");
    check(future.to_text().as_bytes(), "warn", "from the future");
    check(foreign.to_text().as_bytes(), "warn", "of service \"other\"");
    check(&text.as_bytes()[..text.len() / 2], "warn", "its end is missing");
    check(
        text.replace("not leader", "leader").replace("| leader", "| nothing").as_bytes(),
        "warn",
        "edited",
    );
    check(b"", "warn", "its end is missing");
    check(&[0xff; 4096], "warn", "not text");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_once_and_the_service_runs_on() {
    let stage = Stage::new();
    // No folder can be made below a file, whoever asks.
    std::fs::write(stage.home.path().join("file"), "").unwrap();
    let stagedoor = run_in(&stage.home.path().join("file/state"), &stage.definition());
    stagedoor.logged("who leads is not written to");
    stage.second.plays("master");
    stagedoor.logged(&leads(&stage.second.address(), "it was promoted"));
    stage.first.plays("slave");
    stagedoor.logged(&format!("target {} is down", stage.first.address()));
    let told = stagedoor.log().iter().filter(|line| line.contains("not written to")).count();
    assert_eq!(told, 1, "{:?}", stagedoor.log());
}

#[test]
fn without_a_folder_nothing_is_written_and_nothing_is_remembered() {
    let stage = Stage::new();
    let mut stagedoor = Stagedoor::run_with(&stage.definition(), &["--set", "state_dir=none"]);
    stagedoor.logged(&leads(&stage.first.address(), "it alone claims the lead"));
    stagedoor.signal(Signal::TERM);
    assert_eq!(stagedoor.ended().code(), Some(0));
    assert!(!stage.folder().exists());
}

#[test]
fn a_service_that_a_reload_took_away_and_gave_back_is_remembered() {
    let stage = Stage::new();
    let stagedoor = stage.start();
    stagedoor.logged(&leads(&stage.first.address(), "it alone claims the lead"));
    stage.second.plays("master");
    stagedoor.logged(&leads(&stage.second.address(), "it was promoted"));
    stage.kept(&stage.second);
    let mut other = stage.definition();
    other["name"] = json!("other");
    for definition in [other, stage.definition()] {
        std::fs::write(stagedoor.file(), definition.to_string()).unwrap();
        let reply = stagedoor.json(&["reload"]);
        assert!(reply["changes"].is_array(), "{reply}");
    }
    let why = "it led before the start";
    stagedoor.logged(&leads(&stage.second.address(), why));
}
