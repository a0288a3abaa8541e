//! What a definition means: defaults, spellings, who leads, and what is worth a warning.

use std::time::Duration;

use stagedoor::config::check::{Check, CheckKind};
use stagedoor::config::environment::Environment;
use stagedoor::config::layers::SettingsSources;
use stagedoor::config::load::{Loaded, Sources, load};
use stagedoor::config::model::{Balance, Closing, Service};
use stagedoor::config::problem::Severity;

/// Loads one definition, written in JSON or TOML.
fn loaded(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let json = text.trim_start().starts_with('{');
    let path = folder.path().join(if json { "f.json" } else { "f.toml" });
    std::fs::write(&path, text).unwrap();
    let env = Environment::from_pairs([("HOST", "Redis-1"), ("PASS", "s3cret"), ("EMPTY", "")]);
    let settings = SettingsSources { env, ..SettingsSources::default() };
    load(&Sources { settings, paths: vec![path], ..Sources::default() })
}

/// The service of a definition that is right.
#[track_caller]
fn service(text: &str) -> Service {
    let loaded = loaded(text);
    let model = loaded.model.unwrap_or_else(|| panic!("{text}\n{:#?}", loaded.problems));
    (**model.services.values().next().unwrap()).clone()
}

/// What is told of a definition, each with its severity.
fn told(text: &str) -> Vec<(Severity, String)> {
    loaded(text).problems.into_iter().map(|it| (it.severity, it.what)).collect()
}

/// Two checked targets, with these further keys of the definition, of `proxy`, and this script.
fn pair(keys: &str, proxy: &str, commands: &str) -> String {
    format!(
        r#"{{ "listen_port": 1, {keys} "enable_load_balancing": true,
             "check_host_against_uptime_tests": true,
             "proxy": {{ {proxy} "target_list": ["a:1", "b:1"] }},
             "uptime_tests": {{ "commands": [{commands}] }} }}"#
    )
}

const SEND: &str = r#"{ "name": "send", "message": "INFO replication\r\n" }"#;
const EXPECT: &str = r#"{ "name": "expect", "message": "role:master" }"#;

#[test]
fn a_leader_is_inferred_only_where_every_check_asks_for_a_master() {
    let check = |text: &str, expected| {
        let pool = service(text).pool;
        assert_eq!((pool.balance, pool.balance_inferred), expected, "{text}");
    };
    let script = format!("{SEND}, {EXPECT}");
    check(&pair("", "", &script), (Balance::Leader, true));
    check(&pair("", "\"balance\": \"first\",", &script), (Balance::First, false));
    check(&pair("", "\"balance\": \"leader\",", &script), (Balance::Leader, false));
    check(&pair("", "", SEND), (Balance::RoundRobin, false));
    let off = pair("", "", &script).replace("tests\": true", "tests\": false");
    check(&off, (Balance::RoundRobin, false));
    let single = pair("", "", &script).replace(", \"b:1\"", "");
    check(&single, (Balance::RoundRobin, false));
    let one_unchecked = pair("", "", &script)
        .replace("\"commands\": [", "\"check_list\": [{ \"url\": \"a:1\", \"commands\": [")
        .replace("\"role:master\" }]", "\"role:master\" }]}]");
    check(&one_unchecked, (Balance::RoundRobin, false));
}

#[test]
fn an_inferred_leader_is_announced_and_a_written_one_is_not() {
    let script = format!("{SEND}, {EXPECT}");
    let said = told(&pair("", "", &script));
    assert!(matches!(&said[..], [(Severity::Notice, what)] if what.contains("leader")), "{said:?}");
    assert_eq!(told(&pair("", "\"balance\": \"leader\",", &script)), []);
}

#[test]
fn a_leader_needs_a_check_of_every_target_and_a_word_for_no() {
    let leader = "\"balance\": \"leader\",";
    let said = |text: &str, severity, expected: &str| {
        let told = told(text);
        assert!(told.iter().any(|it| it.0 == severity && it.1.contains(expected)), "{told:?}");
    };
    let unchecked = pair("", leader, "").replace("\"commands\": []", "\"check_list\": []");
    said(&unchecked, Severity::Error, "a:1 has no check");
    let blind = pair("", leader, "").replace("tests\": true", "tests\": false");
    said(&blind, Severity::Error, "only checks can tell who leads");
    let greeting = r#"{ "name": "expect", "message": "220 primary" }"#;
    said(&pair("", leader, greeting), Severity::Warning, "never \"not leader\"");
    let reject = r#"{ "name": "reject", "message": "220 standby" }, "#;
    assert_eq!(told(&pair("", leader, &format!("{reject}{greeting}"))), []);
}

