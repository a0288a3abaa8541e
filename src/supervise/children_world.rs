//! A world for tests, in which what a supervisor decides is done, and its promises are checked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::supervise::children::Children;
use crate::supervise::effect::{Decision, Effect};
use crate::supervise::entry::NewChild;
use crate::supervise::exit::{Down, Epoch, Exit};
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::Intensity;
use crate::supervise::policy::{GiveUp, Policy};
use crate::supervise::slot::{Generation, Loss, SlotId, SlotReplaced};
use crate::supervise::view::{ChildKind, ChildState, ChildView};

pub(super) const WINDOW: Duration = Duration::from_secs(60);
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const SLOTS: [SlotId; 2] = [SlotId::Data(0), SlotId::Data(1)];

/// Children, and a world in which what they decide is done.
pub(super) struct World {
    pub(super) children: Children,
    pub(super) now: Instant,
    pub(super) chance: fastrand::Rng,
    pub(super) generations: HashMap<SlotId, u64>,
    /// Every incarnation that runs, and its slot's generation at its launch.
    pub(super) live: Vec<(ComponentName, Epoch, u64)>,
    /// Those that did not answer, and may wake some day.
    pub(super) left_behind: Vec<(ComponentName, Epoch)>,
    /// Those told to end.
    pub(super) told: HashSet<(ComponentName, Epoch)>,
    pub(super) launched: HashMap<ComponentName, Epoch>,
    pub(super) closed: Vec<ComponentName>,
    pub(super) policies: HashMap<ComponentName, (Policy, SlotId)>,
    /// Restarts since the last forgiveness, as the reports tell of them.
    pub(super) restarts: HashMap<ComponentName, Vec<Instant>>,
    pub(super) given_up: Vec<String>,
    pub(super) reports: Vec<(ComponentName, Exit, Decision)>,
    pub(super) stopped: bool,
}

impl World {
    pub(super) fn new(seed: u64, group: u32) -> Self {
        let intensity = Intensity { restarts: group, window: WINDOW };
        Self {
            children: Children::new(intensity, seed),
            now: Instant::now(),
            chance: fastrand::Rng::with_seed(seed),
            generations: SLOTS.map(|slot| (slot, 0)).into(),
            live: Vec::new(),
            left_behind: Vec::new(),
            told: HashSet::new(),
            launched: HashMap::new(),
            closed: Vec::new(),
            policies: HashMap::new(),
            restarts: HashMap::new(),
            given_up: Vec::new(),
            reports: Vec::new(),
            stopped: false,
        }
    }

    /// A world with these children, all with an intensity of 3.
    pub(super) fn with(children: &[(&str, GiveUp)]) -> Self {
        let mut world = Self::new(7, 100);
        for (name, give_up) in children {
            let intensity = Intensity { restarts: 3, window: WINDOW };
            let policy = Policy { give_up: *give_up, intensity, ..Policy::default() };
            world.add(name, policy, SlotId::Data(0));
        }
        world
    }

    pub(super) fn add(&mut self, name: &str, policy: Policy, slot: SlotId) -> bool {
        let name = ComponentName::from(name);
        let child = NewChild { name: name.clone(), kind: ChildKind::Worker, slot, policy };
        let added = self.children.add(child, self.now);
        if added {
            self.policies.insert(name, (policy, slot));
        }
        self.perform();
        added
    }

    pub(super) fn perform(&mut self) {
        while let Some(effect) = self.children.next_effect() {
            self.perform_one(effect);
        }
    }

