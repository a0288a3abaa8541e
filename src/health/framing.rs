//! Whether the end of a reply can be known: as many whole RESP replies as RESP commands were sent.
//!
//! Positions count the bytes of the whole stream that the target sent, from 0, so that nothing
//! here depends on how that stream was cut into reads.

use crate::config::check::Framing;
use crate::health::resp::{Progress, ReplyKind, ReplyParser};

/// Commands that are answered any number of times, or not at all.
const UNCOUNTED: &[&str] = &[
    "monitor",
    "psubscribe",
    "psync",
    "punsubscribe",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
];

/// Follows both directions of one check.
#[derive(Debug)]
pub struct Exchange {
    mode: Framing,
    parser: ReplyParser,
    /// Sent bytes that are not a whole command yet; only where RESP is forced.
    partial: Vec<u8>,
    commands: u64,
    answers: u64,
    /// Everything before this position has been parsed.
    cursor: u64,
    /// The reply being parsed began while no command was unanswered.
    unasked: bool,
    reply_began: u64,
    last_answer: u64,
    last_error: Option<Span>,
}

/// What is known at a position of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Every command sent so far has had its whole reply, the last of which ends here.
    Answered {
        /// The end of the last reply.
        at: u64,
    },
    /// RESP was forced, and the byte before this position is not RESP.
    Malformed {
        /// Just behind the byte that is not RESP.
        at: u64,
    },
}

/// Where a reply stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: u64,
    /// Behind its last one.
    pub end: u64,
}

impl Exchange {
    /// Nothing was sent and nothing heard.
    pub fn new(mode: Framing) -> Self {
        Self {
            mode,
            parser: ReplyParser::default(),
            partial: Vec::new(),
            commands: 0,
            answers: 0,
            cursor: 0,
            unasked: false,
            reply_began: 0,
            last_answer: 0,
            last_error: None,
        }
    }

    /// These bytes are sent.
    pub fn sent(&mut self, bytes: &[u8]) {
        match self.mode {
            Framing::None => {}
            Framing::Detect => match count(bytes) {
                Some(Counted { commands, rest: 0 }) => self.commands += commands,
                Some(_) | None => self.mode = Framing::None,
            },
            Framing::Resp => {
                self.partial.extend_from_slice(bytes);
                match count(&self.partial) {
                    Some(Counted { commands, rest }) => {
                        self.commands += commands;
                        self.partial.drain(..self.partial.len() - rest);
                    }
                    // Answered any number of times: from here on nothing can be known.
                    None => self.mode = Framing::None,
                }
            }
        }
    }

    /// Looks at what is unread (it begins at position `base`) as far as it answers commands.
    pub fn look(&mut self, unread: &[u8], base: u64) -> Option<Known> {
        while self.mode != Framing::None && self.commands > self.answers {
            let fresh = unread.get(offset(self.cursor, base)..).unwrap_or_default();
            if fresh.is_empty() {
                return None;
            }
            if let Some(malformed) = self.step(fresh) {
                return Some(malformed);
            }
        }
        let known = self.mode != Framing::None && self.commands > 0 && self.partial.is_empty();
        known.then_some(Known::Answered { at: self.cursor.max(base) })
    }

    /// The script has used what lies before `end`; `unread` begins at `base`.
    ///
    /// What was used without being the answer to a command shows that the target speaks by itself:
    /// then no count of replies means anything, unless RESP is forced, where it is left uncounted.
    pub fn used(&mut self, unread: &[u8], base: u64, end: u64) -> Option<Known> {
        while self.cursor < end {
            match self.mode {
                Framing::None => return None,
                Framing::Detect => {
                    self.mode = Framing::None;
                    return None;
                }
                Framing::Resp => {
                    let fresh = &unread[offset(self.cursor, base)..offset(end, base)];
                    if let Some(malformed) = self.step(fresh) {
                        return Some(malformed);
                    }
                }
            }
        }
        None
    }

    /// Did an error come among the replies that ended behind `base`? Then which.
    pub fn error_since(&self, base: u64) -> Option<Span> {
        self.last_error.filter(|error| error.end > base)
    }

