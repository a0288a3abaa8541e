//! The line budget: how many lines of the log one kind of event may have in a second, so that
//! whoever brings it about by the thousand fills no disk. Pure.
//!
//! The first are told whole, each as it comes; the rest of a second is told together, in one line
//! at its end, which is the first of the next second's.

/// What is told of one kind of event. `T` is what is kept of the last that was not told whole.
#[derive(Debug)]
pub struct LineBudget<T> {
    /// Lines of this second.
    spent: u32,
    /// Events of this second that have no line.
    more: u64,
    last: Option<T>,
    /// A second runs.
    runs: bool,
}

/// How one event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// By a line of its own. A second begins with it, which somebody has to end.
    First,
    /// By a line of its own.
    Whole,
    /// At the end of the second, with others.
    Together,
}

/// What there was to tell at the end of a second.
#[derive(Debug, PartialEq, Eq)]
pub enum Second<T> {
    /// Nothing came: none follows.
    Quiet,
    /// Everything has been told.
    Told,
    /// So many have not, and what is kept of the last. One line tells of them.
    More(u64, T),
}

// === impl LineBudget ===

impl<T> LineBudget<T> {
    /// One event. In any second there are at most `most` lines.
    pub fn note(&mut self, most: u32, kept: impl FnOnce() -> T) -> Telling {
        if self.spent < most {
            self.spent += 1;
            return if std::mem::replace(&mut self.runs, true) {
                Telling::Whole
            } else {
                Telling::First
            };
        }
        self.more += 1;
        self.last = Some(kept());
        Telling::Together
    }

    /// A second has ended since it began, and the next begins unless it was quiet.
    pub fn end_second(&mut self) -> Second<T> {
        let ended = std::mem::take(self);
        if let Some(last) = ended.last {
            (self.spent, self.runs) = (1, true);
            return Second::More(ended.more, last);
        }
        self.runs = ended.spent > 0;
        if self.runs { Second::Told } else { Second::Quiet }
    }
}

impl<T> Default for LineBudget<T> {
    fn default() -> Self {
        Self { spent: 0, more: 0, last: None, runs: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(budget: &mut LineBudget<u32>, most: u32, events: u32) -> usize {
        let told = (0..events).map(|event| budget.note(most, || event));
        told.filter(|telling| *telling != Telling::Together).count()
    }

    #[test]
    fn no_second_has_more_lines_than_it_may_and_every_event_is_told_once() {
        for most in [1, 10] {
            let mut budget = LineBudget::default();
            assert_eq!(budget.note(most, || 0), Telling::First);
            let mut whole = 1 + lines(&mut budget, most, 499);
            assert_eq!(whole, most as usize);
            let mut together = 0;
            for _ in 0..3 {
                let Second::More(more, last) = budget.end_second() else { panic!("a rush") };
                assert_eq!(last, 498);
                together += more;
                let now = lines(&mut budget, most, 499);
                assert_eq!(now + 1, most as usize, "the shared line is one of them");
                whole += now;
            }
            let Second::More(more, _) = budget.end_second() else { panic!("a rush") };
            assert_eq!(together + more + whole as u64, 500 + 3 * 499);
        }
    }

    #[test]
    fn after_a_quiet_second_the_first_is_told_at_once_again() {
        let mut budget = LineBudget::default();
        assert_eq!(lines(&mut budget, 1, 2), 1);
        assert_eq!(budget.end_second(), Second::More(1, 1));
        assert_eq!(budget.end_second(), Second::Told);
        assert_eq!(budget.end_second(), Second::Quiet);
        assert_eq!(budget.note(1, || 0), Telling::First);
        assert_eq!(budget.end_second(), Second::Told);
        assert_eq!(budget.end_second(), Second::Quiet);
    }
}
