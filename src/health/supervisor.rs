//! The health supervisor: owns the boards, has a checker for every check, publishes the snapshot.
//!
//! It alone decides what is known. Verdicts come in, one at a time; the board of the service says
//! what follows; the effects are performed in order: publish, cut the sessions of whoever lost,
//! publish again. Boards outlive it, and each is replaced whole at the end of a handler, so that a
//! panic never leaves one half-changed; one that it fell over three times is made anew (`memory`).

mod looking;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Context, Handler, Message, MessageResult};
use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::config::model::{Service, Target};
use crate::config::names::{ServiceName, TargetAddress, TargetKey};
use crate::health::board::ServiceBoard;
use crate::health::checker::CheckFinished;
use crate::health::effect::{Effect, TargetChanged};
use crate::health::lapse::LeaderChanged;
use crate::health::leader::remembered::Remembered;
use crate::health::memory::{Incarnation, Memory};
use crate::health::publisher::Publisher;
use crate::health::recall::{Known, recall};
use crate::health::remembering;
use crate::health::report;
use crate::health::staff::Staff;
use crate::health::suspicion::Failure;
use crate::net::names::NameBook;
use crate::state::keeper::Keeper;
use crate::supervise::handle::Recipient;

/// What the health supervisor works with; all of it outlives the actor.
#[derive(Clone)]
pub struct HealthArgs {
    /// What is remembered.
    pub memory: Arc<Mutex<Memory>>,
    /// Where what is known is published.
    pub publisher: Publisher,
    /// The addresses of target names.
    pub names: Arc<ArcSwap<NameBook>>,
    /// Writes to disk who leads.
    pub keeper: Keeper,
    /// Its checkers.
    pub staff: Arc<Staff>,
    /// Told of each target that lost its traffic, before the next snapshot is published: when
    /// this returns, whatever had to be cut has been cut.
    pub lost: Recipient<TargetLost>,
    /// Told of each change of a target's health, once it is in force.
    pub changed: Recipient<TargetChanged>,
    /// Told of each change of a leader, once it is in force.
    pub led: Recipient<LeaderChanged>,
}

/// The actor.
pub struct HealthSupervisor {
    args: HealthArgs,
    incarnation: Incarnation,
    /// Numbers the armed ticks, so that one that has been overtaken does nothing.
    armed: u64,
    /// When the one that counts is due.
    due: Option<Instant>,
}

/// Check the targets of these services from now on, and of no others. Answers when a snapshot that
/// knows all of them has been published.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Configure {
    /// The services.
    pub services: Vec<Arc<Service>>,
    /// What was remembered of those that are new, or have targets for the first time.
    pub remembered: HashMap<ServiceName, Remembered>,
}

/// A session failed on a target: should it be checked at once?
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct TargetSuspected {
    /// Its service.
    pub service: ServiceName,
    /// The target.
    pub target: TargetKey,
    /// What the session met.
    pub failure: Failure,
}

/// A host name stands for another address than in the book: its targets are new ones. The book
/// says so when nobody can be routed to them any more.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct HostMoved {
    /// The name.
    pub host: Arc<str>,
    /// Its new address.
    pub to: IpAddr,
}

/// A target went down or lost the lead.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct TargetLost {
    /// Its service.
    pub service: ServiceName,
    /// The target.
    pub target: TargetKey,
}

/// What is known, for people.
#[derive(Message)]
#[rtype(result = "Known")]
pub struct Recall;

/// A board may have something to say by now.
#[derive(Message)]
#[rtype(result = "()")]
struct Tick(u64);

// === impl HealthSupervisor ===

impl HealthSupervisor {
    /// A health supervisor with these means.
    pub fn new(args: HealthArgs) -> Self {
        Self { args, incarnation: Incarnation::default(), armed: 0, due: None }
    }

    /// Has a service's board say what follows from something, and does it. `None`: it has no board.
    fn work<T>(
        &self,
        name: &ServiceName,
        work: impl FnOnce(&mut ServiceBoard) -> (Vec<Effect>, T),
    ) -> Option<T> {
        let mut board = self.memory().take_up(self.incarnation, name)?;
        let (effects, result) = work(&mut board);
        self.perform(name, board, effects);
        Some(result)
    }

