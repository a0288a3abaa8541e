//! Changes in words: one line for each thing that a reload changed.

use crate::config::diff::{Changes, NodeChange, ServiceChange};

/// What has changed, in the order in which a person would ask.
pub fn in_words(changes: &Changes) -> Vec<String> {
    let added = changes
        .added
        .iter()
        .map(|service| format!("service \"{}\" added, on {}", service.name, service.listen));
    let removed =
        changes.removed.iter().map(|service| format!("service \"{}\" removed", service.name));
    let changed = changes.changed.iter().map(service);
    let node = changes.node.iter().flat_map(node);
    added.chain(removed).chain(changed).chain(node).collect()
}

fn service(change: &ServiceChange) -> String {
    let ServiceChange { old, new, listen, clients, table, checks, limits, events } = change;
    let mut parts = Vec::new();
    if *listen {
        parts.push(format!("listens on {} instead of {}", new.listen, old.listen));
    }
    if *clients {
        parts.push("how it meets its clients changed".to_owned());
    }
    if *table {
        parts.push("targets or routing changed".to_owned());
    }
    if *checks {
        parts.push("checks changed".to_owned());
    }
    if *limits {
        parts.push("limits changed".to_owned());
    }
    if *events {
        parts.push("who is told of events changed".to_owned());
    }
    if parts.is_empty() {
        parts.push(format!("is defined in {}", new.source.display()));
    }
    format!("service \"{}\": {}", new.name, parts.join(", "))
}

fn node(change: &NodeChange) -> Vec<String> {
    let live = change.live.iter().map(|key| format!("{key} changed"));
    let later = change.restart.iter().map(|key| format!("{key} changes at the next restart"));
    live.chain(later).collect()
}
