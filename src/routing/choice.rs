//! The choice: who of a pool may get a connection under one state of health, and who gets the next.
//!
//! A router makes one when its pool or the health of its service changes, and picks from it for
//! every connection in between.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::model::Balance;
use crate::config::names::TargetKey;
use crate::health::snapshot::{Leadership, ServiceHealth};
use crate::routing::balance;
use crate::routing::pool::{Lease, Pool};

/// The eligible targets of a pool, ready to pick from.
#[derive(Debug)]
pub struct Choice {
    pool: Arc<Pool>,
    /// Indices of eligible members that are no backups, each as often as its turn comes.
    primaries: Vec<usize>,
    /// The same of backups.
    backups: Vec<usize>,
    none: Refusal,
}

/// What is known of a connection when it is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The client's address; `None` for a client of a unix socket.
    pub client: Option<IpAddr>,
}

/// Why no target is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Targets are still unknown after a start: the client waits for the first verdicts.
    AwaitingFirst,
    /// Every target is down.
    AllDown,
    /// At most one may lead, and nobody does.
    NoLeader,
    /// Every eligible target has refused this connection.
    AllTried,
    /// The service was removed while the connection waited.
    Removed,
}

// === impl Choice ===

impl Choice {
    /// Works out who is eligible. No `health`: everybody is.
    pub fn new(pool: Arc<Pool>, health: Option<&ServiceHealth>) -> Self {
        let eligible = |index: &usize| {
            let target = &pool.members()[*index].target().key;
            health.is_none_or(|health| health.is_eligible(target))
        };
        let is_backup = |index: &usize| pool.members()[*index].target().backup;
        let (backups, primaries): (Vec<usize>, Vec<usize>) =
            (0..pool.members().len()).filter(eligible).partition(is_backup);
        let (primaries, backups) = (turns(&pool, primaries), turns(&pool, backups));
        let none = health.map_or(Refusal::AllDown, refusal);
        Self { pool, primaries, backups, none }
    }

    /// Is there anybody to pick?
    pub fn is_empty(&self) -> bool {
        self.primaries.is_empty() && self.backups.is_empty()
    }

    /// The pool that this is a choice of.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Picks a target that is not in `tried`: a backup only when no other is left.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn pick(&self, facts: &Facts, tried: &[TargetKey]) -> Result<Lease, Refusal> {
        if self.is_empty() {
            return Err(self.none);
        }
        self.pick_among(&self.primaries, facts, tried)
            .or_else(|| self.pick_among(&self.backups, facts, tried))
            .map(|index| self.pool.lease(index))
            .ok_or(Refusal::AllTried)
    }

    fn pick_among(&self, turns: &[usize], facts: &Facts, tried: &[TargetKey]) -> Option<usize> {
        if turns.is_empty() {
            return None;
        }
        // A retry takes nobody's turn: of two targets, the one that fails would come first for
        // every client.
        let turn = if tried.is_empty() { self.pool.next_turn() } else { self.pool.turn() };
        let start = turn % turns.len();
        let mut in_turn = turns[start..]
            .iter()
            .chain(&turns[..start])
            .copied()
            .filter(|&index| !tried.contains(&self.pool.members()[index].target().key));
        match self.pool.balance() {
            Balance::RoundRobin => in_turn.next(),
            // A target stands in the turns as often as its weight says, so that a draw is weighted.
            Balance::RandomTwo => {
                let fresh: Vec<usize> = in_turn.collect();
                let first = *fastrand::choice(&fresh)?;
                let others = fresh.iter().copied().filter(|&index| index != first);
                let second = fastrand::choice(others.collect::<Vec<_>>()).unwrap_or(first);
                Some(self.lighter(first, second))
            }
            Balance::LeastConnections => in_turn.reduce(|best, next| self.lighter(best, next)),
            Balance::SourceHash => {
                let client = facts.client.map_or(0, balance::hash_client);
                in_turn.max_by(|a, b| self.pull(client, *a).total_cmp(&self.pull(client, *b)))
            }
            Balance::First | Balance::Leader => in_turn.min(),
        }
    }

    /// The less loaded of two; the first where they are equal.
    fn lighter(&self, a: usize, b: usize) -> usize {
        let load = |index: usize| {
            let member = &self.pool.members()[index];
            (member.live(), member.target().weight.get())
        };
        if balance::lighter(load(b), load(a)).is_lt() { b } else { a }
    }

    fn pull(&self, client: u64, index: usize) -> f64 {
        let target = self.pool.members()[index].target();
        let hash = balance::hash_bytes(target.key.as_str().as_bytes());
        balance::rendezvous(client, hash, target.weight.get())
    }
}

