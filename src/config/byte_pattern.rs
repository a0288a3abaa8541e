//! A byte regex of a check script, compiled once, for captures and for searching a stream.

use std::sync::Arc;

use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

/// What one search of a stream may keep, in bytes.
const AUTOMATON_MEMORY: usize = 1 << 20;

/// A compiled byte regex, compared by its source.
///
/// It works on bytes, not on characters: `.` is one byte. Only a pattern that needs Unicode (such
/// as `\p{L}`) is compiled with it.
#[derive(Debug, Clone)]
pub struct BytePattern {
    regex: regex::bytes::Regex,
    automaton: Option<Arc<DFA>>,
}

// === impl BytePattern ===

impl BytePattern {
    /// Prepares a regex that compiles for searching a stream.
    pub fn new(regex: regex::bytes::Regex) -> Self {
        let on_bytes = regex::bytes::RegexBuilder::new(regex.as_str()).unicode(false).build();
        let unicode = on_bytes.is_err();
        let regex = on_bytes.unwrap_or(regex);
        let automaton = DFA::builder()
            .configure(
                DFA::config()
                    .cache_capacity(AUTOMATON_MEMORY)
                    .skip_cache_capacity_check(true)
                    // Never cleared: at the limit a search gives up, so that its cost is bounded.
                    .minimum_cache_clear_count(Some(0))
                    .unicode_word_boundary(true),
            )
            .syntax(syntax::Config::new().unicode(unicode).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build(regex.as_str());
        Self { regex, automaton: automaton.ok().map(Arc::new) }
    }

    /// The regex, for captures.
    pub fn regex(&self) -> &regex::bytes::Regex {
        &self.regex
    }

    /// The same pattern as an automaton that eats a stream byte by byte; `None`: too big for one.
    pub fn automaton(&self) -> Option<&Arc<DFA>> {
        self.automaton.as_ref()
    }
}

impl PartialEq for BytePattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}