    pub(super) fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Start { name, epoch } if self.children.wants(&name, epoch) => {
                assert!(self.epoch_of(&name).is_none(), "two live incarnations of {name}");
                assert!(!self.closed.contains(&name), "{name} was stopped for good");
                let generation = self.generations[&self.policies[&name].1];
                self.children.launched(&name, Generation(generation));
                self.launched.insert(name.clone(), epoch);
                self.live.push((name, epoch, generation));
            }
            Effect::Start { .. } => {}
            Effect::End { name, .. } => {
                if let Some(epoch) = self.epoch_of(&name) {
                    self.told.insert((name, epoch));
                }
            }
            Effect::Close { name } => {
                assert!(self.epoch_of(&name).is_none(), "{name} is closed while it runs");
                self.closed.push(name);
            }
            Effect::Report { name, exit, decision } => self.hear(name, exit, decision),
            Effect::GiveUp { reason } => self.given_up.push(reason),
            Effect::AllStopped => self.stopped = true,
        }
    }

    pub(super) fn hear(&mut self, name: ComponentName, exit: Exit, decision: Decision) {
        match decision {
            Decision::Restart(..) => {
                let now = self.now;
                let moments = self.restarts.entry(name.clone()).or_default();
                moments.retain(|moment| now - *moment < WINDOW);
                moments.push(now);
                let allowed = self.policies[&name].0.intensity.restarts as usize;
                assert!(moments.len() <= allowed, "{name}: {} restarts", moments.len());
            }
            Decision::RestartGroup(_) => self.restarts.clear(),
            Decision::Abandon => self.leave_behind(|other, _| *other == name),
            Decision::Park(..)
            | Decision::Escalate(_)
            | Decision::Move
            | Decision::Expected
            | Decision::Forget => {}
        }
        self.reports.push((name, exit, decision));
    }

    pub(super) fn epoch_of(&self, name: &ComponentName) -> Option<Epoch> {
        self.live.iter().find(|(other, ..)| other == name).map(|(_, epoch, _)| *epoch)
    }

    pub(super) fn fall(&mut self, name: &str, exit: Exit) {
        let name = ComponentName::from(name);
        let Some(epoch) = self.epoch_of(&name) else { return };
        self.live.retain(|(other, ..)| *other != name);
        let newest = Generation(self.generations[&self.policies[&name].1]);
        self.children.down(Down { name, epoch, exit }, newest, self.now);
        self.perform();
    }

    fn leave_behind(&mut self, is_stuck: impl Fn(&ComponentName, SlotId) -> bool) {
        let policies = &self.policies;
        let stuck = |name: &ComponentName| is_stuck(name, policies[name].1);
        let left = self.live.iter().filter(|(name, ..)| stuck(name));
        self.left_behind.extend(left.map(|(name, epoch, _)| (name.clone(), *epoch)));
        self.live.retain(|(name, ..)| !stuck(name));
    }

    /// One that was left behind wakes and ends, long after it was given up for lost.
    pub(super) fn wake(&mut self) {
        let Some((name, epoch)) = self.left_behind.pop() else { return };
        let newest = Generation(self.generations[&self.policies[&name].1]);
        self.children.down(Down { name, epoch, exit: boom() }, newest, self.now);
        self.perform();
    }

    /// Whatever was told to end does.
    pub(super) fn obey(&mut self) {
        loop {
            let told = self
                .live
                .iter()
                .find(|(name, epoch, _)| self.told.contains(&(name.clone(), *epoch)));
            let Some(name) = told.map(|(name, ..)| name.to_string()) else { return };
            self.fall(&name, Exit::Requested);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.children.tick(self.now);
        self.perform();
    }

    pub(super) fn replace(&mut self, slot: SlotId, why: Loss) {
        let generation = self.generations.get_mut(&slot).unwrap();
        *generation += 1;
        let generation = *generation;
        if why == Loss::Hung {
            self.leave_behind(|_, at| at == slot);
        }
        let news =
            SlotReplaced { slot, generation: Generation(generation), why, recent: 1, hung: 0 };
        self.children.slot_replaced(news, PATIENCE, self.now);
        self.perform();
    }

    pub(super) fn view(&self, name: &str) -> ChildView {
        let views = self.children.entries().iter().map(|entry| entry.view());
        views.into_iter().find(|view| view.name.as_str() == name).unwrap()
    }

    pub(super) fn state(&self, name: &str) -> ChildState {
        self.view(name).state
    }

    pub(super) fn last_decision(&self) -> Decision {
        self.reports.last().unwrap().2
    }

    /// The supervisor crashed, and another incarnation takes over.
    pub(super) fn resume(&mut self) {
        let (launched, generations) = (&self.launched, &self.generations);
        self.children.resume(
            |name, epoch| launched.get(name) == Some(&epoch),
            |slot| Generation(generations[&slot]),
            self.now,
        );
        self.perform();
    }
}

pub(super) fn boom() -> Exit {
    Exit::Panic("boom".to_owned())
}
