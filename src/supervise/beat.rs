//! Judging silence. Pure.
//!
//! A watcher looks four times within the limit and counts looks, not time: one that was late
//! itself, because its own thread was blocked or the machine was suspended, accuses nobody.

use std::time::Duration;

/// Looks without an answer that make a silence.
const LOOKS: u32 = 4;

/// What a watcher remembers of one thing it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BeatWatch {
    missed: u32,
}

impl BeatWatch {
    /// How long to wait between two looks, so that a silence is found after `hang`.
    pub(super) fn interval(hang: Duration) -> Duration {
        (hang / LOOKS).max(Duration::from_millis(1))
    }

    /// One look. `true`: it has been silent for too long, and the count starts over.
    pub(super) fn look(&mut self, answered: bool) -> bool {
        self.missed = if answered { 0 } else { self.missed + 1 };
        let silent = self.missed >= LOOKS;
        if silent {
            self.missed = 0;
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers: &[bool], silent_at: &[usize]) {
        let mut watch = BeatWatch::default();
        let found: Vec<usize> =
            (0..answers.len()).filter(|index| watch.look(answers[*index])).collect();
        assert_eq!(found, silent_at);
    }

    #[test]
    fn four_looks_without_an_answer_are_a_silence() {
        check(&[false; 4], &[3]);
        check(&[true, false, false, false, false], &[4]);
    }

    #[test]
    fn one_answer_starts_the_count_over() {
        check(&[false, false, false, true, false, false, false], &[]);
    }

    #[test]
    fn a_silence_is_told_once_until_it_lasts_as_long_again() {
        check(&[false; 8], &[3, 7]);
    }
}
