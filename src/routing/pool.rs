//! The pool: a service's targets with their live counts, shared by every router.
//!
//! A pool outlives routers, reloads and panics: it sits behind an `Arc` above them all. A target
//! that stays through a reload keeps its counts, whatever else of it has changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::model::{Balance, Pool as PoolSpec, Target};
use crate::config::names::TargetKey;

/// The targets of one service.
#[derive(Debug)]
pub struct Pool {
    spec: PoolSpec,
    members: Vec<Arc<Member>>,
    turn: AtomicUsize,
}

/// One target and what is counted of it.
#[derive(Debug)]
pub struct Member {
    target: Target,
    counts: Arc<Counts>,
}

/// What is counted of a target, of all pools that have had it.
#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    total: AtomicU64,
}

/// A session's claim on a target: the live count is up while it exists.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
}

// === impl Pool ===

impl Pool {
    /// Compiles a pool. Targets that `previous` has too keep their counts: another weight or a
    /// renewed certificate makes nobody of its sessions leave.
    pub fn compile(spec: &PoolSpec, previous: Option<&Self>) -> Self {
        let before = previous.map_or(&[][..], |previous| &previous.members);
        let before: HashMap<&TargetKey, &Arc<Member>> =
            before.iter().map(|member| (&member.target.key, member)).collect();
        let kept = |target: &Target| {
            let member = before.get(&target.key)?;
            let is_same = member.target == *target;
            let changed = || Member { target: target.clone(), counts: Arc::clone(&member.counts) };
            Some(if is_same { Arc::clone(member) } else { Arc::new(changed()) })
        };
        let members = spec
            .targets
            .iter()
            .map(|target| kept(target).unwrap_or_else(|| Arc::new(Member::new(target.clone()))))
            .collect();
        Self { spec: spec.clone(), members, turn: AtomicUsize::new(0) }
    }

    /// What the pool was compiled from.
    pub fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// How a target is chosen.
    pub fn balance(&self) -> Balance {
        self.spec.balance
    }

    /// The targets in the order written.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The next number of a sequence that all routers share.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that `next_turn` gives next, left for whoever asks for it.
    pub fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// A claim on the member at `index`, which the caller got from a choice over this pool.
    pub fn lease(&self, index: usize) -> Lease {
        Lease::on(Arc::clone(&self.members[index]))
    }
}

// === impl Member ===

impl Member {
    fn new(target: Target) -> Self {
        Self { target, counts: Arc::default() }
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sessions that hold a lease now.
    pub fn live(&self) -> usize {
        self.counts.live.load(Ordering::Relaxed)
    }

    /// Leases ever given.
    pub fn total(&self) -> u64 {
        self.counts.total.load(Ordering::Relaxed)
    }
}

// === impl Lease ===

impl Lease {
    fn on(member: Arc<Member>) -> Self {
        member.counts.live.fetch_add(1, Ordering::Relaxed);
        member.counts.total.fetch_add(1, Ordering::Relaxed);
        Self { member }
    }

    /// The target leased.
    pub fn target(&self) -> &Target {
        &self.member.target
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.counts.live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::config::model::Closing;
    use crate::config::names::TargetAddress;

    /// A pool of targets on ports 1, 2, … with these weights; a weight of 0 makes a backup.
    pub(crate) fn pool(balance: Balance, weights: &[u32]) -> Pool {
        let targets = weights
            .iter()
            .zip(1..)
            .map(|(&weight, port)| Target {
                weight: NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN),
                backup: weight == 0,
                ..Target::at(TargetAddress::Ip(([127, 0, 0, 1], port).into()))
            })
            .collect();
        let spec = PoolSpec {
            targets,
            balance,
            balance_inferred: false,
            sending: None,
            check_health: true,
            connect_timeout: Duration::from_secs(3),
            retries: 2,
            hold: Duration::ZERO,
            hold_limit: 1000,
            on_down: Closing::Close,
            on_removed: Closing::Keep,
            close_spread: Duration::ZERO,
        };
        Pool::compile(&spec, None)
    }

    #[test]
    fn a_lease_counts_while_it_lives() {
        let pool = pool(Balance::First, &[1]);
        let lease = pool.lease(0);
        assert_eq!(pool.members()[0].live(), 1);
        drop(lease);
        assert_eq!(pool.members()[0].live(), 0);
        assert_eq!(pool.members()[0].total(), 1);
    }

    #[test]
    fn a_target_that_stays_keeps_its_counts_also_where_it_has_changed() {
        let old = pool(Balance::First, &[1, 1]);
        let leases = [old.lease(0), old.lease(1)];
        let new = Pool::compile(pool(Balance::First, &[1, 7, 1]).spec(), Some(&old));
        let live = || new.members().iter().map(|member| member.live()).collect::<Vec<_>>();
        assert_eq!(live(), [1, 1, 0]);
        assert_eq!(new.members()[1].target().weight.get(), 7);
        drop((leases, new.lease(1)));
        assert_eq!((live(), new.members()[1].total()), (vec![0, 0, 0], 2));
    }
}
