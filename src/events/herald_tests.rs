//! The herald: an event is told once, whatever is heard twice.

use std::sync::{Arc, Mutex};

use crate::config::events::{Action, EventHandlers, EventKind, Handler};
use crate::config::model::{Balance, Service};
use crate::events::herald::Herald;
use crate::events::outbox_tests::webhook;
use crate::health::board_harness;
use crate::health::effect::{TargetChanged, Transition};
use crate::health::lapse::{Lapse, LeaderChanged};
use crate::health::leader::{Change, Why};
use crate::health::snapshot::Health;
use crate::health::transcript::Transcript;
use crate::health::verdict::Verdict;
use crate::supervise::handle::Recipient;

/// A herald of a service whose every event goes to a webhook, and how often a courier was called.
struct World {
    herald: Herald,
    service: Arc<Service>,
    called: Arc<Mutex<usize>>,
}

impl World {
    fn new() -> Self {
        let hook = |kind| {
            let action = Action::Webhook(webhook(std::time::Duration::ZERO));
            Handler { kind, index: 0, action }
        };
        let kinds = [EventKind::HostDown, EventKind::HostUp, EventKind::LeaderChanged];
        let handlers = kinds.map(hook).to_vec();
        let mut service = board_harness::service("ab", Balance::Leader);
        service.events = Arc::new(EventHandlers { api_id: "a1".into(), handlers });
        let called = Arc::<Mutex<usize>>::default();
        let courier = Recipient::from_fn({
            let called = Arc::clone(&called);
            move |_| {
                *called.lock().unwrap() += 1;
                true
            }
        });
        Self { herald: Herald::new(courier), service: Arc::new(service), called }
    }

    fn changed(&self, from: Health, to: Health) {
        let target = &self.service.pool.targets[0];
        let check = Arc::clone(&self.service.health.as_ref().unwrap().checks[0]);
        let transcript = Arc::new(Transcript {
            entries: Vec::new(),
            decided_after: 0,
            omitted: 0,
            took: std::time::Duration::ZERO,
            verdict: Verdict::Passed,
            rank: None,
        });
        let (target, name) = (target.key.clone(), target.name.clone());
        let transition = Transition { target, name, from, to, check, transcript };
        self.herald
            .target_changed(&TargetChanged { service: Arc::clone(&self.service), transition });
    }

    fn leads(&self, from: Option<usize>, to: Option<usize>) {
        let key = |at: usize| self.service.pool.targets[at].key.clone();
        let change = Change { from: from.map(key), to: to.map(key), why: Why::OnlyClaimant };
        let service = self.service.name.clone();
        let changed = LeaderChanged { service, change, lapse: Lapse::default() };
        self.herald.leader_changed(&self.service, &changed);
    }

    /// How many events wait: of `HostDown`, `HostUp`, `LeaderChanged`.
    fn waiting(&self) -> [usize; 3] {
        let mut waiting = [0; 3];
        for outbox in self.herald.outboxes() {
            waiting[outbox.id.kind as usize] = outbox.tally().1.waiting;
        }
        waiting
    }
}

#[test]
fn a_target_is_told_of_once_each_way_and_is_up_only_after_it_was_down() {
    let world = World::new();
    world.changed(Health::Unknown, Health::Up);
    assert_eq!(world.waiting(), [0, 0, 0]);
    // The second is what is heard from a health supervisor that fell after it had told the first.
    world.changed(Health::Up, Health::Down);
    world.changed(Health::Up, Health::Down);
    assert_eq!(world.waiting(), [1, 0, 0]);
    world.changed(Health::Down, Health::Up);
    world.changed(Health::Unknown, Health::Up);
    assert_eq!(world.waiting(), [1, 1, 0]);
    world.changed(Health::Unknown, Health::Down);
    // It was forgotten, as its name moved, and is up as another one.
    world.changed(Health::Unknown, Health::Up);
    assert_eq!(world.waiting(), [2, 2, 0]);
    assert_eq!(*world.called.lock().unwrap(), 2, "once an outbox");
}

#[test]
fn another_leader_is_told_of_once_and_the_first_one_not() {
    let world = World::new();
    world.leads(None, Some(0));
    assert_eq!(world.waiting(), [0, 0, 0]);
    world.leads(Some(0), None);
    world.leads(Some(0), None);
    assert_eq!(world.waiting(), [0, 0, 1]);
    world.leads(None, Some(1));
    assert_eq!(world.waiting(), [0, 0, 2]);
    world.leads(Some(1), Some(0));
    assert_eq!(world.waiting(), [0, 0, 3]);
}
