//! One direction of a relay between two sockets: bytes from a source to a sink, in order, to their end.
//!
//! Small messages go by one read and one write through a borrowed buffer; once two reads in a row
//! have filled it, bytes are spliced, until a splice is small again. Nothing is read while
//! something read is still unwritten: that is the back-pressure, and the bound on memory. A
//! direction with nothing to pass on holds neither buffer nor pipe.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::socket::Socket;
use crate::proxy::buffers::{Buffer, CHUNK};
use crate::proxy::meter::Counter;
use crate::proxy::splice::{self, Pipe};
use crate::proxy::transfer::{Broken, Transfer, Turn};

/// This many reads in a row that fill the buffer begin the splicing.
const FULL_READS: u8 = 2;
/// And this many more are copied before a pipe is asked for again, if there was none.
const FULL_READS_WITHOUT_PIPE: u8 = 64;
/// A splice of less ends it.
const SMALL_SPLICE: usize = 8 * 1024;

/// The bytes and steps of one turn, so that the neighbours on the arbiter get theirs. Longer turns
/// make bulk a little cheaper on loopback, and each adds itself to everybody's latency.
const TURN_BYTES: usize = 512 * 1024;
const TURN_STEPS: u32 = 32;

/// Where one direction leads.
#[derive(Debug, Clone, Copy)]
struct Way<'a> {
    /// Read from.
    source: &'a Socket,
    /// Written to.
    sink: &'a Socket,
    /// Counts what the sink has taken.
    moved: &'a Counter,
}

/// What is in flight in one direction.
#[derive(Debug)]
pub(super) struct Direction {
    mode: Mode,
    /// Read by copying and not yet all written; never while the pipe has bytes that are older.
    held: Option<Buffer>,
    pipe: Option<Pipe>,
}

/// How the next bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By copying; by splicing after so many more reads in a row that fill the buffer.
    Copy { full_reads: u8 },
    /// By splicing.
    Splice,
    /// By copying for ever: splicing does not work here.
    CopyOnly,
}

// === impl Mode ===

impl Mode {
    /// Where a direction begins, and returns to for small messages.
    const SMALL: Self = Self::Copy { full_reads: FULL_READS };
}

// === impl Direction ===

impl Transfer<&Socket> for Direction {
    fn new() -> Self {
        Self { mode: Mode::SMALL, held: None, pipe: None }
    }

    fn is_in_flight(&self) -> bool {
        self.held.as_ref().is_some_and(|buffer| !buffer.bytes().is_empty())
            || self.pipe.as_ref().is_some_and(|pipe| pipe.filled() > 0)
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut &Socket,
        sink: &mut &Socket,
        moved: &Counter,
    ) -> Turn {
        self.move_on(cx, Way { source, sink, moved })
    }
}

