//! The health supervisor as an actor: what it publishes, and whose traffic it says is lost.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::config::model::{Balance, Service};
use crate::config::names::ServiceName;
use crate::health::board_harness::{address, key, service};
use crate::health::checker::CheckFinished;
use crate::health::effect::Finished;
use crate::health::fault::{Fault, FaultKind};
use crate::health::publisher::{Publisher, SnapshotChanged, TargetLeads};
use crate::health::snapshot::{Health, Leadership, ServiceHealth, Snapshot, SnapshotCell};
use crate::health::staff::Staff;
use crate::health::supervisor::{
    Configure, HealthArgs, HealthSupervisor, HostMoved, Recall, TargetLost,
};
use crate::health::transcript::Transcript;
use crate::health::verdict::Verdict;
use crate::net::connectors::Connectors;
use crate::net::dial::Destination;
use crate::net::names::Unresolved;
use crate::state::keeper::Keeper;
use crate::supervise::handle::{Recipient, Ref};
use crate::supervise::intensity::Intensity;

/// A supervisor whose checkers are nobody, and what it published and told, in order.
struct Stage {
    handle: Ref<HealthSupervisor>,
    args: HealthArgs,
    told: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn new() -> Self {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let args = HealthArgs {
            memory: Arc::default(),
            publisher: Publisher {
                snapshot: SnapshotCell::default(),
                published: noting(&told, |SnapshotChanged| "published".to_owned()),
                leads: noting(&told, |TargetLeads { target, .. }| format!("leads {target}")),
            },
            names: Arc::default(),
            keeper: Keeper::default(),
            staff: Arc::new(Staff::new(
                Ref::vacant("checkers"),
                Arc::<ArcSwap<_>>::default(),
                Connectors::default(),
                Recipient::from_fn(|_| true),
                Intensity::default(),
            )),
            lost: noting(&told, |TargetLost { target, .. }| format!("lost {target}")),
            changed: Recipient::from_fn(|_| true),
            led: Recipient::from_fn(|_| true),
        };
        let handle = incarnation(&args);
        Self { handle, args, told }
    }

    async fn configure(&self, services: &[&Arc<Service>]) {
        let services = services.iter().map(|service| Arc::clone(service)).collect();
        let remembered = HashMap::new();
        self.handle.ask(Configure { services, remembered }).await.unwrap();
    }

    /// The check of `target` has run.
    async fn ran(&self, service: &Service, target: char, verdict: Verdict) {
        let finished = finished(service, target, verdict);
        let at = self.args.names.load().resolve(&address(target));
        assert!(self.reported(service, finished, at).await);
    }

    /// A run is reported; does it count?
    async fn reported(
        &self,
        service: &Service,
        finished: Finished,
        at: Result<Destination, Unresolved>,
    ) -> bool {
        let (next, pause) = oneshot::channel();
        self.handle.tell(CheckFinished { service: service.name.clone(), finished, at, next });
        pause.await.is_ok()
    }

    fn health(&self, service: &Service, target: char) -> Health {
        self.args.publisher.snapshot.load().services[&service.name].targets[&key(target)]
    }

    /// What was told since this was asked last.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

fn finished(service: &Service, target: char, verdict: Verdict) -> Finished {
    let checks = &service.health.as_ref().unwrap().checks;
    let check = checks.iter().find(|check| check.target == Some(key(target))).unwrap();
    let transcript = Arc::new(Transcript::of_verdict(verdict, Duration::ZERO));
    Finished { check: Arc::clone(check), transcript }
}

fn incarnation(args: &HealthArgs) -> Ref<HealthSupervisor> {
    Ref::unsupervised("health", |_| HealthSupervisor::new(args.clone()))
}

fn noting<M: 'static>(
    told: &Arc<Mutex<Vec<String>>>,
    line: impl Fn(M) -> String + Send + Sync + 'static,
) -> Recipient<M> {
    let told = Arc::clone(told);
    Recipient::from_fn(move |message| {
        told.lock().unwrap().push(line(message));
        true
    })
}

