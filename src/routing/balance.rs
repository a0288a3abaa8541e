//! The balances as pure arithmetic: turns by weight, least loaded, hashes. Knows no health.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;

/// The longest cycle of turns that is laid out; larger weights are scaled down to fit it.
const LONGEST_CYCLE: u64 = 4096;

/// One full cycle of turns over `weights`: each index as often as its weight, spread as evenly as
/// can be (smooth weighted round robin, by earliest virtual deadline).
pub fn cycle(weights: &[u32]) -> Vec<usize> {
    let weights = shrink(weights);
    if weights.iter().all(|&weight| weight == 1) {
        return (0..weights.len()).collect();
    }
    let total: u64 = weights.iter().sum();
    let mut heap: BinaryHeap<Turn> =
        weights.iter().enumerate().map(|(index, &weight)| Turn::nth(index, weight, 0)).collect();
    let mut cycle = Vec::new();
    for _ in 0..total {
        let turn = heap.pop().expect("as many turns are pushed as popped");
        cycle.push(turn.index);
        heap.push(Turn::nth(turn.index, turn.weight, turn.count + 1));
    }
    cycle
}

/// Weights in lowest terms, with a sum of at most `LONGEST_CYCLE` where that can be.
fn shrink(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let lowest: Vec<u64> = weights.iter().map(|&weight| u64::from(weight / divisor)).collect();
    let total: u64 = lowest.iter().sum();
    if total <= LONGEST_CYCLE {
        return lowest;
    }
    lowest.iter().map(|&weight| (weight * LONGEST_CYCLE / total).max(1)).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The turn of one index: due in the middle of its share of the cycle.
#[derive(PartialEq, Eq)]
struct Turn {
    index: usize,
    weight: u64,
    count: u64,
}

impl Turn {
    fn nth(index: usize, weight: u64, count: u64) -> Self {
        Self { index, weight, count }
    }
}

impl Ord for Turn {
    /// Greatest is due first: (2·count + 1) / weight is least; then the lower index.
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = (2 * self.count + 1) * other.weight;
        let theirs = (2 * other.count + 1) * self.weight;
        theirs.cmp(&mine).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which of two loads is lighter for its weight.
pub fn lighter(a: (usize, u32), b: (usize, u32)) -> Ordering {
    (a.0 as u128 * u128::from(b.1)).cmp(&(b.0 as u128 * u128::from(a.1)))
}

/// A stable hash of a client's address: an IPv4-mapped IPv6 address counts as the IPv4 one.
pub fn hash_client(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => hash_bytes(&ip.octets()),
        IpAddr::V6(ip) => hash_bytes(&ip.octets()),
    }
}

/// A stable hash of bytes (FNV-1a): the same in every process, version and machine.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// How strongly a client is drawn to a target (weighted rendezvous hashing): the client belongs
/// to the target with the highest score, so that removing one target moves only its own clients.
pub fn rendezvous(client: u64, target: u64, weight: u32) -> f64 {
    // splitmix64's finalizer: FNV alone mixes its high bits too little.
    let mut x = client ^ target.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let unit = ((x >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -unit.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weights: &[u32], expected: &[usize]) {
        assert_eq!(cycle(weights), expected, "weights {weights:?}");
    }

    #[test]
    fn turns_are_spread_evenly_by_weight() {
        check(&[], &[]);
        check(&[1], &[0]);
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[7, 7], &[0, 1]);
        check(&[2, 1], &[0, 1, 0]);
        check(&[5, 1, 1], &[0, 0, 0, 1, 2, 0, 0]);
        check(&[4, 2], &[0, 1, 0]);
    }

    #[test]
    fn huge_weights_make_a_bounded_cycle_that_keeps_everyone() {
        let cycle = cycle(&[4_000_000_000, 1, 3_999_999_999]);
        assert!(cycle.len() as u64 <= LONGEST_CYCLE + 3);
        assert!((0..3).all(|index| cycle.contains(&index)));
    }

    #[test]
    fn load_is_compared_per_weight() {
        assert_eq!(lighter((2, 1), (4, 2)), Ordering::Equal);
        assert_eq!(lighter((1, 1), (4, 2)), Ordering::Less);
        assert_eq!(lighter((0, 1), (0, 9)), Ordering::Equal);
    }

    #[test]
    fn a_mapped_address_hashes_like_its_ipv4_form() {
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(hash_client(mapped), hash_client("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn clients_are_drawn_to_targets_by_weight() {
        let targets: Vec<u64> = (0..3u8).map(|t| hash_bytes(&[t])).collect();
        let weights = [1, 1, 2];
        let mut counts = [0; 3];
        for client in 0..40_000u32 {
            let client = hash_client(IpAddr::from(client.to_be_bytes()));
            let score = |&i: &usize| rendezvous(client, targets[i], weights[i]);
            let best = (0..3).max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
            counts[best] += 1;
        }
        assert!((9_500..10_500).contains(&counts[0]), "{counts:?}");
        assert!((9_500..10_500).contains(&counts[1]), "{counts:?}");
        assert!((19_500..20_500).contains(&counts[2]), "{counts:?}");
    }
}
