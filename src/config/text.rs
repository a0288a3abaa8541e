//! Texts of settings, definitions and checks → trees.
//!
//! A text in UTF-16, or with a NUL in it, is an error that says so.

use std::path::Path;

use crate::config::files::Files;
use crate::config::place::{KeyPath, Place, SourceText};
use crate::config::problem::Problem;
use crate::config::read::{ReadError, cause};
use crate::config::tree::Tree;
use crate::config::{json, toml};

/// No file of settings or definitions may be larger.
pub const FILE_CAP: u64 = 16 * 1024 * 1024;

/// Reads a regular file of UTF-8 text.
pub fn read_text(path: &Path, cap: u64, files: &Files) -> Result<String, ReadError> {
    let bytes = files.read(path, cap)?;
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(not_text("it begins with a byte order mark: save it as UTF-8 without one"));
    }
    let utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if utf16 || matches!(&*bytes, [0, _, ..] | [_, 0, ..]) {
        return Err(not_text("it is UTF-16 or another wide encoding: save it as UTF-8"));
    }
    let line_at = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(not_text(&format!("line {} holds a NUL byte: it is no text", line_at(at))));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let line = line_at(error.valid_up_to());
            Err(not_text(&format!("line {line} is not UTF-8: save the file as UTF-8")))
        }
    }
}

/// Reads and parses a `.json` or `.toml` file; what is wrong with it becomes problems, and
/// `asked_by` is where its name was written, if it was written anywhere.
pub fn read_tree(
    path: &Path,
    asked_by: Option<&Place>,
    files: &Files,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => json::parse,
        Some("toml") => toml::parse,
        Some(_) | None => {
            let why = match path.metadata() {
                Ok(_) => "its name ends neither in .json nor in .toml".to_owned(),
                Err(error) => cause(&error),
            };
            problems.push(unreadable(path, asked_by, &why));
            return None;
        }
    };
    match read_text(path, FILE_CAP, files) {
        Ok(text) => format(&SourceText::file(path, text), problems),
        Err(error) => {
            problems.push(unreadable(path, asked_by, &error.to_string()));
            None
        }
    }
}

/// The problem of a file that cannot be read.
pub fn unreadable(path: &Path, asked_by: Option<&Place>, why: &str) -> Problem {
    let this = Place::whole(&SourceText::file(path, String::new()));
    let problem =
        Problem::error(this, KeyPath::root(), format!("cannot read {}: {why}", path.display()));
    match asked_by {
        Some(place) => problem.also(place.clone(), "named here"),
        None => problem,
    }
}

fn not_text(why: &str) -> ReadError {
    ReadError::NotText(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, bytes).unwrap();
        let said =
            read_text(&path, 64, &Files::default()).unwrap_or_else(|error| error.to_string());
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn only_bounded_utf8_text_is_read() {
        check(b"{}", "{}");
        check(b"", "");
        check(b"\xEF\xBB\xBF{}", "byte order mark");
        check(b"\xFF\xFE{\0}\0", "UTF-16");
        check(b"{\0}\0", "UTF-16");
        check(b"{\n\"a\0\"}", "line 2 holds a NUL");
        check(b"{\n\"\xFF\"}", "line 2 is not UTF-8");
        check(&[b' '; 65], "larger than");
    }
}
