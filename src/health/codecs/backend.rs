//! What a PostgreSQL server says: bytes to the few messages that a check has to understand.
//!
//! Protocol 3.0, "Message Formats" in PostgreSQL's manual. Nothing here trusts a length, and what
//! a message is does not depend on how the stream was cut into reads.

use crate::health::shown::Masker;

/// Of each text that the server chose, this many bytes are shown.
const SHOWN: usize = 160;
/// A message before the login is over is never this long; longer is another protocol.
const GREETING_LIMIT: usize = 30_000;

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The login is over.
    AuthenticationOk,
    /// The password is wanted as it is.
    CleartextPassword,
    /// The password is wanted as an MD5 with this salt.
    Md5Password([u8; 4]),
    /// One of these mechanisms is wanted.
    Sasl(Vec<Vec<u8>>),
    /// The mechanism's challenge.
    SaslContinue(Vec<u8>),
    /// The mechanism's last word.
    SaslFinal(Vec<u8>),
    /// A login of another kind: Kerberos, GSSAPI, SSPI.
    OtherAuthentication,
    /// Something is wrong.
    Error(ServerError),
    /// A row, its columns as `psql -At` joins them.
    Row(Vec<u8>),
    /// A statement is done.
    CommandComplete,
    /// Everything is answered.
    ReadyForQuery,
    /// A notice, a parameter's state, the names of columns: nothing that decides.
    Aside,
}

/// The server's error, each text as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`.
    pub severity: Vec<u8>,
    /// The SQLSTATE: five letters and digits.
    pub code: Vec<u8>,
    /// For people.
    pub message: Vec<u8>,
}

/// What a stream can be besides messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// This is no PostgreSQL.
    Malformed,
    /// A message ends behind the room that there is.
    TooLong,
}

impl Message {
    /// As a person would say it, escaped and masked; `None`: nothing that anybody wants to see.
    pub fn words(&self, masker: &Masker) -> Option<String> {
        Some(match self {
            Self::AuthenticationOk => "AuthenticationOk".to_owned(),
            Self::CleartextPassword => "AuthenticationCleartextPassword".to_owned(),
            Self::Md5Password(_) => "AuthenticationMD5Password".to_owned(),
            Self::Sasl(names) => {
                format!("AuthenticationSASL {}", masker.excerpt(&names.join(&b' '), SHOWN))
            }
            Self::SaslContinue(_) => "AuthenticationSASLContinue".to_owned(),
            Self::SaslFinal(_) => "AuthenticationSASLFinal".to_owned(),
            Self::OtherAuthentication => "a wish for another authentication".to_owned(),
            Self::Error(error) => format!("ErrorResponse {}", error.shown(masker)),
            Self::Row(row) => format!("DataRow {}", masker.excerpt(row, SHOWN)),
            Self::CommandComplete => "CommandComplete".to_owned(),
            Self::ReadyForQuery => "ReadyForQuery".to_owned(),
            Self::Aside => return None,
        })
    }
}

impl ServerError {
    /// As a person would say it, escaped and masked: `FATAL 28P01 "password …"`.
    pub fn shown(&self, masker: &Masker) -> String {
        let plain = |text: &[u8]| masker.excerpt(text, 16).trim_matches('"').to_owned();
        let message = masker.excerpt(&self.message, SHOWN);
        format!("{} {} {message}", plain(&self.severity), plain(&self.code))
    }
}

/// The first message of `unread` and how many bytes it has; `None`: not whole yet. `room` is how
/// many more bytes of the stream may be used, and `greeting` says that nobody is logged in yet.
pub fn take(
    unread: &[u8],
    room: usize,
    greeting: bool,
) -> Result<Option<(Message, usize)>, Trouble> {
    let Some(tag) = unread.first() else { return Ok(None) };
    if !b"RESKNATZDCIv".contains(tag) {
        return Err(Trouble::Malformed);
    }
    if room < 5 {
        return Err(Trouble::TooLong);
    }
    let Some(length) = unread.get(1..5) else { return Ok(None) };
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length < 4 || greeting && length > GREETING_LIMIT {
        return Err(Trouble::Malformed);
    }
    if length >= room {
        return Err(Trouble::TooLong);
    }
    let Some(body) = unread.get(5..=length) else { return Ok(None) };
    let message = message(*tag, body).ok_or(Trouble::Malformed)?;
    Ok(Some((message, length + 1)))
}

/// `None`: its body is not what its tag promises.
fn message(tag: u8, body: &[u8]) -> Option<Message> {
    Some(match tag {
        b'R' => authentication(body)?,
        b'E' => Message::Error(error(body)?),
        b'D' => Message::Row(row(body)?),
        b'C' | b'I' => Message::CommandComplete,
        b'Z' => Message::ReadyForQuery,
        _ => Message::Aside,
    })
}

fn authentication(body: &[u8]) -> Option<Message> {
    let (kind, rest) = body.split_first_chunk::<4>()?;
    Some(match u32::from_be_bytes(*kind) {
        0 => Message::AuthenticationOk,
        3 => Message::CleartextPassword,
        5 => Message::Md5Password(rest.try_into().ok()?),
        10 => {
            let list = rest.strip_suffix(&[0])?;
            let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            Message::Sasl(names.map(<[u8]>::to_vec).collect())
        }
        11 => Message::SaslContinue(rest.to_vec()),
        12 => Message::SaslFinal(rest.to_vec()),
        2 | 6..=9 => Message::OtherAuthentication,
        _ => return None,
    })
}

