//! Certificates that were renewed, in words.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::config::names::ServiceName;
use crate::config::origin::Origin;
use crate::config::references::Referred;
use crate::telemetry::escape::Escaped;
use crate::wire::certificate::Facts;
use crate::wire::expiry::date;

/// So many services are named in one line.
const NAMED: usize = 3;

/// A file that holds something else than before, and what it is to some services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The file.
    pub file: PathBuf,
    what: String,
    services: Vec<ServiceName>,
    facts: Option<Facts>,
}

/// What differs between the files of two configurations, as far as both refer to them.
pub fn renewals(old: &Origin, new: &Origin) -> Vec<Renewal> {
    let mut found: BTreeMap<(PathBuf, String, usize), Renewal> = BTreeMap::new();
    for (name, references) in &new.services {
        let mut places: BTreeMap<(PathBuf, String), usize> = BTreeMap::new();
        for reference in references {
            // A chain is told of by its first certificate.
            let source = Some(&reference.source).filter(|_| reference.link.is_none());
            let Some(file) = source.and_then(|source| new.file_of(source)) else { continue };
            let before = old.record.watched().get(&file);
            if before.is_none_or(|before| Some(before) == new.record.watched().get(&file)) {
                continue;
            }
            let Referred { facts, .. } = reference;
            let what = reference.what();
            let place = places.entry((file.clone(), what.clone())).or_default();
            let renewal = found.entry((file.clone(), what.clone(), *place)).or_insert_with(|| {
                Renewal { file, what, services: Vec::new(), facts: facts.clone() }
            });
            *place += 1;
            if renewal.services.last() != Some(name) {
                renewal.services.push(name.clone());
            }
        }
    }
    found.into_values().collect()
}

/// The services of these names, for people.
pub fn of_services(names: &[ServiceName]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let named: Vec<String> = names.iter().take(NAMED).map(|name| format!("\"{name}\"")).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("service{plural} {}{more}", named.join(", "))
}

/// What a certificate is for, fit to be shown.
pub fn names(facts: &Facts) -> String {
    let names = match &facts.names[..] {
        [] => facts.subject.clone(),
        names => names.join(", "),
    };
    Escaped(names.as_bytes()).to_string()
}

impl fmt::Display for Renewal {
    /// `certificate of service "a" renewed: a.test, until 2026-12-24, 3fa9c1d2e4f5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} renewed", self.what, of_services(&self.services))?;
        match &self.facts {
            Some(facts) => {
                let until = date(facts.not_after);
                write!(f, ": {}, until {until}, {}", names(facts), facts.id.short())
            }
            None => Ok(()),
        }
    }
}
