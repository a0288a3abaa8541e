//! The clients: each writes one numbered key after the other through the proxy, and tries a write
//! again, on a new connection, until it is acknowledged.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::cli::demo::pair::PREFIX;
use crate::cli::demo::tally::{Tally, Trouble};

/// How many there are.
pub const COUNT: usize = 4;
/// Between two writes of one client.
const PACE: Duration = Duration::from_millis(20);
/// Between two tries of one write.
const PAUSE: Duration = Duration::from_millis(20);
/// A client gives a write up after this. Longer than `hold` in the definition of the demo.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// A write that takes longer than this is noticed.
const LONG: Duration = Duration::from_millis(100);
/// An answer is one short line.
const LONGEST: u64 = 512;

/// What they have seen, and since when each waits for an answer.
#[derive(Debug, Default)]
pub struct Accounts {
    /// What became of their writes.
    pub tally: Tally,
    /// Since when the write in hand of each is on its way.
    pub waiting: [Option<Instant>; COUNT],
}

/// The clients. They end when this is dropped.
pub struct Clients {
    accounts: Arc<Mutex<Accounts>>,
    tasks: JoinSet<()>,
}

struct Client {
    index: usize,
    proxy: SocketAddr,
    numbers: Arc<AtomicU64>,
    accounts: Arc<Mutex<Accounts>>,
    connection: Option<BufReader<TcpStream>>,
}

// === impl Clients ===

impl Clients {
    /// Starts them.
    pub fn start(proxy: SocketAddr) -> Self {
        let (numbers, accounts) = (Arc::new(AtomicU64::new(1)), Arc::default());
        let mut tasks = JoinSet::new();
        for index in 0..COUNT {
            let (numbers, accounts) = (Arc::clone(&numbers), Arc::clone(&accounts));
            let client = Client { index, proxy, numbers, accounts, connection: None };
            tasks.spawn(client.run());
        }
        Self { accounts, tasks }
    }

    /// What they have seen.
    pub fn accounts(&self) -> MutexGuard<'_, Accounts> {
        lock(&self.accounts)
    }

    /// How long those have waited by now whose write is long on its way.
    pub fn waiting(&self, now: Instant) -> Vec<Duration> {
        let accounts = self.accounts();
        let waits = accounts.waiting.iter().flatten().map(|since| now - *since);
        waits.filter(|wait| *wait > LONG).collect()
    }

    /// Has one of them ended? None ever should.
    pub fn has_ended(&mut self) -> bool {
        self.tasks.try_join_next().is_some()
    }
}

// === impl Client ===

impl Client {
    async fn run(mut self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            lock(&self.accounts).waiting[self.index] = Some(begun);
            let acknowledged = timeout(PATIENCE, self.write(number)).await.is_ok();
            let mut accounts = lock(&self.accounts);
            accounts.waiting[self.index] = None;
            if acknowledged {
                accounts.tally.acknowledged(number, begun.elapsed());
            } else {
                accounts.tally.met(Trouble::GivenUp);
                self.connection = None;
            }
        }
    }

    /// Tries until it is acknowledged.
    async fn write(&mut self, number: u64) {
        while let Err(trouble) = self.try_write(number).await {
            lock(&self.accounts).tally.met(trouble);
            sleep(PAUSE).await;
        }
    }

    async fn try_write(&mut self, number: u64) -> Result<(), Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.proxy).await.map_err(|_| Trouble::Unreachable)?,
        };
        let answer = exchange(&mut connection, number).await.map_err(|_| Trouble::Cut)?;
        if answer != b"+OK\r\n" {
            return Err(Trouble::Refused);
        }
        self.connection = Some(connection);
        Ok(())
    }
}

async fn connect(proxy: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

async fn exchange(connection: &mut BufReader<TcpStream>, number: u64) -> io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;

    let key = [PREFIX, number.to_string().as_bytes()].concat();
    let request = [b"SET ", key.as_slice(), b" ", number.to_string().as_bytes(), b"\r\n"].concat();
    connection.write_all(&request).await?;
    let mut line = Vec::new();
    connection.take(LONGEST).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn lock(accounts: &Mutex<Accounts>) -> MutexGuard<'_, Accounts> {
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
}