#[test]
fn a_rank_belongs_to_the_check_that_makes_its_captures_and_to_a_leader() {
    let capture = r#"{ "name": "expect_regex", "message": "offset:(?<offset>[0-9]+);" }"#;
    let ranked = |proxy: &str| {
        let text = pair("", proxy, &format!("{SEND}, {EXPECT}, {capture}"));
        text.replace("\"commands\":", "\"rank\": \"${capture.offset}\", \"commands\":")
    };
    let checks = service(&ranked("")).health.unwrap().checks.clone();
    let has_rank =
        |check: &Check| matches!(&check.kind, CheckKind::Script(script) if script.rank.is_some());
    assert!(checks.len() == 2 && checks.iter().all(|check| has_rank(check)));
    let without = ranked("\"balance\": \"first\",");
    assert!(!service(&without).health.unwrap().checks.iter().any(|check| has_rank(check)));
    let what = "a rank does nothing here: only a leader is told apart by it".to_owned();
    assert_eq!(told(&without), [(Severity::Warning, what)]);
}

#[test]
fn each_witness_is_asked_once_about_each_target() {
    let asks = r#"{ "name": "expect", "message": "${target.host}\r\n" }"#;
    let send = r#"{ "name": "send", "message": "WHO\r\n" }"#;
    let with = |proxy: &str, agree: &str, script: &str| {
        let witness = format!(
            "\"witness\": {{ {agree} \"commands\": [{script}], \"check_list\": [\
             {{ \"url\": \"v:1\" }}, {{ \"url\": \"w:1\" }}, {{ \"url\": \"x:1\" }}] }},"
        );
        let text = pair("", proxy, &format!("{SEND}, {EXPECT}"));
        text.replace(
            "\"commands\": [{ \"name\": \"send\", \"message\": \"INFO",
            &format!("{witness} \"commands\": [{{ \"name\": \"send\", \"message\": \"INFO"),
        )
    };
    let script = format!("{send}, {asks}");
    let health = service(&with("", "", &script)).health.unwrap();
    let witness = health.witness.as_ref().unwrap();
    let asked: Vec<String> = witness
        .checks
        .iter()
        .map(|check| format!("{} {}", check.address, check.about.as_ref().unwrap()))
        .collect();
    assert_eq!((witness.agree, witness.count), (2, 3), "more than half");
    assert_eq!(asked, ["v:1 a:1", "v:1 b:1", "w:1 a:1", "w:1 b:1", "x:1 a:1", "x:1 b:1"]);
    let warns = |text: &str, expected: &str| {
        let told = told(text);
        let warned = told
            .iter()
            .any(|(severity, what)| *severity == Severity::Warning && what.contains(expected));
        assert!(warned, "{told:?}");
    };
    let first = with("\"balance\": \"first\",", "", &script);
    warns(&first, "witnesses do nothing here");
    assert_eq!(service(&first).health.unwrap().witness, None);
    warns(&with("", "\"agree\": 1,", &script), "the agreement of 1 of 3 witnesses at one time");
    warns(&with("", "", EXPECT), "the script never names the target");
    warns(&with("", "", asks), "can agree but never disagree");
}