fn error(body: &[u8]) -> Option<ServerError> {
    let mut error = ServerError::default();
    let mut rest = body;
    loop {
        let (kind, after) = rest.split_first()?;
        if *kind == 0 {
            return Some(error);
        }
        let end = after.iter().position(|byte| *byte == 0)?;
        let text = after[..end].to_vec();
        match kind {
            // `V` is `S` in no language but English; it comes second, where it comes.
            b'S' | b'V' => error.severity = text,
            b'C' => error.code = text,
            b'M' => error.message = text,
            _ => {}
        }
        rest = &after[end + 1..];
    }
}

fn row(body: &[u8]) -> Option<Vec<u8>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = Vec::new();
    for column in 0..u16::from_be_bytes(*count) {
        if column > 0 {
            row.push(b'|');
        }
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        // -1 is NULL, which psql prints as nothing.
        let length = if length == -1 { 0 } else { usize::try_from(length).ok()? };
        let (value, after) = after.split_at_checked(length)?;
        row.extend_from_slice(value);
        rest = after;
    }
    rest.is_empty().then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: usize = 1_000;

    fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    fn check(tag: u8, body: &[u8], expected: Message) {
        let bytes = framed(tag, body);
        assert_eq!(take(&bytes, ROOM, true), Ok(Some((expected, bytes.len()))));
        for end in 0..bytes.len() {
            assert_eq!(take(&bytes[..end], ROOM, true), Ok(None), "cut at {end}");
        }
    }

    fn refuse(bytes: &[u8], trouble: Trouble) {
        assert_eq!(take(bytes, ROOM, true), Err(trouble), "{}", bytes.escape_ascii());
    }

    #[test]
    fn messages_are_known_by_tag_and_body() {
        check(b'R', &[0, 0, 0, 0], Message::AuthenticationOk);
        check(b'R', &[0, 0, 0, 3], Message::CleartextPassword);
        check(b'R', &[0, 0, 0, 5, 1, 2, 3, 4], Message::Md5Password([1, 2, 3, 4]));
        let mechanisms = vec![b"SCRAM-SHA-256-PLUS".to_vec(), b"SCRAM-SHA-256".to_vec()];
        check(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", Message::Sasl(mechanisms));
        check(b'R', b"\0\0\0\x0br=1", Message::SaslContinue(b"r=1".to_vec()));
        check(b'R', b"\0\0\0\x0cv=1", Message::SaslFinal(b"v=1".to_vec()));
        check(b'R', &[0, 0, 0, 7], Message::OtherAuthentication);
        check(b'S', b"server_version\x0015.1\0", Message::Aside);
        check(b'C', b"SELECT 1\0", Message::CommandComplete);
        check(b'Z', b"I", Message::ReadyForQuery);
        check(b'D', b"\0\x01\0\0\0\x01f", Message::Row(b"f".to_vec()));
        check(b'D', b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0", Message::Row(b"a||".to_vec()));
        check(b'D', b"\0\0", Message::Row(Vec::new()));
        let error = ServerError {
            severity: b"FATAL".to_vec(),
            code: b"28P01".to_vec(),
            message: b"no".to_vec(),
        };
        check(b'E', b"SFATAL\0VFATAL\0C28P01\0Mno\0Fauth.c\0\0", Message::Error(error));
    }

    #[test]
    fn what_is_no_message_is_known_as_soon_as_it_can_be() {
        for bytes in [
            &b"-ERR unknown command\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"R\0\0\0\x03",
            b"R\0\0\0\x04",
            b"R\0\0\0\x08\0\0\0\x63",
            b"R\0\0\0\x0a\0\0\0\x05\x01\x02",
            b"E\0\0\0\x06Mx",
            b"D\0\0\0\x06\0\x01",
            b"D\0\0\0\x0a\0\x01\xff\xff\xff\xfe",
            b"D\0\0\0\x0a\0\x01\x7f\xff\xff\xff",
            b"D\0\0\0\x07\0\0x",
        ] {
            refuse(bytes, Trouble::Malformed);
        }
    }

    #[test]
    fn a_message_has_no_more_than_its_room() {
        let bytes = framed(b'C', &[b'x'; 95]);
        assert!(take(&bytes, 100, false).unwrap().is_some());
        assert_eq!(take(&bytes, 99, false), Err(Trouble::TooLong));
        assert_eq!(take(&bytes[..5], 99, false), Err(Trouble::TooLong), "its head is enough");
        assert_eq!(take(&bytes[..1], 4, false), Err(Trouble::TooLong));
        assert_eq!(take(b"", 0, false), Ok(None));
        let long = framed(b'C', &vec![b'x'; GREETING_LIMIT]);
        assert_eq!(take(&long, usize::MAX, true), Err(Trouble::Malformed));
        assert!(take(&long, usize::MAX, false).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), room in 0..80_usize) {
            drop(take(&bytes, room, false));
            for tag in b"RESKNATZDCIv" {
                drop(take(&framed(*tag, &bytes), ROOM, true));
            }
        }
    }
}
