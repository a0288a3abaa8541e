//! The staff: which checkers there are. One for every check of every service, and no other.
//!
//! It outlives the health supervisor, so that checkers live on while that is restarted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::config::check::Check;
use crate::config::model::Service;
use crate::config::names::{ServiceName, TargetKey};
use crate::health::checker::{CheckFinished, CheckNow, Checker, CheckerArgs};
use crate::net::connectors::Connectors;
use crate::net::names::NameBook;
use crate::supervise::child::ChildSpec;
use crate::supervise::handle::{ComponentName, Recipient, Ref};
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::GiveUp;
use crate::supervise::slot::SlotId;
use crate::supervise::supervisor::{StartChild, StopChild, Supervisor};

/// The checkers that run.
pub struct Staff {
    group: Ref<Supervisor>,
    names: Arc<ArcSwap<NameBook>>,
    connectors: Connectors,
    reports: Recipient<CheckFinished>,
    intensity: Intensity,
    employed: Mutex<HashMap<ComponentName, Employed>>,
}

struct Employed {
    args: CheckerArgs,
    handle: Ref<Checker>,
}

// === impl Staff ===

impl Staff {
    /// A staff of nobody, whose checkers will belong to `group`, connect by `names` and
    /// `connectors`, and tell `reports`; one that falls more often than `intensity` allows is parked.
    pub fn new(
        group: Ref<Supervisor>,
        names: Arc<ArcSwap<NameBook>>,
        connectors: Connectors,
        reports: Recipient<CheckFinished>,
        intensity: Intensity,
    ) -> Self {
        Self { group, names, connectors, reports, intensity, employed: Mutex::default() }
    }

    /// Has exactly the checkers run that `services` ask for. One whose check is the same as before
    /// is left alone.
    pub fn employ(&self, services: &[Arc<Service>]) {
        let wanted = self.wanted(services);
        let mut employed = self.lock();
        let stays = |name: &ComponentName, one: &Employed| {
            wanted.get(name).is_some_and(|args| args.check == one.args.check)
        };
        let leaving: Vec<ComponentName> = employed
            .iter()
            .filter(|(name, one)| !stays(name, one))
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaving {
            employed.remove(&name);
            self.group.tell(StopChild(name));
        }
        for (name, args) in wanted {
            if employed.contains_key(&name) {
                continue;
            }
            let handle = Ref::vacant(name.clone());
            let spec = {
                let args = args.clone();
                ChildSpec::new(&handle, SlotId::Control, move |_| Checker::new(args.clone()))
                    .intensity(self.intensity)
                    .on_give_up(GiveUp::Park)
            };
            self.group.tell(StartChild(spec));
            employed.insert(name, Employed { args, handle });
        }
    }

    /// Has the checkers of one target probe at once.
    pub fn check_now(&self, service: &ServiceName, target: &TargetKey) {
        for Employed { args, handle } in self.lock().values() {
            if args.service == *service && args.check.target.as_ref() == Some(target) {
                handle.tell(CheckNow);
            }
        }
    }

    fn wanted(&self, services: &[Arc<Service>]) -> HashMap<ComponentName, CheckerArgs> {
        let mut wanted = HashMap::new();
        for service in services {
            let Some(spec) = &service.health else { continue };
            // Numbered where a service asks one address several times.
            let mut named: HashMap<String, usize> = HashMap::new();
            for check in spec.all_checks() {
                let name = name_of(service, check);
                let count = named.entry(name.clone()).or_default();
                *count += 1;
                let number = if *count > 1 { format!("#{count}") } else { String::new() };
                let args = CheckerArgs {
                    service: service.name.clone(),
                    check: Arc::clone(check),
                    interval: spec.thresholds.interval,
                    names: Arc::clone(&self.names),
                    connectors: self.connectors.clone(),
                    reports: self.reports.clone(),
                };
                wanted.insert(ComponentName::from(&*format!("checker/{name}{number}")), args);
            }
        }
        wanted
    }

    /// Every change under this lock is one call of `HashMap`: sound whatever panicked.
    fn lock(&self) -> MutexGuard<'_, HashMap<ComponentName, Employed>> {
        self.employed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `SERVICE/ADDRESS`; a witness's is `SERVICE/ADDRESS for TARGET`.
fn name_of(service: &Service, check: &Check) -> String {
    match (&check.about, &check.target) {
        (Some(_), Some(target)) => format!("{}/{} for {target}", service.name, check.address),
        (Some(_), None) | (None, _) => format!("{}/{}", service.name, check.address),
    }
}
