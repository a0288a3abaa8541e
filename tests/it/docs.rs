//! The documents are true of the code: every key is in them, what they print loads, and what they
//! link to is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stagedoor::config::layers::SettingsSources;
use stagedoor::config::load::{Sources, load, load_settings};
use stagedoor::config::problem::Severity;
use stagedoor::config::schema;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Markdown file for people.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("."), PathBuf::from("docs"), PathBuf::from("conf")];
    let examples = std::fs::read_dir("examples").unwrap();
    folders.extend(examples.map(|entry| entry.unwrap().path()));
    for folder in folders {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The names of all keys of a schema, and of all values that are one of a few words.
fn words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let properties = members.get("properties").and_then(Value::as_object);
            found.extend(properties.into_iter().flat_map(|properties| properties.keys().cloned()));
            found.extend(members.get("const").and_then(Value::as_str).map(str::to_owned));
            let several = members.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(several.filter_map(Value::as_str).map(str::to_owned));
            members.values().for_each(|below| words(below, found));
        }
        Value::Array(elements) => elements.iter().for_each(|below| words(below, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Is a word in a text as code: alone, as the end of a path, or as one of several? What an example
/// shows is not explained by it.
fn is_code_in(text: &str, word: &str) -> bool {
    let prose = text.split("\n```").step_by(2);
    let code = prose.flat_map(|prose| prose.split('`').skip(1).step_by(2));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.flat_map(|code| code.split(|c| !is_name(c)).chain([code])).any(|name| name == word)
}

#[test]
fn every_key_is_documented() {
    let definition = read("docs/definition.md");
    let settings = read("docs/settings.md");
    let checks = read("docs/checks.md");
    let tls = read("docs/tls.md");
    let check = |schema: &Value, documents: &[&str]| {
        let mut known = BTreeSet::new();
        words(schema, &mut known);
        assert!(known.contains("timeout"));
        let says = |word: &String| documents.iter().any(|text| is_code_in(text, word));
        let missing: Vec<String> = known.into_iter().filter(|word| !says(word)).collect();
        assert!(missing.is_empty(), "not documented: {missing:?}");
    };
    check(schema::definition(), &[&definition, &checks, &tls]);
    check(schema::settings(), &[&settings, &definition, &checks, &tls]);
    let own = &schema::settings()["properties"];
    let tables = ["admin", "log", "limits", "shutdown", "supervision", "defaults"];
    for key in own.as_object().unwrap().keys() {
        let is_table = tables.contains(&key.as_str());
        let said = if is_table {
            settings.contains(&format!("`{key}."))
        } else {
            is_code_in(&settings, key)
        };
        assert!(said, "docs/settings.md lacks {key}");
    }
}

/// A fenced block: what follows the three backticks, and its text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.to_owned(), String::new())),
            (Some(block), Some(_)) => found.push(block),
            (Some((kind, text)), None) => open = Some((kind, format!("{text}{line}\n"))),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

#[test]
fn what_the_documents_print_as_configuration_loads() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["redis.password", "postgres.password"] {
        std::fs::write(folder.path().join(secret), "secret\n").unwrap();
    }
    let mut count = 0;
    for document in documents() {
        for (kind, text) in blocks(&read(document.to_str().unwrap())) {
            let Some((format, what)) = kind.split_once(' ') else { continue };
            count += 1;
            let path = folder.path().join(format!("{what}-{count}.{format}"));
            std::fs::write(&path, &text).unwrap();
            let problems = match what {
                "definition" => load(&Sources { paths: vec![path], ..Sources::default() }).problems,
                "settings" => {
                    let config_files = vec![path];
                    load_settings(&SettingsSources { config_files, ..Default::default() }).problems
                }
                "check" => {
                    let user = folder.path().join(format!("user-{count}.toml"));
                    let name = path.file_name().unwrap().display();
                    let definition = format!(
                        "listen_port = 1\n[proxy]\ntarget_url = \"a:1\"\n[uptime_tests]\ncheck = \"{name}\"\n"
                    );
                    std::fs::write(&user, definition).unwrap();
                    load(&Sources { paths: vec![user], ..Sources::default() }).problems
                }
                other => panic!("{}: a block of {other}", document.display()),
            };
            let bad: Vec<_> =
                problems.iter().filter(|it| it.severity != Severity::Notice).collect();
            assert!(bad.is_empty(), "{}: {text}\n{bad:#?}", document.display());
        }
    }
    assert!(count >= 6, "only {count} blocks");
}

/// The anchor that a heading gets on a page.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn what_the_documents_link_to_is_there() {
    for document in documents() {
        let text = read(document.to_str().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let folder = document.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !section.is_empty() {
                let text = read(target.to_str().unwrap());
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|it| it == section), "{}: {link}", document.display());
            }
        }
    }
}

#[test]
fn every_example_has_a_readme_and_the_readme_is_one_screen() {
    for entry in std::fs::read_dir("examples").unwrap() {
        let folder = entry.unwrap().path();
        assert!(folder.join("README.md").exists(), "{}", folder.display());
    }
    assert!(read("README.md").lines().count() <= 70);
}
