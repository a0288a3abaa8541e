//! The decisions of a supervisor: what has happened comes in, with the time, and what must be done
//! goes out. Pure: nothing here starts or ends anything.
//!
//! Promises, whatever happens in whatever order: a child never has two live incarnations, save one
//! that was abandoned because it did not answer; a failure beyond the intensity is never restarted
//! as if nothing were; a child that was given up is tried again; a stopped child stays stopped.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::supervise::effect::{Decision, Effect, Ending};
use crate::supervise::entry::{Entry, NewChild, Next, State};
use crate::supervise::exit::{Down, Epoch, Exit};
use crate::supervise::handle::ComponentName;
use crate::supervise::intensity::{History, Intensity};
use crate::supervise::policy::Restart;
use crate::supervise::slot::{Generation, Loss, SlotId, SlotReplaced};

/// The children of one supervisor, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Children {
    pub(super) entries: Vec<Entry>,
    /// Failures of all children that do not park.
    pub(super) group: History,
    pub(super) chance: fastrand::Rng,
    pub(super) mode: Mode,
    /// The highest epoch of a child that is gone: its late report must not be taken for one of a
    /// child of the same name that was added since.
    spent: Epoch,
    /// The next incarnation of the supervisor restarts its group.
    renew: bool,
    /// When the supervisor above was told.
    pub(super) escalated: Option<Instant>,
    /// Decided and not yet done. Kept with the children, so that it survives the supervisor.
    pub(super) effects: VecDeque<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Serving,
    /// All have been told to end; they start at this moment, once they have.
    RestartingGroup(Instant),
    /// They end one by one, the last one added first.
    Stopping,
    Stopped,
}

// === impl Children ===