    /// Where the last whole reply begins.
    pub fn last_answer(&self) -> u64 {
        self.last_answer
    }

    /// Parses `fresh` (it begins at the cursor) up to the end of the first reply in it.
    fn step(&mut self, fresh: &[u8]) -> Option<Known> {
        if self.parser.is_between_replies() {
            self.unasked = self.commands == self.answers;
            self.reply_began = self.cursor;
        }
        match self.parser.feed(fresh) {
            Progress::More => self.cursor += fresh.len() as u64,
            Progress::Complete { used, kind } => {
                self.cursor += used as u64;
                self.replied(kind);
            }
            Progress::NotResp { used } => {
                self.cursor += used as u64;
                let at = self.cursor + 1;
                let forced = self.mode == Framing::Resp;
                if !forced {
                    self.mode = Framing::None;
                }
                return forced.then_some(Known::Malformed { at });
            }
        }
        None
    }

    fn replied(&mut self, kind: ReplyKind) {
        match kind {
            ReplyKind::Push => return,
            ReplyKind::Answer => {}
            ReplyKind::Error => {
                self.last_error = Some(Span { start: self.reply_began, end: self.cursor });
            }
        }
        if !self.unasked {
            self.answers += 1;
            self.last_answer = self.reply_began;
        }
    }
}

/// The index of `position` in bytes that begin at `base`.
fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position.saturating_sub(base)).unwrap_or(usize::MAX)
}

struct Counted {
    commands: u64,
    /// Bytes at the end that are no whole command yet.
    rest: usize,
}

/// How many commands these bytes are; `None`: they are none, or are not answered one by one.
fn count(bytes: &[u8]) -> Option<Counted> {
    let mut rest = bytes;
    let mut commands = 0;
    while !rest.is_empty() {
        let taken = if rest[0] == b'*' { array(rest)? } else { inline(rest) };
        let Some((command, words)) = taken else { break };
        rest = &rest[command..];
        if words.first().is_some_and(|word| UNCOUNTED.contains(&word.as_str()))
            || words == ["client", "reply"]
        {
            return None;
        }
        commands += u64::from(!words.is_empty());
    }
    Some(Counted { commands, rest: rest.len() })
}

/// A command's length and its first two words, lower case; no words: an empty one, never answered.
type Taken = Option<(usize, Vec<String>)>;

fn inline(bytes: &[u8]) -> Taken {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let words = bytes[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Some((end + 1, words.take(2).map(lower).collect()))
}

/// Outer `None`: not RESP. Inner `None`: not whole yet.
fn array(bytes: &[u8]) -> Option<Taken> {
    let Some((count, mut at)) = header(bytes, b'*')? else { return Some(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((length, used)) = header(&bytes[at..], b'$')? else { return Some(None) };
        let start = at + used;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length))?;
        match bytes.get(end..end.checked_add(2)?) {
            Some(b"\r\n") => {}
            Some(_) => return None,
            None => return Some(None),
        }
        if words.len() < 2 {
            words.push(lower(&bytes[start..end]));
        }
        at = end + 2;
    }
    Some(Some((at, words)))
}

