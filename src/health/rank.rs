//! The rank of a target that claims the lead: what tells several of them apart. Pure.
//!
//! A whole number, compared exactly: a replication offset beyond 2^53 is not rounded. A decimal is
//! no rank, for two ways to write one number would be two ranks.

use std::fmt;

use crate::config::check::Template;
use crate::health::fill::{Facts, NoCapture};
use crate::health::shown::Masker;

/// Of a text that is no number, this many bytes are shown.
const SHOWN: usize = 32;

/// A rank: the higher one leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(i128);

// === impl Rank ===

impl Rank {
    /// What `template` makes of a run's captures.
    ///
    /// # Errors
    /// Why that is no rank, for people.
    pub fn of(template: &Template, facts: &Facts, masker: &Masker) -> Result<Self, String> {
        let filled = facts.fill(template).map_err(|NoCapture(name)| {
            format!("nothing was captured as `{}`", name.escape_debug())
        })?;
        if masker.is_secret(filled.trim_ascii()) {
            // A rank is shown; a target that echoes a secret as a number must not make it one.
            return Err("it is a secret of the script".to_owned());
        }
        Self::parse(&filled)
            .ok_or_else(|| format!("{} is no whole number", masker.excerpt(&filled, SHOWN)))
    }

    /// A whole number of up to 38 digits, blanks around it aside.
    pub fn parse(text: &[u8]) -> Option<Self> {
        std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok().map(Self)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{Action, Part, Script, Step};
    use crate::config::names::TargetAddress;

    fn rank(text: &str) -> Option<Rank> {
        Rank::parse(text.as_bytes())
    }

    #[test]
    fn ranks_are_compared_exactly() {
        for (lower, higher) in [
            ("9", "10"),
            ("-1", "0"),
            ("9007199254740992", "9007199254740993"),
            ("18446744073709551614", "18446744073709551615"),
            ("170141183460469231731687303715884105726", "170141183460469231731687303715884105727"),
        ] {
            assert!(rank(lower).unwrap() < rank(higher).unwrap(), "{lower} {higher}");
        }
        assert_eq!(rank(" 007\r"), rank("+7"));
        assert_eq!(rank("18446744073709551615").unwrap().to_string(), "18446744073709551615");
    }

    #[test]
    fn what_is_no_whole_number_is_no_rank() {
        let longer = "170141183460469231731687303715884105728";
        for text in ["", "-", "1.5", "1e3", "0x10", "0/3000060", "nan", "1 2", "7\0", longer] {
            assert_eq!(rank(text), None, "{text:?}");
        }
        assert_eq!(Rank::parse(b"\xff1"), None);
    }

    #[test]
    fn it_is_made_of_captures_and_says_why_where_it_cannot_be() {
        let parts = vec![Part::Secret(b"4711".to_vec())];
        let step = Step { action: Action::Send(Template { parts }), timeout: None };
        let masker = Masker::of(&Script { steps: vec![step], ..Script::default() });
        let template = Template { parts: vec![Part::Capture("offset".into())] };
        let of = |captured: Option<&[u8]>| {
            let mut facts = Facts::of(&TargetAddress::Ip("127.0.0.1:1".parse().unwrap()));
            if let Some(captured) = captured {
                facts.capture("offset", captured);
            }
            Rank::of(&template, &facts, &masker)
        };
        assert_eq!(of(Some(b"10")), Ok(Rank(10)));
        assert_eq!(of(None), Err("nothing was captured as `offset`".to_owned()));
        assert_eq!(of(Some(b"1\x1b4")), Err("\"1\\x1b4\" is no whole number".to_owned()));
        assert_eq!(of(Some(b"4711 ")), Err("it is a secret of the script".to_owned()));
        let long = of(Some(&[b'9'; 1000])).unwrap_err();
        assert!(long.len() < 100, "{long}");
    }
}
