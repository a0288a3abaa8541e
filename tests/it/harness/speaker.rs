//! Targets that answer line by line, well or badly: what health checks are asked of.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::harness::target::Target;

/// What one answer does to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It stays.
    Listen,
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
}

/// A target that runs `answer` for each line it hears, without its line break.
pub(crate) fn speaker(
    answer: impl Fn(&mut TcpStream, &str) -> Then + Send + Sync + 'static,
) -> Target {
    Target::new(move |mut stream| {
        let Ok(reading) = stream.try_clone() else { return };
        let mut lines = BufReader::new(reading).lines();
        while let Some(Ok(line)) = lines.next() {
            match answer(&mut stream, &line) {
                Then::Listen => {}
                Then::Close => return,
                Then::Reset => {
                    drop(lines);
                    return crate::harness::client::reset(stream);
                }
            }
        }
    })
}

/// Says it, whether it is still heard or not.
pub(crate) fn say(stream: &mut TcpStream, text: &[u8]) -> Then {
    if stream.write_all(text).is_ok() { Then::Listen } else { Then::Close }
}

/// The answer of a Redis server with this role to `INFO replication`.
pub(crate) fn info(role: &str) -> String {
    let body = format!("# Replication\r\nrole:{role}\r\nconnected_slaves:0\r\n");
    format!("${}\r\n{body}\r\n", body.len())
}

/// A target that speaks just enough Redis, and whose answer to `INFO` can be changed.
pub(crate) struct Actor {
    target: Target,
    info: Arc<Mutex<Vec<u8>>>,
}

impl Actor {
    /// One that plays this role.
    pub(crate) fn playing(role: &str) -> Self {
        let said = Arc::new(Mutex::new(info(role).into_bytes()));
        let target = speaker({
            let said = Arc::clone(&said);
            move |stream, line| match line.split(' ').next() {
                Some("PING") => say(stream, b"+PONG\r\n"),
                Some("QUIT") => Then::Close,
                Some("INFO" | "info") => {
                    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    say(stream, &said)
                }
                Some(_) | None => say(stream, b"-ERR unknown command\r\n"),
            }
        });
        Self { target, info: said }
    }

    /// Plays another role from now on.
    pub(crate) fn plays(&self, role: &str) {
        self.says(info(role).as_bytes());
    }

    /// Answers `INFO` with exactly this from now on; with nothing: does not answer.
    pub(crate) fn says(&self, answer: &[u8]) {
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = answer.to_vec();
    }

    /// The target.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.target.address()
    }
}