/// A line of `kind` and a count. Outer `None`: not that. Inner `None`: not whole yet.
fn header(bytes: &[u8], kind: u8) -> Option<Option<(u64, usize)>> {
    match bytes.first() {
        None => return Some(None),
        Some(first) if *first != kind => return None,
        Some(_) => {}
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Some(None) };
    let text = std::str::from_utf8(&bytes[1..end]).ok()?;
    let count = if text == "-1" { 0 } else { text.parse().ok()? };
    Some(Some((count, end + 2)))
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends, then hears; what is known then?
    fn known(mode: Framing, sent: &[&[u8]], heard: &[u8]) -> Option<Known> {
        let mut exchange = Exchange::new(mode);
        for bytes in sent {
            exchange.sent(bytes);
        }
        exchange.look(heard, 0)
    }

    fn check(sent: &[&[u8]], heard: &[u8], expected: Option<u64>) {
        let expected = expected.map(|at| Known::Answered { at });
        assert_eq!(known(Framing::Detect, sent, heard), expected, "{sent:?} {heard:?}");
    }

    #[test]
    fn as_many_replies_as_commands_are_an_answer() {
        check(&[b"PING\r\n"], b"+PONG\r\n", Some(7));
        check(&[b"PING\r\n"], b"+PONG\r", None);
        check(&[b"PING\r\nINFO\r\n"], b"+PONG\r\n", None);
        check(&[b"PING\r\nINFO\r\n"], b"+PONG\r\n$1\r\nx\r\n", Some(14));
        check(&[b"PING\r\n", b"\r\n", b"PING\n"], b"+PONG\r\n+PONG\r\n", Some(14));
        check(&[b"*1\r\n$4\r\nPING\r\n"], b"+PONG\r\n", Some(7));
        check(&[b"PING\r\n"], b"+PONG\r\n+more\r\n", Some(7));
    }

    #[test]
    fn a_push_answers_nothing() {
        check(&[b"PING\r\n"], b">1\r\n+hi\r\n", None);
        check(&[b"PING\r\n"], b">1\r\n+hi\r\n+PONG\r\n", Some(16));
    }

    #[test]
    fn what_is_not_resp_in_either_direction_ends_the_detection() {
        check(&[b"EHLO x\r\n"], b"250 ok\r\n+OK\r\n", None);
        check(&[b"PING"], b"+PONG\r\n", None);
        check(&[b"*1\r\n$9\r\nPING\r\n"], b"+PONG\r\n", None);
        check(&[b"*1\r\nPING\r\n"], b"+PONG\r\n", None);
        check(&[], b"+PONG\r\n", None);
    }

    #[test]
    fn commands_that_are_not_answered_one_by_one_end_it() {
        check(&[b"SUBSCRIBE a b\r\n"], b"+x\r\n", None);
        check(&[b"CLIENT REPLY OFF\r\n"], b"+x\r\n", None);
        check(&[b"CLIENT SETNAME x\r\n"], b"+OK\r\n", Some(5));
        check(&[b"*2\r\n$9\r\nSubscribe\r\n$1\r\na\r\n"], b"+x\r\n", None);
    }

    #[test]
    fn a_target_that_greets_ends_it() {
        let mut exchange = Exchange::new(Framing::Detect);
        assert_eq!(exchange.used(b"+OK ready\r\n", 0, 3), None);
        exchange.sent(b"CAPA\r\n");
        assert_eq!(exchange.look(b" ready\r\n+OK\r\n", 3), None);
    }

    #[test]
    fn where_it_is_forced_a_greeting_is_left_uncounted() {
        let mut exchange = Exchange::new(Framing::Resp);
        assert_eq!(exchange.used(b"+OK ready\r\n", 0, 3), None);
        exchange.sent(b"PI");
        exchange.sent(b"NG\r\n");
        assert_eq!(exchange.look(b" ready\r\n", 3), None);
        let known = exchange.look(b" ready\r\n+PONG\r\n", 3);
        assert_eq!(known, Some(Known::Answered { at: 18 }));
    }

    #[test]
    fn where_it_is_forced_what_is_not_resp_is_malformed() {
        let known = known(Framing::Resp, &[b"PING\r\n"], b"HTTP/1.1 400\r\n");
        assert_eq!(known, Some(Known::Malformed { at: 1 }));
        let mut exchange = Exchange::new(Framing::Resp);
        exchange.sent(b"PING\r\nPING\r\n");
        for _ in 0..2 {
            let known = exchange.look(b"+PONG\r\nPONG\r\n", 0);
            assert_eq!(known, Some(Known::Malformed { at: 8 }), "also when asked again");
        }
    }

    #[test]
    fn an_error_is_known_from_where_it_begins_to_where_it_ends() {
        let mut exchange = Exchange::new(Framing::Detect);
        exchange.sent(b"AUTH x\r\nPING\r\n");
        assert!(exchange.look(b"-ERR no\r\n+PONG\r\n", 0).is_some());
        assert_eq!(exchange.error_since(0), Some(Span { start: 0, end: 9 }));
        assert_eq!(exchange.error_since(9), None);
        assert_eq!(exchange.last_answer(), 9);
    }
}
