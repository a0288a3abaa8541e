//! Dot paths, as Tyk writes them: where in a document something is.
//!
//! `a.b.0.c`: keys of tables and indexes of lists, with dots between them. A dot that belongs to a
//! key is `~1`, a tilde `~0` (gabs, which Tyk reads documents with).

use std::fmt;

use crate::config::problem::Complaint;

/// The longest path of a sane document.
const MOST_STEPS: usize = 64;

/// A path; an empty one is the place itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DotPath {
    written: String,
    steps: Vec<String>,
}

// === impl DotPath ===

impl DotPath {
    /// Reads a path as it is written.
    ///
    /// # Errors
    /// If a step is empty, or there are far too many.
    pub fn parse(text: &str) -> Result<Self, Complaint> {
        let written = text.trim();
        if written.is_empty() {
            return Ok(Self::default());
        }
        let steps: Vec<String> =
            written.split('.').map(|step| step.replace("~1", ".").replace("~0", "~")).collect();
        if steps.iter().any(String::is_empty) {
            let what = format!("`{}` has an empty step", written.escape_debug());
            return Err(Complaint::new(
                what,
                "write keys with one dot between them, such as a.b.0",
            ));
        }
        if steps.len() > MOST_STEPS {
            return Err(Complaint::new(format!("the path has more than {MOST_STEPS} steps"), ""));
        }
        Ok(Self { written: written.to_owned(), steps })
    }

    /// Is it the place itself?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Its steps, in order.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl fmt::Display for DotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl fmt::Debug for DotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(DotPath::parse(text).unwrap().steps(), expected, "{text}");
    }

    #[test]
    fn dots_divide_and_what_is_escaped_does_not() {
        check("", &[]);
        check(" Service.Address ", &["Service", "Address"]);
        check("ports.1", &["ports", "1"]);
        check("port.$", &["port", "$"]);
        check("a~1b.c~0d", &["a.b", "c~d"]);
        // Undone in this order, as gabs does.
        check("~01", &["~1"]);
    }

    #[test]
    fn a_step_is_never_empty() {
        for text in ["a..b", ".a", "a.", "."] {
            assert!(DotPath::parse(text).is_err(), "{text}");
        }
    }
}
