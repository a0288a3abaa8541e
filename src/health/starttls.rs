//! What is said before TLS begins in the middle of a connection. Pure: bytes in, what to say out.
//!
//! Nobody vouches for what comes before TLS. So nothing of it may be taken for something that came
//! inside: whatever is unread when TLS begins, or comes before it was asked for, fails the check.

use std::sync::Arc;

use crate::config::check::Asking;
use crate::health::fault::FaultKind;
use crate::wire::postgres_request::{self, SSL_REQUEST};

/// A domain that no server knows better, written as RFC 5321 has it for whoever has no name.
const EHLO: &[u8] = b"EHLO [127.0.0.1]\r\n";
const STARTTLS: &[u8] = b"STARTTLS\r\n";
/// Said of what could have been slipped in.
const UNASKED: &str = "more came than was asked for, before TLS has begun";

/// A talk that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Talk(Stage);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS.
    Begin,
    /// PostgreSQL: our request.
    Request,
    /// Its answer.
    Answer,
    /// SMTP: the rest of a line that a step before has begun to read.
    Rest,
    /// The banner.
    Banner,
    /// Our hello.
    Hello,
    /// What is offered; more of the banner may come first.
    Offers,
    /// Our wish.
    Wish,
    /// That it is granted.
    Granted,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Say this, then ask again.
    Send(&'static [u8]),
    /// Hear more, then ask again.
    Read,
    /// Begin TLS.
    Begin,
    /// There will be none.
    Failed {
        /// Why.
        kind: FaultKind,
        /// The telling part of what was heard.
        heard: Vec<u8>,
    },
}

/// A whole reply of SMTP (RFC 5321, section 4.2).
struct Reply<'a> {
    code: [u8; 3],
    text: &'a [u8],
}

/// What is no reply.
struct Malformed;

// === impl Talk ===

impl Talk {
    /// A talk with a target whose last byte that was read so far is `before`.
    pub fn new(asking: Asking, before: Option<u8>) -> Self {
        Self(match (asking, before) {
            (Asking::Nothing, _) => Stage::Begin,
            (Asking::Postgres, _) => Stage::Request,
            (Asking::Smtp, None) => Stage::Banner,
            (Asking::Smtp, Some(b'\n')) => Stage::Hello,
            (Asking::Smtp, Some(_)) => Stage::Rest,
        })
    }

    /// What to do, and how many bytes of `unread` are read with it.
    pub fn next(&mut self, unread: &[u8]) -> (usize, Turn) {
        let mut used = 0;
        loop {
            let rest = &unread[used..];
            let read = match self.0 {
                Stage::Begin if rest.is_empty() => return (used, Turn::Begin),
                Stage::Request if rest.is_empty() => {
                    self.0 = Stage::Answer;
                    return (used, Turn::Send(&SSL_REQUEST));
                }
                Stage::Hello => {
                    self.0 = Stage::Offers;
                    return (used, Turn::Send(EHLO));
                }
                Stage::Wish if rest.is_empty() => {
                    self.0 = Stage::Granted;
                    return (used, Turn::Send(STARTTLS));
                }
                Stage::Begin | Stage::Request | Stage::Wish => Err(failed(UNASKED, rest)),
                Stage::Answer => self.answer(rest),
                Stage::Rest => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.0 = if end.is_some() { Stage::Hello } else { Stage::Rest };
                    let all = if rest.is_empty() { Err(Turn::Read) } else { Ok(rest.len()) };
                    end.map_or(all, |end| Ok(end + 1))
                }
                Stage::Banner | Stage::Offers | Stage::Granted => self.reply(rest),
            };
            match read {
                Ok(count) => used += count,
                Err(turn) => return (used, turn),
            }
        }
    }

    /// PostgreSQL's answer.
    fn answer(&mut self, unread: &[u8]) -> Result<usize, Turn> {
        if unread.is_empty() {
            return Err(Turn::Read);
        }
        self.0 = Stage::Begin;
        postgres_request::answer(unread)
            .map(|()| unread.len())
            .map_err(|declined| failed(&declined.to_string(), unread))
    }

    /// A reply of SMTP.
    fn reply(&mut self, unread: &[u8]) -> Result<usize, Turn> {
        let malformed =
            |Malformed| Turn::Failed { kind: FaultKind::Malformed, heard: unread.to_vec() };
        let reply = reply(unread).map_err(malformed)?.ok_or(Turn::Read)?;
        let code = String::from_utf8_lossy(&reply.code);
        self.0 = match (self.0, &reply.code) {
            (Stage::Banner, b"220") => Stage::Hello,
            (Stage::Offers, b"220") => Stage::Offers,
            (Stage::Offers, b"250") if reply.offers_tls() => Stage::Wish,
            (Stage::Offers, b"250") => {
                return Err(failed("it does not offer STARTTLS", reply.text));
            }
            (Stage::Offers, _) => {
                return Err(failed(&format!("it answers EHLO with {code}"), reply.text));
            }
            (Stage::Granted, b"220") => Stage::Begin,
            (Stage::Granted, _) => {
                return Err(failed(&format!("it answers STARTTLS with {code}"), reply.text));
            }
            (_, _) => return Err(failed(&format!("it begins with {code}"), reply.text)),
        };
        Ok(reply.text.len())
    }
}

