//! When the health supervisor looks at the clock, and what it makes of being late to it.
//!
//! While anybody is waited for, it looks often: a look that comes late shows for how long nobody
//! ran this process, and that is nobody's silence.

use std::time::Duration;

use actix::{AsyncContext, Context};
use tokio::time::Instant;

use crate::config::names::ServiceName;
use crate::health::board::ServiceBoard;
use crate::health::supervisor::{HealthSupervisor, Tick};

/// From one look to the next, at most.
const PULSE: Duration = Duration::from_millis(250);
/// A look that is late by no more is as usual.
const USUAL: Duration = Duration::from_millis(50);

// === impl HealthSupervisor ===

impl HealthSupervisor {
    /// Lets the boards look at the clock whose time has come, and arms the next look.
    pub(super) fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.woke(now);
        let is_due =
            |board: &ServiceBoard| board.next_deadline().is_some_and(|deadline| deadline <= now);
        for name in &self.boards_that(is_due) {
            self.work(name, |board| (board.tick(now), ()));
        }
        self.arm(now, ctx);
    }

    /// Arms the next look, if there is anything to look for.
    pub(super) fn arm(&mut self, now: Instant, ctx: &mut Context<Self>) {
        self.woke(now);
        let next = self.memory().boards().values().filter_map(|board| board.next_deadline()).min();
        if let Some(next) = next {
            let due = next.clamp(now, now + PULSE);
            self.armed += 1;
            self.due = Some(due);
            ctx.notify_later(Tick(self.armed), due - now);
        }
    }

    /// A look that was due is late, if it is: so long has nobody been heard.
    fn woke(&mut self, now: Instant) {
        let Some(due) = self.due.take() else { return };
        let late = now.saturating_duration_since(due);
        if late <= USUAL {
            return;
        }
        log::warn!("this process was not run for {} ms: no target is blamed", late.as_millis());
        for name in &self.boards_that(|board| board.next_deadline().is_some()) {
            self.work(name, |board| {
                board.overslept(late);
                (Vec::new(), ())
            });
        }
    }

    fn boards_that(&self, which: impl Fn(&ServiceBoard) -> bool) -> Vec<ServiceName> {
        let memory = self.memory();
        let chosen = memory.boards().iter().filter(|(_, board)| which(board));
        chosen.map(|(name, _)| name.clone()).collect()
    }
}
