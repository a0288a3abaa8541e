//! The checks that ship with the binary: a bare word in `check` names one of them.
//!
//! Each is the text of a file in `conf/checks/`, so that what ships to be read and changed and
//! what the word does are one. `named` reads them as it reads a user's own file.

use std::sync::Arc;

use crate::config::place::SourceText;
use crate::config::problem::{Complaint, did_you_mean};

/// A check that ships.
#[derive(Debug)]
pub struct Preset {
    /// The word that names it.
    pub name: &'static str,
    text: &'static str,
}

/// All of them, as they are listed for people.
pub const PRESETS: [Preset; 5] = [
    Preset { name: "postgres", text: include_str!("../../conf/checks/postgres.toml") },
    Preset {
        name: "postgres-primary",
        text: include_str!("../../conf/checks/postgres-primary.toml"),
    },
    Preset { name: "redis", text: include_str!("../../conf/checks/redis.toml") },
    Preset { name: "redis-master", text: include_str!("../../conf/checks/redis-master.toml") },
    Preset { name: "redis-sentinel", text: include_str!("../../conf/checks/redis-sentinel.toml") },
];

/// The preset of that name, or what it was meant to be.
pub fn find(name: &str) -> Result<&'static Preset, Complaint> {
    let named = PRESETS.iter().find(|preset| preset.name == name);
    named.ok_or_else(|| {
        let what = format!("there is no preset `{}`", name.escape_debug());
        let names = PRESETS.iter().map(|preset| preset.name);
        let list = names.clone().collect::<Vec<_>>().join(", ");
        let right = match did_you_mean(name, names) {
            Some(meant) => format!("did you mean `{meant}`? the presets are {list}"),
            None => format!("the presets are {list}; a file of your own ends in .toml or .json"),
        };
        Complaint::new(what, right)
    })
}

impl Preset {
    /// Its text, named as people know it.
    pub fn source(&self) -> Arc<SourceText> {
        SourceText::named(&format!("the preset {}", self.name), self.text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_or_guessed() {
        assert_eq!(find("redis-master").unwrap().name, "redis-master");
        assert!(find("redis-mater").unwrap_err().right.starts_with("did you mean `redis-master`?"));
        let stranger = find("oracle\n").unwrap_err();
        assert_eq!(stranger.what, "there is no preset `oracle\\n`");
        assert!(stranger.right.contains("redis, redis-master"), "{}", stranger.right);
    }

    #[test]
    fn every_file_that_ships_is_a_preset_and_every_preset_such_a_file() {
        let mut files: Vec<_> = std::fs::read_dir("conf/checks")
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        assert_eq!(files, PRESETS.map(|preset| preset.name));
    }
}