#[test]
fn who_is_behind_a_name_that_moved_is_unknown_and_the_sessions_with_the_old_one_are_lost() {
    actix_rt::System::new().block_on(async {
        let (stage, service) = (Stage::new(), Arc::new(service("ab", Balance::RoundRobin)));
        stage.configure(&[&service]).await;
        for target in ['a', 'b'] {
            stage.ran(&service, target, Verdict::Passed).await;
            assert_eq!(stage.health(&service, target), Health::Up);
        }
        stage.told();
        let host = address('a').host().into();
        let before = stage.args.names.load().resolve(&address('a'));
        let to: IpAddr = [192, 0, 2, 7].into();
        stage.handle.ask(HostMoved { host, to }).await.unwrap();
        let after = stage.args.names.load().resolve(&address('a'));
        assert_eq!(after, Ok(Destination::Ip((to, 1).into())));
        assert_eq!(stage.health(&service, 'a'), Health::Unknown);
        assert_eq!(stage.health(&service, 'b'), Health::Up);
        assert_eq!(stage.told(), ["published", "lost a:1", "published"]);
        // A probe of the old address may have been on its way.
        let passed = || finished(&service, 'a', Verdict::Passed);
        assert!(!stage.reported(&service, passed(), before).await);
        assert_eq!(stage.health(&service, 'a'), Health::Unknown);
        assert!(stage.reported(&service, passed(), after).await);
        assert_eq!(stage.health(&service, 'a'), Health::Up);
    });
}

#[test]
fn who_comes_to_lead_leads_alone_before_anybody_can_be_routed_to_it() {
    actix_rt::System::new().block_on(async {
        let (stage, service) = (Stage::new(), Arc::new(service("ab", Balance::Leader)));
        stage.configure(&[&service]).await;
        stage.ran(&service, 'b', Verdict::Failed(Fault::unstepped(FaultKind::Refused))).await;
        stage.told();
        stage.ran(&service, 'a', Verdict::Passed).await;
        assert_eq!(stage.told(), ["leads a:1", "published"]);
        stage.ran(&service, 'b', Verdict::Passed).await;
        assert_eq!(stage.told(), ["published"], "the same one leads");
    });
}

#[test]
fn what_was_published_by_one_that_fell_before_it_kept_it_is_taken_back() {
    actix_rt::System::new().block_on(async {
        let (stage, service) = (Stage::new(), Arc::new(service("ab", Balance::Leader)));
        stage.configure(&[&service]).await;
        stage.ran(&service, 'b', Verdict::Failed(Fault::unstepped(FaultKind::Refused))).await;
        stage.ran(&service, 'a', Verdict::Passed).await;
        let mut snapshot = Snapshot::clone(&stage.args.publisher.snapshot.load());
        let kept = Arc::clone(&snapshot.services[&service.name]);
        let unkept = ServiceHealth { leadership: Leadership::Leader(key('b')), ..(*kept).clone() };
        snapshot.services.insert(service.name.clone(), Arc::new(unkept));
        stage.args.publisher.snapshot.store(Arc::new(snapshot));
        stage.told();
        let next = incarnation(&stage.args);
        next.ask(Recall).await.unwrap();
        assert_eq!(stage.told(), ["published", "lost b:1", "leads a:1", "published"]);
        assert_eq!(stage.args.publisher.snapshot.load().services[&service.name], kept);
        incarnation(&stage.args).ask(Recall).await.unwrap();
        assert!(stage.told().is_empty(), "nothing differs any more");
    });
}

#[test]
fn a_reload_is_published_once_whatever_comes_and_goes() {
    actix_rt::System::new().block_on(async {
        let stage = Stage::new();
        let named = |name| {
            Arc::new(Service { name: ServiceName::new(name), ..service("ab", Balance::RoundRobin) })
        };
        let (one, two, three) = (named("one"), named("two"), named("three"));
        stage.configure(&[&one, &two]).await;
        assert_eq!(stage.told(), ["published"]);
        stage.configure(&[&two, &three]).await;
        assert_eq!(stage.told(), ["published"]);
        let snapshot = stage.args.publisher.snapshot.load_full();
        let mut known: Vec<&str> = snapshot.services.keys().map(ServiceName::as_str).collect();
        known.sort_unstable();
        assert_eq!((known, snapshot.number), (vec!["three", "two"], 2));
    });
}
