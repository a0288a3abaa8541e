//! What clients of Redis send: arrays of bulk strings, or a line of words. Pure.
//!
//! Requests come from whoever connects, so they are bounded, and no bytes can panic.

/// One request: its name and its arguments; empty for an empty line, which Redis ignores.
pub type Request = Vec<Vec<u8>>;

/// A client that sends more than this in one request is none of ours.
const LONGEST: usize = 64 * 1024;
const MOST_WORDS: usize = 1024;

/// What is wrong with a request, in Redis' words. The connection is closed after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The first request of `bytes` and how many of them it took; `None` while it is not whole.
///
/// # Errors
/// If no further byte could make it a request.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    let parsed = match bytes.first() {
        None => None,
        Some(b'*') => array(bytes)?,
        Some(_) => inline(bytes)?,
    };
    match parsed {
        None if bytes.len() > LONGEST => Err(Malformed("too big request")),
        parsed => Ok(parsed),
    }
}

fn inline(bytes: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    let Some((line, end)) = line(bytes, 0) else { return Ok(None) };
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let words: Request = words.map(<[u8]>::to_vec).collect();
    if words.len() > MOST_WORDS {
        return Err(Malformed("too many words"));
    }
    Ok(Some((words, end)))
}

fn array(bytes: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    let Some((count, mut at)) = number(bytes, 0, "invalid multibulk length")? else {
        return Ok(None);
    };
    if count > MOST_WORDS {
        return Err(Malformed("invalid multibulk length"));
    }
    let mut words = Vec::new();
    for _ in 0..count {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(_) => return Err(Malformed("expected '$'")),
        }
        let Some((length, start)) = number(bytes, at, "invalid bulk length")? else {
            return Ok(None);
        };
        if length > LONGEST {
            return Err(Malformed("invalid bulk length"));
        }
        let end = start + length;
        match bytes.get(start..end + 2) {
            None => return Ok(None),
            Some(word) if word.ends_with(b"\r\n") => words.push(word[..length].to_vec()),
            Some(_) => return Err(Malformed("a bulk string does not end where it says")),
        }
        at = end + 2;
    }
    Ok(Some((words, at)))
}

/// The number after the sign at `at`, and where its line ends. None at all, as in `*-1`, is 0.
fn number(
    bytes: &[u8],
    at: usize,
    wrong: &'static str,
) -> Result<Option<(usize, usize)>, Malformed> {
    let Some((line, end)) = line(bytes, at + 1) else { return Ok(None) };
    let text = std::str::from_utf8(line).map_err(|_| Malformed(wrong))?;
    let number: i64 = text.parse().map_err(|_| Malformed(wrong))?;
    Ok(Some((usize::try_from(number).unwrap_or(0), end)))
}

/// The line that begins at `at`, without its ending, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..length];
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + length + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], expected: Result<Option<(&[&str], usize)>, &'static str>) {
        let expected = expected.map_err(Malformed).map(|parsed| {
            parsed.map(|(words, used)| {
                (words.iter().map(|word| word.as_bytes().to_vec()).collect(), used)
            })
        });
        assert_eq!(parse(bytes), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn requests_are_lines_or_arrays_and_the_rest_is_left() {
        check(b"", Ok(None));
        check(b"PING", Ok(None));
        check(b"PING\r\nPI", Ok(Some((&["PING"], 6))));
        check(b"info  replication\r\n", Ok(Some((&["info", "replication"], 19))));
        check(b"\r\n", Ok(Some((&[], 2))));
        check(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1", Ok(Some((&["GET", "k"], 20))));
        check(b"*1\r\n$4\r\na\r\nb\r\n", Ok(Some((&["a\r\nb"], 14))));
        check(b"*-1\r\n", Ok(Some((&[], 5))));
        check(b"*x\r\n", Err("invalid multibulk length"));
        check(b"*1\r\n:3\r\n", Err("expected '$'"));
        check(b"*1\r\n$9999999\r\n", Err("invalid bulk length"));
        check(b"*1\r\n$1\r\nabc\r\n", Err("a bulk string does not end where it says"));
        check(&[b'a'; LONGEST + 1], Err("too big request"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_not_but_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used > 0 && used <= bytes.len());
            }
        }

        #[test]
        fn nor_are_those_that_look_like_arrays(
            pieces in prop::collection::vec(
                prop::sample::select(
                    vec!["*", "$", "1", "2", "-1", "9223372036854775807", "\r\n", "\n", "PING"],
                ),
                0..20,
            )
        ) {
            let bytes = pieces.concat().into_bytes();
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used > 0 && used <= bytes.len());
            }
        }

        #[test]
        fn an_array_is_understood_at_its_last_byte_and_not_before(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5)
        ) {
            let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
            for word in &words {
                bytes.extend(format!("${}\r\n", word.len()).bytes());
                bytes.extend(word.iter().chain(b"\r\n"));
            }
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end]), Ok(None));
            }
            let length = bytes.len();
            prop_assert_eq!(parse(&bytes), Ok(Some((words, length))));
        }
    }
}
