//! The decisions that follow a failure: try again, park, restart the group, give up. Pure.

use tokio::time::Instant;

use crate::supervise::children::{Children, Mode};
use crate::supervise::effect::{Decision, Effect, Ending};
use crate::supervise::entry::{Judgement, Next, State};
use crate::supervise::exit::Exit;
use crate::supervise::intensity::Tally;
use crate::supervise::policy::GiveUp;

impl Children {
    /// Counts a failure of a running child and does what follows from it.
    pub(super) fn fail(&mut self, index: usize, exit: Exit, now: Instant) {
        let entry = &mut self.entries[index];
        let (mut judgement, mut tally) = entry.judge(now, &mut self.chance);
        if entry.child.policy.give_up != GiveUp::Park && !entry.gave_up {
            let group = self.group.record(now);
            if group.is_exceeded() {
                judgement = Judgement::Escalate;
                tally = group;
            }
        }
        let longest = entry.child.policy.backoff.max;
        let (at, decision, gave_up) = match judgement {
            Judgement::Restart(at) => (at, Decision::Restart(at - now, tally), false),
            Judgement::RestartGroup(at) => (at, Decision::RestartGroup(tally), false),
            Judgement::Park(at) => (at, Decision::Park(at - now, tally), true),
            Judgement::Escalate => (now + longest, Decision::Escalate(tally), true),
        };
        entry.gave_up |= gave_up;
        // A supervisor that gave up still runs: it is renewed at once, or left as it is, since it
        // goes on trying what it could not keep running.
        if !matches!(exit, Exit::GaveUp(_)) {
            entry.set(State::Due(at), now);
        } else if gave_up {
            entry.set(State::Running, now);
        } else {
            entry.set_ending(Next::Start(now), now);
            self.end(index, Ending::Renew);
        }
        self.report(index, exit.clone(), decision);
        match judgement {
            Judgement::RestartGroup(at) => self.restart_group(at, now),
            Judgement::Escalate => self.escalate(index, &exit, tally, now),
            Judgement::Restart(_) | Judgement::Park(_) => {}
        }
    }

    /// Tells the supervisor above, once in a window.
    fn escalate(&mut self, index: usize, exit: &Exit, tally: Tally, now: Instant) {
        let window = tally.intensity.window;
        if self.escalated.is_none_or(|at| now.duration_since(at) >= window) {
            self.escalated = Some(now);
            let reason = format!("{} {exit} ({tally})", self.entries[index].child.name);
            self.effects.push_back(Effect::GiveUp { reason });
        }
    }

    /// Ends every child, to start them all again at `at`.
    pub(super) fn restart_group(&mut self, at: Instant, now: Instant) {
        self.mode = Mode::RestartingGroup(at);
        for index in (0..self.entries.len()).rev() {
            let entry = &mut self.entries[index];
            entry.forgive();
            match entry.state {
                State::Running => {
                    entry.set_ending(Next::Hold, now);
                    self.end(index, Ending::Renew);
                }
                State::Ending { next: Next::Start(_), deadline } => {
                    entry.state = State::Ending { next: Next::Hold, deadline };
                }
                State::Due(_) | State::Homeless => entry.set(State::Held, now),
                State::Ending { next: Next::Hold | Next::Stop, .. } | State::Held => {}
            }
        }
    }
}
