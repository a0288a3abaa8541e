//! One check in PostgreSQL's protocol over an established connection: bytes move, a deadline holds.
//!
//! All decisions are the codec's. SCRAM's thousands of hashes are computed beside the runtime, so
//! that no other check waits for them.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::config::check::PostgresCheck;
use crate::config::names::TargetAddress;
use crate::health::awake::{AwakeTime, Overdue};
use crate::health::codecs::login::Challenge;
use crate::health::codecs::postgres::{Conversation, Do};
use crate::health::codecs::steps::Note;
use crate::health::fault::FaultKind;
use crate::health::shown::Masker;
use crate::health::transcript::{Event, Recorder, Transcript};
use crate::health::verdict::{OwnTrouble, Stage, Verdict, classify};

/// One read takes at most this much.
const CHUNK: usize = 8 * 1024;
/// Taking leave may take this long.
const FAREWELL: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct PostgresRun<'a> {
    /// What is asked.
    pub check: &'a PostgresCheck,
    /// Fills `${target.host}` and `${target.port}`.
    pub target: &'a TargetAddress,
    /// Began before connecting: times in the transcript count from there.
    pub time: &'a AwakeTime,
}

/// Runs a check over `stream`, which is connected, and says what happened.
pub async fn run_postgres<S>(stream: S, run: PostgresRun<'_>) -> Transcript
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut recorder = Recorder::new(Masker::of_templates(run.check.templates()));
    recorder.note(run.time.elapsed(), None, Event::Connected);
    let conversation = Conversation::new(run.check, run.target);
    let buffer = vec![0; CHUNK].into_boxed_slice();
    let mut probe = Probe { stream, run, conversation, recorder, buffer };
    let (verdict, farewell) = probe.talk().await;
    let took = run.time.elapsed();
    probe.recorder.decided();
    probe.bid_farewell(farewell).await;
    probe.recorder.finish(took, verdict)
}

/// A run that is under way.
struct Probe<'a, S> {
    stream: S,
    run: PostgresRun<'a>,
    conversation: Conversation<'a>,
    recorder: Recorder,
    buffer: Box<[u8]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Probe<'_, S> {
    async fn talk(&mut self) -> (Verdict, Option<Vec<u8>>) {
        loop {
            let next = self.conversation.proceed();
            for note in self.conversation.take_notes() {
                let (step, event) = match note {
                    Note::Heard { words: text, length } => {
                        (self.conversation.waits_at(), Event::Heard { text, length })
                    }
                    Note::Met(step, command) => (step, Event::Met(command)),
                };
                self.recorder.note(self.elapsed(), Some(step), event);
            }
            match next {
                Do::Send { step, words, bytes } => self.send(step, words, &bytes).await,
                Do::Read => self.read().await,
                Do::Prove(challenge) => self.prove(challenge).await,
                Do::Done { verdict, farewell } => return (verdict, farewell),
            }
        }
    }

    async fn send(&mut self, step: usize, text: String, bytes: &[u8]) {
        let due = self.run.time.deadline();
        match self.run.time.wait(due, write(&mut self.stream, bytes)).await {
            Ok(Ok(())) => {
                let event = Event::Sent { text, length: bytes.len() };
                self.recorder.note(self.elapsed(), Some(step), event);
            }
            Ok(Err(error)) => {
                let why = self.failed(&error);
                self.conversation.send_failed(why);
            }
            Err(Overdue) => self.conversation.expired(),
        }
    }

    async fn read(&mut self) {
        let due = self.run.time.deadline();
        match self.run.time.wait(due, self.stream.read(&mut self.buffer)).await {
            Ok(Ok(0)) => {
                self.recorder.note(self.elapsed(), None, Event::Closed);
                self.conversation.closed();
            }
            Ok(Ok(length)) => self.conversation.received(&self.buffer[..length]),
            Ok(Err(error)) => {
                let why = self.failed(&error);
                self.conversation.read_failed(why);
            }
            Err(Overdue) => self.conversation.expired(),
        }
    }

    async fn prove(&mut self, challenge: Challenge) {
        let solving = spawn_blocking(move || challenge.solve());
        match self.run.time.wait(self.run.time.deadline(), solving).await {
            Ok(Ok(solved)) => self.conversation.solved(solved),
            // Not in time, or the process ends.
            Ok(Err(_)) | Err(Overdue) => self.conversation.expired(),
        }
    }

    async fn bid_farewell(&mut self, farewell: Option<Vec<u8>>) {
        let Some(bytes) = farewell else { return };
        let due = Instant::now() + FAREWELL;
        if let Ok(Ok(())) = timeout_at(due, write(&mut self.stream, &bytes)).await {
            let event = Event::Sent { text: "Terminate".to_owned(), length: bytes.len() };
            let step = self.conversation.waits_at();
            self.recorder.note(self.elapsed(), Some(step), event);
        }
    }

    fn failed(&mut self, error: &io::Error) -> Result<FaultKind, OwnTrouble> {
        self.recorder.note(self.elapsed(), None, Event::Error(error.to_string()));
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

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const NOBODY: PostgresCheck = PostgresCheck { login: None, question: None };

    /// Runs a check without a login against a server that says this and then keeps silent.
    async fn ask(says: &[u8]) -> Transcript {
        let target = TargetAddress::Ip("127.0.0.1:5432".parse().unwrap());
        let (ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(says).await.unwrap();
        let time = AwakeTime::of(TIMEOUT);
        run_postgres(ours, PostgresRun { check: &NOBODY, target: &target, time: &time }).await
    }

    #[tokio::test(start_paused = true)]
    async fn silence_costs_the_timeout_and_no_more() {
        let transcript = ask(b"").await;
        let expected = "step 1 start up: not in time (heard nothing)";
        assert_eq!(transcript.verdict.to_string(), expected);
        assert_eq!(transcript.took, TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_a_verdict_at_once_and_each_step_is_told() {
        let transcript = ask(b"R\0\0\0\x08\0\0\0\x03").await;
        assert_eq!(
            (transcript.verdict.clone(), transcript.took),
            (Verdict::Passed, Duration::ZERO)
        );
        let expected = [
            "     0.00 ms       connected",
            "     0.00 ms    1  send StartupMessage \"stagedoor\" \"postgres\"",
            "     0.00 ms       heard AuthenticationCleartextPassword (9 bytes)",
            "     0.00 ms    1  start up: met",
            "     0.00 ms  passed",
        ];
        assert_eq!(transcript.to_string(), expected.join("\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_postgresql_is_known_at_once() {
        let transcript = ask(b"-NOAUTH Authentication required.\r\n").await;
        let expected = "step 1 start up: the answer is not well-formed (heard \"-NOAUTH \
                        Authentication required.\\r\\n\")";
        assert_eq!(transcript.verdict.to_string(), expected);
        assert_eq!(transcript.took, Duration::ZERO);
    }
}
