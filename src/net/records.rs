//! The records of one TLS connection, moved by hand: what came off the socket goes in, plaintext
//! comes out, and the other way round.
//!
//! For a relay, which reads more than a record at a time into a buffer that it has only borrowed,
//! and writes several at once. Every call does what can be done now; when, and in which order, is
//! for the caller. Nothing the other side sends can do more than return an error.

use std::fmt;
use std::io;
use std::io::{BufRead, Write};
use std::task::{Context, Poll, ready};

use rustls::{CommonState, ConnectionCommon, IoState, Reader, SideData, SupportedCipherSuite};

use crate::net::socket::Socket;

/// The most plaintext that waits inside TLS to be written.
const UNWRITTEN: usize = 64 * 1024;

/// One TLS connection and the socket under it.
pub struct Records<'a> {
    socket: &'a Socket,
    connection: &'a mut dyn Connection,
}

/// How much `Records::take_in` took.
#[derive(Debug, Clone, Copy)]
pub struct TakenIn {
    /// Bytes off the socket.
    pub count: usize,
    /// Plaintext that there is now, if any was taken.
    pub plaintext: usize,
}

/// What is the same on both sides of TLS.
pub(super) trait Connection {
    fn common(&mut self) -> &mut CommonState;
    fn read_tls(&mut self, input: &mut dyn io::Read) -> io::Result<usize>;
    fn process(&mut self) -> Result<IoState, rustls::Error>;
    fn reader(&mut self) -> Reader<'_>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn write_tls(&mut self, output: &mut dyn Write) -> io::Result<usize>;
}

// === impl Records ===

impl<'a> Records<'a> {
    pub(super) fn new(socket: &'a Socket, connection: &'a mut dyn Connection) -> Self {
        Self { socket, connection }
    }

    /// Takes some of what came off the socket, until there is plaintext. Takes nothing once the
    /// other side has finished: what it sends behind that is no one's.
    ///
    /// # Errors
    /// What it sent is not TLS, not from it, or says that it has failed. It has been told, as far
    /// as that can be done at once.
    pub fn take_in(&mut self, mut received: &[u8]) -> io::Result<TakenIn> {
        let whole = received.len();
        let mut plaintext = 0;
        while !received.is_empty() && self.connection.common().wants_read() {
            self.connection.read_tls(&mut received)?;
            let state = self.connection.process();
            plaintext = state
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
                .plaintext_bytes_to_read();
        }
        Ok(TakenIn { count: whole - received.len(), plaintext })
    }

    /// Notes that the socket has come to its end.
    pub fn take_in_end(&mut self) {
        // An end inside a record, or before the handshake's last message: `plaintext` tells.
        self.connection.read_tls(&mut io::empty()).ok();
    }

    /// Gives back memory that only traffic needs.
    pub fn rest(&mut self) {
        // It makes its room as large as the next read needs, before it reads.
        self.connection.read_tls(&mut Nothing).ok();
    }

    /// The next plaintext; empty at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if there is none yet; `UnexpectedEof` if the stream has ended and the other
    /// side has never said that it would.
    pub fn plaintext(self) -> io::Result<&'a [u8]> {
        self.connection.reader().into_first_chunk().map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                // rustls' own words send the reader to its manual.
                return io::Error::new(
                    error.kind(),
                    "its stream was cut off, without close_notify",
                );
            }
            error
        })
    }

    /// Says that the first `count` bytes of the plaintext have been passed on.
    pub fn consume(&mut self, count: usize) {
        self.connection.reader().consume(count);
    }

    /// Encrypts some of `bytes`, to be written by `poll_write_out`; 0 if too much waits already.
    ///
    /// # Errors
    /// The connection has failed.
    pub fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write(bytes)
    }

    /// How many records its keys are good for, if it cannot change them.
    pub fn most_records(&mut self) -> Option<u64> {
        match self.connection.common().negotiated_cipher_suite()? {
            SupportedCipherSuite::Tls12(suite) => Some(suite.common.confidentiality_limit),
            SupportedCipherSuite::Tls13(_) => None,
        }
    }

    /// Does anything wait to be written: records, alerts, the answer to a key update?
    pub fn has_unwritten(&mut self) -> bool {
        self.connection.common().wants_write()
    }

    /// Writes some of what waits, of which there must be some.
    pub fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.connection.write_tls(&mut Outlet { socket: self.socket, cx }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    /// Finishes our sending, after all that waits: `close_notify`, then FIN.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.common().send_close_notify();
        while self.has_unwritten() {
            ready!(self.poll_write_out(cx))?;
        }
        Poll::Ready(self.socket.shutdown_write())
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("socket", self.socket).finish_non_exhaustive()
    }
}

impl<S: SideData> Connection for ConnectionCommon<S> {
    fn common(&mut self) -> &mut CommonState {
        self
    }

    fn read_tls(&mut self, input: &mut dyn io::Read) -> io::Result<usize> {
        Self::read_tls(self, input)
    }

    fn process(&mut self) -> Result<IoState, rustls::Error> {
        self.process_new_packets()
    }

    fn reader(&mut self) -> Reader<'_> {
        Self::reader(self)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.set_buffer_limit(Some(UNWRITTEN));
        self.writer().write(bytes)
    }

    fn write_tls(&mut self, output: &mut dyn Write) -> io::Result<usize> {
        Self::write_tls(self, output)
    }
}

/// Where records leave.
struct Outlet<'a, 'b> {
    socket: &'a Socket,
    cx: &'a mut Context<'b>,
}

impl Write for Outlet<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(self.socket.poll_send(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        at_once(self.socket.poll_send_slices(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source that has nothing yet, which is not its end.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _room: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn at_once<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