impl Children {
    pub(super) fn new(intensity: Intensity, seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            group: History::new(intensity),
            chance: fastrand::Rng::with_seed(seed),
            mode: Mode::Serving,
            spent: Epoch::default(),
            renew: false,
            escalated: None,
            effects: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Is this the incarnation that is wanted now?
    pub(super) fn wants(&self, name: &ComponentName, epoch: Epoch) -> bool {
        self.position(name).is_some_and(|index| {
            let entry = &self.entries[index];
            entry.epoch == epoch && entry.is_live()
        })
    }

    /// When to call `tick`, if nothing else happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let moments = self.entries.iter().filter_map(|entry| match entry.state {
            State::Due(at) => Some(at),
            State::Ending { deadline, .. } => deadline,
            State::Running | State::Homeless | State::Held => None,
        });
        moments.min()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn slot_of(&self, name: &ComponentName) -> Option<SlotId> {
        self.position(name).map(|index| self.entries[index].child.slot)
    }

    /// Forgets every child, and takes none any more.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.effects.clear();
        self.mode = Mode::Stopped;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.mode == Mode::Stopped
    }

    /// Adds a child and starts it. `false`: there is one of that name, or all are being stopped.
    pub(super) fn add(&mut self, child: NewChild, now: Instant) -> bool {
        let state = match self.mode {
            Mode::Serving => State::Due(now),
            Mode::RestartingGroup(_) => State::Held,
            Mode::Stopping | Mode::Stopped => return false,
        };
        if self.position(&child.name).is_some() {
            return false;
        }
        self.entries.push(Entry::new(child, state, self.spent, now));
        self.start_due(now);
        true
    }

    /// An incarnation was launched on the arbiter of that generation.
    pub(super) fn launched(&mut self, name: &ComponentName, generation: Generation) {
        if let Some(index) = self.position(name) {
            self.entries[index].generation = generation;
        }
    }

    /// Stops a child for good. `false`: there is none of that name.
    pub(super) fn stop(&mut self, name: &ComponentName, now: Instant) -> bool {
        let Some(index) = self.position(name) else { return false };
        self.stop_at(index, now);
        self.settle(now);
        true
    }

    /// Somebody asked for a restart: at once, whatever it is doing, and its past is forgiven.
    /// `false`: there is none of that name.
    pub(super) fn restart(&mut self, name: &ComponentName, now: Instant) -> bool {
        let Some(index) = self.position(name) else { return false };
        let entry = &mut self.entries[index];
        entry.forgive();
        match entry.state {
            State::Running => {
                entry.restarts += 1;
                entry.set_ending(Next::Start(now), now);
                self.end(index, Ending::Restart);
            }
            State::Ending { next: Next::Start(_), deadline } => {
                entry.state = State::Ending { next: Next::Start(now), deadline };
            }
            State::Due(_) => entry.set(State::Due(now), now),
            // It starts as soon as it can, or never again.
            State::Ending { .. } | State::Homeless | State::Held => {}
        }
        self.settle(now);
        true
    }

    /// Stops all children for good, the last one added first, one after the other.
    pub(super) fn stop_all(&mut self, now: Instant) {
        if self.mode != Mode::Stopped {
            self.mode = Mode::Stopping;
        }
        self.settle(now);
    }

    /// An incarnation ended. `newest` is the generation of its slot now.
    pub(super) fn down(&mut self, down: Down, newest: Generation, now: Instant) {
        let Down { name, epoch, exit } = down;
        let Some(index) = self.position(&name) else { return };
        let entry = &mut self.entries[index];
        if entry.epoch != epoch || !entry.is_live() {
            return;
        }
        entry.note(exit.clone());
        match entry.state {
            State::Ending { next, .. } => {
                self.report(index, exit, Decision::Expected);
                self.conclude(index, next, now);
            }
            State::Running if !entry.restarts_after(&exit) || self.mode == Mode::Stopping => {
                self.report(index, exit, Decision::Forget);
                self.remove(index);
            }
            State::Running if exit == Exit::ArbiterLost => {
                let moved = newest > entry.generation;
                entry.set(if moved { State::Due(now) } else { State::Homeless }, now);
                self.report(index, exit, Decision::Move);
            }
            State::Running => self.fail(index, exit, now),
            State::Due(_) | State::Homeless | State::Held => {}
        }
        self.settle(now);
    }

    /// A child that is a supervisor cannot keep its own children running.
    pub(super) fn gave_up(&mut self, name: &ComponentName, reason: String, now: Instant) {
        let Some(index) = self.position(name) else { return };
        if self.entries[index].state == State::Running && self.mode == Mode::Serving {
            let exit = Exit::GaveUp(reason);
            self.entries[index].note(exit.clone());
            self.fail(index, exit, now);
        }
        self.settle(now);
    }

    /// A slot has a new arbiter. An old one that may still answer has `patience` to let go of its
    /// children; one that hung is not waited for.
    pub(super) fn slot_replaced(&mut self, news: SlotReplaced, patience: Duration, now: Instant) {
        let mut index = 0;
        while index < self.entries.len() {
            let entry = &self.entries[index];
            let hit = entry.child.slot == news.slot && entry.generation < news.generation;
            let before = self.entries.len();
            if hit {
                self.move_out(index, news.why, now + patience, now);
            }
            // A child that is not to be restarted is removed.
            index += 1 - (before - self.entries.len());
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((index, next)) = self.overdue(now) {
            self.report(index, Exit::Requested, Decision::Abandon);
            self.conclude(index, next, now);
        }
        self.settle(now);
    }

    /// A new incarnation of the supervisor takes over. What it did last may be half-done:
    /// `is_held` tells of which incarnations it has a hold, `newest` how new the slots are.
    pub(super) fn resume(
        &mut self,
        is_held: impl Fn(&ComponentName, Epoch) -> bool,
        newest: impl Fn(SlotId) -> Generation,
        now: Instant,
    ) {
        self.escalated = None;
        for index in (0..self.entries.len()).rev() {
            let entry = &mut self.entries[index];
            let name = &entry.child.name;
            let runs = is_held(name, entry.epoch)
                || self.effects.iter().any(|effect| effect.starts(name, entry.epoch));
            let moved = entry.generation < newest(entry.child.slot);
            match entry.state {
                State::Running if !runs => entry.set(State::Due(now), now),
                State::Running if moved => self.move_out(index, Loss::Hung, now, now),
                State::Homeless if moved => entry.set(State::Due(now), now),
                State::Ending { next, .. } if !runs => self.conclude(index, next, now),
                State::Ending { next: Next::Stop, .. } => self.end(index, Ending::Last),
                State::Ending { .. } => self.end(index, Ending::Restart),
                State::Running | State::Due(_) | State::Homeless | State::Held => {}
            }
        }
        if std::mem::take(&mut self.renew) && self.mode == Mode::Serving {
            self.restart_group(now, now);
        }
        self.settle(now);
    }

    /// The next `resume` restarts the group.
    pub(super) fn renew(&mut self) {
        self.renew = true;
    }
}

