//! One run of a script over an established connection: bytes move, deadlines hold.
//!
//! All decisions are the interpreter's; nothing here judges. The peer may be silent, flood, drip
//! or die: the run ends by its deadline and keeps a bounded amount.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::config::check::Script;
use crate::config::names::TargetAddress;
use crate::health::awake::{AwakeTime, Overdue};
use crate::health::fault::FaultKind;
use crate::health::script::{Do, Expired, Interpreter};
use crate::health::securing::Talking;
use crate::health::shown::Masker;
use crate::health::transcript::{Event, Recorder, Transcript};
use crate::health::verdict::{OwnTrouble, Stage, Verdict, classify};
use crate::net::connectors::Connector;
use crate::net::tls_fault;

/// One read takes at most this much.
const CHUNK: usize = 8 * 1024;

/// What follows the verdict may take this long.
const FAREWELL: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The script.
    pub script: &'a Script,
    /// Fills `${target.host}` and `${target.port}`.
    pub target: &'a TargetAddress,
    /// Began before connecting: times in the transcript count from there.
    pub time: &'a AwakeTime,
    /// For a script that begins TLS.
    pub connector: Option<&'a Connector>,
    /// No farewell is said: it could end the connection.
    pub keep_open: bool,
}

/// Runs a script over `stream`, which is connected, and says what happened; the stream is left as
/// it is then.
pub async fn run_script<S>(stream: S, run: Run<'_>) -> (Transcript, S)
where
    S: Talking,
{
    let mut recorder = Recorder::new(Masker::of(run.script));
    recorder.note(run.time.elapsed(), None, Event::Connected);
    let interpreter = Interpreter::new(run.script, run.target);
    let buffer = vec![0; CHUNK].into_boxed_slice();
    let began = (usize::MAX, run.time.now());
    let mut probe = Probe { stream, run, interpreter, recorder, buffer, began };
    let (verdict, farewell) = probe.talk().await;
    let took = run.time.elapsed();
    probe.rank();
    probe.recorder.decided();
    if !run.keep_open {
        probe.bid_farewell(farewell).await;
    }
    (probe.recorder.finish(took, verdict), probe.stream)
}

/// A run that is under way.
struct Probe<'a, S> {
    stream: S,
    run: Run<'a>,
    interpreter: Interpreter<'a>,
    recorder: Recorder,
    buffer: Box<[u8]>,
    /// The step that waits, and since when in the run's time.
    began: (usize, Instant),
}

type Farewell = Vec<(usize, Vec<u8>)>;

impl<S: Talking> Probe<'_, S> {
    async fn talk(&mut self) -> (Verdict, Farewell) {
        loop {
            let next = self.interpreter.proceed();
            for step in self.interpreter.take_met() {
                let command = self.interpreter.describe(step);
                self.recorder.note(self.elapsed(), Some(step), Event::Met(command));
            }
            match next {
                Do::Send { step, bytes, within } => {
                    self.begin(step);
                    self.send(step, &bytes, within).await;
                }
                Do::Read { step, within } => self.read(step, within).await,
                Do::Upgrade { step, within } => self.upgrade(step, within).await,
                Do::Wait { step, pause } => self.wait(step, pause).await,
                Do::Done { verdict, farewell } => return (verdict, farewell),
            }
        }
    }

    /// Notes the rank that a pass gives.
    fn rank(&mut self) {
        if let Some(rank) = self.interpreter.rank() {
            self.recorder.ranked(self.run.time.elapsed(), rank);
        }
    }

    async fn send(&mut self, step: usize, bytes: &[u8], within: Option<Duration>) {
        let (due, expired) = self.due(within);
        match self.run.time.wait(due, write(&mut self.stream, bytes)).await {
            Ok(Ok(())) => self.recorder.sent(self.elapsed(), step, bytes),
            Ok(Err(error)) => {
                let why = self.failed(step, &error);
                self.interpreter.send_failed(why);
            }
            Err(Overdue) => self.interpreter.expired(expired),
        }
    }

    async fn read(&mut self, step: usize, within: Option<Duration>) {
        self.begin(step);
        let (due, expired) = self.due(within);
        match self.run.time.wait(due, self.stream.read(&mut self.buffer)).await {
            Ok(Ok(0)) => {
                self.recorder.note(self.elapsed(), Some(step), Event::Closed);
                self.interpreter.closed();
            }
            Ok(Ok(length)) => {
                let bytes = &self.buffer[..length];
                self.recorder.heard(self.run.time.elapsed(), step, bytes);
                self.interpreter.received(bytes);
            }
            Ok(Err(error)) => {
                let why = self.failed(step, &error);
                self.interpreter.read_failed(why);
            }
            Err(Overdue) => self.interpreter.expired(expired),
        }
    }

    async fn upgrade(&mut self, step: usize, within: Option<Duration>) {
        self.begin(step);
        let (due, expired) = self.due(within);
        let Some(connector) = self.run.connector else {
            let words = "nothing says how TLS is spoken to it".to_owned();
            return self.interpreter.upgrade_failed(Err(OwnTrouble::Tls(words)));
        };
        match self.run.time.wait(due, self.stream.begin_tls(connector)).await {
            Ok(Ok(agreed)) => {
                self.recorder.note(self.elapsed(), Some(step), Event::Secured(agreed));
                self.interpreter.upgraded();
            }
            Ok(Err(error)) => {
                let words = tls_fault::of_handshake(&error);
                let is_own = tls_fault::is_own(&error);
                self.interpreter.upgrade_failed(match is_own {
                    true => Err(OwnTrouble::Tls(words)),
                    false => Ok(FaultKind::Tls(words.into())),
                });
            }
            Err(Overdue) => self.interpreter.expired(expired),
        }
    }

    /// The step's time runs from here, if it does not yet.
    fn begin(&mut self, step: usize) {
        if self.began.0 != step {
            self.began = (step, self.run.time.now());
        }
    }

    async fn wait(&mut self, step: usize, pause: Duration) {
        let (until, deadline) = (self.run.time.now() + pause, self.run.time.deadline());
        let Err(Overdue) = self.run.time.wait(until.min(deadline), pending::<Infallible>()).await;
        if until > deadline {
            self.interpreter.expired(Expired::Check);
        } else {
            self.recorder.note(self.elapsed(), Some(step), Event::Waited(pause));
        }
    }

    /// Sends what follows the last question. It cannot change the verdict, so it may fail.
    async fn bid_farewell(&mut self, farewell: Farewell) {
        let due = Instant::now() + FAREWELL;
        for (step, bytes) in farewell {
            match timeout_at(due, write(&mut self.stream, &bytes)).await {
                Ok(Ok(())) => self.recorder.sent(self.elapsed(), step, &bytes),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// The step's own deadline, if it is the earlier one, or the check's; in the run's time.
    fn due(&self, within: Option<Duration>) -> (Instant, Expired) {
        let deadline = self.run.time.deadline();
        match within.and_then(|within| self.began.1.checked_add(within)) {
            Some(own) if own < deadline => (own, Expired::Step),
            Some(_) | None => (deadline, Expired::Check),
        }
    }

    fn failed(&mut self, step: usize, error: &io::Error) -> Result<FaultKind, OwnTrouble> {
        self.recorder.note(self.elapsed(), Some(step), Event::Error(error.to_string()));
        classify(Stage::Talk, error)
    }

    fn elapsed(&self) -> Duration {
        self.run.time.elapsed()
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
