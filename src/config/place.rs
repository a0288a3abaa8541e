//! Where something was written: the text of a source, a span in it, and the path of a key.
//!
//! A file, an environment variable, a `--set` and the built-in defaults are all sources, so that
//! a problem in any of them is shown the same way. Knows nothing of formats.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One text that settings were read from.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// How people name it: the path as given, `environment`, `--set`, `default`.
    pub name: String,
    /// The file it is, where it is one.
    pub path: Option<PathBuf>,
    /// All of it; empty where it could not be read.
    pub text: String,
}

/// A span of a source. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    source: Arc<SourceText>,
    start: u32,
    end: u32,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The path of a key: `uptime_tests.check_list[0].url`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct KeyPath(Vec<Segment>);

/// One step of a key path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a table.
    Key(String),
    /// An index of a list.
    Index(usize),
}

// === impl SourceText ===

impl SourceText {
    /// The text of a file.
    pub fn file(path: &Path, text: String) -> Arc<Self> {
        Arc::new(Self { name: path.display().to_string(), path: Some(path.to_owned()), text })
    }

    /// A text that is no file.
    pub fn named(name: &str, text: String) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), path: None, text })
    }

    /// The folder that relative paths in this source are relative to.
    pub fn folder(&self) -> &Path {
        self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Where a byte of the text is, for people.
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Position {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

// === impl Place ===

impl Place {
    /// A span of a source; it is cut to the text, and widened to whole characters.
    pub fn new(source: &Arc<SourceText>, span: Range<usize>) -> Self {
        let text = &source.text;
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end.max(start));
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { source: Arc::clone(source), start: narrow(start), end: narrow(end) }
    }

    /// A source as a whole: for what is missing from it.
    pub fn whole(source: &Arc<SourceText>) -> Self {
        Self::new(source, 0..0)
    }

    /// The source.
    pub fn source(&self) -> &Arc<SourceText> {
        &self.source
    }

    /// The span in bytes.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Does it point at something, or only at the source as a whole?
    pub fn is_whole(&self) -> bool {
        self.end == 0
    }

    /// Where it begins, for people.
    pub fn position(&self) -> Position {
        self.source.position(self.start as usize)
    }

    /// What stands there, as it was written.
    pub fn written(&self) -> &str {
        self.source.text.get(self.span()).unwrap_or("")
    }

    /// The same for a message: on one line, and not too long.
    pub fn quoted(&self) -> String {
        const LONGEST: usize = 60;
        let written = self.written();
        let line = written.lines().next().unwrap_or_default();
        let shown: String =
            line.chars().take(LONGEST).map(|c| if c.is_control() { '·' } else { c }).collect();
        if shown.len() < written.len() { format!("{shown}…") } else { shown }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source.path, self.is_whole()) {
            (Some(_), false) => {
                let Position { line, column } = self.position();
                write!(f, "{}:{line}:{column}", self.source.name)
            }
            (Some(_), true) | (None, _) => f.write_str(&self.source.name),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl KeyPath ===

impl KeyPath {
    /// The path of everything.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of keys alone, written with dots.
    pub fn dotted(keys: &str) -> Self {
        Self(keys.split('.').map(|key| Segment::Key(key.to_owned())).collect())
    }

    /// This path and one more key.
    pub fn key(&self, key: &str) -> Self {
        self.and(Segment::Key(key.to_owned()))
    }

    /// This path and an index.
    pub fn index(&self, index: usize) -> Self {
        self.and(Segment::Index(index))
    }

    /// This path and all of another.
    pub fn join(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The path without its last segment.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, parents)| Self(parents.to_vec()))
    }

    /// Its segments, outermost first.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Is it the path of everything?
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn and(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                    if !key.is_empty() && key.chars().all(plain) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = SourceText::file(Path::new("a.json"), "{\n  \"ä\": x\n}".to_owned());
        let at = |offset| Place::new(&source, offset..offset + 1).to_string();
        assert_eq!(at(0), "a.json:1:1");
        assert_eq!(at(source.text.find('x').unwrap()), "a.json:2:8");
        assert_eq!(at(900), "a.json:3:2");
        assert_eq!(Place::whole(&source).to_string(), "a.json");
    }

    #[test]
    fn paths_read_as_people_write_them() {
        let path = KeyPath::dotted("uptime_tests.check_list").index(0).key("a b");
        assert_eq!(path.to_string(), "uptime_tests.check_list[0].\"a b\"");
        assert_eq!(path.parent().unwrap().to_string(), "uptime_tests.check_list[0]");
    }
}