// === impl Children: single steps ===

impl Children {
    fn position(&self, name: &ComponentName) -> Option<usize> {
        self.entries.iter().position(|entry| entry.child.name == *name)
    }

    fn move_out(&mut self, index: usize, why: Loss, patience: Instant, now: Instant) {
        let entry = &mut self.entries[index];
        let waits = match why {
            Loss::Hung => false,
            Loss::Dead | Loss::Requested => true,
        };
        let next = match entry.state {
            State::Running if entry.child.policy.restart == Restart::Temporary => Next::Stop,
            State::Running => Next::Start(now),
            State::Ending { next, .. } => next,
            State::Homeless => return entry.set(State::Due(now), now),
            State::Due(_) | State::Held => return,
        };
        if entry.state == State::Running {
            entry.note(Exit::ArbiterLost);
            self.end(index, Ending::Restart);
            self.report(index, Exit::ArbiterLost, Decision::Move);
        }
        if waits {
            let state = State::Ending { next, deadline: Some(patience) };
            self.entries[index].set(state, now);
        } else {
            self.conclude(index, next, now);
        }
    }

    fn stop_at(&mut self, index: usize, now: Instant) {
        let entry = &mut self.entries[index];
        match entry.state {
            State::Running => {
                entry.set_ending(Next::Stop, now);
                self.end(index, Ending::Last);
            }
            State::Ending { deadline, .. } => {
                entry.state = State::Ending { next: Next::Stop, deadline };
            }
            State::Due(_) | State::Homeless | State::Held => self.remove(index),
        }
    }

    /// An end that was asked for is complete.
    fn conclude(&mut self, index: usize, next: Next, now: Instant) {
        match next {
            Next::Start(at) => self.entries[index].set(State::Due(at), now),
            Next::Hold => self.entries[index].set(State::Held, now),
            Next::Stop => self.remove(index),
        }
    }

    fn overdue(&self, now: Instant) -> Option<(usize, Next)> {
        self.entries.iter().enumerate().find_map(|(index, entry)| match entry.state {
            State::Ending { next, deadline: Some(deadline) } if deadline <= now => {
                Some((index, next))
            }
            State::Ending { .. }
            | State::Running
            | State::Due(_)
            | State::Homeless
            | State::Held => None,
        })
    }

    /// Does what has become possible: the end of every change.
    fn settle(&mut self, now: Instant) {
        match self.mode {
            Mode::Serving => self.start_due(now),
            Mode::RestartingGroup(at) => {
                if !self.entries.iter().any(Entry::is_live) {
                    self.mode = Mode::Serving;
                    for entry in &mut self.entries {
                        entry.set(State::Due(at), now);
                    }
                    self.start_due(now);
                }
            }
            Mode::Stopping => self.stop_next(now),
            Mode::Stopped => {}
        }
    }

    fn start_due(&mut self, now: Instant) {
        if self.mode != Mode::Serving {
            return;
        }
        for entry in &mut self.entries {
            if matches!(entry.state, State::Due(at) if at <= now) {
                entry.set_running(now);
                let (name, epoch) = (entry.child.name.clone(), entry.epoch);
                self.effects.push_back(Effect::Start { name, epoch });
            }
        }
    }

    fn stop_next(&mut self, now: Instant) {
        while let Some(last) = self.entries.len().checked_sub(1) {
            self.stop_at(last, now);
            if self.entries.len() > last {
                return;
            }
        }
        self.mode = Mode::Stopped;
        self.effects.push_back(Effect::AllStopped);
    }

    fn remove(&mut self, index: usize) {
        let Entry { child, epoch, .. } = self.entries.remove(index);
        self.spent = self.spent.max(epoch);
        self.effects.push_back(Effect::Close { name: child.name });
    }

    pub(super) fn end(&mut self, index: usize, how: Ending) {
        let name = self.entries[index].child.name.clone();
        self.effects.push_back(Effect::End { name, how });
    }

    pub(super) fn report(&mut self, index: usize, exit: Exit, decision: Decision) {
        let name = self.entries[index].child.name.clone();
        self.effects.push_back(Effect::Report { name, exit, decision });
    }
}
