//! The health supervisor as an actor: what it publishes, and whose traffic it says is lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::config::model::Balance;
use crate::health::board_harness::{address, key, service};
use crate::health::checker::CheckFinished;
use crate::health::effect::Finished;
use crate::health::snapshot::{Health, SnapshotCell};
use crate::health::staff::Staff;
use crate::health::supervisor::{Configure, HealthArgs, HealthSupervisor, HostMoved, TargetLost};
use crate::health::transcript::Transcript;
use crate::health::verdict::Verdict;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;

/// A supervisor whose checkers are nobody; it tells of lost targets by name.
fn supervisor() -> (Ref<HealthSupervisor>, SnapshotCell, Arc<Mutex<Vec<String>>>) {
    let (snapshot, lost) = (SnapshotCell::default(), Arc::<Mutex<Vec<String>>>::default());
    let reports = Recipient::from_fn(|_| true);
    let args = HealthArgs {
        memory: Arc::default(),
        snapshot: Arc::clone(&snapshot),
        staff: Arc::new(Staff::new(
            Ref::vacant("checkers"),
            Arc::<ArcSwap<_>>::default(),
            reports,
            Intensity::default(),
        )),
        published: Recipient::from_fn(|_| true),
        lost: Recipient::from_fn({
            let lost = Arc::clone(&lost);
            move |told: TargetLost| {
                lost.lock().unwrap().push(told.target.to_string());
                true
            }
        }),
    };
    let handle = Ref::unsupervised("health", |_| HealthSupervisor::new(args));
    (handle, snapshot, lost)
}

#[test]
fn who_is_behind_a_name_that_moved_is_unknown_and_the_sessions_with_the_old_one_are_lost() {
    actix_rt::System::new().block_on(async {
        let (handle, snapshot, lost) = supervisor();
        let service = Arc::new(service("ab", Balance::RoundRobin));
        handle.ask(Configure { services: vec![Arc::clone(&service)] }).await.unwrap();
        for check in &service.health.as_ref().unwrap().checks {
            let transcript = Arc::new(Transcript::of_verdict(Verdict::Passed, Duration::ZERO));
            let finished = Finished { check: Arc::clone(check), transcript };
            let (next, pause) = oneshot::channel();
            handle.tell(CheckFinished { service: service.name.clone(), finished, next });
            pause.await.unwrap();
        }
        let health = |name| snapshot.load().services[&service.name].targets[&key(name)];
        assert_eq!((health('a'), health('b')), (Health::Up, Health::Up));
        let host = address('a').host().into();
        handle.ask(HostMoved { host }).await.unwrap();
        assert_eq!((health('a'), health('b')), (Health::Unknown, Health::Up));
        assert_eq!(*lost.lock().unwrap(), [key('a').to_string()]);
    });
}