    /// The board of a service that is defined so from now on, and what follows.
    fn redefine(
        &self,
        service: &Service,
        remembered: Option<&Remembered>,
        now: Instant,
    ) -> (ServiceBoard, Vec<Effect>) {
        let known = self.memory().take_up(self.incarnation, &service.name);
        let Some(mut board) = known else {
            let mut board = ServiceBoard::new(service, now);
            if let Some(remembered) = remembered {
                board.remember(remembered);
            }
            let first = Effect::Publish(Arc::clone(board.health()));
            return (board, vec![first]);
        };
        let had_none = board.targets().next().is_none();
        let effects = board.reconfigure(service, now);
        if let Some(remembered) = remembered.filter(|_| had_none) {
            // They are there for the first time, and nobody has heard them yet.
            board.remember(remembered);
        }
        (board, effects)
    }

    /// Performs what a board says follows, in order, and keeps the board.
    fn perform(
        &self,
        name: &ServiceName,
        board: ServiceBoard,
        effects: impl IntoIterator<Item = Effect>,
    ) {
        if !self.memory().is_newest(self.incarnation) {
            // It was replaced while it hung: what it knows is old.
            return;
        }
        for effect in effects {
            match effect {
                Effect::Publish(health) => {
                    self.args.publisher.publish([(name.clone(), health)], |_| true)
                }
                Effect::Lost(target) => {
                    self.args.lost.tell(TargetLost { service: name.clone(), target });
                }
                Effect::FirstVerdict(transition) | Effect::Changed(transition) => {
                    report::transition(name, &transition);
                    let service = self.memory().services().get(name).cloned();
                    if let Some(service) = service {
                        self.args.changed.tell(TargetChanged { service, transition });
                    }
                }
                Effect::Trouble(trouble) => report::trouble(name, &trouble),
                Effect::LeaderChanged(change, lapse) => {
                    report::leader_changed(name, &change);
                    self.args.led.tell(LeaderChanged { service: name.clone(), change, lapse });
                }
                Effect::Alarm(alarm) => log::error!(service = name.as_str(); "{alarm}"),
            }
        }
        self.memory().put_back(self.incarnation, name, board);
        let remembered = self.memory().remembered(name);
        if let Some((service, remembered)) = remembered {
            remembering::keep(&self.args.keeper, &service, &remembered, &self.args.names.load());
        }
    }

    /// Makes the board anew that its forerunners fell over.
    fn restore(&self, name: &ServiceName) {
        let Some(service) = self.memory().services().get(name).cloned() else { return };
        log::error!(
            service = name.as_str();
            "what is known of its targets made the health supervisor fall three times: it is made \
             anew from what was published last"
        );
        let published =
            self.args.publisher.snapshot.load().services.get(name).cloned().unwrap_or_default();
        let (board, effects) = ServiceBoard::restored(&service, published, Instant::now());
        self.perform(name, board, effects);
    }

    /// Whoever fell after it had published something did not keep the board that says so: the one
    /// that is kept is published again.
    fn catch_up(&self) {
        let snapshot = self.args.publisher.snapshot.load_full();
        let seen = |name: &ServiceName| snapshot.services.get(name);
        let behind: Vec<ServiceName> = {
            let memory = self.memory();
            let differ = memory.boards().iter();
            let differ = differ.filter(|(name, board)| seen(name) != Some(board.health()));
            differ.map(|(name, _)| name.clone()).collect()
        };
        for name in behind {
            let seen = seen(&name).cloned().unwrap_or_default();
            self.work(&name, |board| (board.republish(seen), ()));
        }
    }

    /// Every change under this lock is sound by itself, whatever panicked.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.args.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actor for HealthSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (incarnation, suspect) = self.memory().begin(Instant::now());
        self.incarnation = incarnation;
        if let Some(suspect) = suspect {
            self.restore(&suspect);
        }
        self.catch_up();
        self.look_at_the_clock(ctx);
    }
}

impl Handler<Configure> for HealthSupervisor {
    type Result = ();

