//! One direction of a relay with TLS on one side or on both.
//!
//! Off the source's socket into a borrowed buffer; from there, decrypted or as it is, into the
//! sink: encrypted and written as many records at once, or as it is. Nothing is read while
//! something read is still unwritten, also inside TLS: that is the back-pressure, and the bound on
//! memory.
//!
//! An active direction holds what it has read (16 KiB, 64 KiB in bulk), the records of it that are
//! not written yet (64 KiB and their headers, inside TLS), one record that is being decrypted, and
//! 16 KiB where small pieces are gathered for a plain sink. One with nothing to pass on holds none
//! of these.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::peer::Peer;
use crate::net::records::Records;
use crate::proxy::buffers::{Buffer, CHUNK};
use crate::proxy::meter::Counter;
use crate::proxy::transfer::{Broken, Transfer, Turn};

/// The bytes and reads of one turn; see `direction`. Cryptography makes each byte dearer here.
const TURN_BYTES: usize = 128 * 1024;
const TURN_READS: u32 = 32;

/// Pieces of less are gathered for a plain sink while more is at hand.
const SMALL_PIECE: usize = 4 * 1024;
/// A TLS record carries no more.
const RECORD: u64 = 16 * 1024;

/// What is in flight in one direction.
#[derive(Debug)]
pub(super) struct SecureDirection {
    intake: Intake,
    outflow: Outflow,
}

/// From the source to plaintext.
#[derive(Debug, Default)]
struct Intake {
    /// Off the source's socket: still to be decrypted or, from a plain source, to be passed on.
    held: Option<Buffer>,
    /// Decrypted, waiting inside TLS.
    decrypted: usize,
    /// How the source has ended, once it has; what came before it may wait still.
    ended: Option<io::Result<()>>,
    /// The last read filled its buffer.
    is_bulk: bool,
}

/// From plaintext to the sink.
#[derive(Debug, Default)]
struct Outflow {
    /// Small pieces for a plain sink.
    gathered: Option<Buffer>,
    /// Taken by the sink's TLS, and not yet counted as written.
    unwritten: usize,
    /// How many records the sink's keys are still good for, once asked.
    records_left: Option<u64>,
}

/// Plaintext to be passed on.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    bytes: &'a [u8],
    /// More is at hand behind it.
    has_more: bool,
}

// === impl SecureDirection ===

impl Transfer<Peer> for SecureDirection {
    fn new() -> Self {
        Self { intake: Intake::default(), outflow: Outflow::default() }
    }

    fn is_in_flight(&self) -> bool {
        let Self { intake, outflow } = self;
        let holds = |buffer: &Option<Buffer>| buffer.as_ref().is_some_and(|b| !b.is_empty());
        holds(&intake.held)
            || intake.decrypted > 0
            || holds(&outflow.gathered)
            || outflow.unwritten > 0
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Peer,
        sink: &mut Peer,
        moved: &Counter,
    ) -> Turn {
        let mut read = 0;
        for _ in 0..TURN_READS {
            match self.poll_pass_on(cx, source, sink, moved) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Sink(error)),
                Poll::Ready(Ok(())) => {}
            }
            match self.intake.ended.take() {
                Some(Ok(())) => return Turn::Finished,
                Some(Err(error)) => return Turn::Broken(Broken::Source(error)),
                None if read >= TURN_BYTES => return Turn::Yielding,
                None => {}
            }
            match self.intake.poll_fill(cx, source) {
                Poll::Pending => return Turn::Waiting,
                Poll::Ready(Err(error)) => return Turn::Broken(Broken::Source(error)),
                Poll::Ready(Ok(count)) => read += count,
            }
        }
        Turn::Yielding
    }
}

impl SecureDirection {
    /// Passes on everything that has been read, and writes it out.
    fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Peer,
        sink: &mut Peer,
        moved: &Counter,
    ) -> Poll<io::Result<()>> {
        while let Some(piece) = self.intake.piece(cx, source) {
            let count = ready!(self.outflow.poll_take(cx, piece, sink, moved))?;
            self.intake.consume(count, source);
        }
        self.outflow.poll_write_out(cx, sink, moved)
    }
}

