//! Who uses what is stored: the definitions are loaded as `validate` loads them.

use serde_json::{Value, json};

use crate::cli::sources::RunArgs;
use crate::config::load;
use crate::wire::certificate::Digest;

/// What is said where the definitions do not load.
const UNKNOWN: &str = "the definitions do not load (`stagedoor validate` says why), so that there \
                       may be more who use what is stored";

/// Who uses what.
#[derive(Debug)]
pub struct Usage {
    /// Every definition has been read: there is nobody else.
    pub is_known: bool,
    uses: Vec<Use>,
}

/// One place in one definition.
#[derive(Debug)]
struct Use {
    id: Digest,
    service: String,
    is_active: bool,
    key: String,
}

impl Usage {
    /// Loads what `run` says.
    pub fn load(run: &RunArgs) -> Self {
        let loaded = load::load(&run.sources(0));
        let mut uses = Vec::new();
        for (service, references) in &loaded.references {
            let is_active = !loaded.inactive.iter().any(|it| it.source == service.source);
            uses.extend(references.stored.iter().map(|(key, id)| Use {
                id: *id,
                service: service.name.to_string(),
                is_active,
                key: key.to_string(),
            }));
        }
        Self { is_known: loaded.model.is_some(), uses }
    }

    /// Who uses this, for people, with `between` them; or else `nobody`, if that is known.
    pub fn shown(&self, id: &Digest, between: &str, nobody: &str) -> String {
        match &self.of(id)[..] {
            [] if self.is_known => nobody.to_owned(),
            [] => "?".to_owned(),
            used => used.join(between),
        }
    }

    /// Each place that uses this, for people.
    pub fn of(&self, id: &Digest) -> Vec<String> {
        let shown = |of: &Use| {
            let active = if of.is_active { "" } else { " (not active)" };
            format!("{}: {}{active}", of.service, of.key)
        };
        self.uses.iter().filter(|of| of.id == *id).map(shown).collect()
    }

    /// The same for machines.
    pub fn json(&self, id: &Digest) -> Value {
        let shown =
            |of: &Use| json!({ "service": of.service, "active": of.is_active, "key": of.key });
        self.uses.iter().filter(|of| of.id == *id).map(shown).collect()
    }

    /// Says so on standard error if there may be others.
    pub fn tell(&self) {
        if !self.is_known {
            eprintln!("stagedoor: {UNKNOWN}");
        }
    }
}
