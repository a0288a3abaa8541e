//! The publisher: puts what is known in force, as the next snapshot.
//!
//! Whoever comes to lead leads alone: before anybody can be routed to it, the sessions of its
//! service with others end, even those from before the service was led. When to publish is the
//! health supervisor's to say.

use std::sync::Arc;

use actix::Message;

use crate::config::names::{ServiceName, TargetKey};
use crate::health::snapshot::{Leadership, ServiceHealth, Snapshot, SnapshotCell};
use crate::supervise::handle::Recipient;

/// Publishes snapshots.
#[derive(Clone)]
pub struct Publisher {
    /// Where the snapshot is published.
    pub snapshot: SnapshotCell,
    /// Told of each new snapshot.
    pub published: Recipient<SnapshotChanged>,
    /// Told of each target that is about to lead: when this returns, no session of its service
    /// with another target relays any more.
    pub leads: Recipient<TargetLeads>,
}

/// There is a new snapshot.
#[derive(Message, Debug, Clone, Copy, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct SnapshotChanged;

/// A target is about to lead.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct TargetLeads {
    /// Its service.
    pub service: ServiceName,
    /// The target.
    pub target: TargetKey,
}

// === impl Publisher ===

impl Publisher {
    /// Publishes what is new of some services, and nothing any more of those that do not stay.
    pub fn publish(
        &self,
        news: impl IntoIterator<Item = (ServiceName, Arc<ServiceHealth>)>,
        stays: impl Fn(&ServiceName) -> bool,
    ) {
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        snapshot.number += 1;
        snapshot.services.retain(|name, _| stays(name));
        for (name, health) in news {
            self.make_way(&name, &health);
            snapshot.services.insert(name, health);
        }
        self.snapshot.store(Arc::new(snapshot));
        self.published.tell(SnapshotChanged);
    }

    fn make_way(&self, name: &ServiceName, next: &ServiceHealth) {
        let snapshot = self.snapshot.load();
        let before = snapshot.services.get(name).map(|health| &health.leadership);
        if before != Some(&next.leadership)
            && let Leadership::Leader(target) = &next.leadership
        {
            self.leads.tell(TargetLeads { service: name.clone(), target: target.clone() });
        }
    }
}