// === impl Intake ===

impl Intake {
    /// The next plaintext that is at hand; without any, the source may have ended.
    fn piece<'a>(&'a mut self, cx: &mut Context<'_>, source: &'a mut Peer) -> Option<Piece<'a>> {
        let Some(mut records) = source.records() else {
            let bytes = self.held.as_ref()?.bytes();
            return (!bytes.is_empty()).then_some(Piece { bytes, has_more: false });
        };
        self.decrypt(cx, &mut records);
        match records.plaintext() {
            Ok([]) => {
                self.held = None;
                self.ended.get_or_insert(Ok(()));
                None
            }
            Ok(bytes) => {
                self.decrypted = self.decrypted.max(bytes.len());
                let is_held = self.held.as_ref().is_some_and(|held| !held.is_empty());
                Some(Piece { bytes, has_more: is_held || self.decrypted > bytes.len() })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => {
                self.ended.get_or_insert(Err(error));
                None
            }
        }
    }

    /// Decrypts what is held until there is plaintext.
    fn decrypt(&mut self, cx: &mut Context<'_>, records: &mut Records<'_>) {
        let Some(held) = self.held.as_mut().filter(|held| !held.is_empty()) else { return };
        match records.take_in(held.bytes()) {
            Ok(taken) => {
                held.consume(taken.count);
                self.decrypted = self.decrypted.max(taken.plaintext);
            }
            Err(error) => {
                self.held = None;
                self.ended = Some(Err(error));
            }
        }
        // An alert that says why, if it was an error. Whether it can be written, reading will tell.
        if records.has_unwritten() {
            drop(records.poll_write_out(cx));
        }
    }

    /// Notes that `count` bytes of the piece have been taken.
    fn consume(&mut self, count: usize, source: &mut Peer) {
        match (source.records(), &mut self.held) {
            (Some(mut records), _) => {
                records.consume(count);
                self.decrypted = self.decrypted.saturating_sub(count);
            }
            (None, Some(held)) => held.consume(count),
            (None, None) => {}
        }
    }

    /// Reads once, with nothing at hand. 0: the stream has ended, see `piece`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, source: &mut Peer) -> Poll<io::Result<usize>> {
        let mut buffer = match self.held.take() {
            Some(held) if held.is_large() == self.is_bulk => held,
            Some(_) | None if self.is_bulk => Buffer::take_large(),
            Some(_) | None => Buffer::take(),
        };
        let Poll::Ready(received) = source.socket().poll_recv(cx, buffer.room()) else {
            if let Some(mut records) = source.records() {
                records.rest();
            }
            return Poll::Pending;
        };
        let count = received?;
        if count > 0 {
            self.is_bulk = count >= CHUNK;
            buffer.fill(count);
            self.held = Some(buffer);
        } else if let Some(mut records) = source.records() {
            records.take_in_end();
        } else {
            self.ended = Some(Ok(()));
        }
        Poll::Ready(Ok(count))
    }
}

// === impl Outflow ===

