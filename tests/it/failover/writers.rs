//! Eight clients that write through the proxy, steadily, and keep book of it.
//!
//! Four keep their connection and make a new one only when it is lost, four make one for each
//! write. They are patient: a client that gives up says nothing of the proxy.

use std::collections::BTreeMap;
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::Instant;

use crate::failover::session::Session;
use crate::harness::eventually::eventually;
use crate::harness::network::established;

const PERSISTENT: usize = 4;
const WRITERS: usize = 8;

/// One write, from its client's side.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// What was written; nobody else writes the same.
    pub(crate) name: String,
    /// When its connection was begun: long before, if it was kept.
    pub(crate) opened: Instant,
    /// When it was sent, or the connection for it begun.
    pub(crate) sent: Instant,
    /// When its end was known.
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server at this port says that it is done.
    Acknowledged(u16),
    /// The server at this port says that it is not.
    Refused(u16, String),
    /// The connection failed before anybody said anything.
    Failed(String),
}

/// The sessions to the old server at the moment of the first answer of the new one.
#[derive(Debug, Clone)]
pub(crate) struct Crossing {
    /// Clients whose connection, over which the old server has answered before, is still whole.
    pub(crate) alive: Vec<usize>,
    /// The proxy's connections to the old server, a check's own among them.
    pub(crate) connected: usize,
}

/// The clients at work.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    listen: u16,
    old: SocketAddrV4,
    new: u16,
    over: AtomicBool,
    book: Mutex<Book>,
    /// The connections over which somebody has answered, and who.
    seats: [Mutex<Option<(u16, TcpStream)>>; WRITERS],
    crossing: OnceLock<Crossing>,
}

#[derive(Default)]
struct Book {
    writes: Vec<Write>,
    acknowledged: BTreeMap<u16, usize>,
}

impl Writers {
    /// Starts them at a port of the proxy, behind which `old` is to be followed by `new`.
    pub(crate) fn start<S: Session>(listen: u16, old: SocketAddrV4, new: u16) -> Self {
        let shared = Arc::new(Shared {
            listen,
            old,
            new,
            over: AtomicBool::new(false),
            book: Mutex::default(),
            seats: Default::default(),
            crossing: OnceLock::new(),
        });
        let thread = |writer| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work::<S>(writer))
        };
        Self { threads: (0..WRITERS).map(thread).collect(), shared }
    }

    /// Waits until the server at a port has acknowledged so many writes more.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, count: usize, by: u16) {
        let acknowledged = || lock(&self.shared.book).acknowledged.get(&by).copied().unwrap_or(0);
        let before = acknowledged();
        eventually("writes go on", || (acknowledged() >= before + count).then_some(()));
    }

    /// Ends them; every write has an end then.
    pub(crate) fn stop(self) -> (Vec<Write>, Option<Crossing>) {
        self.shared.over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a writer does not panic");
        }
        let writes = std::mem::take(&mut lock(&self.shared.book).writes);
        (writes, self.shared.crossing.get().cloned())
    }
}

impl Shared {
    fn work<S: Session>(&self, writer: usize) {
        let (mut kept, mut next) = (None, Instant::now());
        for number in 0.. {
            if self.over.load(Ordering::Acquire) {
                return self.leave(writer);
            }
            let sent = Instant::now();
            let (mut session, opened) = match kept.take() {
                Some((session, opened)) => (Ok(session), opened),
                None => (S::open(self.listen), sent),
            };
            let name = format!("{writer}:{number}");
            let written = match &mut session {
                Ok(session) => session.write(&name),
                Err(error) => Err(std::io::Error::from(error.kind())),
            };
            let ended = Instant::now();
            let outcome = match written {
                Ok(answer) => {
                    let session = session.expect("it has answered");
                    self.sit(writer, answer.by, &session);
                    if writer < PERSISTENT {
                        kept = Some((session, opened));
                    } else {
                        self.leave(writer);
                    }
                    answer.refusal.map_or(Outcome::Acknowledged(answer.by), |why| {
                        Outcome::Refused(answer.by, why)
                    })
                }
                Err(error) => {
                    self.leave(writer);
                    Outcome::Failed(error.to_string())
                }
            };
            self.note(Write { name, opened, sent, ended, outcome });
            next = (next + S::PERIOD).max(Instant::now());
            std::thread::park_timeout(next.saturating_duration_since(ended));
        }
    }

    /// Somebody has answered over a connection. The first time that the new server does, the old
    /// one must have no other left.
    fn sit<S: Session>(&self, writer: usize, by: u16, session: &S) {
        let mut seat = lock(&self.seats[writer]);
        if seat.is_none() {
            *seat = session.stream().try_clone().ok().map(|stream| (by, stream));
        }
        drop(seat);
        if by == self.new {
            self.crossing.get_or_init(|| Crossing {
                connected: established(self.old),
                alive: (0..WRITERS).filter(|writer| self.is_with_old(*writer)).collect(),
            });
        }
    }

    fn is_with_old(&self, writer: usize) -> bool {
        let seat = lock(&self.seats[writer]);
        seat.as_ref().is_some_and(|(by, stream)| *by == self.old.port() && is_whole(stream))
    }

    fn leave(&self, writer: usize) {
        *lock(&self.seats[writer]) = None;
    }

    fn note(&self, write: Write) {
        let mut book = lock(&self.book);
        if let Outcome::Acknowledged(by) = write.outcome {
            *book.acknowledged.entry(by).or_default() += 1;
        }
        book.writes.push(write);
    }
}

/// Nobody has closed, reset or broken it.
fn is_whole(stream: &TcpStream) -> bool {
    let mut ready = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut ready, Some(&Timespec::default())).expect("a socket can be polled") == 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
