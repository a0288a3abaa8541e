//! Closing: what becomes of the sessions of a target that is no longer wanted, as its service's
//! `on_down` and `on_removed` say.

use std::sync::Arc;

use actix_rt::ArbiterHandle;
use tokio::time::Instant;

use crate::config::model::{Balance, Closing};
use crate::config::names::{ServiceName, TargetKey};
use crate::events::watch::{FailoverWatch, PATIENCE};
use crate::health::lapse::LeaderChanged;
use crate::health::snapshot::SnapshotCell;
use crate::proxy::live::{LiveCell, LiveService};
use crate::proxy::registry::{CutReason, Registry};

/// Carries the closing policies out. Works on whatever thread it is called.
#[derive(Clone)]
pub struct Closer {
    /// The services in force.
    pub live: LiveCell,
    /// What is known of their targets.
    pub snapshot: SnapshotCell,
    /// Every session.
    pub registry: Arc<Registry>,
    /// The arbiter on which drains wait: one that is never replaced.
    pub main: ArbiterHandle,
}

// === impl Closer ===

impl Closer {
    /// A target went down or lost the lead. When this returns, no session of a lost leader relays
    /// another byte. Returns how many were cut now.
    pub fn target_lost(&self, service: &ServiceName, target: &TargetKey) -> usize {
        let live = self.live.load().named(service).cloned();
        let policy = live.as_ref().map_or(Closing::Close, |live| on_down(live));
        let led = live.filter(|live| is_led(live));
        if let Some(live) = &led {
            live.failovers.lost(target, live.waiting(), Instant::now());
        }
        let cut = self.close(service, target, policy, CutReason::TargetDown);
        if let Some(live) = &led {
            live.failovers.cut(cut);
        }
        cut
    }

    /// A target is about to lead. When this returns, no session of its service with another one
    /// relays another byte: not even one from before the service was led. Returns how many were
    /// cut.
    pub fn target_leads(&self, service: &ServiceName, leader: &TargetKey) -> usize {
        let why = CutReason::TargetDown;
        let cut = self.registry.cut_others(service, leader, why);
        if let Some(watch) = self.watch(service) {
            watch.cut(cut);
            if let Some(number) = watch.leads(leader, Instant::now()) {
                self.main.spawn(async move {
                    tokio::time::sleep(PATIENCE).await;
                    watch.settle(number);
                });
            }
        }
        if cut > 0 {
            log::warn!(service = service.as_str(), leader:% = leader, sessions = cut; "sessions with others than the leader cut");
        }
        cut
    }

    /// Another target leads, or none does: why is part of the failover's report.
    pub fn leader_changed(&self, changed: &LeaderChanged) {
        if let Some(watch) = self.watch(&changed.service) {
            watch.changed(&changed.change, &changed.lapse);
        }
    }

    fn watch(&self, service: &ServiceName) -> Option<Arc<FailoverWatch>> {
        self.live.load().named(service).map(|live| Arc::clone(&live.failovers))
    }

    /// A target left its pool by a reload.
    pub fn target_removed(&self, old: &LiveService, target: &TargetKey) -> usize {
        let service = old.service();
        self.close(&service.name, target, service.pool.on_removed, CutReason::TargetRemoved)
    }

    fn close(
        &self,
        service: &ServiceName,
        target: &TargetKey,
        policy: Closing,
        why: CutReason,
    ) -> usize {
        match policy {
            Closing::Keep => 0,
            Closing::Close => {
                let cut = self.registry.cut_target(service, target, why);
                if cut > 0 {
                    log::warn!(service = service.as_str(), target:% = target, sessions = cut; "sessions cut: {why}");
                }
                cut
            }
            Closing::Drain(time) => {
                let leaving = self.registry.on_target(service, target);
                if leaving.is_empty() {
                    return 0;
                }
                log::info!(
                    service = service.as_str(), target:% = target, sessions = leaving.len();
                    "sessions may end by themselves for {time:?}: {why}"
                );
                let (closer, service, target) = (self.clone(), service.clone(), target.clone());
                self.main.spawn(async move {
                    tokio::time::sleep(time).await;
                    closer.end_drain(&leaving, &service, &target, why);
                });
                0
            }
        }
    }

    fn end_drain(
        &self,
        leaving: &[u64],
        service: &ServiceName,
        target: &TargetKey,
        why: CutReason,
    ) {
        let back = match why {
            CutReason::TargetDown => self.is_eligible(service, target),
            CutReason::TargetRemoved => self.is_in_pool(service, target),
            CutReason::Shutdown | CutReason::Killed => false,
        };
        let cut = if back { 0 } else { self.registry.cut_sessions(leaving, target, why) };
        log::info!(service = service.as_str(), target:% = target, sessions = cut; "drain ended: {why}");
    }

    fn is_in_pool(&self, service: &ServiceName, target: &TargetKey) -> bool {
        let services = self.live.load();
        services.named(service).is_some_and(|live| {
            live.service().pool.targets.iter().any(|member| member.key == *target)
        })
    }

    fn is_eligible(&self, service: &ServiceName, target: &TargetKey) -> bool {
        let snapshot = self.snapshot.load();
        snapshot.services.get(service).is_some_and(|health| health.is_eligible(target))
    }
}

fn is_led(live: &LiveService) -> bool {
    live.service().pool.balance == Balance::Leader
}

/// Sessions of a lost leader never linger, whatever `on_down` says: two writers would be the end
/// of what `leader` promises.
fn on_down(live: &LiveService) -> Closing {
    let pool = &live.service().pool;
    match pool.balance {
        Balance::Leader => Closing::Close,
        Balance::RoundRobin
        | Balance::LeastConnections
        | Balance::RandomTwo
        | Balance::SourceHash
        | Balance::First => pool.on_down,
    }
}
