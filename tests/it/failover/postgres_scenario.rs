//! What goes wrong with a PostgreSQL primary, step by step. Nobody but a person, or a script of
//! his, promotes a standby: that comes here as soon as the proxy says that nobody leads.

use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::failover::account::Account;
use crate::failover::moments::{Moments, Watch};
use crate::failover::postgres_session::PostgresSession;
use crate::failover::session::Session;
use crate::failover::writers::Writers;
use crate::harness::port::free_port;
use crate::harness::postgres::Postgres;
use crate::harness::stagedoor::Stagedoor;

/// Writes before the fault, and after all is over.
const ENOUGH: usize = 100;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostgresScenario {
    /// The primary is stopped in good order.
    Stopped,
    /// It dies, and is back as a primary with what it had.
    Killed,
    /// It stands still, and goes on as a primary.
    Paused,
    /// The standby is promoted while the primary is well, and goes on as one.
    Split,
}

/// Who takes part.
struct Cast {
    old: Postgres,
    new: Postgres,
    stagedoor: Stagedoor,
    listen: u16,
}

impl PostgresScenario {
    /// Plays it once.
    pub(crate) fn play(self) -> Account {
        let mut cast = Cast::assemble();
        let (old, new) = (cast.old.port(), cast.new.port());
        let address = cast.old.address().parse().expect("it is one of the loopback");
        let writers = Writers::start::<PostgresSession>(cast.listen, address, new);
        writers.wait_for_more(ENOUGH, old);
        let (mark, watch) = (cast.stagedoor.mark(), cast.watch_promotion());
        let fault = Instant::now();
        let dead = self.perform(&mut cast, &watch);
        writers.wait_for_more(ENOUGH, new);
        let (writes, crossing) = writers.stop();
        let leads = format!("target {} leads", cast.new.address());
        let down = format!("target {} is down", cast.old.address());
        let rows = cast.new.sql("SELECT name FROM written");
        Account {
            title: format!("PostgreSQL, {self:?}"),
            old,
            new,
            writes,
            crossing,
            kept: rows.lines().map(str::to_owned).collect(),
            counted_from: watch.seen().unwrap_or(fault),
            moments: Moments {
                fault,
                dead,
                promoted: watch.seen(),
                healed: None,
                marked: cast.stagedoor.when_logged(mark, &[&down, "nobody leads", &leads]),
                switched: cast.stagedoor.when_logged(mark, &[&leads]),
            },
        }
    }

    /// From the fault until nothing more happens. Says when a server was dead.
    fn perform(self, cast: &mut Cast, watch: &Watch) -> Option<Instant> {
        let mut dead = None;
        match self {
            Self::Stopped => {
                cast.old.stop();
                dead = Some(Instant::now());
            }
            Self::Killed => {
                cast.old.kill();
                dead = Some(Instant::now());
            }
            Self::Paused => cast.old.signal(Signal::STOP),
            Self::Split => {}
        }
        if self != Self::Split {
            cast.stagedoor.logged("nobody leads");
        }
        cast.new.promote();
        watch.wait();
        cast.stagedoor.logged(&format!("target {} leads", cast.new.address()));
        match self {
            Self::Stopped | Self::Split => return dead,
            Self::Killed => cast.old.start(),
            Self::Paused => cast.old.signal(Signal::CONT),
        }
        cast.stagedoor.logged(&format!("{} claims the lead too", cast.old.address()));
        assert_eq!(cast.old.sql("SELECT pg_is_in_recovery()"), "f", "there are two primaries");
        dead
    }
}

impl Cast {
    fn assemble() -> Self {
        let (old, listen) = (Postgres::primary(), free_port());
        old.sql("CREATE TABLE written (name text PRIMARY KEY)");
        let new = Postgres::standby_of(&old);
        let stagedoor = Stagedoor::run_with(
            &json!({
                "name": "PostgreSQL", "listen_port": listen, "listen_address": "127.0.0.1",
                "proxy": {
                    "target_list": [new.address(), old.address()], "enable_load_balancing": true,
                    "check_host_against_uptime_tests": true, "balance": "leader", "hold": "60s",
                },
                "uptime_tests": { "check": "postgres-primary", "with": { "user": "trusted" } },
            }),
            &["--set", "log.level=info,stagedoor::proxy::outcome=warn"],
        );
        stagedoor.logged(&format!("target {} leads", old.address()));
        Self { old, new, stagedoor, listen }
    }

    fn watch_promotion(&self) -> Watch {
        let (port, mut kept) = (self.new.port(), None);
        Watch::start(move || {
            let session = kept.take().map_or_else(|| PostgresSession::open(port), Ok);
            let said = session.and_then(|mut session| {
                let said = session.ask("SELECT pg_is_in_recovery()");
                kept = Some(session).filter(|_| said.is_ok());
                said
            });
            said.is_ok_and(|said| said == Ok("f".to_owned()))
        })
    }
}
