//! PostgreSQL's request for TLS: what a client says before its hello, and what a server answers.
//!
//! Protocol 3.0, "SSL Session Encryption" in PostgreSQL's manual. The first packet of a client has
//! a length and a code; no TLS record begins with such a length, so nothing here is a guess. What
//! a client is told does not depend on how its bytes were cut into reads, but for this: what comes
//! together with a request has been said before the answer, and is refused, whatever it is
//! (CVE-2021-23214). A server's answer is one byte, and the same holds for it (CVE-2021-23222).

/// A client asks for TLS.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// A client asks for encryption by GSSAPI.
pub const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// A client asks to cancel what another connection does; the key of that one follows.
const CANCEL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2e];
/// The yes to a request.
pub const YES: u8 = b'S';
/// The no to a request.
pub const NO: u8 = b'N';
/// PostgreSQL takes no longer packet before it knows who it is.
const LONGEST: u32 = 10_000;

/// What a client asked before its hello, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests {
    /// For TLS.
    pub tls: bool,
    /// For GSSAPI.
    gss: bool,
}

/// What follows from what a client has said since it was answered last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It has no request, or none any more: whatever it is, it is for TLS to judge.
    Hello,
    /// A request, which is all that it said: this is the answer.
    Answer(u8),
    /// It is to be refused.
    Refuse(Refusal),
}

/// Why a client of PostgreSQL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks in the clear.
    #[error("a PostgreSQL client began without TLS")]
    InTheClear,
    /// It wants to cancel something, in the clear.
    #[error("a PostgreSQL client asked in the clear to cancel a query")]
    CancelInTheClear,
    /// It said more than its request before that was answered.
    #[error("more followed a PostgreSQL client's request before it was answered")]
    Glued,
    /// It asked for the same twice.
    #[error("a PostgreSQL client asked for the same encryption twice")]
    Repeated,
}

/// Why a server's answer to a request for TLS is no yes. It is the target that is spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// No.
    #[error("it answers PostgreSQL's request for TLS with no")]
    No,
    /// An error.
    #[error("it answers PostgreSQL's request for TLS with an error")]
    Error,
    /// Nothing that PostgreSQL answers.
    #[error("what it answers to PostgreSQL's request for TLS is not PostgreSQL")]
    Foreign,
    /// A yes, and more that nobody vouches for.
    #[error("it says more than yes to PostgreSQL's request for TLS, before TLS has begun")]
    Glued,
}

// === impl Requests ===

impl Requests {
    /// Reads `said`, all that the client has said since it was answered last. `None`: it takes
    /// more to know.
    pub fn read(&mut self, said: &[u8]) -> Option<Opening> {
        if self.tls || !may_be_packet(said) {
            return Some(Opening::Hello);
        }
        let (length, rest) = said.split_first_chunk::<4>()?;
        let (code, _) = rest.split_first_chunk::<4>()?;
        let known = match *code {
            _ if said.starts_with(&SSL_REQUEST) => {
                self.tls = true;
                return Some(if said.len() == 8 { Opening::Answer(YES) } else { glued() });
            }
            _ if said.starts_with(&GSS_REQUEST) => {
                let repeated = std::mem::replace(&mut self.gss, true);
                return Some(match (repeated, said.len()) {
                    (true, _) => Opening::Refuse(Refusal::Repeated),
                    (false, 8) => Opening::Answer(NO),
                    (false, _) => glued(),
                });
            }
            CANCEL_REQUEST => Refusal::CancelInTheClear,
            // The major version of its protocol.
            [0, 2 | 3, _, _] => Refusal::InTheClear,
            _ => return Some(Opening::Hello),
        };
        // A client that has said all that it had to say hears why; another one might not.
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        (said.len() >= length).then_some(Opening::Refuse(known))
    }
}

fn glued() -> Opening {
    Opening::Refuse(Refusal::Glued)
}

/// Could a packet of PostgreSQL begin so?
fn may_be_packet(said: &[u8]) -> bool {
    match said.split_first_chunk::<4>() {
        Some((length, _)) => (8..=LONGEST).contains(&u32::from_be_bytes(*length)),
        None => said.iter().take(2).all(|byte| *byte == 0),
    }
}

// === impl Refusal ===

impl Refusal {
    /// The last words to the client: a PostgreSQL `ErrorResponse`.
    pub fn words(self) -> Vec<u8> {
        let (code, message) = match self {
            Self::InTheClear | Self::CancelInTheClear => {
                ("28000", "this port speaks TLS only; use sslmode=require or better")
            }
            Self::Glued => ("08P01", "unencrypted data followed the request for encryption"),
            Self::Repeated => ("08P01", "this encryption was asked for already"),
        };
        let body = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [b"E", &length.to_be_bytes()[..], body.as_bytes()].concat()
    }
}

