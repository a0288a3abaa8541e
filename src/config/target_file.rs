//! A file that lists targets, as `target_list` does: `service_discovery.file`.
//!
//! JSON or TOML: a table with `target_list`, or in JSON the list alone. A file with a problem is
//! refused whole: its owner can mend it.

use std::path::Path;
use std::sync::Arc;

use crate::config::address::{self, Spoken};
use crate::config::discovery::MOST_ENTRIES;
use crate::config::environment::Environment;
use crate::config::file::proxy::{DetailedTarget, TargetEntry};
use crate::config::file::target_file::TargetFile;
use crate::config::mould::Found;
use crate::config::names::TargetAddress;
use crate::config::place::{KeyPath, SourceText};
use crate::config::problem::Problem;
use crate::config::read::read_bytes;
use crate::config::tree::{Kind, Member, Tree};
use crate::config::{json, schema, shape, toml};

/// No list of targets is larger.
const FILE_CAP: u64 = 1024 * 1024;

/// The bytes of the file at `path`. It may block.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path, FILE_CAP).map_err(|error| format!("it cannot be read: {error}"))
}

/// The targets that such a file lists.
///
/// # Errors
/// Its first problem, with its line.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Found>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText::file(path, text.to_owned());
    let is_toml = path.extension().is_some_and(|ending| ending == "toml");
    let format = if is_toml { toml::parse } else { json::parse };
    let mut problems = Vec::new();
    let tree = format(&source, &mut problems).map(whole);
    let written = tree.filter(|_| problems.is_empty()).map(|tree| {
        let env = Environment::default();
        let tree = shape::check(&tree, schema::target_file(), &env, &mut problems);
        let written: TargetFile = shape::deserialise(&tree, &mut problems);
        (tree, written)
    });
    if let Some(problem) = problems.first() {
        return Err(in_words(problem));
    }
    let (tree, written) = written.ok_or_else(|| "it says nothing".to_owned())?;
    let list = written.target_list.unwrap_or_default();
    if list.len() > MOST_ENTRIES {
        return Err(format!("it lists more than {MOST_ENTRIES} targets"));
    }
    let at = KeyPath::dotted("target_list");
    let found = list.iter().enumerate().map(|(index, entry)| {
        found(entry).map_err(|what| {
            let at = at.index(index);
            in_words(&Problem::error(tree.place_of(&at), at, what))
        })
    });
    found.collect()
}

/// A list alone is a table with it.
fn whole(tree: Tree) -> Tree {
    if !matches!(tree.kind, Kind::Array(_)) {
        return tree;
    }
    let place = tree.place.clone();
    let list = Member { key: "target_list".to_owned(), key_place: place.clone(), value: tree };
    Tree { kind: Kind::Object(vec![list]), place }
}

fn found(entry: &TargetEntry) -> Result<Found, String> {
    let detailed = match entry {
        TargetEntry::Url(url) => DetailedTarget { url: Some(url.clone()), ..Default::default() },
        TargetEntry::Detailed(detailed) => detailed.clone(),
    };
    let url = detailed.url.unwrap_or_default();
    let (spoken, address) = address::target(&url).map_err(|complaint| complaint.what)?;
    if spoken == Spoken::Tls && matches!(address, TargetAddress::Unix(_)) {
        return Err("a unix socket is spoken to in the clear".to_owned());
    }
    let mut found = Found::at(spoken, address);
    found.weight =
        detailed.weight.and_then(|weight| weight.try_into().ok()).unwrap_or(found.weight);
    found.backup = detailed.backup.unwrap_or(false);
    let name = detailed.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    found.name = name.map(Arc::from);
    Ok(found)
}

fn in_words(problem: &Problem) -> String {
    let Problem { place, what, .. } = problem;
    let line = place.position().line;
    format!("line {line}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &str) {
        let said = match parse(Path::new(file), text.as_bytes()) {
            Ok(found) => {
                let shown = |one: &Found| {
                    let name = one.name.as_deref().unwrap_or_default();
                    let backup = if one.backup { "b" } else { "" };
                    format!("{name}{:?}:{}*{}{backup}", one.spoken, one.address, one.weight)
                };
                found.iter().map(shown).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn a_file_lists_targets_as_a_definition_does() {
        let list = r#"["a:1", { "url": "tls://b:2", "weight": 3, "backup": true, "name": "n" }]"#;
        let expected = "Tcp:a:1*1 nTls:b:2*3b";
        check("x.json", list, expected);
        check("x.json", &format!("{{ \"target_list\": {list} }}"), expected);
        let toml = "target_list = [\"a:1\", { url = \"tls://b:2\", weight = 3, backup = true, \
                    name = \"n\" }]";
        check("x.toml", toml, expected);
        check("x.json", "[]", "");
        check("x.toml", "target_list = []", "");
        check("x.json", r#"["unix:/run/x"]"#, "Tcp:unix:/run/x*1");
    }

    #[test]
    fn one_problem_refuses_it_whole_and_says_where() {
        check("x.json", "[\"a:1\",\n\"b\"]", "line 2: the port is missing");
        check(
            "x.json",
            "[\"a:1\",\n{\"url\":\"b:0\"}]",
            "line 2: the port 0 is not a number from 1 to 65535",
        );
        check("x.toml", "target_list = [1]", "line 1: expected text or a table, found a number");
        let key = parse(Path::new("x.json"), b"{\"targets\": []}").unwrap_err();
        assert!(key.starts_with("line 1: ") && key.contains("targets"), "{key}");
        for (file, text) in [("x.json", ""), ("x.json", "[\"a:1\""), ("x.toml", "target_list = [")]
        {
            assert!(parse(Path::new(file), text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse(Path::new("x.json"), b"\xff"), Err("it is not UTF-8".to_owned()));
        let long = format!("[{}]", vec!["\"a:1\""; MOST_ENTRIES + 1].join(","));
        check("x.json", &long, "it lists more than 1000 targets");
    }
}
