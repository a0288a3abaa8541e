//! What a writing client needs of a database's protocol.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// One connection of a client, opened through the proxy.
pub(crate) trait Session: Sized {
    /// Between two writes of one client.
    const PERIOD: Duration;

    /// Connects, and says what a session begins with. It may have to wait for an answer first.
    fn open(port: u16) -> io::Result<Self>;

    /// Writes something under a name that nobody else writes, and waits for the answer.
    fn write(&mut self, name: &str) -> io::Result<Answer>;

    /// The connection itself.
    fn stream(&self) -> &TcpStream;
}

/// What a server says to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The port of the server that said it, in its own words.
    pub(crate) by: u16,
    /// Why it did not do it, if it did not.
    pub(crate) refusal: Option<String>,
}