/// Reads what a server has answered to a request for TLS, which is something.
///
/// # Errors
/// It is no yes.
pub fn answer(said: &[u8]) -> Result<(), Declined> {
    match said {
        [YES] => Ok(()),
        [YES, ..] => Err(Declined::Glued),
        [NO, ..] => Err(Declined::No),
        [b'E', ..] => Err(Declined::Error),
        _ => Err(Declined::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START_UP: &[u8] = b"\0\0\0\x15\0\x03\0\0user\0nobody\0\0";
    const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";

    /// What is made of these bytes in reads of these sizes: each answer, and how it ends.
    fn told(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Opening>) {
        let (mut requests, mut answers, mut said) = (Requests::default(), Vec::new(), Vec::new());
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let (read, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            said.extend_from_slice(read);
            rest = after;
            match requests.read(&said) {
                None => {}
                Some(Opening::Answer(byte)) => {
                    answers.push(byte);
                    said.clear();
                }
                Some(end) => return (answers, Some(end)),
            }
        }
        (answers, None)
    }

    fn check(bytes: &[u8], cuts: &[usize], answers: &[u8], end: Option<Opening>) {
        assert_eq!(told(bytes, cuts), (answers.to_vec(), end), "{} {cuts:?}", bytes.escape_ascii());
    }

    #[test]
    fn a_request_for_tls_is_answered_and_then_comes_the_hello() {
        let request = [&SSL_REQUEST[..], &[22, 3, 1]].concat();
        check(&request, &[8, 3], b"S", Some(Opening::Hello));
        check(&request, &[1], b"S", Some(Opening::Hello));
        check(&SSL_REQUEST[..7], &[1], b"", None);
        let both = [&GSS_REQUEST[..], &SSL_REQUEST, &[22]].concat();
        check(&both, &[8, 8, 1], b"NS", Some(Opening::Hello));
        check(&both, &[1], b"NS", Some(Opening::Hello));
        // It may do without the second one: TLS says what it is.
        check(&[&GSS_REQUEST[..], &[22]].concat(), &[8, 1], b"N", Some(Opening::Hello));
    }

    #[test]
    fn what_is_glued_to_a_request_or_repeats_it_is_refused() {
        let glued = Some(Opening::Refuse(Refusal::Glued));
        check(&[&SSL_REQUEST[..], &[22]].concat(), &[9], b"", glued);
        check(&[&SSL_REQUEST[..], START_UP].concat(), &[7, 20], b"", glued);
        check(&[&GSS_REQUEST[..], &SSL_REQUEST].concat(), &[16], b"", glued);
        let twice = Some(Opening::Refuse(Refusal::Repeated));
        check(&[GSS_REQUEST, GSS_REQUEST].concat(), &[8], b"N", twice);
        // Behind a yes everything is TLS's, which takes none of it.
        check(&[SSL_REQUEST, SSL_REQUEST].concat(), &[8], b"S", Some(Opening::Hello));
    }

    #[test]
    fn in_the_clear_it_is_refused_once_it_has_been_heard_out() {
        let (clear, cancel) = (Refusal::InTheClear, Refusal::CancelInTheClear);
        check(START_UP, &[1], b"", Some(Opening::Refuse(clear)));
        check(&START_UP[..20], &[4], b"", None);
        check(&[&GSS_REQUEST[..], START_UP].concat(), &[8, 30], b"N", Some(Opening::Refuse(clear)));
        check(CANCEL, &[16], b"", Some(Opening::Refuse(cancel)));
        let said = clear.words();
        assert_eq!(said[0], b'E');
        assert_eq!(said.len(), 1 + usize::from(said[4]));
        assert!(
            said.ends_with(
                b"C28000\0Mthis port speaks TLS only; use sslmode=require or better\0\0"
            )
        );
    }

    #[test]
    fn whatever_is_no_packet_is_for_tls_to_judge() {
        for other in [
            &[22, 3, 1][..],
            b"GET / HTTP/1.1\r\n",
            &[0; 8],
            &[0, 1],
            // Longer than PostgreSQL takes.
            &[0, 0, 0x27, 0x11],
            // A code of nobody's.
            &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x31],
            &[0x80, 0x2e, 1, 3, 1],
        ] {
            check(other, &[usize::MAX], b"", Some(Opening::Hello));
            check(other, &[1], b"", Some(Opening::Hello));
        }
    }

    #[test]
    fn a_yes_is_one_byte_and_nothing_else() {
        assert_eq!(answer(b"S"), Ok(()));
        assert_eq!(answer(b"SS"), Err(Declined::Glued));
        assert_eq!(answer(b"N"), Err(Declined::No));
        assert_eq!(answer(b"Esorry, too many clients already\n\0"), Err(Declined::Error));
        assert_eq!(answer(b"-ERR unknown command"), Err(Declined::Foreign));
        assert_eq!(answer(b""), Err(Declined::Foreign));
    }

    proptest! {
        #[test]
        fn single_requests_are_told_the_same_in_any_slices(
            start in prop::sample::select(vec![&SSL_REQUEST[..], &GSS_REQUEST, START_UP, CANCEL, b""]),
            rest in prop::collection::vec(any::<u8>(), 0..40),
            cuts in prop::collection::vec(1..9_usize, 1..6),
        ) {
            // A client that waits for the answer to what it has asked.
            let waits = start.len() == 8;
            let mut by_cuts = cuts.clone();
            if waits {
                let (mut left, mut kept) = (8, Vec::new());
                for cut in cuts.iter().cycle() {
                    kept.push((*cut).min(left));
                    left -= kept[kept.len() - 1];
                    if left == 0 { break }
                }
                kept.extend(&cuts);
                by_cuts = kept;
                // Requests inside of the rest are another matter.
                prop_assume!(!matches!(rest.first(), Some(0)));
            }
            let bytes = [start, &rest].concat();
            let whole: &[usize] = if waits { &[8, usize::MAX] } else { &[usize::MAX] };
            let by_one = told(&bytes, &[1]);
            prop_assert_eq!(&told(&bytes, &by_cuts), &by_one);
            let at_once = told(&bytes, whole);
            let is_glued = |told: &(Vec<u8>, Option<Opening>)| told.1 == Some(glued());
            prop_assert!(is_glued(&at_once) || at_once == by_one);
        }

        #[test]
        fn no_bytes_panic_and_nothing_is_kept_waiting_for_more_than_a_packet(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut packet = bytes.clone();
            packet.resize(10_000, 0);
            prop_assert!(Requests::default().read(&packet).is_some());
            _ = Requests::default().read(&bytes);
            _ = answer(&bytes);
        }
    }
}
