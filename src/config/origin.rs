//! What a configuration was made from: its files as they were read, and what its references led to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::files::Record;
use crate::config::load::Loaded;
use crate::config::model::Model;
use crate::config::names::ServiceName;
use crate::config::references::Referred;
use crate::config::store::Store;
use crate::config::tls::Source;

/// A model, and what it was made from.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// The model.
    pub model: Arc<Model>,
    /// What it was made from.
    pub origin: Arc<Origin>,
}

/// What a model was made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    /// Every file that was read, as it was.
    pub record: Record,
    /// What each service refers to for TLS, in the order in which it was read.
    pub services: BTreeMap<ServiceName, Vec<Referred>>,
    store: Store,
}

// === impl Configuration ===

impl Configuration {
    /// What was loaded, if no problem is an error. The problems are left.
    pub fn of(loaded: &mut Loaded) -> Option<Self> {
        let model = loaded.model.take()?;
        let references = std::mem::take(&mut loaded.references).into_iter();
        let active = references.filter(|(service, _)| model.services.contains_key(&service.name));
        let origin = Origin {
            record: std::mem::take(&mut loaded.record),
            services: active.map(|(service, means)| (service.name.clone(), means.all)).collect(),
            store: model.node.store.clone(),
        };
        Some(Self { model: Arc::new(model), origin: Arc::new(origin) })
    }
}

// === impl Origin ===

impl Origin {
    /// The file that a source is; `None`: it is written in the definition itself.
    pub fn file_of(&self, source: &Source) -> Option<PathBuf> {
        match source {
            Source::File(path) => Some(path.to_path_buf()),
            Source::Stored(id) => Some(self.store.path_of(id)),
            Source::Inline => None,
        }
    }
}
