//! How a board takes over a definition, new or changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::check::{Check, Witnesses};
use crate::config::model::{Balance, Service};
use crate::config::names::TargetKey;
use crate::health::board::ServiceBoard;
use crate::health::leader::{LeaderRule, Ruling};
use crate::health::record::{CheckRecord, TargetRecord};
use crate::health::witness::Panel;

// === impl ServiceBoard ===

impl ServiceBoard {
    /// Takes over a definition; what is known of targets and checks that stay is kept.
    pub(super) fn adopt(&mut self, service: &Service, now: Instant) -> Ruling {
        let spec = service.health.as_deref();
        let led = service.pool.balance == Balance::Leader;
        self.thresholds = spec.map(|spec| spec.thresholds.clone()).unwrap_or_default();
        let rise = self.thresholds.rise;
        if led {
            // Who leads is the leader rule's to say, and one pass is enough for it.
            self.thresholds.rise = 1;
        }
        let checks = spec.map_or(&[][..], |spec| &spec.checks);
        let (before, strays) =
            (std::mem::take(&mut self.targets), std::mem::take(&mut self.strays));
        self.unchecked.clear();
        let mut own = own_checks(checks);
        for target in &service.pool.targets {
            let own = own.remove(&target.key).unwrap_or_default();
            if own.is_empty() {
                self.unchecked.push(target.key.clone());
                continue;
            }
            let (key, name) = (target.key.clone(), target.name.clone());
            let record = match before.get(&key) {
                Some(record) => record.reconfigured(name, &own),
                None => {
                    let own = own.into_iter().map(CheckRecord::new).collect();
                    TargetRecord::new(key.clone(), name, own, now)
                }
            };
            self.targets.insert(key, Arc::new(record));
        }
        let stray = |check: &&Arc<Check>| {
            check.target.as_ref().is_none_or(|target| !self.targets.contains_key(target))
        };
        let kept = |check: &Arc<Check>| {
            let record = strays.iter().find(|record| record.check == *check);
            record.cloned().unwrap_or_else(|| CheckRecord::new(check.clone()))
        };
        self.strays = checks.iter().filter(stray).map(kept).collect();
        self.claims.inferred = service.pool.balance_inferred;
        let ruling = self.adopt_leader(led, rise, now);
        let witnesses = spec.and_then(|spec| spec.witness.as_ref()).filter(|_| led);
        ruling.then(self.adopt_witnesses(witnesses, now))
    }

    fn adopt_witnesses(&mut self, witnesses: Option<&Witnesses>, now: Instant) -> Ruling {
        let before = self.panel.take();
        self.panel = witnesses.map(|witnesses| Panel::adopt(before.as_ref(), witnesses, now));
        match (&mut self.leader, &self.panel) {
            (Some(rule), Some(panel)) => rule.attested(panel.agree(), panel.supports()),
            (Some(rule), None) if before.is_some() => rule.unattested(),
            (Some(_), None) | (None, _) => Ruling::default(),
        }
    }

    fn adopt_leader(&mut self, led: bool, rise: u32, now: Instant) -> Ruling {
        let keys: BTreeSet<TargetKey> = self.targets.keys().cloned().collect();
        match &mut self.leader {
            Some(leader) if led => leader.reconfigure(&keys, rise),
            None if led => {
                // Nobody has been heard under this rule yet, whatever is known of their health.
                for record in self.targets.values_mut() {
                    Arc::make_mut(record).await_verdict(now);
                }
                self.leader = Some(LeaderRule::starting(keys, rise));
                Ruling::default()
            }
            Some(_) | None => {
                self.leader = None;
                self.lead_lost = None;
                Ruling::default()
            }
        }
    }
}

/// The checks of each target; one that is written twice is one check.
fn own_checks(checks: &[Arc<Check>]) -> HashMap<TargetKey, Vec<Arc<Check>>> {
    let mut own: HashMap<TargetKey, Vec<Arc<Check>>> = HashMap::new();
    for check in checks {
        let Some(target) = &check.target else { continue };
        let own = own.entry(target.clone()).or_default();
        if !own.contains(check) {
            own.push(Arc::clone(check));
        }
    }
    own
}
