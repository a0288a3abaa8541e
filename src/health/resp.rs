//! RESP (the Redis serialisation protocol, 2 and 3) on the reply side: where does a reply end?
//!
//! Incremental and strict: a byte that RESP does not allow ends it for good. Keeps a header line
//! and the open aggregates, never what they hold, so a peer cannot make it grow.

/// Aggregates in aggregates, at most.
const DEPTH: usize = 32;

/// The longest header line that has a number in it.
const HEADER: usize = 64;

/// Follows a stream of replies.
#[derive(Debug, Default)]
pub struct ReplyParser {
    state: State,
    open: Vec<Aggregate>,
    top: Top,
}

/// How far the parser came with the bytes it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All are used up, and no reply ended with them.
    More,
    /// A reply ended after this many of them; the rest were not looked at.
    Complete {
        /// How many bytes were used.
        used: usize,
        /// What ended.
        kind: ReplyKind,
    },
    /// This many of them were RESP, and the next one is not.
    NotResp {
        /// How many bytes were good.
        used: usize,
    },
}

/// What a complete reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// The answer to a command.
    Answer,
    /// An error, as an answer to a command.
    Error,
    /// Out of band (RESP3 push): the answer to no command.
    Push,
}

#[derive(Debug, Default)]
enum State {
    /// The first byte of a value.
    #[default]
    Type,
    /// In a line that ends with CR LF.
    Line { kind: u8, text: Vec<u8>, after_cr: bool },
    /// In the bytes of a bulk, then its CR LF.
    Bulk { left: u64, ending: u8 },
    /// Beyond repair.
    Broken,
}

#[derive(Debug)]
struct Aggregate {
    left: u64,
    /// An attribute goes before a value and is none itself.
    attribute: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum Top {
    #[default]
    Answer,
    Error,
    Push,
}

/// What one byte did.
enum After {
    Goes,
    ValueEnded,
    Broke,
}

impl ReplyParser {
    /// Nothing of a next reply has been seen yet.
    pub fn is_between_replies(&self) -> bool {
        matches!(self.state, State::Type) && self.open.is_empty()
    }

    /// Follows `bytes` up to the end of the first reply in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let mut used = 0;
        while used < bytes.len() {
            if let State::Bulk { left, .. } = &mut self.state
                && *left > 0
            {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - used);
                *left -= step as u64;
                used += step;
                continue;
            }
            match self.byte(bytes[used]) {
                After::Goes => used += 1,
                After::ValueEnded => {
                    used += 1;
                    if self.value_ended() {
                        return Progress::Complete { used, kind: self.finish() };
                    }
                }
                After::Broke => {
                    self.state = State::Broken;
                    return Progress::NotResp { used };
                }
            }
        }
        Progress::More
    }

    fn byte(&mut self, byte: u8) -> After {
        match &mut self.state {
            State::Type => self.type_byte(byte),
            State::Line { kind, text, after_cr } => match (byte, *after_cr) {
                (b'\n', true) => {
                    let (kind, text) = (*kind, std::mem::take(text));
                    self.header(kind, &text)
                }
                (_, true) | (b'\n', false) => After::Broke,
                (b'\r', false) => {
                    *after_cr = true;
                    After::Goes
                }
                (_, false) => keep(*kind, text, byte),
            },
            State::Bulk { ending, .. } => match (*ending, byte) {
                (0, b'\r') => {
                    *ending = 1;
                    After::Goes
                }
                (1, b'\n') => After::ValueEnded,
                _ => After::Broke,
            },
            State::Broken => After::Broke,
        }
    }

    fn type_byte(&mut self, kind: u8) -> After {
        if !b"+-:$*_#,(!=%~>|".contains(&kind) {
            return After::Broke;
        }
        let nested = !self.open.is_empty();
        match kind {
            b'>' if nested => return After::Broke,
            b'>' => self.top = Top::Push,
            b'-' | b'!' if !nested => self.top = Top::Error,
            _ => {}
        }
        self.state = State::Line { kind, text: Vec::new(), after_cr: false };
        After::Goes
    }

    /// A header line is complete.
    fn header(&mut self, kind: u8, text: &[u8]) -> After {
        self.state = State::Type;
        let text = std::str::from_utf8(text).unwrap_or("?");
        match kind {
            b'+' | b'-' => After::ValueEnded,
            b':' | b'(' => ended_if(is_integer(text)),
            b',' => ended_if(is_double(text)),
            b'_' => ended_if(text.is_empty()),
            b'#' => ended_if(text == "t" || text == "f"),
            b'$' | b'!' | b'=' => match text.parse::<u64>() {
                Ok(left) => {
                    self.state = State::Bulk { left, ending: 0 };
                    After::Goes
                }
                Err(_) => ended_if(kind == b'$' && text == "-1"),
            },
            _ => self.open_aggregate(kind, text),
        }
    }

    fn open_aggregate(&mut self, kind: u8, text: &str) -> After {
        let Ok(count) = text.parse::<u64>() else {
            return ended_if(kind == b'*' && text == "-1");
        };
        let pairs = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
        let Some(left) = count.checked_mul(pairs) else { return After::Broke };
        let attribute = kind == b'|';
        if self.open.len() >= DEPTH {
            return After::Broke;
        }
        match (left, attribute) {
            (0, false) => After::ValueEnded,
            (0, true) => After::Goes,
            (_, _) => {
                self.open.push(Aggregate { left, attribute });
                After::Goes
            }
        }
    }

    /// A value ended; was it a whole reply?
    fn value_ended(&mut self) -> bool {
        self.state = State::Type;
        while let Some(aggregate) = self.open.last_mut() {
            aggregate.left -= 1;
            if aggregate.left > 0 {
                return false;
            }
            let attribute = aggregate.attribute;
            self.open.pop();
            if attribute {
                // The value that it describes is still to come.
                return false;
            }
        }
        true
    }

    fn finish(&mut self) -> ReplyKind {
        match std::mem::take(&mut self.top) {
            Top::Answer => ReplyKind::Answer,
            Top::Error => ReplyKind::Error,
            Top::Push => ReplyKind::Push,
        }
    }
}

