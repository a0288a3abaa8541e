//! The house rules that a machine can hold: floors, circles, sizes, and what must not be built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and its floor. A room may import from its own files and from rooms on lower floors.
const FLOORS: [(&str, u32); 15] = [
    ("main", 9),
    ("cli", 8),
    ("app", 7),
    ("admin", 6),
    ("proxy", 5),
    ("events", 4),
    ("routing", 4),
    ("health", 3),
    ("discovery", 3),
    ("net", 2),
    ("state", 2),
    ("config", 1),
    ("supervise", 1),
    ("wire", 0),
    ("telemetry", 1),
];
const LONGEST_FILE: usize = 400;

struct Source {
    /// `proxy/session`: its path below `src` without the ending.
    name: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { name: name.display().to_string(), text });
            }
        }
    }
    found
}

/// The paths below the crate that a file names, as `room/file`, tests and comments left out.
fn imports(source: &Source) -> BTreeSet<Vec<String>> {
    let code = source.text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join("\n");
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    code.match_indices("crate::")
        .map(|(at, _)| {
            let path = &code[at + "crate::".len()..];
            path.split("::").map(word).take_while(|part| !part.is_empty()).collect()
        })
        .filter(|path: &Vec<String>| !path.is_empty())
        .collect()
}

fn floor(room: &str) -> u32 {
    let known = FLOORS.iter().find(|(name, _)| *name == room);
    known.unwrap_or_else(|| panic!("`{room}` is on no floor")).1
}

fn room(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

#[test]
fn imports_only_point_down() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.name != "lib" && source.name != "main") {
        let home = room(&source.name);
        for path in imports(source) {
            let there = path[0].as_str();
            if there != home && floor(there) >= floor(home) {
                wrong.push(format!("{} imports {}", source.name, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let resolve = |path: &[String]| -> Option<String> {
        (1..=path.len()).rev().map(|n| path[..n].join("/")).find(|name| names.contains(&**name))
    };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.name.ends_with("_tests")) {
        let paths = imports(source);
        let targets = paths.iter().filter_map(|path| resolve(path));
        let others = targets.filter(|name| *name != source.name).collect();
        edges.insert(source.name.clone(), others);
    }
    // Files that import none of those left, or that none of them imports, are taken away until
    // there is none, or only circles (and what joins them) are left.
    loop {
        let imported: BTreeSet<String> = edges.values().flatten().cloned().collect();
        let imports_none = |name: &str| edges[name].iter().all(|other| !edges.contains_key(other));
        let free: Vec<String> = edges
            .keys()
            .filter(|name| imports_none(name) || !imported.contains(*name))
            .cloned()
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|name| drop(edges.remove(name)));
    }
    assert!(edges.is_empty(), "these files are part of a circle: {edges:#?}");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.name))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, name)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_rooms_define_nothing_themselves() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} does not open with `//!`", source.name);
        if source.name.ends_with("/mod") || source.name == "lib" {
            let is_door = |line: &str| {
                let line = line.trim();
                line.is_empty()
                    || line.starts_with("//")
                    || line.starts_with("#[cfg(")
                    || (line.ends_with(';') && (line.contains("mod ")))
            };
            let items: Vec<&str> = source.text.lines().filter(|line| !is_door(line)).collect();
            assert!(items.is_empty(), "{} defines or re-exports {items:?}", source.name);
        }
    }
}

#[test]
fn no_profile_turns_panics_into_aborts() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    assert!(text.contains("panic = \"unwind\""), "the release profile says so itself");
    assert!(!text.contains("\"abort\""), "supervision needs panics to unwind");
}
