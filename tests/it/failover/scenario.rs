//! What goes wrong with a Redis master, step by step.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::failover::account::Account;
use crate::failover::cast::{Cast, NEW, OLD, PROXY, kept_by};
use crate::failover::moments::{Moments, Watch, lasts, until};
use crate::failover::redis_session::RedisSession;
use crate::failover::writers::Writers;
use crate::harness::network::{cut, drop_nothing};
use crate::harness::sentinel::Haste;

/// Writes before the fault, and after all is over.
const ENOUGH: usize = 200;
/// Keys that the old master has saved, and what it takes for each when it loads them again.
const SAVED: usize = 3000;
const LOADING: [&str; 4] =
    ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// The master dies, and is back, empty, as a master.
    Killed,
    /// The same, and it takes its time to load what it had.
    KilledLoading,
    /// It stands still, and goes on.
    Paused,
    /// Only the proxy and its clients reach it, for a while.
    Partitioned,
    /// Nobody reaches it, for a while.
    Isolated,
    /// It is cut off together with the proxy, its clients and one Sentinel.
    Minority,
    /// The replica dies, and is back, empty, as a master.
    Amnesia,
    /// A person has Sentinel fail it over.
    Planned,
    /// A person changes the roles, one server after the other, with no Sentinel.
    Manual,
}

/// How long what lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) haste: Haste,
    /// From the promotion until a server that died is back.
    pub(crate) back: Duration,
    /// From the fault until a server that stood still goes on, or one that nobody reached is
    /// reached again; and not before another was promoted.
    pub(crate) still: Duration,
    /// The same of a network that was cut in two.
    pub(crate) apart: Duration,
}

/// As short as it means the same.
pub(crate) const SHORT: Pace = Pace {
    haste: Haste { down_after: Duration::from_secs(1), period: Some(Duration::from_millis(500)) },
    back: Duration::from_millis(500),
    still: Duration::from_secs(3),
    apart: Duration::from_secs(3),
};

impl Scenario {
    /// Does it take a network that can be cut?
    pub(crate) fn cuts(self) -> bool {
        match self {
            Self::Partitioned | Self::Isolated | Self::Minority => true,
            Self::Killed
            | Self::KilledLoading
            | Self::Paused
            | Self::Amnesia
            | Self::Planned
            | Self::Manual => false,
        }
    }

    /// Plays it. Where it cuts, in a network of its own. Sentinels that a busy machine holds up may
    /// take a failover back and give the lead to a master that has lost everything: then it is
    /// played again, since nobody could save what they have thrown away.
    pub(crate) fn play(self, pace: &Pace) -> Account {
        let account = (0..3).find_map(|_| self.play_once(pace));
        account.expect("Sentinels keep to what they have decided, once in three plays")
    }

    fn play_once(self, pace: &Pace) -> Option<Account> {
        let mut cast = Cast::assemble((self != Self::Manual).then_some(pace.haste));
        if self == Self::KilledLoading {
            assert_eq!(cast.old.call(&format!("DEBUG POPULATE {SAVED} saved 10")), "+OK");
            assert_eq!(cast.old.call("SAVE"), "+OK");
        }
        let (old, new) = (cast.old.address(), cast.new.address());
        let writers = Writers::start::<RedisSession>(cast.listen, old, new.port());
        writers.wait_for_more(ENOUGH, old.port());
        let (mark, watch) = (cast.stagedoor.mark(), cast.watch_promotion());
        let fault = Instant::now();
        let turn = self.perform(&mut cast, &writers, &watch, pace);
        let survivor = if self == Self::Amnesia { &cast.old } else { &cast.new };
        if !cast.is_believed(survivor) {
            println!("Sentinels have taken their failover back");
            return None;
        }
        writers.wait_for_more(ENOUGH, survivor.port());
        let (writes, crossing) = writers.stop();
        let leads = format!("target {new} leads");
        let marks = [&format!("target {old} is down"), "nobody leads", leads.as_str()];
        let healed = turn.filter(|_| self.cuts());
        let counted_from = healed.filter(|_| self == Self::Minority).or(watch.seen());
        Some(Account {
            title: format!("Redis, {self:?}"),
            old: old.port(),
            new: new.port(),
            writes,
            crossing,
            kept: kept_by(survivor),
            counted_from: counted_from.unwrap_or(fault),
            moments: Moments {
                fault,
                dead: turn.filter(|_| !self.cuts()),
                promoted: watch.seen(),
                healed,
                marked: cast.stagedoor.when_logged(mark, &marks),
                switched: cast.stagedoor.when_logged(mark, &[&leads]),
            },
        })
    }

    /// From the fault until nothing more happens. Says when a server was dead, or a network whole
    /// again.
    fn perform(
        self,
        cast: &mut Cast,
        writers: &Writers,
        watch: &Watch,
        pace: &Pace,
    ) -> Option<Instant> {
        let fault = Instant::now();
        let sentinels = cast.sentinels();
        match self {
            Self::Killed => return die_and_come_back(cast, watch, pace, &[]),
            Self::KilledLoading => return die_and_come_back(cast, watch, pace, &LOADING),
            Self::Amnesia => return forget(cast),
            Self::Paused => {
                cast.old.signal(Signal::STOP);
                until(watch.wait().max(fault + pace.still));
                cast.old.signal(Signal::CONT);
            }
            Self::Partitioned => {
                assert!(cut(&[OLD], &[&[NEW][..], &sentinels].concat()));
                watch.wait();
                until(fault + pace.apart);
                cast.wait_until_switched();
            }
            Self::Isolated => {
                assert!(cut(&[OLD], &[&[NEW, PROXY][..], &sentinels].concat()));
                until(watch.wait().max(fault + pace.still));
            }
            Self::Minority => {
                let ours = [&[OLD, PROXY][..], &sentinels[..1]].concat();
                assert!(cut(&ours, &[&[NEW][..], &sentinels[1..]].concat()));
                watch.wait();
                until(fault + pace.apart);
            }
            Self::Planned => cast.sentinels.as_ref().expect("they are there").fail_over(),
            Self::Manual => {
                cast.new.promote();
                writers.wait_for_more(3 * ENOUGH, cast.new.port());
                cast.old.demote_under(&cast.new);
            }
        }
        let turn = self.cuts().then(|| {
            drop_nothing();
            Instant::now()
        });
        cast.wait_until_switched();
        Cast::wait_until_replica(&cast.old);
        turn
    }
}

fn die_and_come_back(
    cast: &mut Cast,
    watch: &Watch,
    pace: &Pace,
    arguments: &[&str],
) -> Option<Instant> {
    cast.old.kill();
    let dead = Instant::now();
    watch.wait();
    lasts(pace.back);
    cast.old.start_again(arguments);
    cast.wait_until_waiting(&cast.old);
    Cast::wait_until_replica(&cast.old);
    Some(dead)
}

/// Not before the proxy knows that the replica is dead: else nothing tells this from a promotion
/// (docs/leader.md, Limits).
fn forget(cast: &mut Cast) -> Option<Instant> {
    cast.new.kill();
    let dead = Instant::now();
    cast.wait_until_refused(&cast.new);
    cast.new.start_again(&[]);
    cast.wait_until_waiting(&cast.new);
    Cast::wait_until_replica(&cast.new);
    Some(dead)
}
