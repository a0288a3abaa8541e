//! What a source answered → the list of targets that counts, or why the last good one is kept.
//!
//! Rules only. An answer that is no list, that says nothing usable, or that is empty without leave,
//! changes nothing: a pool is emptied by nobody's mistake.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::address::Spoken;
use crate::config::discovery::Discovery;
use crate::config::mould::Found;
use crate::config::names::TargetAddress;

/// Some that are left out are named.
const NAMED: usize = 3;

/// What a source listed: its targets, and what there was besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    /// Every target, in order, repeated ones too.
    pub found: Vec<Found>,
    /// What is no target, and why.
    pub left_out: Vec<String>,
    /// How long it holds, if whoever listed it says so.
    pub lives: Option<Duration>,
}

/// Why there is no new list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFault(String);

/// A list that counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The targets, each once, in order.
    pub targets: Arc<[Found]>,
    /// What was left out, in words; `None`: nothing was.
    pub remark: Option<String>,
    /// How long it holds, if whoever listed it says so and is heard.
    pub lives: Option<Duration>,
}

/// The list that these entries make by the rules of a service.
///
/// # Errors
/// If they make none.
pub fn settle(entries: Entries, spec: &Discovery) -> Result<Listed, ListFault> {
    let count = entries.count();
    if count == 0 {
        return match spec.allow_empty {
            true => Ok(Listed::default()),
            false => Err(ListFault::nonsense(
                "the list is empty, and allow_empty is not set, so that nothing is taken away",
            )),
        };
    }
    let Entries { found, mut left_out, lives } = entries;
    let has_name = |one: &Found| {
        one.spoken == Spoken::Tcp || spec.mould.transport.policy(&one.address).is_some()
    };
    let (mut found, nameless): (Vec<_>, Vec<_>) = found.into_iter().partition(has_name);
    let why = "is no name that a certificate could be for";
    left_out.extend(nameless.iter().map(|one| format!("{} {why}", one.address.host())));
    let remark = in_words(&left_out, count);
    if found.is_empty() {
        return Err(ListFault::nonsense(remark.unwrap_or_default()));
    }
    if spec.first_only {
        found.truncate(1);
    }
    let lives = lives.filter(|_| spec.by_ttl);
    Ok(Listed { targets: folded(found).into(), remark, lives })
}

/// Repeated entries add weight, as in a list that is written.
fn folded(found: Vec<Found>) -> Vec<Found> {
    let mut targets: Vec<Found> = Vec::with_capacity(found.len());
    let mut seen: HashMap<(Spoken, TargetAddress), usize> = HashMap::with_capacity(found.len());
    for one in found {
        let key = (one.spoken, one.address.clone());
        match seen.get(&key) {
            Some(&at) => {
                let earlier = &mut targets[at];
                earlier.weight = earlier.weight.saturating_add(one.weight.get());
                // Whoever is listed as a main one anywhere is one.
                earlier.backup &= one.backup;
            }
            None => {
                seen.insert(key, targets.len());
                targets.push(one);
            }
        }
    }
    targets
}

fn in_words(left_out: &[String], count: usize) -> Option<String> {
    let (first, more) = match left_out.len() {
        0 => return None,
        all => (&left_out[..all.min(NAMED)], all.saturating_sub(NAMED)),
    };
    let mut words = format!("{} of {count} entries left out: ", left_out.len());
    words.push_str(&first.join("; "));
    if more > 0 {
        words.push_str(&format!("; and {more} more"));
    }
    Some(words)
}

// === impl Entries ===

impl Entries {
    /// How many there are, good and bad.
    pub fn count(&self) -> usize {
        self.found.len() + self.left_out.len()
    }
}

// === impl ListFault ===

impl ListFault {
    /// A source that answers nothing usable.
    pub fn nonsense(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for ListFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::address;
    use crate::config::discovery::Directory;
    use crate::config::mould::Mould;

    /// A directory, whatever it is.
    pub(crate) fn spec() -> Discovery {
        Discovery {
            directory: Directory::File(Path::new("targets.json").into()),
            interval: Duration::from_secs(1),
            by_ttl: false,
            name_servers: Arc::default(),
            timeout: Duration::from_secs(1),
            allow_empty: false,
            first_only: false,
            mould: Mould::default(),
        }
    }

    fn entries(found: &str, left_out: usize) -> Entries {
        let found = found.split_whitespace().map(|text| {
            let (spoken, address) = address::target(text).unwrap();
            Found::at(spoken, address)
        });
        let left_out = (0..left_out).map(|index| format!("entry {index}: no")).collect();
        Entries { found: found.collect(), left_out, lives: None }
    }

    fn check(entries: Entries, spec: &Discovery, expected: &str) {
        let said = match settle(entries, spec) {
            Ok(listed) => {
                let shown = |one: &Found| format!("{}*{}", one.address, one.weight);
                let targets = listed.targets.iter().map(shown);
                targets.chain(listed.remark).collect::<Vec<_>>().join(" ")
            }
            Err(fault) => format!("fault: {fault}"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn an_empty_list_counts_only_with_leave() {
        let kept = "fault: the list is empty, and allow_empty is not set, so that nothing is \
                    taken away";
        check(entries("", 0), &spec(), kept);
        check(entries("", 0), &Discovery { allow_empty: true, ..spec() }, "");
    }

    #[test]
    fn a_list_of_nothing_usable_is_no_empty_one() {
        let spec = Discovery { allow_empty: true, ..spec() };
        check(entries("", 1), &spec, "fault: 1 of 1 entries left out: entry 0: no");
    }

    #[test]
    fn what_is_left_out_is_told_and_the_others_count() {
        let expected = "a:1*1 4 of 5 entries left out: entry 0: no; entry 1: no; entry 2: no; \
                        and 1 more";
        check(entries("a:1", 4), &spec(), expected);
    }

    #[test]
    fn a_repeated_entry_adds_weight() {
        check(entries("a:1 b:1 a:1 tls://a:1", 0), &spec(), "a:1*2 b:1*1 a:1*1");
    }

    #[test]
    fn without_a_list_only_the_first_counts() {
        let spec = Discovery { first_only: true, ..spec() };
        check(entries("a:1 b:1 a:1", 0), &spec, "a:1*1");
    }
}
