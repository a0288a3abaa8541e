//! Searching a stream for what an `expect` or a `reject` looks for, as it comes.
//!
//! A search is a function of the stream's bytes alone: it is decided at the same byte however the
//! stream was cut into reads, and eats each byte once, so that a flood of single bytes costs no
//! more than one of large reads.
//!
//! - Bytes are decided where they end for the first time.
//! - A regex means its leftmost-first match in the whole stream. It is decided at the first byte
//!   at which no further byte could change that match: `\+PONG` at its last letter, `lag:(\d+)` at
//!   the first byte that is not a digit. Where the stream ends (a known end of the reply, or the
//!   target's close), what there is decides. `^` is where the search begins.

use crate::config::check::Matcher;
use crate::health::fill::{Facts, NoCapture};
use crate::health::found::{Found, Match};
use crate::health::needle::Needle;
use crate::health::pattern::Pattern;

/// One search, from where it began in the stream.
#[derive(Debug)]
pub enum Search {
    /// For bytes.
    Bytes(Needle),
    /// For a regex.
    Regex(Box<Pattern>),
}

impl Search {
    /// A search for `matcher`, its holes filled.
    pub fn new(matcher: &Matcher, facts: &Facts) -> Result<Self, NoCapture> {
        Ok(match matcher {
            Matcher::Bytes(template) => Self::Bytes(Needle::new(facts.fill(template)?)),
            Matcher::Regex(pattern) => Self::Regex(Box::new(Pattern::new(pattern))),
        })
    }