    fn handle(&mut self, configure: Configure, ctx: &mut Self::Context) {
        let now = Instant::now();
        let checked: Vec<Arc<Service>> =
            configure.services.into_iter().filter(|service| service.health.is_some()).collect();
        let mut news = Vec::new();
        let mut rest = Vec::new();
        for service in &checked {
            let remembered = configure.remembered.get(&service.name);
            let (board, effects) = self.redefine(service, remembered, now);
            let mut effects = VecDeque::from(effects);
            if let Some(Effect::Publish(health)) = effects.front() {
                news.push((service.name.clone(), Arc::clone(health)));
                effects.pop_front();
            }
            rest.push((&service.name, board, effects));
        }
        if !self.memory().is_newest(self.incarnation) {
            return;
        }
        let stay: HashSet<&ServiceName> = checked.iter().map(|service| &service.name).collect();
        // One snapshot of all of them: making one takes as long as there are services.
        self.args.publisher.publish(news, |name| stay.contains(name));
        for (name, board, effects) in rest {
            self.perform(name, board, effects);
        }
        if !self.memory().is_newest(self.incarnation) {
            return;
        }
        self.memory().keep_only(&checked);
        self.args.staff.employ(&checked);
        self.arm(now, ctx);
    }
}

impl Handler<CheckFinished> for HealthSupervisor {
    type Result = ();

    fn handle(&mut self, finished: CheckFinished, ctx: &mut Self::Context) {
        let CheckFinished { service, finished, at, next } = finished;
        if self.args.names.load().resolve(&finished.check.address) != at {
            // Its name has moved since: that says nothing of who is there.
            return;
        }
        let now = Instant::now();
        let recorded = self.work(&service, |board| {
            let (before, effects) = (board.next_deadline(), board.record(&finished, now));
            let (after, pause) = (board.next_deadline(), board.pace(&finished.check, now));
            (effects, (before, after, pause))
        });
        // Else it is the report of a service that is gone.
        let Some((before, after, pause)) = recorded else { return };
        if before != after {
            self.arm(now, ctx);
        }
        if next.send(pause).is_err() {
            log::debug!(service = service.as_str(); "a checker was stopped while it reported");
        }
    }
}

impl Handler<TargetSuspected> for HealthSupervisor {
    type Result = ();

    fn handle(&mut self, suspected: TargetSuspected, _: &mut Self::Context) {
        let TargetSuspected { service, target, failure } = suspected;
        let now = Instant::now();
        let known = self.memory().boards().get(&service).cloned();
        if known.is_none_or(|board| board.is_deaf_to(&target, now)) {
            return;
        }
        let noted =
            self.work(&service, |board| (Vec::new(), board.note_failure(&target, failure, now)));
        if noted == Some(true) {
            self.args.staff.check_now(&service, &target);
        }
    }
}

impl Handler<HostMoved> for HealthSupervisor {
    type Result = ();

    /// Its targets leave, with all that is known of them, and are there again as unknown ones.
    fn handle(&mut self, moved: HostMoved, ctx: &mut Self::Context) {
        if !self.memory().is_newest(self.incarnation) {
            // The next one is told again.
            return;
        }
        let now = Instant::now();
        let is_there = |target: &Target| match &target.address {
            TargetAddress::Name { host, .. } => *host == moved.host,
            TargetAddress::Ip(_) | TargetAddress::Unix(_) => false,
        };
        let services: Vec<Arc<Service>> = self.memory().services().values().cloned().collect();
        let there = || services.iter().filter(|one| one.pool.targets.iter().any(is_there));
        for service in there() {
            self.work(&service.name, |board| (board.forget(service, is_there, now), ()));
        }
        // Nobody is routed there any more: who is there now gets no traffic before it has passed.
        self.args.names.rcu(|book| book.moved(&moved.host, moved.to));
        for service in there() {
            for target in service.pool.targets.iter().filter(|target| is_there(target)) {
                self.args.staff.check_now(&service.name, &target.key);
            }
        }
        self.arm(now, ctx);
    }
}

impl Handler<Recall> for HealthSupervisor {
    type Result = MessageResult<Recall>;

    fn handle(&mut self, _: Recall, _: &mut Self::Context) -> Self::Result {
        let now = Instant::now();
        let memory = self.memory();
        let boards = memory.boards().iter();
        let known = boards.map(|(service, board)| (service.clone(), recall(board, now))).collect();
        MessageResult(known)
    }
}

impl Handler<Tick> for HealthSupervisor {
    type Result = ();

    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        if tick.0 == self.armed {
            self.look_at_the_clock(ctx);
        }
    }
}
