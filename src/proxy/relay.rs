//! The relay: what a client and a target say to each other, until both have finished.
//!
//! One future a session, driven by whatever is ready on either socket. Each direction goes to its
//! own end, so a half-close is kept; a reset (or any failure) of one side becomes a reset of the
//! other, after everything that was read has been passed on: a cut stream never looks whole. Who
//! the two are, and what becomes of the outcome, is for the session.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;

use crate::net::socket::Socket;
use crate::proxy::direction::Direction;
use crate::proxy::meter::Meter;
use crate::proxy::transfer::{Broken, Terminal, Transfer, Turn, yield_to_events};
use crate::proxy::watch::{Reached, RelayLimits, Watch};

/// How long the side that is still there may take to receive what was sent before a reset.
const RESET_LINGER: Duration = Duration::from_secs(1);

/// One of the two sides of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Target,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides finished sending and received everything.
    Finished {
        /// Who finished first.
        first: Side,
    },
    /// This side reset the connection.
    Reset(Side),
    /// The connection to this side failed: keep-alive or user timeout, no route, …
    Failed(Side, io::Error),
    /// No byte either way for `idle_timeout`.
    IdleTimeout,
    /// No byte for `half_close_timeout` after one side had finished.
    HalfCloseTimeout,
    /// The session reached its longest life.
    MaxAge,
    /// We were told to end it: see `Cut`.
    Cut,
}

/// A relay that has ended.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes that the target was given.
    pub to_target: u64,
    /// Bytes that the client was given.
    pub to_client: u64,
    /// How it ended.
    pub end: End,
}

/// A flag with which others end a relay: first `set`, then `abort` both sockets, which wakes it.
#[derive(Debug, Default)]
pub struct Cut(AtomicBool);

/// Relays between two sockets until both directions have ended or a limit is reached. When it
/// returns, both peers have been told, by FIN or by RST, whoever still holds the sockets.
pub async fn relay(
    mut client: &Socket,
    mut target: &Socket,
    limits: RelayLimits,
    meter: &Meter,
    cut: &Cut,
) -> Relayed {
    let ends = Ends { client: &mut client, target: &mut target };
    run::<_, Direction>(ends, limits, meter, cut).await
}

/// Relays between any two ends, as `relay` does.
pub(super) async fn run<E: Terminal, T: Transfer<E>>(
    mut ends: Ends<'_, E>,
    limits: RelayLimits,
    meter: &Meter,
    cut: &Cut,
) -> Relayed {
    let ended = {
        let mut relay = Relay::<E, T>::new(&mut ends, limits, meter);
        poll_fn(|cx| relay.poll(cx)).await
    };
    let end = if cut.is_set() { End::Cut } else { ended.end };
    match &end {
        End::Reset(side) | End::Failed(side, _) => {
            let survivor = ends.of(side.other()).socket();
            // Out of time: then the rest is lost, as it is to a reader that is too slow for a
            // router that forgets the connection.
            tokio::time::timeout(RESET_LINGER, survivor.sent()).await.ok();
            survivor.abort();
            // Its connection may be well, and only what came over it at fault.
            ends.of(*side).socket().abort();
        }
        // Nothing was under way: an orderly end. An error says that a side is gone already.
        End::IdleTimeout | End::HalfCloseTimeout if !ended.lost_bytes => {
            for side in [Side::Client, Side::Target] {
                finish(ends.of(side), ended.finished_to == Some(side)).await;
            }
        }
        End::IdleTimeout | End::HalfCloseTimeout | End::MaxAge | End::Cut => ends.abort(),
        End::Finished { .. } => {}
    }
    std::mem::forget(ends);
    Relayed { to_target: meter.to_target.get(), to_client: meter.to_client.get(), end }
}

/// Ends the connection to a silent side, in order if it has taken everything. What the kernel still
/// holds for it must not reach it later, when it may have lost the lead. One that has been told of
/// the end can no longer be asked, and was silent all the same.
async fn finish(end: &mut impl Terminal, is_told: bool) {
    let is_finished = !is_told
        && !end.socket().has_unsent()
        && poll_fn(|cx| Poll::Ready(end.poll_finish(cx).is_ready())).await;
    if !is_finished {
        end.socket().abort();
    }
}

/// The two sides of a relay. One that is dropped in the middle, by a panic or with its arbiter,
/// resets both: a stream that was cut must not look whole.
pub(super) struct Ends<'a, E: Terminal> {
    pub(super) client: &'a mut E,
    pub(super) target: &'a mut E,
}

/// An end, and in what state it leaves the two sides.
struct Ended {
    end: End,
    /// Bytes that had been read were never written.
    lost_bytes: bool,
    /// The side that has been told that the other one finished.
    finished_to: Option<Side>,
}

/// A relay in progress.
struct Relay<'a, 'e, E: Terminal, T> {
    ends: &'a mut Ends<'e, E>,
    meter: &'a Meter,
    /// From the client to the target.
    to_target: Progress<T>,
    /// From the target to the client.
    to_client: Progress<T>,
    first: Option<Side>,
    /// A side that takes no more bytes, but may have some left to be read.
    deaf: Option<(Side, io::Error)>,
    watch: Watch,
}

/// How far one direction is.
enum Progress<T> {
    /// Bytes may come.
    Open(T),
    /// The source has finished, and the sink is being told.
    Finishing,
    /// It has ended.
    Ended,
}

// === impl Relay ===

