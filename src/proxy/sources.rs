//! Sources: what is counted of each client address of a service that has limits for them.
//!
//! Exact under concurrency: an address is counted under the lock of its shard, and its place comes
//! back by `Drop`. An address is forgotten once it has no session and its rate is used up no more.
//! At a million of them the idle ones of a shard are forgotten early; one with a session never is.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::rate::Rate;

const SHARDS: usize = 64;
/// Addresses of one shard.
const MOST: usize = 16 * 1024;
/// A shard is first looked through at so many.
const FEW: usize = 64;
/// An IPv6 client has a /64 to itself.
const IPV6_BITS: u32 = 64;

/// The client addresses of a service.
#[derive(Debug)]
pub struct Sources {
    shards: Box<[Mutex<Shard>]>,
    /// Whoever can choose addresses must not be able to choose one shard.
    chance: RandomState,
}

/// How much of one client address there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Live sessions.
    pub sessions: Option<NonZeroUsize>,
    /// New ones.
    pub rate: Option<Rate>,
}

/// Why a client address gets no further session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// It has as many as it may have.
    Sessions,
    /// They come too fast.
    Rate,
}

/// One session's place among those of its address.
#[derive(Debug)]
pub struct Place {
    sources: Arc<Sources>,
    address: IpAddr,
}

#[derive(Debug)]
struct Shard {
    known: HashMap<IpAddr, Count>,
    /// At so many addresses those that are idle are forgotten.
    sweep_at: usize,
}

/// What is counted of one address.
#[derive(Debug, Clone, Copy)]
struct Count {
    live: usize,
    /// When its rate is whole again; `None`: it is.
    full: Option<Instant>,
}

// === impl SourceLimits ===

impl SourceLimits {
    /// Is there any?
    pub fn are_any(&self) -> bool {
        self.sessions.is_some() || self.rate.is_some()
    }

    /// The count with one session more.
    fn count(&self, count: Count, now: Instant) -> Result<Count, Excess> {
        let full = match self.rate {
            Some(rate) => Some(next_full(rate, count.full, now).ok_or(Excess::Rate)?),
            None => None,
        };
        if self.sessions.is_some_and(|most| count.live >= most.get()) {
            return Err(Excess::Sessions);
        }
        Ok(Count { live: count.live + 1, full })
    }
}

/// The leaky bucket (GCRA): each session fills it for its share of the time, and it holds as much
/// as the whole of it.
fn next_full(rate: Rate, full: Option<Instant>, now: Instant) -> Option<Instant> {
    let share = rate.per / rate.count.get();
    let filled = full.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
    // Of shares that are rounded down, the last one may be a little larger.
    let room = rate.per.saturating_sub(filled);
    (room >= share).then(|| now + filled + share)
}

// === impl Sources ===

impl Default for Sources {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { known: HashMap::new(), sweep_at: FEW });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), chance: RandomState::new() }
    }
}

impl Sources {
    /// A place for one more session of this address.
    ///
    /// # Errors
    /// There is none.
    pub fn take(
        self: &Arc<Self>,
        client: IpAddr,
        limits: SourceLimits,
        now: Instant,
    ) -> Result<Place, Excess> {
        let address = counted(client);
        let mut shard = self.shard(address);
        let before = shard.known.get(&address).copied().unwrap_or(Count { live: 0, full: None });
        let after = limits.count(before, now)?;
        if shard.known.insert(address, after).is_none() {
            shard.sweep(now);
        }
        drop(shard);
        Ok(Place { sources: Arc::clone(self), address })
    }

    /// Addresses that something is known of.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).known.len()).sum()
    }

    /// Is nothing known of any?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.chance.hash_one(address) as usize % SHARDS])
    }
}

/// Every change under these locks is one call of `HashMap`: sound whatever panicked.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is one client: an IPv4 address, or an IPv6 network of /64.
fn counted(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << IPV6_BITS)).into()
        }
    }
}

// === impl Shard ===

