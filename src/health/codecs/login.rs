//! How a check logs in to PostgreSQL, and every message that it sends.
//!
//! Trust, MD5 and SCRAM-SHA-256. Never the password in clear: a check's connection is not encrypted,
//! and whoever sits at its other end has only to ask.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;

use crate::health::codecs::backend::Message;
use crate::health::fault::FaultKind;

/// The answer to what a server wants.
pub enum Reply {
    /// This message; admission follows.
    Md5(Vec<u8>),
    /// This message; a challenge follows.
    Scram(ScramSha256, Vec<u8>),
}

/// A SCRAM challenge: thousands of hashes, and so not to be solved where others wait.
pub struct Challenge {
    /// Whom it was sent to.
    pub scram: ScramSha256,
    /// What was sent.
    pub challenge: Vec<u8>,
}

/// A solved challenge; `None`: it was no valid one.
pub struct Solved(Option<ScramSha256>);

impl Challenge {
    /// Solves it, which takes some milliseconds. The library bounds what a server may ask for.
    pub fn solve(self) -> Solved {
        let Self { mut scram, challenge } = self;
        Solved(scram.update(&challenge).is_ok().then_some(scram))
    }
}

impl Solved {
    /// Who has the server's proof to hear, and the message with our own.
    pub fn proof(self) -> Option<(ScramSha256, Vec<u8>)> {
        let scram = self.0?;
        let bytes = built(|bytes| frontend::sasl_response(scram.message(), bytes));
        Some((scram, bytes))
    }
}

/// The first message. No database: the one that is named as the user.
pub fn start_up(user: &str, database: &str) -> Vec<u8> {
    let named = [("user", user), ("database", database)];
    let ours = [("application_name", "stagedoor"), ("client_encoding", "UTF8")];
    let all = named.into_iter().filter(|(_, value)| !value.is_empty()).chain(ours);
    built(|bytes| frontend::startup_message(all, bytes))
}

/// The answer to how a server wants to know who we are; or why there is none.
pub fn reply(message: &Message, user: &[u8], password: &[u8]) -> Result<Reply, FaultKind> {
    let ours = |name: &Vec<u8>| name == SCRAM_SHA_256.as_bytes();
    let cannot = match message {
        Message::CleartextPassword => {
            "the server wants the password in clear, and the connection is not encrypted"
        }
        Message::OtherAuthentication => "the server wants Kerberos, GSSAPI or SSPI",
        Message::Sasl(names) if !names.iter().any(ours) => {
            "the server wants another mechanism than SCRAM-SHA-256"
        }
        Message::Md5Password(_) | Message::Sasl(_) if password.is_empty() => {
            "the server wants a password, and none is given"
        }
        Message::Md5Password(salt) => {
            let hash = md5_hash(user, password, *salt);
            let write = |bytes: &mut BytesMut| frontend::password_message(hash.as_bytes(), bytes);
            return Ok(Reply::Md5(built(write)));
        }
        Message::Sasl(_) => {
            let scram = ScramSha256::new(password, ChannelBinding::unsupported());
            let bytes = built(|bytes| {
                frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), bytes)
            });
            return Ok(Reply::Scram(scram, bytes));
        }
        Message::AuthenticationOk
        | Message::SaslContinue(_)
        | Message::SaslFinal(_)
        | Message::Error(_)
        | Message::Row(_)
        | Message::CommandComplete
        | Message::ReadyForQuery
        | Message::Aside => return Err(FaultKind::Malformed),
    };
    Err(FaultKind::CannotLogIn(cannot))
}

/// Asks one statement.
pub fn query(text: &str) -> Vec<u8> {
    built(|bytes| frontend::query(text, bytes))
}

/// Takes leave.
pub fn terminate() -> Vec<u8> {
    built(|bytes| {
        frontend::terminate(bytes);
        Ok(())
    })
}

fn built(write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    write(&mut bytes).expect("validated: there is no NUL in it, and it is far below 2 GiB");
    bytes.to_vec()
}
