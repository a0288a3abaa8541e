//! `with`: what a user hands to a check, and what becomes of it there.
//!
//! A check file writes `${with.NAME}` where it needs a value and `${with.NAME:-DEFAULT}` where it
//! can do without; `when` and `unless` of a command ask whether one is given. What the file turns
//! out to lack, and what it never asked for, is remembered here and told by `named`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::check::Part;
use crate::config::environment::Environment;

/// Always a secret, wherever its value comes from.
const PASSWORD: &str = "password";

/// Where the holes of a message get filled from.
#[derive(Debug, Clone, Copy)]
pub struct Holes<'a> {
    /// For `${env:…}`.
    pub env: &'a Environment,
    /// For `${file:…}`.
    pub folder: &'a Path,
    /// For `${with.…}`; `None` where no check file is read.
    pub with: Option<&'a Parameters>,
}

/// The parameters that were given to one check, and what it made of them.
#[derive(Debug, Default)]
pub struct Parameters {
    given: BTreeMap<String, Part>,
    known: RefCell<BTreeSet<String>>,
    lacking: RefCell<BTreeSet<String>>,
}

impl Parameters {
    /// Gives a value; a secret one is never shown.
    pub fn give(&mut self, name: &str, value: &str, secret: bool) {
        let value = value.as_bytes().to_vec();
        let secret = secret || name == PASSWORD;
        let part = if secret { Part::Secret(value) } else { Part::Bytes(value) };
        self.given.insert(name.to_owned(), part);
    }

    /// Is it given?
    pub fn has(&self, name: &str) -> bool {
        self.know(name);
        self.given.contains_key(name)
    }

    /// The value of `NAME` or `NAME:-DEFAULT`. Where it is lacking, which is remembered, something
    /// stands in for it: no model is made of that.
    pub fn fill(&self, hole: &str) -> Part {
        let (name, default) = split(hole);
        self.know(name);
        match (self.given.get(name), default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => Part::Bytes(default.as_bytes().to_vec()),
            (None, None) => {
                self.lacking.borrow_mut().insert(name.to_owned());
                Part::Secret(b"lacking".to_vec())
            }
        }
    }

    /// The check knows this parameter, though it does not need it this time.
    pub fn know(&self, hole: &str) {
        self.known.borrow_mut().insert(split(hole).0.to_owned());
    }

    /// What the check needs and was not given.
    pub fn lacking(&self) -> Vec<String> {
        self.lacking.borrow().iter().cloned().collect()
    }

    /// What was given and the check does not know.
    pub fn unknown(&self) -> Vec<&str> {
        let known = self.known.borrow();
        let names = self.given.keys().filter(|name| !known.contains(*name));
        names.map(String::as_str).collect()
    }

    /// What the check knows.
    pub fn known(&self) -> Vec<String> {
        self.known.borrow().iter().cloned().collect()
    }
}

/// A name that a parameter can have.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

fn split(hole: &str) -> (&str, Option<&str>) {
    hole.split_once(":-").map_or((hole, None), |(name, default)| (name, Some(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[(&str, &str, bool)]) -> Parameters {
        let mut parameters = Parameters::default();
        values.iter().for_each(|(name, value, secret)| parameters.give(name, value, *secret));
        parameters
    }

    #[test]
    fn values_and_defaults_fill_and_what_lacks_is_remembered() {
        let with = given(&[("user", "app", false), ("key", "k", true), ("password", "p", false)]);
        assert_eq!(with.fill("user"), Part::Bytes(b"app".to_vec()));
        assert_eq!(with.fill("user:-x"), Part::Bytes(b"app".to_vec()));
        assert_eq!(with.fill("database:-a b"), Part::Bytes(b"a b".to_vec()));
        assert_eq!(with.fill("database:-"), Part::Bytes(Vec::new()));
        assert_eq!(with.fill("key"), Part::Secret(b"k".to_vec()));
        assert_eq!(with.fill("password"), Part::Secret(b"p".to_vec()), "a secret always");
        assert_eq!(with.lacking(), [""; 0]);
        with.fill("master");
        assert_eq!(with.lacking(), ["master"]);
    }

    #[test]
    fn what_nobody_asks_for_is_remembered_too() {
        let with = given(&[("user", "a", false), ("usr", "a", false), ("mode", "b", false)]);
        with.know("user:-default");
        assert!(with.has("mode"));
        assert_eq!(with.unknown(), ["usr"]);
        assert_eq!(with.known(), ["mode", "user"]);
    }
}