#[test]
fn a_witness_over_tls_is_spoken_to_as_targets_are() {
    let pins = format!("\"pinned_public_keys\": {{ \"v\": \"{}\" }},", "ab".repeat(32));
    let text = |url: &str| {
        let witness = format!(
            "\"witness\": {{ \"check_list\": [{{ \"url\": \"{url}\", \"commands\": [\
             {{ \"name\": \"send\", \"message\": \"WHO\\r\\n\" }},\
             {{ \"name\": \"expect\", \"message\": \"${{target.host}}\" }}] }}] }},"
        );
        let pair = pair(&pins, "", &format!("{SEND}, {EXPECT}"));
        pair.replacen("\"uptime_tests\": {", &format!("\"uptime_tests\": {{ {witness}"), 1)
    };
    let warnings = |text: &str| {
        told(text).into_iter().filter(|(severity, _)| *severity == Severity::Warning).count()
    };
    let health = service(&text("tls://v:1")).health.unwrap();
    let witness = health.witness.as_ref().unwrap();
    let is_pinned = |check: &Check| check.tls.as_ref().is_some_and(|tls| tls.pins.len() == 1);
    assert!(witness.checks.len() == 2 && witness.checks.iter().all(|check| is_pinned(check)));
    assert_eq!(warnings(&text("tls://v:1")), 0, "{:?}", told(&text("tls://v:1")));
    assert_eq!(warnings(&text("v:1")), 1, "then the pin is for nobody");
}

#[test]
fn times_and_counts_are_quicker_with_a_leader_unless_written() {
    let script = format!("{SEND}, {EXPECT}");
    let times = |text: &str| service(text).health.unwrap().thresholds.clone();
    let led = times(&pair("", "", &script));
    assert_eq!((led.interval, led.fall_refused), (Duration::from_millis(250), 1));
    assert_eq!(led.down_interval, led.interval);
    let usual = times(&pair("", "", ""));
    assert_eq!((usual.interval, usual.fall_refused), (Duration::from_secs(1), 3));
    let config = "\"uptime_tests\": { \"config\": { \"time_wait\": 0.05, \"failure_trigger_sample_size\": 4 },";
    let written = times(&pair("", "", &script).replace("\"uptime_tests\": {", config));
    assert_eq!(
        (written.interval, written.fast_interval),
        (Duration::from_millis(50), Duration::from_millis(50))
    );
    assert_eq!((written.rise, written.fall), (4, 4));
}

#[test]
fn without_load_balancing_one_target_counts() {
    let targets = |text: &str| -> Vec<String> {
        service(text).pool.targets.iter().map(|it| format!("{} {}", it.key, it.weight)).collect()
    };
    let list = "target_list = [\"a:1\", \"b:1\", \"a:1\"]";
    let head = "listen_port = 1\n[proxy]\n";
    assert_eq!(targets(&format!("{head}target_url = \"x:1\"\n{list}")), ["x:1 1"]);
    assert_eq!(targets(&format!("{head}{list}")), ["a:1 1"]);
    let on = "enable_load_balancing = true\n";
    assert_eq!(targets(&format!("{head}{on}target_url = \"x:1\"\n{list}")), ["a:1 2", "b:1 1"]);
    assert_eq!(targets(&format!("{head}{on}target_url = \"x:1\"")), ["x:1 1"]);
    let said = told(&format!("{head}{list}"));
    assert!(said[0].1.contains("only the first target"), "{said:?}");
}

#[test]
fn targets_have_weights_names_and_backups() {
    let text = "listen_port = 1\nenable_load_balancing = true\n[[proxy.target_list]]\nurl = \"A.:1\"\n\
                weight = 3\nname = \"main\"\n[[proxy.target_list]]\nurl = \"unix:/s\"\nbackup = true\n";
    let pool = service(text).pool;
    let shown: Vec<_> = pool
        .targets
        .iter()
        .map(|it| format!("{} {} {} {}", it.name, it.address, it.weight, it.backup))
        .collect();
    assert_eq!(shown, ["main a:1 3 false", "unix:/s unix:/s 1 true"]);
    let twice = text.replace("unix:/s", "a:1");
    assert!(told(&twice)[0].1.contains("listed twice"), "{:?}", told(&twice));
}

#[test]
fn sessions_of_a_target_that_went_down_are_closed_only_where_health_counts() {
    let head = "listen_port = 1\n[proxy]\ntarget_url = \"a:1\"\n";
    let on_down = |keys: &str| service(&format!("{head}{keys}")).pool.on_down;
    assert_eq!(on_down(""), Closing::Keep);
    let health = "check_host_against_uptime_tests = true\n[uptime_tests]\ncommands = []";
    assert_eq!(on_down(health), Closing::Close);
    assert_eq!(on_down("on_down = \"drain:5s\""), Closing::Drain(Duration::from_secs(5)));
}