impl Shard {
    /// Forgets addresses that are as good as unknown, once there are twice as many as after the
    /// last time.
    fn sweep(&mut self, now: Instant) {
        if self.known.len() < self.sweep_at {
            return;
        }
        self.known.retain(|_, count| count.live > 0 || count.full.is_some_and(|full| full > now));
        if self.known.len() >= MOST {
            self.known.retain(|_, count| count.live > 0);
        }
        self.sweep_at = (2 * self.known.len()).clamp(FEW, MOST.max(self.known.len() + FEW));
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.sources.shard(self.address);
        let Some(count) = shard.known.get_mut(&self.address) else { return };
        count.live -= 1;
        if count.live == 0 && count.full.is_none_or(|full| full <= Instant::now()) {
            shard.known.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn sessions(most: usize) -> SourceLimits {
        SourceLimits { sessions: NonZeroUsize::new(most), rate: None }
    }

    fn rate(count: u32, seconds: u64) -> SourceLimits {
        let count = NonZeroU32::new(count).unwrap();
        let rate = Rate { count, per: Duration::from_secs(seconds) };
        SourceLimits { sessions: None, rate: Some(rate) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_sessions_and_each_that_ends_makes_room() {
        let sources = Arc::<Sources>::default();
        let take = |client: &str| sources.take(ip(client), sessions(2), Instant::now());
        let (first, _second) = (take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap());
        assert_eq!(take("10.0.0.1").unwrap_err(), Excess::Sessions);
        let _other = take("10.0.0.2").unwrap();
        drop(first);
        let _third = take("10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.1").unwrap_err(), Excess::Sessions);
        // A network of /64 is one client.
        let _v6 = (take("2001:db8::1").unwrap(), take("2001:db8::ffff").unwrap());
        assert_eq!(take("2001:db8::2").unwrap_err(), Excess::Sessions);
        take("2001:db8:0:1::1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_its_number_through_at_once_and_then_one_for_each_share_of_the_time() {
        let sources = Arc::<Sources>::default();
        let take = || sources.take(ip("10.0.0.1"), rate(10, 5), Instant::now());
        for _ in 0..10 {
            take().unwrap();
        }
        assert_eq!(take().unwrap_err(), Excess::Rate);
        tokio::time::advance(Duration::from_millis(500)).await;
        take().unwrap();
        assert_eq!(take().unwrap_err(), Excess::Rate);
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..10 {
            take().unwrap();
        }
        assert_eq!(take().unwrap_err(), Excess::Rate);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_forgotten_once_nothing_counts_of_it() {
        let sources = Arc::<Sources>::default();
        drop(sources.take(ip("10.0.0.1"), sessions(2), Instant::now()).unwrap());
        assert!(sources.is_empty());
        drop(sources.take(ip("10.0.0.1"), rate(1, 5), Instant::now()).unwrap());
        assert_eq!(sources.len(), 1);
        tokio::time::advance(Duration::from_secs(6)).await;
        drop(sources.take(ip("10.0.0.1"), sessions(2), Instant::now()).unwrap());
        assert!(sources.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_addresses_do_not_pile_up_and_one_with_a_session_is_never_forgotten() {
        let sources = Arc::<Sources>::default();
        let held = sources.take(ip("10.0.0.1"), sessions(1), Instant::now()).unwrap();
        for number in 0..200_000_u32 {
            let client = IpAddr::V4((0x0b00_0000 + number).into());
            drop(sources.take(client, rate(1, 1), Instant::now()).unwrap());
            if number % 1_000 == 0 {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        }
        assert!(sources.len() < 20_000, "{}", sources.len());
        let again = sources.take(ip("10.0.0.1"), sessions(1), Instant::now());
        assert_eq!(again.unwrap_err(), Excess::Sessions);
        drop(held);
        for number in 0..(SHARDS * MOST) as u32 + 100_000 {
            let client = IpAddr::V4((0x0c00_0000 + number).into());
            drop(sources.take(client, rate(1, 3_600), Instant::now()).unwrap());
        }
        assert!(sources.len() <= SHARDS * (MOST + FEW), "{}", sources.len());
    }

    #[test]
    fn many_at_once_get_exactly_as_many_places_as_there_are() {
        let sources = Arc::<Sources>::default();
        let taken = std::thread::scope(|scope| {
            let taker = || {
                let take = |_| sources.take(ip("10.0.0.1"), sessions(50), Instant::now()).ok();
                (0..100).filter_map(take).collect::<Vec<_>>()
            };
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(taker)).collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(taken.len(), 50);
        drop(taken);
        assert!(sources.is_empty());
    }

    proptest! {
        /// In any time as long as `per`, no more than twice the number (what was saved up, and what
        /// comes in meanwhile); over a long time, the number in each.
        #[test]
        fn a_rate_is_kept_whatever_comes(
            count in 1..50_u32,
            millis in 1..10_000_u64,
            gaps in proptest::collection::vec(0..200_u64, 1..500),
        ) {
            let rate = Rate {
                count: NonZeroU32::new(count).unwrap(),
                per: Duration::from_millis(millis),
            };
            let start = Instant::now();
            let (mut now, mut full, mut admitted) = (start, None, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                if let Some(next) = next_full(rate, full, now) {
                    full = Some(next);
                    admitted.push(now);
                }
            }
            for (index, begin) in admitted.iter().enumerate() {
                let within = admitted[index..].iter().filter(|at| **at - *begin < rate.per);
                prop_assert!(within.count() <= 2 * count as usize);
            }
            let lasted = (now - start).as_secs_f64() / rate.per.as_secs_f64();
            prop_assert!(admitted.len() as f64 <= f64::from(count) * (lasted + 1.0) + 1.0);
        }
    }
}
