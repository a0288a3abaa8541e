//! Searching a stream for a regex: an automaton that eats it byte by byte, and knows at which byte
//! no further one could change what matches.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::Anchored;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::start;

use crate::config::byte_pattern::BytePattern;
use crate::health::found::{Found, Match};

/// A regex as an automaton.
#[derive(Debug)]
pub struct Pattern {
    regex: regex::bytes::Regex,
    automaton: Option<Running>,
    fed: usize,
    found: Found,
}

#[derive(Debug)]
struct Running {
    dfa: Arc<DFA>,
    cache: Cache,
    state: LazyStateID,
    /// A match was there on the way to this state.
    matched: bool,
    /// What is known of the states so far.
    known: HashMap<LazyStateID, Outlook>,
}

/// What the future of a state can still bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// More bytes may change what matches.
    Open,
    /// Whatever comes: there is a match right here, and it stays as it is.
    Decided,
    /// Whatever comes: nothing more will match; what matched before, if anything, stays.
    Stuck,
}

/// The automaton's memory is used up, or it met bytes it cannot judge.
struct GaveUp;

impl Pattern {
    /// A search for `pattern`.
    pub fn new(pattern: &BytePattern) -> Self {
        let (automaton, found) = match pattern.automaton().map(Running::new) {
            Some(Ok((running, outlook))) => (
                Some(running),
                if outlook == Outlook::Decided { Found::At(0) } else { Found::NotYet },
            ),
            Some(Err(GaveUp)) | None => (None, Found::TooCostly(0)),
        };
        Self { regex: pattern.regex().clone(), automaton, fed: 0, found }
    }

    /// The next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        let mut rest = bytes.iter();
        while self.found == Found::NotYet
            && let Some(running) = &mut self.automaton
            && let Some(byte) = rest.next()
        {
            self.fed += 1;
            match running.eat(*byte) {
                Ok(Outlook::Open) => {}
                Ok(Outlook::Decided) => self.found = Found::At(self.fed),
                Ok(Outlook::Stuck) if running.matched => self.found = Found::At(self.fed),
                Ok(Outlook::Stuck) => self.automaton = None,
                Err(GaveUp) => self.found = Found::TooCostly(self.fed),
            }
        }
        self.fed += rest.len();
        self.found
    }

    /// The match in `stream`, taken as all there is.
    pub fn matched(&self, stream: &[u8]) -> Option<Match> {
        let captures = self.regex.captures(stream)?;
        let named = self.regex.capture_names().flatten();
        Some(Match {
            end: captures.get(0)?.end(),
            captures: named
                .filter_map(|name| {
                    captures.name(name).map(|group| (name.to_owned(), group.as_bytes().to_vec()))
                })
                .collect(),
        })
    }

    /// How many bytes it has been fed.
    pub fn fed(&self) -> usize {
        self.fed
    }
}

impl Running {
    fn new(dfa: &Arc<DFA>) -> Result<(Self, Outlook), GaveUp> {
        let mut cache = dfa.create_cache();
        let beginning = start::Config::new().anchored(Anchored::No);
        let state = dfa.start_state(&mut cache, &beginning).map_err(|_error| GaveUp)?;
        let (dfa, known) = (dfa.clone(), HashMap::new());
        let mut running = Self { dfa, cache, state, matched: false, known };
        let outlook = running.outlook()?;
        Ok((running, outlook))
    }

    fn eat(&mut self, byte: u8) -> Result<Outlook, GaveUp> {
        self.state = self.after(self.state, byte)?;
        self.matched |= self.state.is_match();
        self.outlook()
    }

    fn outlook(&mut self) -> Result<Outlook, GaveUp> {
        if let Some(outlook) = self.known.get(&self.state) {
            return Ok(*outlook);
        }
        let outlook = self.look_ahead()?;
        self.known.insert(self.state, outlook);
        Ok(outlook)
    }

    /// The automaton says of a match one byte late that it was there: so ask what every next byte
    /// would bring, and the end of the stream.
    fn look_ahead(&mut self) -> Result<Outlook, GaveUp> {
        let state = self.state;
        if state.is_dead() || self.is_stuck(state)? {
            return Ok(Outlook::Stuck);
        }
        if !self.ends_in_match(state)? {
            return Ok(Outlook::Open);
        }
        for byte in self.bytes() {
            let next = self.after(state, byte)?;
            if !next.is_match() || !self.is_stuck(next)? {
                return Ok(Outlook::Open);
            }
        }
        Ok(Outlook::Decided)
    }

    /// Nothing that could come would match any further.
    fn is_stuck(&mut self, state: LazyStateID) -> Result<bool, GaveUp> {
        for byte in self.bytes() {
            if !self.after(state, byte)?.is_dead() {
                return Ok(false);
            }
        }
        Ok(!self.ends_in_match(state)?)
    }

    fn ends_in_match(&mut self, state: LazyStateID) -> Result<bool, GaveUp> {
        let dfa = &self.dfa;
        dfa.next_eoi_state(&mut self.cache, state).map(|end| end.is_match()).map_err(|_| GaveUp)
    }

    fn after(&mut self, state: LazyStateID, byte: u8) -> Result<LazyStateID, GaveUp> {
        match self.dfa.next_state(&mut self.cache, state, byte) {
            Ok(next) if next.is_quit() => Err(GaveUp),
            Ok(next) => Ok(next),
            Err(_full) => Err(GaveUp),
        }
    }

    /// One byte of each class that the pattern tells apart.
    fn bytes(&self) -> Vec<u8> {
        self.dfa.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8()).collect()
    }
}
