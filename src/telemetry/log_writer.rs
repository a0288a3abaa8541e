//! The log's writer: a bounded queue and one thread, so that a log nobody reads (a full pipe, a
//! stopped terminal) never holds up an arbiter. What does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Lines that may wait for the thread.
const QUEUE: usize = 8192;
/// Lines that come within this are written together.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes written at once.
const BATCH: usize = 64 * 1024;

/// Where log lines go: cloned into the logger, kept to flush at the end.
#[derive(Clone)]
pub struct LogWriter {
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

enum Item {
    Line(Box<[u8]>),
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("stagedoor-log".to_owned())
            .spawn(move || write_lines(sink, &lines, &counted))
            .map_err(|error| {
                io::Error::new(error.kind(), format!("no thread can be started: {error}"))
            })?;
        Ok(Self { queue, dropped })
    }

    /// Queues a line; it is lost, and counted, where there is no room.
    pub fn write(&self, line: &[u8]) {
        match self.queue.try_send(Item::Line(line.into())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lose(),
        }
    }

    /// Counts a line that nobody will see.
    pub fn lose(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until what was logged so far is written, but about `limit` at the longest.
    pub fn flush_within(&self, limit: Duration) {
        const PAUSE: Duration = Duration::from_millis(1);
        let (done, written) = sync_channel(1);
        let mut item = Item::Flush(done);
        let mut left = limit;
        // A full queue is being written, or nobody reads the log: then the process ends without.
        while let Err(TrySendError::Full(back)) = self.queue.try_send(item) {
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(PAUSE);
            left = left.saturating_sub(PAUSE);
            item = back;
        }
        let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
            written.recv_timeout(left);
    }
}

/// Writes until every sender is gone. A sink that fails (disk full, closed terminal) loses lines,
/// never the service.
fn write_lines(mut sink: impl Write, lines: &Receiver<Item>, dropped: &AtomicU64) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut asked = None;
        gather(first, &mut batch, &mut asked);
        if asked.is_none() {
            // Senders that find this thread awake need not wake it: that is most of a line's cost.
            std::thread::park_timeout(GATHER);
        }
        while batch.len() < BATCH
            && asked.is_none()
            && let Ok(next) = lines.try_recv()
        {
            gather(next, &mut batch, &mut asked);
        }
        write_batch(&mut sink, &batch, dropped);
        batch.clear();
        if let Some(done) = asked {
            // Whoever asked may have stopped waiting.
            let (Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) =
                done.try_send(());
        }
    }
}

fn gather(item: Item, batch: &mut Vec<u8>, asked: &mut Option<SyncSender<()>>) {
    match item {
        Item::Line(line) => batch.extend_from_slice(&line),
        Item::Flush(done) => *asked = Some(done),
    }
}

fn write_batch(sink: &mut impl Write, batch: &[u8], dropped: &AtomicU64) {
    let written = sink.write_all(batch).and_then(|()| sink.flush());
    let lines = || batch.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let lost = dropped.swap(0, Ordering::Relaxed) + if written.is_err() { lines() } else { 0 };
    if lost > 0 && writeln!(sink, "stagedoor: {lost} log lines were lost here").is_err() {
        dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// A sink whose writes wait until they are let through.
    struct Gate(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(self.0.recv().is_err(), "the gate opens by being dropped");
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_blocks_nobody_and_says_what_it_lost() {
        let (open, gate) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = LogWriter::start(Gate(gate, Arc::clone(&written))).unwrap();
        // What the thread may have taken before its first write, what the queue holds, and more.
        for _ in 0..BATCH / b"line\n".len() + QUEUE + 100 {
            writer.write(b"line\n");
        }
        drop(open);
        writer.flush_within(Duration::from_secs(10));
        writer.write(b"after\n");
        writer.flush_within(Duration::from_secs(10));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log lines were lost here"), "{}", &text[text.len() - 100..]);
        assert!(text.contains("after\n"));
    }
}
