//! The report of one tree: problems are told by key, and find their places in it.

use crate::config::place::{KeyPath, Place};
use crate::config::problem::{Complaint, Problem};
use crate::config::references::{Pinned, References, Referred};
use crate::config::secrets;
use crate::config::tls::Source;
use crate::config::tree::{Kind, Tree};
use crate::wire::certificate::{Digest, Facts};

/// Collects the problems of one tree.
#[derive(Debug)]
pub struct Report<'a> {
    tree: &'a Tree,
    problems: Vec<Problem>,
    /// Something is wrong with the shape already: advice would be built on sand.
    tainted: bool,
    /// What references turned out to mean.
    references: References,
}

impl<'a> Report<'a> {
    /// A report about a tree.
    pub fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            problems: Vec::new(),
            tainted: tree.is_tainted(),
            references: References::default(),
        }
    }

    /// An error; an empty `right` says nothing.
    pub fn error(&mut self, at: &KeyPath, what: impl Into<String>, right: impl Into<String>) {
        let place = self.tree.place_of(at);
        self.problems.push(Problem::error(place, at.clone(), what).right(right));
    }

    /// An error that a reader of a value told. Where the value came from a variable or a file,
    /// what it is stays hidden.
    pub fn complain(&mut self, at: &KeyPath, complaint: Complaint) {
        let filled = secrets::has_holes(self.tree.place_of(at).written());
        let what = if filled {
            format!("the value of {} does not fit here", self.quoted(at))
        } else {
            complaint.what
        };
        self.error(at, what, complaint.right);
    }

    /// A warning.
    pub fn warning(&mut self, at: &KeyPath, what: impl Into<String>, right: impl Into<String>) {
        if !self.tainted {
            let place = self.tree.place_of(at);
            self.problems.push(Problem::warning(place, at.clone(), what).right(right));
        }
    }

    /// A notice.
    pub fn notice(&mut self, at: &KeyPath, what: impl Into<String>, right: impl Into<String>) {
        if !self.tainted {
            let place = self.tree.place_of(at);
            self.problems.push(Problem::notice(place, at.clone(), what).right(right));
        }
    }

    /// Adds a further place to the last problem.
    pub fn also(&mut self, at: &KeyPath, what: &str) {
        let place = self.tree.place_of(at);
        if let Some(problem) = self.problems.last_mut() {
            problem.also.push((place, what.to_owned()));
        }
    }

    /// Keeps what a reader of a value returned, or tells its complaint.
    pub fn keep<T>(&mut self, at: &KeyPath, read: Result<T, Complaint>) -> Option<T> {
        read.map_err(|complaint| self.complain(at, complaint)).ok()
    }

    /// The same for a message, whose holes are still holes: the complaint can only be about what
    /// was written.
    pub fn keep_message<T>(&mut self, at: &KeyPath, read: Result<T, Complaint>) -> Option<T> {
        read.map_err(|complaint| self.error(at, complaint.what, complaint.right)).ok()
    }

    /// Is anything written at this key, be it right or wrong?
    pub fn is_written(&self, at: &KeyPath) -> bool {
        self.tree.find(at).is_some()
    }

    /// Has a problem been told already about this key, something in it, or what it would be in?
    pub fn is_tainted(&self, at: &KeyPath) -> bool {
        let mut up = Some(at.clone());
        while let Some(path) = up {
            let found = self.tree.find(&path);
            if found
                .is_some_and(|tree| path == *at && tree.is_tainted() || tree.kind == Kind::Invalid)
            {
                return true;
            }
            up = path.parent();
        }
        false
    }

    /// The bare number written at a key.
    pub fn number(&self, at: &KeyPath) -> Option<f64> {
        match &self.tree.find(at)?.kind {
            Kind::Number(number) => number.as_f64(),
            Kind::Null
            | Kind::Bool(_)
            | Kind::String(_)
            | Kind::Array(_)
            | Kind::Object(_)
            | Kind::Invalid => None,
        }
    }

    /// The value at a key, as it was written, for a message.
    pub fn quoted(&self, at: &KeyPath) -> String {
        self.tree.find(at).map(|tree| tree.place.quoted()).unwrap_or_default()
    }

    /// Where a key was written.
    pub fn place(&self, at: &KeyPath) -> Place {
        self.tree.place_of(at)
    }

    /// The certificate of the store that a reference names.
    pub fn stored(&mut self, at: &KeyPath, id: Digest) {
        self.references.stored.push((at.clone(), id));
    }

    /// What a reference was read from, and the certificate that it is, where it is one that can
    /// expire.
    pub fn refers_to(&mut self, at: &KeyPath, source: &Source, facts: Option<&Facts>) {
        let (at, source, facts) = (at.clone(), source.clone(), facts.cloned());
        self.references.all.push(Referred { at, source, facts, link: None });
    }

    /// The same of a certificate that stands behind another in a chain that is presented: its
    /// number there.
    pub fn refers_to_link(&mut self, at: &KeyPath, source: &Source, facts: Facts, number: usize) {
        let (at, source, facts) = (at.clone(), source.clone(), Some(facts));
        self.references.all.push(Referred { at, source, facts, link: Some(number) });
    }

    /// The public key that a pin means, and the stored certificate that it is the key of.
    pub fn pinned(&mut self, at: &KeyPath, key: Digest, stored: Option<Digest>) {
        self.references.pins.push(Pinned { at: at.clone(), key, stored });
    }

    /// No pin counts.
    pub fn unpinned(&mut self) {
        self.references.pins.clear();
    }

    /// What references turned out to mean.
    pub fn take_references(&mut self) -> References {
        std::mem::take(&mut self.references)
    }

    /// Everything told.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
