//! How long to wait before the next try. Pure: chance comes in as a generator.

use std::time::Duration;

/// A delay that doubles from `min` to `max`, and starts over after a quiet life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first restart.
    pub min: Duration,
    /// Never longer than this.
    pub max: Duration,
    /// An incarnation that lived this long starts the count over.
    pub reset_after: Duration,
}

impl Backoff {
    /// The delay before try number `attempt` (0 is the first), a quarter more or less by chance, so
    /// that components that fell together do not all return together. Never above `max`.
    pub fn delay(&self, attempt: u32, chance: &mut fastrand::Rng) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.min(31));
        let planned = self.min.saturating_mul(doubled).min(self.max);
        planned.mul_f64(0.75 + chance.f64() / 2.0).min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(10),
            max: Duration::from_secs(5),
            reset_after: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(seed: u64) -> Vec<Duration> {
        let mut chance = fastrand::Rng::with_seed(seed);
        (0..40).map(|attempt| Backoff::default().delay(attempt, &mut chance)).collect()
    }

    #[test]
    fn delays_grow_from_ten_milliseconds_to_five_seconds_and_stay() {
        for seed in 0..100 {
            let delays = delays(seed);
            assert!(delays[0] >= Duration::from_micros(7_500), "{:?}", delays[0]);
            assert!(delays[0] <= Duration::from_micros(12_500), "{:?}", delays[0]);
            for late in &delays[9..] {
                assert!(*late >= Duration::from_millis(3_750), "{late:?}");
                assert!(*late <= Duration::from_secs(5), "{late:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_another_seed_others() {
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn an_absurd_attempt_number_does_not_overflow() {
        let backoff =
            Backoff { min: Duration::MAX, max: Duration::from_secs(1), ..Backoff::default() };
        let delay = backoff.delay(u32::MAX, &mut fastrand::Rng::with_seed(0));
        assert!(delay <= Duration::from_secs(1));
    }
}