impl Direction {
    /// Moves what can be moved.
    fn move_on(&mut self, cx: &mut Context<'_>, way: Way<'_>) -> Turn {
        let before = way.moved.get();
        for _ in 0..TURN_STEPS {
            match self.poll_flush(cx, way) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Sink(error)),
                Poll::Ready(Ok(())) => {}
            }
            if way.moved.get() - before >= TURN_BYTES as u64 {
                return Turn::Yielding;
            }
            match self.poll_fill(cx, way.source) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Source(error)),
                Poll::Ready(Ok(0)) => return Turn::Finished,
                Poll::Ready(Ok(_)) => {}
            }
        }
        Turn::Yielding
    }

    /// Writes everything that is in flight.
    fn poll_flush(&mut self, cx: &mut Context<'_>, way: Way<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(buffer) = &mut self.held {
                while !buffer.bytes().is_empty() {
                    let count = ready!(way.sink.poll_send(cx, buffer.bytes()))?;
                    buffer.consume(count);
                    way.moved.add(count);
                }
            }
            let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.filled() > 0) else {
                return Poll::Ready(Ok(()));
            };
            if self.mode == Mode::CopyOnly {
                let buffer = self.held.get_or_insert_with(Buffer::take);
                let count = pipe.copy_out(buffer.room())?;
                buffer.fill(count);
                continue;
            }
            match ready!(pipe.poll_drain(cx, way.sink)) {
                Ok(0) => self.mode = Mode::CopyOnly,
                Ok(count) => way.moved.add(count),
                Err(error) if splice::is_unsupported(&error) => self.mode = Mode::CopyOnly,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once, with nothing in flight; 0 is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        if self.mode == Mode::Splice {
            self.held = None;
            let spliced = self.poll_splice(cx, source);
            if !matches!(spliced, Poll::Ready(Ok(0))) {
                return spliced;
            }
        }
        self.pipe = None;
        self.poll_copy(cx, source)
    }

    /// Fills the pipe. 0: the reading is to go on by copying.
    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        if self.pipe.is_none() {
            self.pipe = Pipe::take();
        }
        let Some(pipe) = &mut self.pipe else {
            self.mode = Mode::Copy { full_reads: FULL_READS_WITHOUT_PIPE };
            return Poll::Ready(Ok(0));
        };
        match pipe.poll_fill(cx, source) {
            // Drained, or stopped at an urgent mark, which a read gets past.
            Poll::Pending if source.is_urgent() => {
                source.expect_unread();
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Pending => {
                self.pipe = None;
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Ok(count)) => {
                if count < SMALL_SPLICE {
                    self.mode = Mode::SMALL;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) if splice::is_unsupported(&error) => {
                self.mode = Mode::CopyOnly;
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, source: &Socket) -> Poll<io::Result<usize>> {
        let buffer = self.held.get_or_insert_with(Buffer::take);
        let received = source.poll_recv(cx, buffer.room());
        let Poll::Ready(Ok(count @ 1..)) = received else {
            self.held = None;
            return received;
        };
        buffer.fill(count);
        match self.mode {
            Mode::Copy { .. } if count < CHUNK => self.mode = Mode::SMALL,
            Mode::Copy { full_reads: 0 | 1 } => self.mode = Mode::Splice,
            Mode::Copy { full_reads } => self.mode = Mode::Copy { full_reads: full_reads - 1 },
            Mode::Splice | Mode::CopyOnly => {}
        }
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::net::loopback;

    fn blocking(stream: TcpStream) -> std::net::TcpStream {
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// Runs a direction to its end and returns what the sink's peer heard.
    async fn run(direction: &mut Direction, said: &[u8]) -> Vec<u8> {
        let (mut speaker, source) = loopback::tcp().await;
        let (mut listener, sink) = loopback::tcp().await;
        let moved = Counter::default();
        let way = Way { source: &source, sink: &sink, moved: &moved };
        let speak = async {
            speaker.write_all(said).await.unwrap();
            speaker.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let pump = async {
            poll_fn(|cx| match direction.move_on(cx, way) {
                Turn::Waiting => Poll::Pending,
                Turn::Yielding => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Turn::Finished => Poll::Ready(()),
                Turn::Broken(broken) => panic!("{broken:?}"),
            })
            .await;
            sink.shutdown_write().unwrap();
        };
        let ((), (), read) = tokio::join!(speak, pump, listener.read_to_end(&mut heard));
        read.unwrap();
        heard
    }

    #[tokio::test]
    async fn where_splicing_in_is_impossible_bytes_are_copied() {
        let said: Vec<_> = (0..1_000_000_u32).map(|at| (at >> 5) as u8).collect();
        let mut direction = Direction::new();
        direction.mode = Mode::Splice;
        direction.pipe = Some(Pipe::unspliceable(b""));
        assert!(run(&mut direction, &said).await == said);
        assert_eq!(direction.mode, Mode::CopyOnly);
    }

    #[tokio::test]
    async fn where_splicing_out_is_impossible_what_is_in_the_pipe_is_copied_too() {
        let mut direction = Direction::new();
        direction.mode = Mode::Splice;
        direction.pipe = Some(Pipe::unspliceable(b"in the pipe, "));
        assert_eq!(run(&mut direction, b"and behind it").await, b"in the pipe, and behind it");
        assert_eq!(direction.mode, Mode::CopyOnly);
    }

    #[tokio::test]
    async fn bulk_is_spliced_and_small_messages_are_copied() {
        let mut direction = Direction::new();
        run(&mut direction, &[7; 1000]).await;
        assert_eq!(direction.mode, Mode::SMALL);
        let mut direction = Direction::new();
        run(&mut direction, &[7; 4 << 20]).await;
        assert_ne!(direction.mode, Mode::SMALL);
    }

    #[tokio::test]
    async fn a_direction_with_nothing_to_pass_on_holds_nothing() {
        let (mut speaker, source) = loopback::tcp().await;
        let (mut listener, sink) = loopback::tcp().await;
        let moved = Counter::default();
        let way = Way { source: &source, sink: &sink, moved: &moved };
        let mut direction = Direction::new();
        for length in [1, 500_000] {
            speaker.write_all(&vec![7; length]).await.unwrap();
            let mut heard = vec![0; length];
            let pump = poll_fn(|cx| -> Poll<()> {
                if let Turn::Yielding = direction.move_on(cx, way) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            });
            tokio::select! {
                () = pump => {}
                read = listener.read_exact(&mut heard) => assert_eq!(read.unwrap(), length),
            }
            poll_fn(|cx| Poll::Ready(direction.move_on(cx, way))).await;
            assert!(direction.held.is_none() && direction.pipe.is_none());
        }
    }

    #[tokio::test]
    async fn a_turn_ends_however_much_there_is_to_move() {
        let (speaker, source) = loopback::tcp().await;
        let (listener, sink) = loopback::tcp().await;
        let (mut speaker, mut listener) = (blocking(speaker), blocking(listener));
        std::thread::spawn(move || while speaker.write_all(&[7; 1 << 18]).is_ok() {});
        std::thread::spawn(move || while listener.read(&mut [0; 1 << 18]).is_ok_and(|n| n > 0) {});
        let moved = Counter::default();
        let way = Way { source: &source, sink: &sink, moved: &moved };
        let mut direction = Direction::new();
        let enough = poll_fn(|cx| {
            let before = moved.get();
            let turn = direction.move_on(cx, way);
            // One pipe may come on top of a share that is not quite used up.
            assert!(moved.get() - before <= TURN_BYTES as u64 + 256 * 1024);
            if matches!(turn, Turn::Yielding) {
                cx.waker().wake_by_ref();
            }
            if moved.get() < 100 << 20 { Poll::Pending } else { Poll::Ready(()) }
        });
        tokio::time::timeout(std::time::Duration::from_secs(20), enough).await.unwrap();
    }
}