impl<'a, 'e, E: Terminal, T: Transfer<E>> Relay<'a, 'e, E, T> {
    fn new(ends: &'a mut Ends<'e, E>, limits: RelayLimits, meter: &'a Meter) -> Self {
        Self {
            ends,
            meter,
            to_target: Progress::Open(T::new()),
            to_client: Progress::Open(T::new()),
            first: None,
            deaf: None,
            watch: Watch::new(limits),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let before = self.moved();
        for from in [Side::Client, Side::Target] {
            if let Some(end) = self.turn(cx, from) {
                return Poll::Ready(Ended { end, lost_bytes: false, finished_to: None });
            }
        }
        if self.moved() != before {
            self.watch.saw_activity();
        }
        self.watch.poll(cx).map(|reached| Ended {
            end: End::from(reached),
            lost_bytes: self.to_target.is_in_flight() || self.to_client.is_in_flight(),
            finished_to: self.first.map(Side::other),
        })
    }

    /// Gives the direction from one side its turn.
    fn turn(&mut self, cx: &mut Context<'_>, from: Side) -> Option<End> {
        let Ends { client, target } = self.ends;
        let (progress, source, sink, moved) = match from {
            Side::Client => (&mut self.to_target, client, target, &self.meter.to_target),
            Side::Target => (&mut self.to_client, target, client, &self.meter.to_client),
        };
        let turn = match progress {
            Progress::Open(transfer) => transfer.turn(cx, source, sink, moved),
            Progress::Finishing => Turn::Finished,
            Progress::Ended => return None,
        };
        match turn {
            Turn::Waiting => None,
            Turn::Yielding => {
                yield_to_events(cx);
                None
            }
            Turn::Finished => {
                *progress = Progress::Finishing;
                self.finish(cx, from)
            }
            Turn::Broken(Broken::Source(error)) => Some(self.failed(from, error)),
            Turn::Broken(Broken::Sink(error)) => {
                *progress = Progress::Ended;
                self.deafened(from.other(), error)
            }
        }
    }

    /// A side has finished sending and the other has been given all of it: it is told.
    fn finish(&mut self, cx: &mut Context<'_>, side: Side) -> Option<End> {
        if let Some((deaf, error)) = self.deaf.take() {
            return Some(End::of(deaf, error));
        }
        // Also the second time, when a close would do: that waits for the last who holds the
        // socket. It fails only if the other side has reset, which reading from it tells.
        if self.ends.of(side.other()).poll_finish(cx).is_pending() {
            return None;
        }
        match side {
            Side::Client => self.to_target = Progress::Ended,
            Side::Target => self.to_client = Progress::Ended,
        }
        if let Some(first) = self.first {
            return Some(End::Finished { first });
        }
        self.first = Some(side);
        self.watch.saw_half_close();
        None
    }

    /// A side takes no more. What it sent before that is still worth passing on: it may be the
    /// reason why.
    fn deafened(&mut self, side: Side, error: io::Error) -> Option<End> {
        let from_it = match side {
            Side::Client => &self.to_target,
            Side::Target => &self.to_client,
        };
        // An error that is not the kernel's is ours: this side has not left, and would wait.
        if !matches!(from_it, Progress::Open(_)) || error.raw_os_error().is_none() {
            return Some(self.failed(side, error));
        }
        self.deaf = Some((side, error));
        self.watch.saw_half_close();
        None
    }

    /// The end that a failure means: the first one of a side names the cause.
    fn failed(&mut self, side: Side, error: io::Error) -> End {
        let (side, error) = self.deaf.take().unwrap_or((side, error));
        End::of(side, error)
    }

    fn moved(&self) -> u64 {
        self.meter.to_target.get().wrapping_add(self.meter.to_client.get())
    }
}

// === impl Progress ===

impl<T> Progress<T> {
    fn is_in_flight<E>(&self) -> bool
    where
        T: Transfer<E>,
    {
        match self {
            Self::Open(transfer) => transfer.is_in_flight(),
            Self::Finishing => true,
            Self::Ended => false,
        }
    }
}

// === impl Ends ===

impl<E: Terminal> Ends<'_, E> {
    fn of(&mut self, side: Side) -> &mut E {
        match side {
            Side::Client => self.client,
            Side::Target => self.target,
        }
    }

    fn abort(&self) {
        self.client.socket().abort();
        self.target.socket().abort();
    }
}

impl<E: Terminal> Drop for Ends<'_, E> {
    fn drop(&mut self) {
        self.abort();
    }
}

// === impl End ===

impl End {
    fn of(side: Side, error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            // Linux says EPIPE for a reset after the peer had finished, ENOTCONN after an abort.
            Some(Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN | Errno::CONNABORTED) => {
                Self::Reset(side)
            }
            Some(_) | None => Self::Failed(side, error),
        }
    }
}

impl From<Reached> for End {
    fn from(reached: Reached) -> Self {
        match reached {
            Reached::Idle => Self::IdleTimeout,
            Reached::HalfClosed => Self::HalfCloseTimeout,
            Reached::Age => Self::MaxAge,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished { first } => write!(f, "the {first} finished first"),
            Self::Reset(side) => write!(f, "the {side} reset the connection"),
            Self::Failed(side, error) => write!(f, "the connection to the {side} failed: {error}"),
            Self::IdleTimeout => f.write_str("idle for too long"),
            Self::HalfCloseTimeout => f.write_str("half-closed for too long"),
            Self::MaxAge => f.write_str("it reached its longest life"),
            Self::Cut => f.write_str("it was cut"),
        }
    }
}

// === impl Side ===

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Target,
            Self::Target => Self::Client,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Target => "target",
        })
    }
}

// === impl Cut ===

impl Cut {
    /// Marks the relay as ended by us. Abort both sockets after it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Has it been?
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
