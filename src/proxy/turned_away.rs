//! Who was turned away, told once a second at most for each reason, however many come.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::names::ServiceName;
use crate::proxy::denial::Denial;
use crate::supervise::tenants;

/// Between two lines about the same reason.
const EVERY: Duration = Duration::from_secs(1);

/// The clients that one service has turned away and nobody has been told of.
#[derive(Debug)]
pub struct TurnedAway {
    service: ServiceName,
    reasons: [Mutex<Untold>; Denial::ALL.len()],
}

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    last: Option<IpAddr>,
    /// Somebody tells, and comes again.
    is_told: bool,
}

/// Whoever tells of one reason. Dropped with its arbiter, it lets another one begin.
struct Teller {
    of: Arc<TurnedAway>,
    denial: Denial,
}

// === impl TurnedAway ===

impl TurnedAway {
    /// Nobody yet.
    pub fn of(service: ServiceName) -> Arc<Self> {
        Arc::new(Self { service, reasons: Default::default() })
    }

    /// Notes one. The first is told of at once, those of the next second together.
    pub fn note(self: &Arc<Self>, denial: Denial, client: Option<IpAddr>) {
        let is_told = {
            let mut untold = self.untold(denial);
            untold.count += 1;
            untold.last = client;
            std::mem::replace(&mut untold.is_told, true)
        };
        if !is_told {
            let teller = Teller { of: Arc::clone(self), denial };
            tenants::spawn(teller.tell());
        }
    }

    fn untold(&self, denial: Denial) -> MutexGuard<'_, Untold> {
        // Every change is one assignment: sound whatever panicked.
        self.reasons[denial.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Teller ===

impl Teller {
    async fn tell(self) {
        while self.tell_once() {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Was there anybody to tell of? If not, the next one is told of at once again.
    fn tell_once(&self) -> bool {
        let (count, last) = {
            let mut untold = self.of.untold(self.denial);
            let count = std::mem::take(&mut untold.count);
            untold.is_told = count > 0;
            (count, untold.last)
        };
        if count == 0 {
            return false;
        }
        let plural = if count == 1 { "" } else { "s" };
        let last = last.map(|last| format!(", the last from {last}")).unwrap_or_default();
        let level = if self.denial.is_of_service() { log::Level::Warn } else { log::Level::Info };
        log::log!(
            level,
            service = self.of.service.as_str(),
            clients = count;
            "{count} client{plural} turned away: {}{last}", self.denial
        );
        true
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.of.untold(self.denial).is_told = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_tells_comes_again_while_there_is_something_to_tell() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let turned_away = TurnedAway::of(ServiceName::new("s"));
                let untold = || turned_away.untold(Denial::Rate).count;
                let is_told = || turned_away.untold(Denial::Rate).is_told;
                turned_away.note(Denial::Rate, None);
                tokio::task::yield_now().await;
                assert_eq!((untold(), is_told()), (0, true));
                for _ in 0..100 {
                    turned_away.note(Denial::Rate, None);
                }
                assert_eq!(untold(), 100);
                tokio::time::sleep(EVERY + EVERY / 2).await;
                assert_eq!((untold(), is_told()), (0, true));
                tokio::time::sleep(EVERY).await;
                assert_eq!((untold(), is_told()), (0, false));
                turned_away.note(Denial::Rate, None);
                tokio::task::yield_now().await;
                assert_eq!((untold(), is_told()), (0, true));
            })
            .await;
    }
}
