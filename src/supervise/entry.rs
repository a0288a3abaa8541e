//! What a supervisor remembers of one child. Pure.

use tokio::time::Instant;

use crate::supervise::exit::{Epoch, Exit};
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::{History, Tally};
use crate::supervise::policy::{GiveUp, Policy, Restart};
use crate::supervise::slot::{Generation, SlotId};
use crate::supervise::view::{ChildKind, ChildState, ChildView};

/// A child as it is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewChild {
    pub(super) name: ComponentName,
    pub(super) kind: ChildKind,
    pub(super) slot: SlotId,
    pub(super) policy: Policy,
}

/// A child.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) child: NewChild,
    pub(super) state: State,
    pub(super) since: Instant,
    /// The incarnation that runs, or ran last.
    pub(super) epoch: Epoch,
    /// Of the arbiter that it was launched on.
    pub(super) generation: Generation,
    /// Failures without a quiet life between them.
    attempt: u32,
    history: History,
    pub(super) gave_up: bool,
    /// After a failure or on request.
    pub(super) restarts: u64,
    last_exit: Option<Exit>,
}

/// How a child is. It has a live incarnation while `Running` or `Ending`, and only then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// Told to end; after `deadline` it is abandoned.
    Ending {
        next: Next,
        deadline: Option<Instant>,
    },
    /// Starts at this moment.
    Due(Instant),
    /// Starts when its slot has a new arbiter.
    Homeless,
    /// Starts when its siblings have ended.
    Held,
}

/// What follows an end that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Start(Instant),
    Hold,
    Stop,
}

/// What one failure means for its child alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Restart(Instant),
    Park(Instant),
    RestartGroup(Instant),
    Escalate,
}

impl Entry {
    /// A child that has not run yet; `spent` was the last epoch of any of its name.
    pub(super) fn new(child: NewChild, state: State, spent: Epoch, now: Instant) -> Self {
        Self {
            history: History::new(child.policy.intensity),
            child,
            state,
            since: now,
            epoch: spent,
            generation: Generation::default(),
            attempt: 0,
            gave_up: false,
            restarts: 0,
            last_exit: None,
        }
    }

    /// Is it being stopped for good?
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, State::Ending { next: Next::Stop, .. })
    }

    pub(super) fn set(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    /// Ends it: until its `Down`, or the end of its grace.
    pub(super) fn set_ending(&mut self, next: Next, now: Instant) {
        let deadline = self.child.policy.grace.map(|grace| now + grace);
        self.set(State::Ending { next, deadline }, now);
    }

    /// The next incarnation runs from now on.
    pub(super) fn set_running(&mut self, now: Instant) {
        self.epoch = self.epoch.next();
        self.set(State::Running, now);
    }

    pub(super) fn is_live(&self) -> bool {
        match self.state {
            State::Running | State::Ending { .. } => true,
            State::Due(_) | State::Homeless | State::Held => false,
        }
    }

    pub(super) fn note(&mut self, exit: Exit) {
        self.last_exit = Some(exit);
    }

    /// Its past no longer counts against it.
    pub(super) fn forgive(&mut self) {
        self.attempt = 0;
        self.gave_up = false;
        self.history.clear();
    }

    pub(super) fn restarts_after(&self, exit: &Exit) -> bool {
        match self.child.policy.restart {
            Restart::Permanent => true,
            Restart::Transient => *exit != Exit::Normal,
            Restart::Temporary => false,
        }
    }

    /// Counts a failure at the end of a run that began at `since`.
    pub(super) fn judge(&mut self, now: Instant, chance: &mut fastrand::Rng) -> (Judgement, Tally) {
        let backoff = self.child.policy.backoff;
        if now.duration_since(self.since) >= backoff.reset_after {
            self.attempt = 0;
            self.gave_up = false;
        }
        self.restarts += 1;
        let tally = self.history.record(now);
        let soon = now + backoff.delay(self.attempt, chance);
        self.attempt = self.attempt.saturating_add(1);
        let judgement = if self.gave_up {
            Judgement::Park(now + backoff.max)
        } else if !tally.is_exceeded() {
            Judgement::Restart(soon)
        } else {
            match self.child.policy.give_up {
                GiveUp::Park => Judgement::Park(now + backoff.max),
                GiveUp::RestartGroup => Judgement::RestartGroup(soon),
                GiveUp::Escalate => Judgement::Escalate,
            }
        };
        (judgement, tally)
    }

    pub(super) fn view(&self) -> ChildView {
        let state = match self.state {
            State::Running => ChildState::Running,
            State::Ending { .. } => ChildState::Ending,
            State::Due(at) if self.gave_up => ChildState::Parked(at),
            State::Due(at) => ChildState::BackingOff(at),
            State::Homeless | State::Held => ChildState::Waiting,
        };
        ChildView {
            name: self.child.name.clone(),
            kind: self.child.kind,
            state,
            since: self.since,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            gave_up: self.gave_up,
            slot: self.child.slot,
            children: Vec::new(),
        }
    }
}
