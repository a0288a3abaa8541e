//! A client that writes to Redis. Every connection asks the server who it is, together with its
//! first write: a session through the proxy has one server from beginning to end.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use crate::failover::session::{Answer, Session};
use crate::harness::redis::Client;

/// Longer than any failover.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection.
pub(crate) struct RedisSession {
    client: Client,
    server: Option<u16>,
}

impl Session for RedisSession {
    const PERIOD: Duration = Duration::from_millis(20);

    fn open(port: u16) -> io::Result<Self> {
        let refused = || io::Error::from(ErrorKind::ConnectionRefused);
        let mut client = Client::try_connect(port).ok_or_else(refused)?;
        client.stream().set_read_timeout(Some(PATIENCE))?;
        client.send("CONFIG GET port").ok_or_else(cut)?;
        Ok(Self { client, server: None })
    }

    fn write(&mut self, name: &str) -> io::Result<Answer> {
        self.client.send(&format!("SET {name} {name}")).ok_or_else(cut)?;
        let by = match self.server {
            Some(server) => server,
            None => {
                let said = self.client.list().ok_or_else(cut)?;
                let port = said.get(1).and_then(|port| port.parse().ok());
                *self.server.insert(port.ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?)
            }
        };
        let reply = self.client.reply().ok_or_else(cut)?;
        let refusal = (reply != "+OK").then_some(reply);
        Ok(Answer { by, refusal })
    }

    fn stream(&self) -> &TcpStream {
        self.client.stream()
    }
}

fn cut() -> io::Error {
    io::Error::from(ErrorKind::ConnectionReset)
}
