//! A client that writes to PostgreSQL, in its simple protocol, as a user who needs no password.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::failover::session::{Answer, Session};

/// Protocol 3.0, and who we are.
const STARTUP: &[u8] = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
/// Longer than any failover.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection.
pub(crate) struct PostgresSession {
    stream: BufReader<TcpStream>,
    server: u16,
}

impl Session for PostgresSession {
    /// Each connection costs the server a process.
    const PERIOD: Duration = Duration::from_millis(50);

    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self { stream: BufReader::new(stream), server: 0 };
        let length = u32::try_from(STARTUP.len() + 4).expect("it is short");
        session.stream.get_mut().write_all(&[&length.to_be_bytes(), STARTUP].concat())?;
        session.replies()?.map_err(io::Error::other)?;
        let port = session.ask("SHOW port")?.map_err(io::Error::other)?;
        session.server = port.parse().map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        Ok(session)
    }

    fn write(&mut self, name: &str) -> io::Result<Answer> {
        let answer = self.ask(&format!("INSERT INTO written VALUES ('{name}')"))?;
        Ok(Answer { by: self.server, refusal: answer.err() })
    }

    fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl PostgresSession {
    /// The first field of the answer, or the server's objection.
    pub(crate) fn ask(&mut self, statement: &str) -> io::Result<Result<String, String>> {
        let length = u32::try_from(statement.len() + 5).expect("it is short");
        let message = [b"Q", &length.to_be_bytes()[..], statement.as_bytes(), b"\0"].concat();
        self.stream.get_mut().write_all(&message)?;
        self.replies()
    }

    /// Everything up to where the server is ready for the next question.
    fn replies(&mut self) -> io::Result<Result<String, String>> {
        let (mut said, mut objection) = (String::new(), None);
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; (length as usize).saturating_sub(4)];
            self.stream.read_exact(&mut body)?;
            match head[0] {
                b'Z' => return Ok(objection.map_or(Ok(said), Err)),
                b'E' => objection = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
                // One row: how many fields, how long the first one is, and that.
                b'D' => said = String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into(),
                _ => {}
            }
        }
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // A leave that is not taken is logged; whoever is gone does not hear it.
        self.stream.get_mut().write_all(b"X\0\0\0\x04").ok();
    }
}