#[test]
fn a_spread_of_closes_is_nothing_for_a_leader() {
    let script = format!("{SEND}, {EXPECT}");
    let spread = |proxy: &str| pair("", &format!("{proxy} \"close_spread\": \"10s\","), &script);
    let balanced = spread("\"balance\": \"first\",");
    assert_eq!(service(&balanced).pool.close_spread, Duration::from_secs(10));
    assert!(told(&balanced).is_empty());
    let said = told(&spread("\"balance\": \"leader\","));
    let [(Severity::Warning, what)] = &said[..] else { panic!("{said:?}") };
    assert!(what.contains("closed at once"), "{what}");
    let inferred = told(&spread(""));
    assert!(inferred.iter().any(|it| it.0 == Severity::Warning), "{inferred:?}");
}

#[test]
fn a_check_speaks_for_the_target_at_its_address_or_the_one_it_names() {
    let text = r#"{ "listen_port": 1, "proxy": { "target_url": "a:1",
        "check_host_against_uptime_tests": true },
        "uptime_tests": { "check_list": [
          { "url": "tcp://A:1" }, { "url": "http://a:80/health?x#y", "target": "a:1" },
          { "url": "b:1" } ] } }"#;
    let health = service(text).health.unwrap();
    let targets: Vec<_> = health.checks.iter().map(|it| it.target.is_some()).collect();
    assert_eq!(targets, [true, true, false]);
    let said = told(text);
    assert!(matches!(&said[..], [(Severity::Warning, it)] if it.contains("no target is at b:1")));
    let wrong = text.replace("\"target\": \"a:1\"", "\"target\": \"c:1\"");
    assert!(told(&wrong).iter().any(|it| it.1.contains("is no target of this service")));
}

#[test]
fn a_script_may_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let script = "framing = \"none\"\ncommands = [{ name = \"expect\", message = \"220\" }]";
    write("smtp.toml", script);
    let service = "listen_port = 1\nproxy.target_url = \"a:1\"\nuptime_tests.check = ";
    let load_with = |check: &str| {
        write("f.toml", &format!("{service}\"{check}\""));
        let paths = vec![folder.path().join("f.toml")];
        load(&Sources { paths, ..Sources::default() })
    };
    assert!(load_with("smtp.toml").model.is_some());
    let said = |check: &str| load_with(check).problems[0].what.clone();
    assert_eq!(said("smtp"), "there is no preset `smtp`");
    assert!(said("none.toml").contains("there is no such file"));
    write("smtp.toml", "commands = [{ name = \"expect\", message = \"\" }]");
    assert!(said("smtp.toml").contains("an empty message"));
}

#[test]
fn what_comes_from_the_environment_is_used_and_never_shown() {
    let used = service("listen_port = 1\nproxy.target_url = \"${env:HOST}:1\"");
    assert_eq!(used.pool.targets[0].key.as_str(), "redis-1:1");
    let script = r#"{ "name": "send", "message": "AUTH ${env:PASS}\r\n" }"#;
    let shown = format!("{:?}", loaded(&pair("", "", script)));
    assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
    let wrong = [
        "listen_port = 1\nproxy.target_url = \"${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nproxy.hold = \"${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nproxy.on_down = \"drain:${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nproxy.balance = \"${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nlisten_address = \"${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nuptime_tests.check = \"${env:PASS}\"",
        "listen_port = 1\nproxy.target_url = \"a:1\"\nprotocol = \"${env:PASS}\"",
    ];
    for text in wrong {
        let loaded = loaded(text);
        assert!(loaded.model.is_none(), "{text}");
        assert!(!format!("{:?}", loaded.problems).contains("s3cret"), "{:?}", loaded.problems);
    }
    let empty = pair("", "", r#"{ "name": "expect", "message": "${env:EMPTY}" }"#);
    assert!(told(&empty)[0].1.contains("found in anything"));
}

#[test]
fn a_port_that_this_user_may_not_open_is_told_before_anything_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    std::fs::write(&path, "listen_port = 443\nproxy.target_url = \"a:1\"").unwrap();
    let load_from = |lowest_port| {
        load(&Sources { paths: vec![path.clone()], lowest_port, ..Sources::default() })
    };
    assert!(load_from(0).model.is_some());
    let said = &load_from(1024).problems[0];
    assert_eq!(said.what, "this user may not open ports below 1024");
}
