//! Closing: what becomes of the sessions of a target that is no longer wanted, as its service's
//! `on_down`, `on_removed` and `close_spread` say.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::ArbiterHandle;
use tokio::time::Instant;

use crate::app::spread::{Spread, Step};
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

/// Whose sessions are closed.
struct Leaving {
    service: ServiceName,
    target: TargetKey,
    why: CutReason,
    /// Over this long.
    spread: Duration,
}

// === impl Closer ===

impl Closer {
    /// A target went down or lost the lead. When this returns, no session of a lost leader relays
    /// another byte. Returns how many were cut now.
    pub fn target_lost(&self, service: &ServiceName, target: &TargetKey) -> usize {
        let live = self.live.load().named(service).cloned();
        let policy = live.as_ref().map_or(Closing::Close, |live| on_down(live));
        let led = live.as_ref().filter(|live| is_led(live));
        if let Some(live) = led {
            live.failovers.lost(target, live.waiting(), Instant::now());
        }
        let spread = live.as_ref().map_or(Duration::ZERO, |live| spread(live));
        let (service, target) = (service.clone(), target.clone());
        let leaving = Leaving { service, target, why: CutReason::TargetDown, spread };
        let cut = self.close(leaving, policy);
        if let Some(live) = led {
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
        let leaving = Leaving::of(old, target, CutReason::TargetRemoved);
        self.close(leaving, old.service().pool.on_removed)
    }

    fn close(&self, leaving: Leaving, policy: Closing) -> usize {
        match policy {
            Closing::Keep => 0,
            Closing::Close if leaving.spread.is_zero() => {
                let Leaving { service, target, why, .. } = leaving;
                let cut = self.registry.cut_target(&service, &target, why);
                if cut > 0 {
                    log::warn!(service = service.as_str(), target:% = target, sessions = cut; "sessions cut: {why}");
                }
                cut
            }
            Closing::Close => {
                let spread = humantime::format_duration(leaving.spread);
                self.later(leaving, Duration::ZERO, format!("sessions are cut over {spread}"));
                0
            }
            Closing::Drain(time) => {
                let shown = humantime::format_duration(time);
                self.later(leaving, time, format!("sessions may end by themselves for {shown}"));
                0
            }
        }
    }

    /// Has those that there are now cut after `time`, over their window.
    fn later(&self, leaving: Leaving, time: Duration, what: String) {
        let mut sessions = self.registry.on_target(&leaving.service, &leaving.target);
        if sessions.is_empty() {
            return;
        }
        let Leaving { service, target, why, .. } = &leaving;
        log::info!(service = service.as_str(), target:% = target, sessions = sessions.len(); "{what}: {why}");
        // They are in the order of their workers, and as old as each other.
        fastrand::shuffle(&mut sessions);
        let closer = self.clone();
        self.main.spawn(async move {
            tokio::time::sleep(time).await;
            let (cut, back) = closer.cut_over(&leaving, &sessions).await;
            let Leaving { service, target, why, .. } = &leaving;
            let (level, what) = match time {
                Duration::ZERO => (log::Level::Warn, "sessions cut"),
                _ => (log::Level::Info, "drain ended"),
            };
            let rest = if back { "; it is back, and the other sessions go on" } else { "" };
            log::log!(level, service = service.as_str(), target:% = target, sessions = cut; "{what}: {why}{rest}");
        });
    }

    /// Cuts sessions over their window, unless and until their target is back: what has not been
    /// cut by then goes on. Whoever else is on this thread has a turn after each few. Returns how
    /// many were cut, and whether the target came back.
    async fn cut_over(&self, leaving: &Leaving, sessions: &[u64]) -> (usize, bool) {
        let began = Instant::now();
        let mut spread = Spread::over(leaving.spread, sessions, fastrand::f64);
        let mut cut = 0;
        loop {
            match spread.next(began.elapsed()) {
                Step::Done => return (cut, false),
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Cut(_) if self.is_back(leaving) => return (cut, true),
                Step::Cut(some) => {
                    cut += self.registry.cut_sessions(&some, &leaving.target, leaving.why);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn is_back(&self, leaving: &Leaving) -> bool {
        let Leaving { service, target, why, .. } = leaving;
        match why {
            CutReason::TargetDown => self.is_eligible(service, target),
            CutReason::TargetRemoved => self.is_in_pool(service, target),
            CutReason::Shutdown | CutReason::Killed => false,
        }
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

// === impl Leaving ===

impl Leaving {
    fn of(live: &LiveService, target: &TargetKey, why: CutReason) -> Self {
        let service = live.service().name.clone();
        Self { service, target: target.clone(), why, spread: spread(live) }
    }
}

/// Sessions of a leader are always cut at once.
fn spread(live: &LiveService) -> Duration {
    if is_led(live) { Duration::ZERO } else { live.service().pool.close_spread }
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