fn failed(words: &str, heard: &[u8]) -> Turn {
    Turn::Failed { kind: FaultKind::Tls(Arc::from(words)), heard: heard.to_vec() }
}

/// The first reply of `unread`; `None`: it is not whole yet.
fn reply(unread: &[u8]) -> Result<Option<Reply<'_>>, Malformed> {
    let mut at = 0;
    loop {
        let line = &unread[at..];
        if !line.iter().take(3).all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            let follows = line.get(3).is_none_or(|byte| b" -\r".contains(byte));
            return if follows { Ok(None) } else { Err(Malformed) };
        };
        let (Some(code), Some(follows)) = (line.first_chunk::<3>(), line.get(3)) else {
            return Err(Malformed);
        };
        if end < 3 || !b" -\r\n".contains(follows) {
            return Err(Malformed);
        }
        at += end + 1;
        if *follows != b'-' {
            return Ok(Some(Reply { code: *code, text: &unread[..at] }));
        }
    }
}

impl Reply<'_> {
    fn offers_tls(&self) -> bool {
        let lines = self.text.split(|byte| *byte == b'\n');
        let mut keywords = lines.filter_map(|line| line.get(4..)).map(<[u8]>::trim_ascii);
        keywords.any(|keyword| keyword.eq_ignore_ascii_case(b"STARTTLS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How a talk goes with a server that says these, one after each thing that it hears, cut like
    /// this: what it heard, and how it ended.
    fn talk(asking: Asking, before: Option<u8>, says: &[&[u8]], cut: usize) -> (Vec<u8>, Turn) {
        let (mut talk, mut says) = (Talk::new(asking, before), says.iter());
        let (mut unread, mut heard) = (Vec::new(), Vec::new());
        let mut coming = match (asking, before) {
            // It speaks first.
            (Asking::Smtp, None | Some(b'5')) => says.next().unwrap().to_vec(),
            (_, _) => Vec::new(),
        };
        loop {
            let (used, turn) = talk.next(&unread);
            unread.drain(..used);
            match turn {
                Turn::Send(bytes) => {
                    heard.extend_from_slice(bytes);
                    coming.extend(says.next().into_iter().flat_map(|said| said.to_vec()));
                }
                Turn::Read if coming.is_empty() => return (heard, Turn::Read),
                Turn::Read => {
                    let read = coming.len().min(cut);
                    unread.extend(coming.drain(..read));
                }
                end @ (Turn::Begin | Turn::Failed { .. }) => return (heard, end),
            }
        }
    }

    fn check(asking: Asking, before: Option<u8>, says: &[&[u8]], expected: &str) {
        for cut in [usize::MAX, 1, 3] {
            let said = match talk(asking, before, says, cut).1 {
                Turn::Begin => "begins".to_owned(),
                Turn::Read => "waits".to_owned(),
                Turn::Send(_) => unreachable!("it is not over"),
                Turn::Failed { kind, .. } => kind.to_string(),
            };
            assert_eq!(said, expected, "{} cut at {cut}", says.concat().escape_ascii());
        }
    }

    const BANNER: &[u8] = b"220-mail.test ESMTP\r\n220 hello\r\n";
    const OFFERS: &[u8] = b"250-mail.test\r\n250-SIZE 100\r\n250-StartTLS\r\n250 HELP\r\n";
    const GO: &[u8] = b"220 2.0.0 Ready to start TLS\r\n";

    #[test]
    fn smtp_is_greeted_and_asked_whatever_of_its_banner_was_read_before() {
        let all: &[&[u8]] = &[BANNER, OFFERS, GO];
        check(Asking::Smtp, None, all, "begins");
        let said = talk(Asking::Smtp, None, all, 1).0;
        assert_eq!(said, [EHLO, STARTTLS].concat());
        check(Asking::Smtp, Some(b'\n'), &[OFFERS, GO], "begins");
        check(Asking::Smtp, Some(b'5'), &[&BANNER[5..], OFFERS, GO], "begins");
        check(Asking::Smtp, None, &[b"220\r\n", b"250 STARTTLS\r\n", b"220\n"], "begins");
    }

    #[test]
    fn smtp_that_offers_or_grants_nothing_fails_in_words() {
        let fail = |says: &[&[u8]], words: &str| check(Asking::Smtp, None, says, words);
        fail(&[b"554 go away\r\n"], "TLS: it begins with 554");
        fail(&[BANNER, b"502 what\r\n"], "TLS: it answers EHLO with 502");
        fail(&[BANNER, b"250-a\r\n250 STARTTLSX\r\n"], "TLS: it does not offer STARTTLS");
        fail(&[BANNER, OFFERS, b"454 not now\r\n"], "TLS: it answers STARTTLS with 454");
        fail(&[b"+OK POP3\r\n"], "the answer is not well-formed");
        fail(&[b"22\r\n"], "the answer is not well-formed");
        fail(&[b"220=x\r\n"], "the answer is not well-formed");
        fail(&[BANNER, b"250-a\r\n"], "waits");
    }

    #[test]
    fn what_comes_unasked_before_tls_fails() {
        let fail = |says: &[&[u8]]| {
            let (_, end) = talk(Asking::Smtp, None, says, usize::MAX);
            assert!(
                matches!(&end, Turn::Failed { kind, .. } if kind.to_string().contains(UNASKED)),
                "{end:?}"
            );
        };
        fail(&[BANNER, &[OFFERS, GO].concat()]);
        fail(&[BANNER, OFFERS, b"220 go\r\n250 injected\r\n"]);
        assert!(matches!(Talk::new(Asking::Nothing, None).next(b"x"), (0, Turn::Failed { .. })));
        assert!(matches!(Talk::new(Asking::Postgres, None).next(b"S"), (0, Turn::Failed { .. })));
    }

    #[test]
    fn postgresql_is_asked_once_and_says_yes_or_not() {
        check(Asking::Postgres, None, &[b"S"], "begins");
        assert_eq!(talk(Asking::Postgres, None, &[b"S"], 1).0, SSL_REQUEST);
        check(
            Asking::Postgres,
            None,
            &[b"N"],
            "TLS: it answers PostgreSQL's request for TLS with no",
        );
        let (_, end) = talk(Asking::Postgres, None, &[b"Sx"], 2);
        assert!(matches!(end, Turn::Failed { .. }), "{end:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_begin_leaves_none_unread(
            bytes in prop::collection::vec(prop::sample::select(b"25034 -\r\nSTARLx".to_vec()), 0..80),
            asking in prop::sample::select(vec![Asking::Nothing, Asking::Smtp, Asking::Postgres]),
            before in prop::option::of(any::<u8>()),
        ) {
            let (mut talk, mut unread) = (Talk::new(asking, before), bytes);
            for _ in 0..10 {
                let (used, turn) = talk.next(&unread);
                prop_assert!(used <= unread.len());
                unread.drain(..used);
                prop_assert!(turn != Turn::Begin || unread.is_empty());
                if !matches!(turn, Turn::Send(_)) { break }
            }
        }
    }
}
