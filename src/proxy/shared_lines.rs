//! Shared lines: what is told of sessions that came to nothing. For each reason there are so many
//! lines in a second as it may have, however many come; who is told of together with others is
//! counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proxy::ending::Ending;
use crate::proxy::reason::Reason;
use crate::supervise::tenants;
use crate::telemetry::line_budget::{LineBudget, Second, Telling};

const SECOND: Duration = Duration::from_secs(1);

/// What is told of the sessions of one service, or of one port where they have none yet.
#[derive(Debug)]
pub struct SharedLines {
    /// The service's name; `-` for a port.
    service: String,
    /// The port's address.
    listen: Option<String>,
    /// Those of which something was told a moment ago.
    budgets: Mutex<HashMap<Reason, LineBudget<Last>>>,
}

/// The last one that has no line of its own.
#[derive(Debug, PartialEq, Eq)]
struct Last {
    client: Option<IpAddr>,
    ended: String,
}

/// Whoever tells of one reason. Dropped with its arbiter, it tells what it has.
struct Teller {
    of: Arc<SharedLines>,
    reason: Reason,
    /// A quiet second has come: whatever is noted now is another's.
    is_over: bool,
}

// === impl SharedLines ===

impl SharedLines {
    /// Of a service.
    pub fn of_service(name: &str) -> Arc<Self> {
        Arc::new(Self { service: name.to_owned(), listen: None, budgets: Mutex::default() })
    }

    /// Of a port, as long as it is not known whose its sessions are.
    pub fn of_port(listen: &str) -> Arc<Self> {
        let (service, listen) = ("-".to_owned(), Some(listen.to_owned()));
        Arc::new(Self { service, listen, budgets: Mutex::default() })
    }

    /// Is this session to have a line of its own? If not, it is told of together with others.
    pub fn note(self: &Arc<Self>, reason: Reason, ending: &Ending, client: Option<IpAddr>) -> bool {
        let telling = {
            let mut budgets = self.budgets();
            let budget = budgets.entry(reason).or_default();
            budget.note(reason.lines_a_second(), || Last { client, ended: ending.to_string() })
        };
        if telling == Telling::First {
            let teller = Teller { of: Arc::clone(self), reason, is_over: false };
            tenants::spawn(teller.tell());
        }
        telling != Telling::Together
    }

    fn budgets(&self) -> MutexGuard<'_, HashMap<Reason, LineBudget<Last>>> {
        // A budget is changed by assignments that cannot panic.
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, reason: Reason, more: u64, last: &Last) {
        let client = last.client.map(|client| format!(" from {client}")).unwrap_or_default();
        let words = reason.to_string();
        // Each may have ended a little differently.
        let ended = if last.ended == words { "" } else { &last.ended };
        let colon = if ended.is_empty() { "" } else { ": " };
        let the_last = if client.is_empty() && ended.is_empty() { "" } else { "; the last" };
        log::log!(
            // Whoever filters lines of sessions means these, too.
            target: "stagedoor::proxy::outcome",
            reason.level(),
            service = self.service.as_str(),
            listen = self.listen.as_deref(),
            clients = more;
            "sessions ended: {more} more, {words}{the_last}{client}{colon}{ended}"
        );
    }
}

// === impl Teller ===

impl Teller {
    async fn tell(mut self) {
        while !self.is_over {
            tokio::time::sleep(SECOND).await;
            self.end_second();
        }
    }

    fn end_second(&mut self) {
        let second = {
            let mut budgets = self.of.budgets();
            let budget = budgets.get_mut(&self.reason);
            let second = budget.map_or(Second::Quiet, LineBudget::end_second);
            if second == Second::Quiet {
                budgets.remove(&self.reason);
                self.is_over = true;
            }
            second
        };
        if let Second::More(more, last) = second {
            self.of.tell(self.reason, more, &last);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        while !self.is_over {
            self.end_second();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::choice::Refusal;

    const DOWN: Reason = Reason::NoTarget(Refusal::AllDown);

    fn whole(lines: &Arc<SharedLines>, reason: Reason, ending: &Ending, count: u32) -> usize {
        (0..count).filter(|_| lines.note(reason, ending, None)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rush_shares_its_lines_by_reason_and_a_quiet_second_ends_it() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let lines = SharedLines::of_service("s");
                let down = Ending::NoTarget(Refusal::AllDown);
                assert_eq!(whole(&lines, DOWN, &down, 500), 1);
                let broken = Ending::NoHandshake("bad".to_owned());
                assert_eq!(whole(&lines, Reason::NoHandshake, &broken, 500), 10);
                tokio::time::sleep(SECOND + SECOND / 2).await;
                // What was told together was the line of this second.
                assert_eq!(whole(&lines, DOWN, &down, 500), 0);
                assert_eq!(whole(&lines, Reason::NoHandshake, &broken, 500), 9);
                tokio::time::sleep(4 * SECOND).await;
                assert!(lines.budgets().is_empty(), "nothing is kept of a rush that is over");
                assert_eq!(whole(&lines, DOWN, &down, 1), 1);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_teller_that_is_dropped_leaves_nothing_untold() {
        let lines = SharedLines::of_port("[::]:1");
        let local = tokio::task::LocalSet::new();
        local.run_until(async { whole(&lines, DOWN, &Ending::ClientLeft, 3) }).await;
        assert_eq!(lines.budgets().len(), 1);
        drop(local);
        assert!(lines.budgets().is_empty());
    }
}
