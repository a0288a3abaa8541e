//! What ships: examples and settings are valid, whole or cut off, and say what they claim.

use std::path::{Path, PathBuf};

use stagedoor::config::layers::{SettingsSources, settings};
use stagedoor::config::load::{Sources, load, load_settings};
use stagedoor::config::{schema, shape};

use crate::harness::client::{connect, echoed};
use crate::harness::port::free_port;
use crate::harness::stagedoor::{Stagedoor, stagedoor};
use crate::harness::target::Target;

#[test]
fn a_file_cut_off_at_any_byte_is_refused_or_right_but_never_a_panic() {
    for shipped in ["examples/redis-sentinel/redis.json", "examples/connectivity/tcp.json"] {
        let text = std::fs::read_to_string(shipped).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.json");
        let load_text = |text: &str| {
            std::fs::write(&path, text).unwrap();
            load(&Sources { paths: vec![path.clone()], ..Sources::default() })
        };
        for end in 0..text.trim_end().len() {
            let loaded = load_text(&text[..end]);
            assert!(loaded.model.is_none(), "{shipped} cut at {end}");
            let place = loaded.problems[0].place.to_string();
            assert!(place.contains("f.json"), "{place}");
        }
        assert!(load_text(&text).model.is_some());
    }
}

#[test]
fn shipped_definitions_are_valid() {
    let folders = std::fs::read_dir("examples").unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.chain([PathBuf::from("conf/services")]);
    let definitions = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let definitions = definitions.map(|entry| entry.unwrap().path());
    let is_definition =
        |path: &PathBuf| path.extension().is_some_and(|it| it == "json" || it == "toml");
    let mut count = 0;
    for path in definitions.filter(is_definition) {
        let loaded = load(&Sources { paths: vec![path.clone()], ..Sources::default() });
        assert!(loaded.model.is_some(), "{}: {:?}", path.display(), loaded.problems);
        count += 1;
    }
    assert!(count >= 4, "only {count}");
}

#[test]
fn shipped_checks_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir("conf/checks").unwrap() {
        let check = std::fs::canonicalize(entry.unwrap().path()).unwrap();
        let with = match check.file_stem().unwrap().to_str().unwrap() {
            "redis-sentinel" => serde_json::json!({ "master": "mymaster" }),
            "postgres-primary" => serde_json::json!({ "user": "checker" }),
            _ => serde_json::json!({}),
        };
        let definition = serde_json::json!({
            "listen_port": 1, "proxy": { "target_url": "a:1" },
            "uptime_tests": { "check": check, "with": with },
        });
        let path = folder.path().join("f.json");
        std::fs::write(&path, definition.to_string()).unwrap();
        let loaded = load(&Sources { paths: vec![path], ..Sources::default() });
        assert!(loaded.problems.is_empty(), "{}: {:?}", check.display(), loaded.problems);
        count += 1;
    }
    assert!(count >= 2, "only {count}");
}

#[test]
fn the_shipped_settings_find_the_shipped_services_and_start_none() {
    for name in ["conf/stagedoor.toml", "conf/stagedoor.json"] {
        let settings = SettingsSources { config_files: vec![name.into()], ..Default::default() };
        let loaded = load(&Sources { settings, ..Sources::default() });
        assert!(loaded.problems.is_empty(), "{name}: {:?}", loaded.problems);
        assert_eq!(loaded.model.map(|model| model.services.len()), Some(0));
        assert_eq!(loaded.inactive.len(), 1);
    }
}

#[test]
fn what_ships_says_the_defaults_and_names_every_key() {
    let shipped = |name: &str| SettingsSources {
        config_files: vec![Path::new("conf").join(name)],
        ..SettingsSources::default()
    };
    let built_in = load_settings(&SettingsSources::default()).node;
    for name in ["stagedoor.toml", "stagedoor.json"] {
        let loaded = load_settings(&shipped(name));
        assert!(loaded.problems.is_empty(), "{name}: {:?}", loaded.problems);
        assert_eq!(loaded.node, built_in, "{name}");
    }
    let value = |name| settings(&shipped(name), &mut Vec::new()).to_value();
    assert_eq!(value("stagedoor.toml"), value("stagedoor.json"));
    let text = std::fs::read_to_string("conf/stagedoor.toml").unwrap();
    for key in shape::leaves(schema::settings()).iter().map(ToString::to_string) {
        let last = key.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{last} = ")), "conf/stagedoor.toml misses {key}");
    }
}

#[test]
fn two_services_share_a_tls_port_as_their_example_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    let port = free_port();
    for file in ["certificates.sh", "services/orders.toml", "services/stock.toml"] {
        let text = std::fs::read_to_string(Path::new("examples/tls").join(file)).unwrap();
        let text = text.replace("7443", &port.to_string());
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let mut script = std::process::Command::new("sh");
    assert!(script.arg(folder.path().join("certificates.sh")).status().unwrap().success());
    let output = stagedoor(&["validate", "services"], folder.path());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("2 services would run"), "{said}");
    assert!(said.contains("orders.test") && said.contains("must show a certificate"), "{said}");
}

#[test]
fn the_first_minute_relays() {
    let text = std::fs::read_to_string("examples/echo/echo.json").unwrap();
    let mut definition: serde_json::Value = serde_json::from_str(&text).unwrap();
    let program = std::fs::read_to_string("examples/echo/main.rs").unwrap();
    let target = definition["proxy"]["target_url"].as_str().unwrap();
    let listen = format!("127.0.0.1 {}", definition["listen_port"]);
    assert!(program.contains(target) && program.contains(&listen), "it says what to type");
    // The same on other ports.
    let (echo, listen) = (Target::echo(), free_port());
    definition["listen_port"] = listen.into();
    definition["proxy"]["target_url"] = echo.address().into();
    definition["uptime_tests"]["check_list"][0]["url"] = echo.address().into();
    let stagedoor = Stagedoor::run(&definition);
    assert_eq!(echoed(&mut connect(listen), b"hello"), b"hello");
    stagedoor.logged("is up: passed");
    stagedoor.logged("session ended: the client finished first");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_file_damaged_anywhere_never_panics(
        damage in proptest::collection::vec((0.0..1.0_f64, proptest::char::any()), 1..4),
        which in 0..3_usize,
    ) {
        let shipped =
            ["examples/redis-sentinel/redis.json", "examples/connectivity/tcp.json", "conf/stagedoor.toml"];
        let mut text: Vec<char> = std::fs::read_to_string(shipped[which]).unwrap().chars().collect();
        for (place, with) in damage {
            let at = (place * text.len() as f64) as usize;
            text[at] = with;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(shipped[which].rsplit('/').next().unwrap());
        std::fs::write(&path, text.into_iter().collect::<String>()).unwrap();
        let settings = SettingsSources { config_files: vec![path.clone()], ..Default::default() };
        let paths = vec![path];
        let loaded = load(&Sources { settings, paths, ..Sources::default() });
        drop(stagedoor::config::render::text(&loaded.problems, true));
    }
}
