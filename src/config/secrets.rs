//! `${env:NAME}` and `${file:PATH}`: where values come from that are not written in a file.
//!
//! What comes from there is never shown: not in a message, not in a log, not by `{:?}`.

use std::fmt;
use std::path::Path;

use crate::config::environment::Environment;

/// No secret file is larger.
const SECRET_CAP: u64 = 64 * 1024;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked(String);

/// One piece of a text that may have holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Plain text.
    Text(&'a str),
    /// What stands between `${` and `}`.
    Hole(&'a str),
}

// === impl Masked ===

impl Masked {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever has to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Splits a text at its holes; `$${` is a plain `${`.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        pieces.push(Piece::Text(&rest[..at]));
        let inside = &rest[at + 2..];
        let end = inside.find('}').ok_or("a `${` with no `}` after it")?;
        pieces.push(Piece::Hole(&inside[..end]));
        rest = &inside[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

/// Has a text holes, or what would be one without its `$$`?
pub fn has_holes(text: &str) -> bool {
    text.contains("${")
}

/// The value of `env:NAME` or `file:PATH`; `None` for any other hole. Paths are relative to
/// `folder`. The error never holds the value.
pub fn resolve(hole: &str, env: &Environment, folder: &Path) -> Option<Result<Masked, String>> {
    if let Some(name) = hole.strip_prefix("env:") {
        let value = env.get(name).map(|value| value.to_str());
        return Some(match value {
            Some(Some(value)) => Ok(Masked::new(value.to_owned())),
            Some(None) => Err(format!("the environment variable {name} is not UTF-8")),
            None => Err(format!("the environment variable {name} is not set")),
        });
    }
    let path = hole.strip_prefix("file:")?;
    Some(read_secret(&folder.join(path), env))
}

/// Fills every hole of a text that is no template: only `env:` and `file:` mean anything there.
pub fn fill(text: &str, env: &Environment, folder: &Path) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Hole(hole) => match resolve(hole, env, folder) {
                Some(value) => filled.push_str(value?.reveal()),
                None => return Err(format!("`${{{hole}}}` means nothing here")),
            },
        }
    }
    Ok(filled)
}

/// A file's text without the line break that editors put at its end.
fn read_secret(path: &Path, env: &Environment) -> Result<Masked, String> {
    let why = |why: &dyn fmt::Display| format!("cannot read {}: {why}", path.display());
    let bytes = env.files().read(path, SECRET_CAP).map_err(|error| why(&error))?;
    let mut text = String::from_utf8(bytes.to_vec()).map_err(|_| why(&"it is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Masked::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let env = Environment::from_pairs([("HOST", "redis-1"), ("PASS", "p${x}\\n")]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "s3cret\r\n").unwrap();
        let filled = fill(text, &env, folder.path());
        assert_eq!(filled.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn holes_are_filled_from_the_environment_and_from_files() {
        check("plain $5 {x}", Ok("plain $5 {x}"));
        check("${env:HOST}:6379", Ok("redis-1:6379"));
        check("a${file:pw}b", Ok("as3cretb"));
        check("${env:PASS}", Ok("p${x}\\n"));
        check("$${env:HOST}", Ok("${env:HOST}"));
        check("${env:NONE}", Err("the environment variable NONE is not set"));
        check("${target.host}", Err("`${target.host}` means nothing here"));
        check("${env:HOST", Err("a `${` with no `}` after it"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Masked::new("s3cret".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        let env = Environment::from_pairs([("PASS", "s3cret")]);
        assert!(!format!("{env:?}").contains("s3cret"));
    }
}
