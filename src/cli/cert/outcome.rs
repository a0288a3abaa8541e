//! How the commands begin and end: the store that the settings name, an entry found by its ID, and
//! refusals in the one form or the other.
//!
//! Exit codes: 0 done, 1 refused, 2 the settings are wrong.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::output;
use crate::cli::sources::SettingsArgs;
use crate::config::load;
use crate::config::problem::Problem;
use crate::config::read::{self, read_bytes};
use crate::config::store::Store;
use crate::config::validate::certificates::{FILE_CAP, with_organisation};
use crate::wire::certificate::Digest;
use crate::wire::entry::Entry;

/// The fewest digits of an ID that are taken for it.
const DIGITS: usize = 8;

/// Why a command was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// For this reason.
    Because(String),
    /// The settings are wrong, which has been told.
    Settings,
}

impl Refusal {
    /// Tells of it; the exit code.
    pub fn end(self, json: bool) -> ExitCode {
        match self {
            Self::Because(why) if json => output::print_json(&json!({ "error": why })),
            Self::Because(why) => eprintln!("stagedoor: {why}"),
            Self::Settings => return ExitCode::from(2),
        }
        ExitCode::from(1)
    }
}

/// The exit code of a command that was carried out, or not.
pub fn code(ended: Result<(), Refusal>, json: bool) -> ExitCode {
    ended.map_or_else(|refusal| refusal.end(json), |()| ExitCode::SUCCESS)
}

/// The store that the settings name. Whatever is wrong with them is told.
pub fn store(settings: &SettingsArgs) -> Result<Store, Refusal> {
    let loaded = load::load_settings(&settings.sources());
    output::tell(&loaded.problems);
    let failed = loaded.problems.iter().any(Problem::is_error);
    if failed { Err(Refusal::Settings) } else { Ok(loaded.node.store) }
}

/// The IDs of everything in the store.
pub fn ids(store: &Store) -> Result<Vec<Digest>, Refusal> {
    let shut = |error| {
        let folder = store.folder().display();
        Refusal::Because(format!("the store {folder} cannot be read: {}", read::cause(&error)))
    };
    store.ids().map_err(shut)
}

/// The entry with this ID.
///
/// # Errors
/// Why it cannot be read, for people.
pub fn entry(store: &Store, id: &Digest) -> Result<Entry, String> {
    let path = store.path_of(id);
    let bytes = read_bytes(&path, FILE_CAP);
    let bytes = bytes.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    match Entry::from_pem(&String::from_utf8_lossy(&bytes), None) {
        Ok(entry) if entry.id == *id => Ok(entry),
        Ok(other) => Err(format!("{} holds {}, which is not its name", path.display(), other.id)),
        Err(fault) => Err(format!("{} cannot be used: {fault}", path.display())),
    }
}

/// The stored ID that is meant: written whole, or its first digits, if they are those of one only.
pub fn find(store: &Store, written: &str) -> Result<Digest, Refusal> {
    meant(&ids(store)?, written)
        .map_err(|why| Refusal::Because(format!("{why} in the store {}", store.folder().display())))
}

/// Which of these is meant.
fn meant(ids: &[Digest], written: &str) -> Result<Digest, String> {
    // As Tyk writes it, with the organisation before it.
    let digits = match with_organisation(written) {
        Some((_, id)) => id.to_string(),
        None => written.trim().to_ascii_lowercase(),
    };
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(DIGITS..=64).contains(&digits.len()) {
        let shown = written.escape_debug();
        return Err(format!("{shown} is no ID: name one by its {DIGITS} to 64 first digits,"));
    }
    let mut found = ids.iter().filter(|id| id.to_string().starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => Err(format!("there is no certificate {digits}")),
        (Some(one), Some(another)) => {
            Err(format!("{digits} begins several IDs, such as {one} and {another},"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: &str) -> Digest {
        Digest::from_hex(&format!("{first:0<64}")).unwrap()
    }

    #[test]
    fn an_id_is_meant_by_its_first_digits_if_they_are_its_alone() {
        let ids = [id("abcdef0123"), id("abcdef0199"), id("99999999")];
        assert_eq!(meant(&ids, "ABCDEF012"), Ok(ids[0]));
        assert_eq!(meant(&ids, " 99999999 "), Ok(ids[2]));
        assert_eq!(meant(&ids, &ids[1].to_string()), Ok(ids[1]));
        assert_eq!(meant(&ids, &format!("default{}", ids[1])), Ok(ids[1]));
        let refused = |written: &str, why: &str| {
            let said = meant(&ids, written).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        refused("abcdef01", "begins several IDs");
        refused("abcdef0", "is no ID");
        refused("../../etc/x", "is no ID");
        refused(&format!("{}-", ids[0]), "is no ID");
        refused("12345678", "there is no certificate 12345678");
    }
}
