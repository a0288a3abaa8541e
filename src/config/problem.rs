//! A problem: what is wrong with what was written, where, and what would be right.
//!
//! Problems are values. They are collected, never printed here: `render` shows them.

use crate::config::place::{KeyPath, Place};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// There is no model while one of these stands.
    Error,
    /// It loads, and is most likely not what was meant.
    Warning,
    /// It loads as it should; something was decided that people want to know.
    Notice,
}

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it was written.
    pub place: Place,
    /// The key it is about; the root where it is about a whole source.
    pub key: KeyPath,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What would be right.
    pub right: Option<String>,
    /// Further places that belong to it, each with what is there.
    pub also: Vec<(Place, String)>,
}

/// What is wrong with a value, told by whoever reads it, who does not know where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong.
    pub what: String,
    /// What would be right; empty where there is no saying.
    pub right: String,
}

// === impl Complaint ===

impl Complaint {
    /// A complaint that knows better.
    pub fn new(what: impl Into<String>, right: impl Into<String>) -> Self {
        Self { what: what.into(), right: right.into() }
    }
}

// === impl Severity ===

impl Severity {
    /// As people and machines read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

// === impl Problem ===

impl Problem {
    /// An error: nothing loads.
    pub fn error(place: Place, key: KeyPath, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, key, what.into())
    }

    /// A warning.
    pub fn warning(place: Place, key: KeyPath, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, key, what.into())
    }

    /// A notice.
    pub fn notice(place: Place, key: KeyPath, what: impl Into<String>) -> Self {
        Self::new(Severity::Notice, place, key, what.into())
    }

    /// Adds what would be right; an empty text adds nothing.
    #[must_use]
    pub fn right(mut self, right: impl Into<String>) -> Self {
        self.right = Some(right.into()).filter(|right| !right.is_empty());
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn also(mut self, place: Place, what: impl Into<String>) -> Self {
        self.also.push((place, what.into()));
        self
    }

    /// Does it keep a model from being made?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn new(severity: Severity, place: Place, key: KeyPath, what: String) -> Self {
        Self { severity, place, key, what, right: None, also: Vec::new() }
    }
}

/// By file and line, and each once: a wrong default would otherwise be told by every service.
pub fn tidy(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| {
        let order = |it: &Problem| (it.place.source().name.clone(), it.place.span().start);
        order(a).cmp(&order(b))
    });
    problems.dedup();
}

/// The one of `known` that `written` was most likely meant to be.
pub fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase().replace(['-', ' ', '_'], "");
    known
        .into_iter()
        .map(|candidate| {
            let plain = candidate.to_lowercase().replace(['-', ' ', '_'], "");
            (strsim::damerau_levenshtein(&written, &plain), plain.len(), candidate)
        })
        .filter(|(distance, length, _)| *distance * 3 <= (*length).max(3))
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: Option<&str>) {
        let known = ["listen_port", "listen_address", "protocol", "proxy", "name"];
        assert_eq!(did_you_mean(written, known), expected, "{written}");
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_stranger_is_not() {
        check("listenport", Some("listen_port"));
        check("listenPort", Some("listen_port"));
        check("protocl", Some("protocol"));
        check("prxoy", Some("proxy"));
        check("nmae", Some("name"));
        check("colour", None);
        check("", None);
    }
}