fn ended_if(good: bool) -> After {
    if good { After::ValueEnded } else { After::Broke }
}

/// One more byte of a line: text is skipped, numbers are kept.
fn keep(kind: u8, text: &mut Vec<u8>, byte: u8) -> After {
    if matches!(kind, b'+' | b'-') {
        return After::Goes;
    }
    // A big number has no bound of its own: its digits are checked, its length is not kept.
    if kind == b'(' && text.len() >= 2 && byte.is_ascii_digit() {
        return After::Goes;
    }
    if text.len() >= HEADER {
        return After::Broke;
    }
    text.push(byte);
    After::Goes
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_double(text: &str) -> bool {
    matches!(text, "inf" | "-inf" | "+inf" | "nan" | "-nan")
        || (text.starts_with(['+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
            && text.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: &[&[u8]] = &[
        b"+PONG\r\n",
        b"-LOADING wait\r\n",
        b":-42\r\n",
        b"$5\r\nab\r\nc\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
        b"%1\r\n+k\r\n+v\r\n",
        b"~1\r\n#t\r\n",
        b"_\r\n",
        b",-1.5e3\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"!5\r\nERR x\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"|1\r\n+ttl\r\n:3\r\n+value\r\n",
        b"*1\r\n|1\r\n+a\r\n+b\r\n:9\r\n",
        b">2\r\n+message\r\n+hi\r\n",
    ];

    fn kind_of(reply: &[u8]) -> ReplyKind {
        match reply[0] {
            b'-' | b'!' => ReplyKind::Error,
            b'>' => ReplyKind::Push,
            _ => ReplyKind::Answer,
        }
    }

    #[test]
    fn every_type_ends_where_it_ends() {
        for reply in ALL {
            let mut stream = reply.to_vec();
            stream.extend_from_slice(b"+next");
            let expected = Progress::Complete { used: reply.len(), kind: kind_of(reply) };
            assert_eq!(ReplyParser::default().feed(&stream), expected, "{reply:?}");
            let cut = &reply[..reply.len() - 1];
            assert_eq!(ReplyParser::default().feed(cut), Progress::More, "{reply:?}");
        }
    }

    #[test]
    fn what_is_not_resp_breaks_it_at_the_first_wrong_byte() {
        for (bytes, used) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], 0),
            (b"220 ready\r\n", 0),
            (b"+OK\n", 3),
            (b"+OK\rx", 4),
            (b":12a\r\n", 5),
            (b":\r\n", 2),
            (b"$3\r\nabcd\r\n", 7),
            (b"$-2\r\n", 4),
            (b"*1\r\nx", 4),
            (b"#x\r\n", 3),
            (b"$?\r\n", 3),
            (b"*1\r\n>1\r\n", 4),
            (b"%9999999999999999999\r\n", 21),
            (b",abc\r\n", 5),
        ] {
            let mut parser = ReplyParser::default();
            assert_eq!(parser.feed(bytes), Progress::NotResp { used }, "{bytes:?}");
            assert_eq!(parser.feed(b"+OK\r\n"), Progress::NotResp { used: 0 }, "it stays broken");
        }
    }

    #[test]
    fn nesting_and_lengths_cannot_make_it_grow() {
        let deep: Vec<u8> = b"*1\r\n".repeat(100_000);
        assert!(matches!(ReplyParser::default().feed(&deep), Progress::NotResp { .. }));
        let mut parser = ReplyParser::default();
        assert_eq!(
            parser.feed(b"*18446744073709551615\r\n$18446744073709551615\r\nabc"),
            Progress::More
        );
        let long = [b":".as_slice(), &[b'1'; 100_000]].concat();
        assert!(matches!(ReplyParser::default().feed(&long), Progress::NotResp { .. }));
    }

    proptest! {
        #[test]
        fn the_ends_do_not_depend_on_segmentation(
            which in prop::collection::vec(0..ALL.len(), 1..6),
            cuts in prop::collection::vec(1_usize..7, 1..40),
        ) {
            let stream: Vec<u8> = which.iter().flat_map(|index| ALL[*index].to_vec()).collect();
            let expected: Vec<ReplyKind> = which.iter().map(|index| kind_of(ALL[*index])).collect();
            let (mut parser, mut heard, mut at) = (ReplyParser::default(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let mut piece = &stream[at..(at + cut).min(stream.len())];
                at += piece.len();
                while let Progress::Complete { used, kind } = parser.feed(piece) {
                    heard.push(kind);
                    piece = &piece[used..];
                }
                if at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(heard, expected);
            prop_assert!(parser.is_between_replies());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _progress = ReplyParser::default().feed(&bytes);
        }
    }
}