impl Outflow {
    /// Gives the sink some of a piece.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        piece: Piece<'_>,
        sink: &mut Peer,
        moved: &Counter,
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = match sink.records() {
                Some(mut records) => self.encrypt(piece.bytes, &mut records)?,
                None if self.is_gathering()
                    || (piece.has_more && piece.bytes.len() < SMALL_PIECE) =>
                {
                    self.gathered.get_or_insert_with(Buffer::take).append(piece.bytes)
                }
                None => {
                    let count = ready!(sink.socket().poll_send(cx, piece.bytes))?;
                    moved.add(count);
                    count
                }
            };
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_write_out(cx, sink, moved))?;
        }
    }

    fn encrypt(&mut self, bytes: &[u8], records: &mut Records<'_>) -> io::Result<usize> {
        // A TLS 1.2 connection whose keys are used up would drop what it is given and say that
        // the stream has ended in order. A few are left for its alerts.
        let left = self.records_left.get_or_insert_with(|| {
            records.most_records().map_or(u64::MAX, |most| most - most / 64)
        });
        if (bytes.len() as u64).div_ceil(RECORD) > *left {
            return Err(io::Error::other("the keys of its TLS 1.2 connection are used up"));
        }
        let count = records.encrypt(bytes)?;
        if count == 0 && !records.has_unwritten() {
            return Err(io::Error::other("its TLS connection takes nothing"));
        }
        *left = left.saturating_sub((count as u64).div_ceil(RECORD));
        self.unwritten += count;
        Ok(count)
    }

    /// Writes everything that the sink has been given.
    fn poll_write_out(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Peer,
        moved: &Counter,
    ) -> Poll<io::Result<()>> {
        if let Some(mut records) = sink.records() {
            while records.has_unwritten() {
                let written = ready!(records.poll_write_out(cx))?;
                // Records are longer than what is in them, so that this is never too much.
                let counted = written.min(self.unwritten);
                self.unwritten -= counted;
                moved.add(counted);
            }
            moved.add(std::mem::take(&mut self.unwritten));
        } else if let Some(gathered) = &mut self.gathered {
            while !gathered.is_empty() {
                let count = ready!(sink.socket().poll_send(cx, gathered.bytes()))?;
                gathered.consume(count);
                moved.add(count);
            }
            self.gathered = None;
        }
        Poll::Ready(Ok(()))
    }

    fn is_gathering(&self) -> bool {
        self.gathered.as_ref().is_some_and(|gathered| !gathered.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustls::version::{TLS12, TLS13};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::loopback_tls::Configs;
    use crate::proxy::buffers::LARGE;
    use crate::proxy::secure_relaying::{secure_client, secure_target};

    #[tokio::test]
    async fn a_direction_with_nothing_to_pass_on_holds_nothing() {
        let (mut speaker, mut source) = secure_client(Configs::of(&TLS13)).await;
        let (mut listener, mut sink) = secure_target(Configs::of(&TLS12)).await;
        let moved = Counter::default();
        let mut direction = SecureDirection::new();
        for length in [1, 500_000] {
            let said = vec![7; length];
            let mut heard = vec![0; length];
            let pump = poll_fn(|cx| -> Poll<()> {
                if let Turn::Yielding = direction.turn(cx, &mut source, &mut sink, &moved) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            });
            let talk =
                async { tokio::join!(speaker.write_all(&said), listener.read_exact(&mut heard)) };
            tokio::select! {
                () = pump => {}
                (said, heard) = talk => {
                    said.unwrap();
                    assert_eq!(heard.unwrap(), length);
                }
            }
            poll_fn(|cx| Poll::Ready(direction.turn(cx, &mut source, &mut sink, &moved))).await;
            let SecureDirection { intake, outflow } = &direction;
            assert!(intake.held.is_none() && outflow.gathered.is_none());
            assert!(!direction.is_in_flight());
        }
    }

    #[tokio::test]
    async fn a_turn_ends_however_much_there_is_to_move() {
        let (mut speaker, mut source) = secure_client(Configs::of(&TLS13)).await;
        let (mut listener, mut sink) = secure_target(Configs::of(&TLS13)).await;
        tokio::spawn(async move { while speaker.write_all(&[7; 1 << 18]).await.is_ok() {} });
        tokio::spawn(async move {
            while listener.read(&mut [0; 1 << 18]).await.is_ok_and(|n| n > 0) {}
        });
        let moved = Counter::default();
        let mut direction = SecureDirection::new();
        let enough = poll_fn(|cx| {
            let before = moved.get();
            let turn = direction.turn(cx, &mut source, &mut sink, &moved);
            // What waited before it, and one read on top of a share that is not quite used up.
            assert!(moved.get() - before <= (TURN_BYTES + 2 * LARGE) as u64);
            if matches!(turn, Turn::Yielding) {
                cx.waker().wake_by_ref();
            }
            if moved.get() < 4 << 20 { Poll::Pending } else { Poll::Ready(()) }
        });
        tokio::time::timeout(std::time::Duration::from_secs(20), enough).await.unwrap();
    }
}
