//! A PROXY protocol header, read off a socket: exactly its own bytes. What follows it stays with
//! the kernel, where whoever comes next finds it, and what is no header is not touched.
//!
//! The deadline is the caller's.

use std::future::poll_fn;
use std::io;
use std::task::Context;

use crate::net::socket::Socket;
use crate::wire::proxy_header::fault::HeaderFault;
use crate::wire::proxy_header::header::Header;
use crate::wire::proxy_header::reader::{Progress, read};

/// The first look sees this much: a whole header, unless it has more to say than addresses.
const FIRST_LOOK: usize = 256;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The sender has closed the connection before it had said anything.
    #[error("the client closed the connection without a word")]
    Silent,
    /// It has closed it within its header.
    #[error("the client closed the connection within its PROXY protocol header")]
    Cut,
    /// What it sent is none.
    #[error("{0}")]
    Malformed(#[from] HeaderFault),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The reading of one header.
#[derive(Debug)]
pub struct HeaderReader<'a> {
    client: &'a Socket,
    has_begun: bool,
}

// === impl HeaderReader ===

impl<'a> HeaderReader<'a> {
    /// Will read the header that `client` begins with, of which nothing has been read.
    pub fn new(client: &'a Socket) -> Self {
        Self { client, has_begun: false }
    }

    /// Has something come that can only be a header?
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Reads it. Until it has begun, nothing is taken off the socket; and then no more than belongs
    /// to it.
    ///
    /// # Errors
    /// There is none.
    pub async fn read(&mut self) -> Result<Header, HeaderError> {
        let (mut taken, mut seen, mut buffer) = (0, 0, vec![0; FIRST_LOOK]);
        loop {
            let look = |cx: &mut Context<'_>| self.client.poll_peek(cx, seen, &mut buffer[taken..]);
            let count = poll_fn(look).await?;
            let come = taken + count;
            let (at_least, certain) = match read(&buffer[..come])? {
                Progress::Begun { at_least, certain } => (at_least, certain),
                Progress::Whole { header, length } => {
                    self.take(&mut buffer[taken..length]).await?;
                    return Ok(header);
                }
            };
            self.has_begun = certain;
            if count <= seen {
                return Err(if come == 0 { HeaderError::Silent } else { HeaderError::Cut });
            }
            seen = count;
            if certain {
                // All of it is the header's. A unix socket holds few small pieces: what is left
                // there could be in the way of the rest.
                self.take(&mut buffer[taken..come]).await?;
                (taken, seen) = (come, 0);
            }
            if buffer.len() < at_least {
                buffer.resize(at_least, 0);
            }
        }
    }

    /// Takes what has been seen off the socket.
    async fn take(&self, mut left: &mut [u8]) -> io::Result<()> {
        while !left.is_empty() {
            match poll_fn(|cx| self.client.poll_recv(cx, left)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => left = &mut left[count..],
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::net::stream::Stream;
    use crate::wire::proxy_header::header::{Origin, Version};
    use crate::wire::proxy_header::tlv::{Kind, Tlvs};
    use crate::wire::proxy_header::writer::write;

    /// Both ends of a TCP connection: the one that sends, and the one that reads.
    fn tcp() -> (Box<dyn Write + Send>, Arc<Socket>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        (Box::new(client), reading(accepted.into()))
    }

    fn unix() -> (Box<dyn Write + Send>, Arc<Socket>) {
        let (client, accepted) = std::os::unix::net::UnixStream::pair().unwrap();
        (Box::new(client), reading(accepted.into()))
    }

    fn reading(fd: OwnedFd) -> Arc<Socket> {
        rustix::io::ioctl_fionbio(&fd, true).unwrap();
        Arc::new(Socket::from_accepted(fd).unwrap())
    }

    fn header(tlv: usize) -> Header {
        let origin = Origin::tcp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        let mut tlvs = Tlvs::default();
        assert!(tlvs.push(Kind::NOOP, &vec![b'x'; tlv], 4000));
        Header { version: Version::V2, origin, tlvs }
    }

    async fn rest(socket: &Arc<Socket>) -> Vec<u8> {
        let mut rest = Vec::new();
        Stream::from(Arc::clone(socket)).read_to_end(&mut rest).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn every_split_of_header_and_payload_loses_nothing() {
        let (sent, payload) = (write(&header(3)), b"payload");
        let stream = [&sent[..], payload].concat();
        for connection in [tcp, unix] {
            for split in 0..=stream.len() {
                let (mut client, socket) = connection();
                let mut reader = HeaderReader::new(&socket);
                client.write_all(&stream[..split]).unwrap();
                let (read, ()) = tokio::join!(reader.read(), async {
                    // The first part is looked at before the rest is sent.
                    tokio::task::yield_now().await;
                    client.write_all(&stream[split..]).unwrap();
                });
                assert_eq!(read.unwrap(), header(3), "split at {split}");
                drop(client);
                assert_eq!(rest(&socket).await, payload, "split at {split}");
            }
        }
    }

    #[tokio::test]
    async fn a_long_header_comes_byte_by_byte_and_is_read_whole() {
        for connection in [tcp, unix] {
            let (mut client, socket) = connection();
            let sent = [write(&header(700)), b"payload".to_vec()].concat();
            let sending = tokio::task::spawn(async move {
                for byte in sent {
                    client.write_all(&[byte]).unwrap();
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(HeaderReader::new(&socket).read().await.unwrap(), header(700));
            sending.await.unwrap();
            assert_eq!(rest(&socket).await, b"payload");
        }
    }

    /// What the reader says of a sender that says this and closes, and that it has taken nothing if
    /// it may be payload.
    async fn check(said: &[u8], expected: &str, has_begun: bool) {
        for connection in [tcp, unix] {
            let (mut client, socket) = connection();
            client.write_all(said).unwrap();
            drop(client);
            let mut reader = HeaderReader::new(&socket);
            let fault = reader.read().await.unwrap_err().to_string();
            assert!(fault.contains(expected), "{}: {fault}", said.escape_ascii());
            assert_eq!(reader.has_begun(), has_begun, "{}", said.escape_ascii());
            if !has_begun {
                assert_eq!(rest(&socket).await, said);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_stays_where_it_is() {
        check(b"", "without a word", false).await;
        check(b"PRO", "within its PROXY protocol header", false).await;
        check(b"PROXY TCP4 1", "within its PROXY protocol header", true).await;
        check(&write(&header(3))[..20], "within its PROXY protocol header", true).await;
        check(b"PING\r\n", "does not begin with a PROXY protocol header", false).await;
        check(b"PROXY TCP5 ", "a protocol that version 1 does not know", false).await;
    }

    #[tokio::test]
    async fn a_reset_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = reading(listener.accept().unwrap().0.into());
        socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        (&client).write_all(b"PROXY ").unwrap();
        drop(client);
        let fault = HeaderReader::new(&socket).read().await.unwrap_err();
        assert!(matches!(fault, HeaderError::Io(_)), "{fault}");
    }
}