/// Lays the turns out for the balances that go by them; once each for the others.
fn turns(pool: &Pool, indices: Vec<usize>) -> Vec<usize> {
    match pool.balance() {
        Balance::RoundRobin | Balance::RandomTwo => {
            let weights: Vec<u32> =
                indices.iter().map(|&index| pool.members()[index].target().weight.get()).collect();
            balance::cycle(&weights).into_iter().map(|turn| indices[turn]).collect()
        }
        Balance::LeastConnections | Balance::SourceHash | Balance::First | Balance::Leader => {
            indices
        }
    }
}

fn refusal(health: &ServiceHealth) -> Refusal {
    if health.awaiting_first {
        return Refusal::AwaitingFirst;
    }
    match health.leadership {
        Leadership::NotLed => Refusal::AllDown,
        Leadership::Nobody | Leadership::Leader(_) => Refusal::NoLeader,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwaitingFirst => "no target has been checked yet",
            Self::AllDown => "every target is down",
            Self::NoLeader => "no target leads",
            Self::AllTried => "every target that is up refused",
            Self::Removed => "the service was removed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::health::snapshot::Health;
    use crate::routing::pool::tests::pool;

    const NOBODY: Facts = Facts { client: None };

    fn choice(balance: Balance, weights: &[u32], up: &[usize]) -> Choice {
        let pool = Arc::new(pool(balance, weights));
        let health = ServiceHealth { targets: health_of(&pool, up), ..Default::default() };
        Choice::new(pool, Some(&health))
    }

    fn health_of(pool: &Pool, up: &[usize]) -> HashMap<TargetKey, Health> {
        let health = |index| if up.contains(&index) { Health::Up } else { Health::Down };
        let keys = pool.members().iter().map(|member| member.target().key.clone());
        keys.enumerate().map(|(index, key)| (key, health(index))).collect()
    }

    fn port(lease: &Lease) -> u16 {
        lease.target().address.port()
    }

    fn picks(choice: &Choice, count: usize) -> Vec<u16> {
        (0..count).map(|_| port(&choice.pick(&NOBODY, &[]).unwrap())).collect()
    }

    #[test]
    fn round_robin_goes_by_turns_and_weights() {
        assert_eq!(picks(&choice(Balance::RoundRobin, &[1, 1, 1], &[0, 1, 2]), 4), [1, 2, 3, 1]);
        assert_eq!(picks(&choice(Balance::RoundRobin, &[2, 1], &[0, 1]), 6), [1, 2, 1, 1, 2, 1]);
    }

    #[test]
    fn a_target_that_is_down_gets_nothing_under_any_balance() {
        for balance in [
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::RandomTwo,
            Balance::SourceHash,
            Balance::First,
        ] {
            assert_eq!(picks(&choice(balance, &[1, 1, 1], &[2]), 5), [3; 5], "{balance:?}");
            let all_down = choice(balance, &[1, 1], &[]);
            assert_eq!(all_down.pick(&NOBODY, &[]).unwrap_err(), Refusal::AllDown, "{balance:?}");
        }
    }

    #[test]
    fn a_retry_goes_to_another_target_until_all_have_been_tried() {
        let choice = choice(Balance::First, &[1, 1], &[0, 1]);
        let first = choice.pick(&NOBODY, &[]).unwrap();
        let second = choice.pick(&NOBODY, &[first.target().key.clone()]).unwrap();
        assert_eq!((port(&first), port(&second)), (1, 2));
        let tried = [first.target().key.clone(), second.target().key.clone()];
        assert_eq!(choice.pick(&NOBODY, &tried).unwrap_err(), Refusal::AllTried);
    }

    #[test]
    fn a_retry_takes_nobodys_turn() {
        let choice = choice(Balance::RoundRobin, &[1, 1], &[0, 1]);
        let failing = choice.pool.members()[0].target().key.clone();
        assert_eq!(port(&choice.pick(&NOBODY, &[]).unwrap()), 1);
        assert_eq!(port(&choice.pick(&NOBODY, &[failing]).unwrap()), 2);
        assert_eq!(
            picks(&choice, 2),
            [2, 1],
            "the next client does not meet the failing one first"
        );
    }

    #[test]
    fn a_backup_serves_only_when_no_other_is_left() {
        assert_eq!(picks(&choice(Balance::RoundRobin, &[1, 0], &[0, 1]), 3), [1, 1, 1]);
        assert_eq!(picks(&choice(Balance::RoundRobin, &[1, 0], &[1]), 2), [2, 2]);
        let choice = choice(Balance::RoundRobin, &[1, 0], &[0, 1]);
        let refused = choice.pick(&NOBODY, &[]).unwrap().target().key.clone();
        assert_eq!(port(&choice.pick(&NOBODY, &[refused]).unwrap()), 2);
    }

    #[test]
    fn least_connections_fills_the_emptiest_for_its_weight() {
        let choice = choice(Balance::LeastConnections, &[1, 3], &[0, 1]);
        let leases: Vec<Lease> = (0..8).map(|_| choice.pick(&NOBODY, &[]).unwrap()).collect();
        let on_first = leases.iter().filter(|lease| port(lease) == 1).count();
        assert_eq!(on_first, 2);
    }

    #[test]
    fn random_two_never_takes_the_more_loaded_of_two() {
        let choice = choice(Balance::RandomTwo, &[1, 1], &[0, 1]);
        let _busy = [choice.pool.lease(0), choice.pool.lease(0), choice.pool.lease(0)];
        assert_eq!(picks(&choice, 20), [2; 20]);
    }

    #[test]
    fn source_hash_moves_only_the_clients_of_the_target_that_left() {
        let before = choice(Balance::SourceHash, &[1; 10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let after = choice(Balance::SourceHash, &[1; 10], &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let mut moved = 0;
        for client in 0..10_000u32 {
            let facts = Facts { client: Some(IpAddr::from(client.to_be_bytes())) };
            let old = port(&before.pick(&facts, &[]).unwrap());
            let new = port(&after.pick(&facts, &[]).unwrap());
            assert!(old == new || old == 10, "a client of a target that stayed was moved");
            moved += usize::from(old != new);
        }
        assert!((800..1200).contains(&moved), "{moved} of 10,000 moved");
    }

    #[test]
    fn only_the_leader_gets_traffic_whoever_else_is_up() {
        let pool = Arc::new(pool(Balance::Leader, &[1, 1]));
        let check = |leadership: Leadership, awaiting_first, expected: Result<u16, Refusal>| {
            let targets = health_of(&pool, &[0, 1]);
            let health = ServiceHealth { targets, leadership, awaiting_first };
            let picked = Choice::new(Arc::clone(&pool), Some(&health)).pick(&NOBODY, &[]);
            assert_eq!(picked.map(|lease| port(&lease)), expected);
        };
        let second = pool.members()[1].target().key.clone();
        check(Leadership::Leader(second.clone()), false, Ok(2));
        check(Leadership::Leader(second), true, Ok(2));
        check(Leadership::Nobody, false, Err(Refusal::NoLeader));
        check(Leadership::Nobody, true, Err(Refusal::AwaitingFirst));
    }

    #[test]
    fn without_checks_everybody_is_eligible() {
        let choice = Choice::new(Arc::new(pool(Balance::RoundRobin, &[1, 1])), None);
        assert_eq!(picks(&choice, 2), [1, 2]);
    }
}
