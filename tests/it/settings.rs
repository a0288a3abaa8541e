//! Node settings: layers, where each value comes from, what ships.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stagedoor::config::layers::SettingsSources;
use stagedoor::config::load::{Sources, load, load_settings};

/// `stagedoor` in a folder, with one variable more.
fn stagedoor(folder: &Path, args: &[&str], variable: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.args(args).current_dir(folder).envs(variable).output().unwrap()
}

/// What `stagedoor config --json` says of a key: its value and where it comes from.
fn setting(output: &Output, key: &str) -> (Value, String) {
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = shown["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == key).unwrap();
    (row["value"].clone(), row["from"].as_str().unwrap().to_owned())
}

#[test]
fn later_layers_win_and_each_value_tells_its_layer() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    write("s.toml", "workers = 1\n[log]\nlevel = \"warn\"\n[shutdown]\ntimeout = \"1s\"\n");
    write("t.json", "{ \"shutdown\": { \"timeout\": \"2s\" }, \"listen_address\": \"::2\" }");
    write("conf.d/20.toml", "listen_address = \"::4\"\nsupervision.intensity = 4\n");
    write("conf.d/10.toml", "listen_address = \"::3\"\nsupervision.hang = \"3s\"\n");
    let args = ["config", "--json", "--config", "s.toml", "--config", "t.json"];
    let args = [&args[..], &["--set", "supervision.hang=9s"]].concat();
    let output = stagedoor(folder.path(), &args, Some(("STAGEDOOR__LOG__LEVEL", "debug")));
    assert_eq!(output.status.code(), Some(0));
    let check = |key: &str, value: Value, from: &str| {
        assert_eq!(setting(&output, key), (value, from.to_owned()), "{key}");
    };
    check("log.format", "text".into(), "default");
    check("workers", 1.into(), "s.toml:1:11");
    check("shutdown.timeout", "2s".into(), "t.json:1:28");
    check("listen_address", "::4".into(), "conf.d/20.toml:1:18");
    check("supervision.intensity", 4.into(), "conf.d/20.toml:2:25");
    check("supervision.hang", "9s".into(), "--set");
    check("log.level", "debug".into(), "environment variable STAGEDOOR__LOG__LEVEL");
}

#[test]
fn a_wrong_setting_is_refused_where_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], variable, expected: &[&str]| {
        let output = stagedoor(folder.path(), args, variable);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for expected in expected {
            assert!(said.contains(expected), "misses {expected:?} in:\n{said}");
        }
    };
    let variable = Some(("STAGEDOOR__WORKERS", "many"));
    refused(&["config"], variable, &["workers", "STAGEDOOR__WORKERS=many", "a whole number"]);
    let variable = Some(("STAGEDOOR__LOG__LEVL", "info"));
    refused(&["config"], variable, &["log.levl", "did you mean `level`?"]);
    refused(&["config", "--set", "log.level=loud"], None, &["log.level", "--set", "no log level"]);
    let servers = |list: &str, expected: &[&str]| {
        let set = format!("discovery.name_servers={list}");
        refused(&["config", "--set", &set], None, expected);
    };
    servers(r#"["10.0.0.2", "ns"]"#, &["discovery.name_servers[1]", "this is no IP address"]);
    servers(r#"["[::1]:0"]"#, &["discovery.name_servers[0]", "the port 0 is not a number"]);
    servers(r#"["0.0.0.0"]"#, &["no name server listens at this address"]);
    servers(&format!("{:?}", ["::1"; 9]), &["more than 8 name servers"]);
    refused(&["config", "--set", "workers"], None, &["sets nothing"]);
    refused(&["config", "--set", "workers=0"], None, &["workers", "from 1 to 1024"]);
    refused(&["config", "--config", "none.toml"], None, &["none.toml", "no such file"]);
    std::fs::write(folder.path().join("s.toml"), "[log]\nlevel = 5\n[x]\ny = 1\n").unwrap();
    refused(
        &["config", "--config", "s.toml"],
        None,
        &["s.toml:2:9", "expected text, found a number", "s.toml:3:", "no key `x`"],
    );
}

#[test]
fn services_are_relative_to_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("etc/services")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "etc/s.toml",
        "services = \"services\"\n[defaults.proxy]\nretries = 7\nconnect_timeout = 1\n\
         [uptime_tests.config]\ntime_wait = 5\nfailure_trigger_sample_size = 4\n",
    );
    write(
        "etc/services/a.toml",
        "listen_port = 1\n[proxy]\ntarget_url = \"a:1\"\nretries = 5\n\
         [uptime_tests]\ncommands = []\nconfig.rise = 1\n",
    );
    let settings = SettingsSources {
        config_files: vec![folder.path().join("etc/s.toml")],
        ..SettingsSources::default()
    };
    let loaded = load(&Sources { settings, ..Sources::default() });
    let model = loaded.model.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let service = model.services.values().next().unwrap();
    assert_eq!(service.name.as_str(), "a");
    assert_eq!((service.pool.retries, service.pool.connect_timeout.as_secs()), (5, 1));
    let times = &service.health.as_ref().unwrap().thresholds;
    assert_eq!((times.interval.as_secs(), times.fall, times.rise), (5, 4, 1));
}

#[test]
fn a_settings_file_cut_off_anywhere_never_panics() {
    let text = std::fs::read_to_string("conf/stagedoor.toml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    for end in (0..text.len()).step_by(7).filter(|end| text.is_char_boundary(*end)) {
        std::fs::write(&path, &text[..end]).unwrap();
        let config_files = vec![path.clone()];
        drop(load_settings(&SettingsSources { config_files, ..SettingsSources::default() }));
    }
}

#[test]
fn schemas_and_completions_are_printed() {
    let here = Path::new(".");
    for file in ["definition", "settings", "check"] {
        let output = stagedoor(here, &["schema", file], None);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["properties"].is_object() && output.status.success());
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = stagedoor(here, &["completions", shell], None);
        assert!(String::from_utf8_lossy(&output.stdout).contains("validate"));
    }
}
