//! What the health supervisor remembers from one incarnation to the next: the boards, and on which
//! of them it was at work when it fell. Pure.
//!
//! A board on which it fell three times within a minute may be what makes it fall: it is then made
//! anew from what was published last, so that a broken value costs its details, not the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::model::Service;
use crate::config::names::ServiceName;
use crate::health::board::ServiceBoard;
use crate::health::leader::remembered::Remembered;
use crate::supervise::intensity::{History, Intensity};

/// Falls over one board that are still put up with.
const PATIENCE: Intensity = Intensity { restarts: 2, window: Duration::from_secs(60) };

/// What is remembered. Each change is sound by itself, whatever panics between two of them.
#[derive(Debug, Default)]
pub struct Memory {
    services: HashMap<ServiceName, Arc<Service>>,
    boards: HashMap<ServiceName, Arc<ServiceBoard>>,
    /// The incarnation that may change anything.
    newest: Incarnation,
    /// The board that it has taken up and not yet put back.
    at_work: Option<ServiceName>,
    falls: HashMap<ServiceName, History>,
}

/// Numbers the incarnations of the health supervisor. One that has been replaced, and wakes on an
/// arbiter that hung, changes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incarnation(u64);

// === impl Memory ===

impl Memory {
    /// A new incarnation begins. Also says whose board its forerunners fell over once too often.
    pub fn begin(&mut self, now: Instant) -> (Incarnation, Option<ServiceName>) {
        self.newest = Incarnation(self.newest.0 + 1);
        let suspect = self.at_work.take().filter(|name| {
            let falls = self.falls.entry(name.clone()).or_insert_with(|| History::new(PATIENCE));
            falls.record(now).is_exceeded()
        });
        if let Some(suspect) = &suspect {
            self.falls.remove(suspect);
        }
        (self.newest, suspect)
    }

    /// Is it the newest?
    pub fn is_newest(&self, incarnation: Incarnation) -> bool {
        self.newest == incarnation
    }

    /// Takes up a service's board to change a copy of it: from now on, a fall is this board's.
    pub fn take_up(
        &mut self,
        incarnation: Incarnation,
        name: &ServiceName,
    ) -> Option<ServiceBoard> {
        if !self.is_newest(incarnation) {
            return None;
        }
        let board = self.boards.get(name).map(|board| ServiceBoard::clone(board))?;
        self.at_work = Some(name.clone());
        Some(board)
    }

    /// Puts a board back, changed or new, when everything that follows from it has been done.
    pub fn put_back(&mut self, incarnation: Incarnation, name: &ServiceName, board: ServiceBoard) {
        if self.is_newest(incarnation) {
            self.boards.insert(name.clone(), Arc::new(board));
            self.at_work = None;
        }
    }

    /// A service that is led, and what is to be remembered of it.
    pub fn remembered(&self, name: &ServiceName) -> Option<(Arc<Service>, Remembered)> {
        let remembered = self.boards.get(name)?.leader()?.remembered()?;
        Some((Arc::clone(self.services.get(name)?), remembered))
    }

    /// There are these checked services now, and no boards of any others.
    pub fn keep_only(&mut self, services: &[Arc<Service>]) {
        self.services = services.iter().map(|one| (one.name.clone(), Arc::clone(one))).collect();
        self.boards.retain(|name, _| self.services.contains_key(name));
        self.falls.retain(|name, _| self.services.contains_key(name));
    }

    /// The checked services.
    pub fn services(&self) -> &HashMap<ServiceName, Arc<Service>> {
        &self.services
    }

    /// Their boards.
    pub fn boards(&self) -> &HashMap<ServiceName, Arc<ServiceBoard>> {
        &self.boards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Balance;
    use crate::health::board_harness;

    fn remembering(now: Instant) -> (Memory, ServiceName) {
        let service = Arc::new(board_harness::service("ab", Balance::RoundRobin));
        let (mut memory, name) = (Memory::default(), service.name.clone());
        let (first, suspect) = memory.begin(now);
        assert_eq!(suspect, None);
        memory.put_back(first, &name, ServiceBoard::new(&service, now));
        memory.keep_only(&[service]);
        (memory, name)
    }

    /// An incarnation that takes the board up and, unless it falls over it, puts it back.
    fn live(memory: &mut Memory, name: &ServiceName, falls: bool, now: Instant) -> bool {
        let (incarnation, suspect) = memory.begin(now);
        let board = memory.take_up(incarnation, name).unwrap();
        if !falls {
            memory.put_back(incarnation, name, board);
        }
        suspect.is_some()
    }

    /// Who falls (`x`) and who does not (`.`), a second apart; `true` where a board is suspected.
    fn check(lives: &str, expected: &[bool]) {
        let start = Instant::now();
        let (mut memory, name) = remembering(start);
        let mut seconds = 0;
        let suspected: Vec<bool> = lives
            .chars()
            .map(|life| {
                seconds += 1;
                live(&mut memory, &name, life == 'x', start + Duration::from_secs(seconds))
            })
            .collect();
        assert_eq!(suspected, expected, "{lives}");
    }

    #[test]
    fn the_third_fall_over_one_board_makes_it_suspect_and_starts_the_count_over() {
        check("xxx.", &[false, false, false, true]);
        check("xxxxxx.", &[false, false, false, true, false, false, true]);
    }

    #[test]
    fn falls_with_no_board_in_hand_are_nobodys() {
        check("......", &[false; 6]);
        check("x.x.", &[false; 4]);
    }

    #[test]
    fn a_board_that_is_fine_in_between_is_suspected_all_the_same() {
        check("x.x.x.", &[false, false, false, false, false, true]);
    }

    #[test]
    fn one_that_has_been_replaced_changes_nothing_any_more() {
        let now = Instant::now();
        let (mut memory, name) = remembering(now);
        let (old, _) = memory.begin(now);
        let mut board = memory.take_up(old, &name).unwrap();
        let (new, _) = memory.begin(now);
        let service = Arc::new(board_harness::service("abc", Balance::RoundRobin));
        drop(board.reconfigure(&service, now));
        memory.put_back(old, &name, board);
        assert_eq!(memory.boards()[&name].targets().count(), 2, "it came too late");
        assert!(memory.take_up(old, &name).is_none());
        assert!(memory.take_up(new, &name).is_some());
    }
}
