//! Traffic while something else goes on: relays that stay, and a steady load of new connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::client::{connect, echoed};

/// Longer than any component may take to be back.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two exchanges of one thread: a steady load, not as much as the machine can bear.
const PAUSE: Duration = Duration::from_millis(4);

/// Established relays to an echoing target.
pub(crate) struct Relays {
    port: u16,
    streams: Vec<TcpStream>,
    said: u64,
}

impl Relays {
    /// This many, each of which echoes.
    pub(crate) fn open(port: u16, count: usize) -> Self {
        let mut relays = Self { port, streams: Vec::new(), said: 0 };
        relays.fill_up(count);
        relays
    }

    /// Opens as many as are missing.
    pub(crate) fn fill_up(&mut self, count: usize) {
        while self.streams.len() < count {
            let mut stream = connect(self.port);
            assert_eq!(echoed(&mut stream, b"first"), b"first");
            self.streams.push(stream);
        }
    }

    /// Says something new over each; those that do not echo it are closed. Returns how many.
    pub(crate) fn lose(&mut self) -> usize {
        self.said += 1;
        let (before, said) = (self.streams.len(), self.said.to_be_bytes());
        // All are asked before any is waited for: they may wait for the same arbiter.
        self.streams.retain_mut(|stream| stream.write_all(&said).is_ok());
        self.streams.retain_mut(|stream| {
            let mut heard = [0; 8];
            stream.read_exact(&mut heard).is_ok() && heard == said
        });
        before - self.streams.len()
    }

    /// Asserts that every one of them echoes.
    #[track_caller]
    pub(crate) fn all_live(&mut self, after: &str) {
        assert_eq!(self.lose(), 0, "relays were lost after {after}");
    }
}

/// New connections, one after the other on each of several threads, every one checked to its end.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) exchanges: usize,
    /// Those that failed while nothing excused it.
    pub(crate) failures: Vec<String>,
    /// Those that failed while something did.
    pub(crate) excused: usize,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    exchanges: AtomicUsize,
    excused: AtomicUsize,
    /// Times in which a loss is permitted: begun, and over.
    begun: AtomicUsize,
    ended: AtomicUsize,
    failures: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

impl Load {
    /// A load of this many threads.
    pub(crate) fn start(port: u16, threads: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let one = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                while !shared.over.load(Ordering::Acquire) {
                    shared.exchange(port);
                    std::thread::park_timeout(PAUSE);
                }
            })
        };
        Self { threads: (0..threads).map(one).collect(), shared }
    }

    /// Runs something that may cost exchanges that are under way.
    #[cfg(feature = "chaos")]
    pub(crate) fn excuse<T>(&self, run: impl FnOnce() -> T) -> T {
        self.shared.begun.fetch_add(1, Ordering::AcqRel);
        let result = run();
        self.shared.ended.fetch_add(1, Ordering::AcqRel);
        result
    }

    /// How many there were up to now.
    pub(crate) fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::Relaxed)
    }

    /// The longest that one has taken since this was asked last.
    #[cfg(feature = "chaos")]
    pub(crate) fn slowest(&self) -> Duration {
        let mut slowest = self.shared.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut slowest)
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Seen {
        self.shared.over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a load does not panic");
        }
        let failures = &self.shared.failures;
        Seen {
            exchanges: self.shared.exchanges.load(Ordering::Relaxed),
            failures: std::mem::take(&mut failures.lock().unwrap_or_else(PoisonError::into_inner)),
            excused: self.shared.excused.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn exchange(&self, port: u16) {
        let (ended, started) = (self.ended.load(Ordering::Acquire), Instant::now());
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        let said = format!("exchange {number}, sixty-four bytes and a few more of it ............");
        let failure = match exchange(port, said.as_bytes()) {
            Ok(heard) if heard == said.as_bytes() => None,
            Ok(heard) => Some(format!("only {} bytes came back", heard.len())),
            Err(error) => Some(error),
        };
        let took = started.elapsed();
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        *slowest = took.max(*slowest);
        drop(slowest);
        let Some(failure) = failure else { return };
        if self.begun.load(Ordering::Acquire) > ended {
            self.excused.fetch_add(1, Ordering::Relaxed);
        } else {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(format!("exchange {number} after {took:?}: {failure}"));
        }
    }
}

fn exchange(port: u16, said: &[u8]) -> Result<Vec<u8>, String> {
    let stage = |stage: &'static str| move |error: std::io::Error| format!("{stage}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(stage("connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(stage("deadline"))?;
    stream.write_all(said).map_err(stage("write"))?;
    stream.shutdown(Shutdown::Write).map_err(stage("shutdown"))?;
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => Ok(heard),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("no answer".to_owned()),
        Err(error) => Err(format!("read: {error}")),
    }
}