    /// The next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Found {
        match self {
            Self::Bytes(needle) => needle.feed(bytes),
            Self::Regex(pattern) => pattern.feed(bytes),
        }
    }

    /// The match in `stream`, the bytes fed so far up to the one that decided, or all there is.
    pub fn matched(&self, stream: &[u8]) -> Option<Match> {
        match self {
            Self::Bytes(needle) => needle.matched(stream),
            Self::Regex(pattern) => pattern.matched(stream),
        }
    }

    /// How many bytes it has been fed.
    pub fn fed(&self) -> usize {
        match self {
            Self::Bytes(needle) => needle.fed(),
            Self::Regex(pattern) => pattern.fed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::byte_pattern::BytePattern;
    use crate::config::check::Template;
    use crate::config::names::TargetAddress;
    use proptest::prelude::*;

    fn facts() -> Facts {
        Facts::of(&TargetAddress::Ip("127.0.0.1:1".parse().unwrap()))
    }

    fn bytes(needle: &str) -> Search {
        Search::new(&Matcher::Bytes(Template::literal(needle)), &facts()).unwrap()
    }

    fn regex(source: &str) -> Search {
        let pattern = BytePattern::new(regex::bytes::Regex::new(source).unwrap());
        Search::new(&Matcher::Regex(pattern), &facts()).unwrap()
    }

    /// Decided at which byte, and what did it match? (the text, then each capture)
    fn check(mut search: Search, stream: &str, at: Option<usize>, texts: &[&str]) {
        let found = search.feed(stream.as_bytes());
        assert_eq!(found, at.map_or(Found::NotYet, Found::At), "{search:?} in {stream:?}");
        let Some(at) = at else { return };
        let matched = search.matched(&stream.as_bytes()[..at]).unwrap();
        let mut got = vec![&stream[..matched.end]];
        got.extend(matched.captures.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()));
        assert_eq!(got, texts);
    }

    #[test]
    fn bytes_are_found_where_they_first_end() {
        check(bytes("role:master"), "xrole:masterrole:master", Some(12), &["xrole:master"]);
        check(bytes("aab"), "aaaab", Some(5), &["aaaab"]);
        check(bytes("abcabd"), "abcabcabd", Some(9), &["abcabcabd"]);
        check(bytes("abc"), "abab", None, &[]);
        check(bytes(""), "abc", Some(0), &[""]);
    }

    #[test]
    fn a_regex_is_decided_when_nothing_can_change_it_any_more() {
        check(regex(r"\+PONG"), "+PONG", Some(5), &["+PONG"]);
        check(regex(r"lag:(?<lag>\d+)"), "lag:15", None, &[]);
        check(regex(r"lag:(?<lag>\d+)"), "lag:15\r", Some(7), &["lag:15", "15"]);
        check(regex(r"lag:(?<lag>\d{2})"), "lag:157", Some(6), &["lag:15", "15"]);
        check(regex(r":(?<n>\d+)\r\n"), ":42\r\n", Some(5), &[":42\r\n", "42"]);
        check(regex(r"ab(cde)?"), "abcd", None, &[]);
        check(regex(r"ab(cde)?"), "abcdx", Some(5), &["ab"]);
        check(regex(r"ab(cde)?"), "abcde", Some(5), &["abcde"]);
        check(regex(r"a+?"), "aaa", Some(1), &["a"]);
        check(regex(r"^b"), "ab", None, &[]);
        check(regex(r"x$"), "x", None, &[]);
        check(regex(r"^a(b$)?"), "a", None, &[]);
        check(regex(r"^a(b$)?"), "ab", None, &[]);
        check(regex(r"^a(b$)?"), "ac", Some(2), &["a"]);
        check(regex(r"(?m)x$"), "x\n", Some(2), &["x"]);
        check(regex(r"role\b"), "role", None, &[]);
        check(regex(r"role\b"), "role:", Some(5), &["role"]);
        check(regex(r"(?s-u:^.\x00)"), "\u{1}\0", Some(2), &["\u{1}\0"]);
        check(regex(r"slave|role:(?<r>\w+) "), "role:slave ", Some(11), &["role:slave ", "slave"]);
    }

    #[test]
    fn at_the_end_of_the_stream_what_there_is_decides() {
        let mut search = regex(r"lag:(\d+)$");
        assert_eq!(search.feed(b"lag:15"), Found::NotYet);
        assert_eq!(search.matched(b"lag:15").map(|matched| matched.end), Some(6));
    }

    #[test]
    fn a_pattern_that_grows_too_large_gives_up_instead_of_eating_the_machine() {
        let mut search = regex(r"(?s)a.{900}b.{900}c");
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = (0..65_536).map(|_| b"ab"[random.usize(..2)]).collect();
        assert!(matches!(search.feed(&noise), Found::TooCostly(_)));
    }

    #[test]
    fn a_pattern_that_needs_unicode_still_works() {
        check(regex(r"\p{Lu}!"), "éÉ!", Some(5), &["éÉ!"]);
    }

    const PATTERNS: &[&str] = &[
        "ab",
        "a+",
        "a*b",
        "(a|ab)(c|bcd)?",
        "a+?b",
        "(?s)a.*b",
        "^a",
        "b$",
        r"a\b",
        "[^a]{2,3}",
        "(?<x>a+)(?<y>b*)c",
        "a|b|",
        "(ab)+",
        "^a(b$)?",
    ];

    proptest! {
        #[test]
        fn a_decision_does_not_depend_on_segmentation(
            which in 0..PATTERNS.len(), stream in "[abcd ]{0,24}",
            cuts in prop::collection::vec(1_usize..5, 1..9),
        ) {
            let stream = stream.as_bytes();
            let mut whole = regex(PATTERNS[which]);
            let expected = whole.feed(stream);
            let mut cut_up = regex(PATTERNS[which]);
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            let mut found = cut_up.feed(b"");
            while at < stream.len() {
                let next = (at + cuts.next().unwrap()).min(stream.len());
                found = cut_up.feed(&stream[at..next]);
                at = next;
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(cut_up.fed(), stream.len());
        }

        #[test]
        fn what_is_decided_is_what_the_regex_matches_whatever_follows(
            which in 0..PATTERNS.len(), stream in "[abcd ]{0,24}", more in "[abcd ]{0,6}",
        ) {
            let mut search = regex(PATTERNS[which]);
            if let Found::At(at) = search.feed(stream.as_bytes()) {
                let decided = search.matched(&stream.as_bytes()[..at]);
                prop_assert!(decided.is_some());
                prop_assert_eq!(&decided, &search.matched(stream.as_bytes()));
                let longer = format!("{stream}{more}");
                prop_assert_eq!(&decided, &search.matched(longer.as_bytes()));
            }
        }

        #[test]
        fn a_needle_is_found_where_a_plain_search_finds_it(
            needle in "[ab]{1,5}", stream in "[ab]{0,40}",
        ) {
            let expected = stream.find(&needle).map_or(Found::NotYet, |at| Found::At(at + needle.len()));
            prop_assert_eq!(bytes(&needle).feed(stream.as_bytes()), expected);
        }
    }
}
