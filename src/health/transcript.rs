//! The transcript of one check run: each step, what was sent and heard, when, and the verdict.
//!
//! Bounded whatever a peer sends; every byte in it has gone through the `Masker`.

use std::fmt;
use std::time::Duration;

use crate::health::rank::Rank;
use crate::health::shown::Masker;
use crate::health::verdict::Verdict;

/// Of one message, this many bytes are shown.
const SHOWN: usize = 512;

/// Of one run, this many entries are kept; further ones are counted.
const ENTRIES: usize = 256;

/// What happened in one run of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// How many entries came before the verdict; those that follow cannot have changed it.
    pub decided_after: usize,
    /// Further entries that were not kept.
    pub omitted: usize,
    /// From before connecting to the verdict.
    pub took: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// The rank that a pass gives its target, where one is asked for and was found.
    pub rank: Option<Rank>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Since the run began.
    pub at: Duration,
    /// The step of the script, from 0, if it was one's doing.
    pub step: Option<usize>,
    /// What happened.
    pub event: Event,
}

/// What can happen in a run. All text is escaped, capped and masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection stood.
    Connected,
    /// And TLS within it: what was agreed on, and with whom.
    Secured(String),
    /// Bytes were sent.
    Sent {
        /// What, as a person would write it.
        text: String,
        /// How many bytes.
        length: usize,
    },
    /// Bytes came; those that came during one step are one entry.
    Heard {
        /// What, as a person would write it.
        text: String,
        /// How many bytes.
        length: usize,
    },
    /// A step was met: the command.
    Met(String),
    /// The script paused.
    Waited(Duration),
    /// We were not run ourselves for so long, or the machine was not: that is not held against the
    /// target.
    Overslept(Duration),
    /// The target closed its side.
    Closed,
    /// A system error, in its own words.
    Error(String),
    /// The rank that the pass gives the target, or why it gives none.
    Ranked(Result<Rank, String>),
}

/// Writes a transcript while a check runs.
#[derive(Debug)]
pub struct Recorder {
    masker: Masker,
    entries: Vec<Entry>,
    decided_after: Option<usize>,
    omitted: usize,
    hearing: Option<Hearing>,
    rank: Option<Rank>,
}

/// What is being heard during one step.
#[derive(Debug)]
struct Hearing {
    at: Duration,
    step: usize,
    kept: Vec<u8>,
    length: usize,
}

impl Transcript {
    /// The transcript of a run that had nothing to say but its verdict, such as a refused connect.
    pub fn of_verdict(verdict: Verdict, took: Duration) -> Self {
        Self { entries: Vec::new(), decided_after: 0, omitted: 0, took, verdict, rank: None }
    }

    /// The same run, which began with an attempt that came to nothing.
    pub fn after(self, first: Self) -> Self {
        let decided_after = first.entries.len() + self.decided_after;
        let omitted = first.omitted + self.omitted;
        let entries = first.entries.into_iter().chain(self.entries).collect();
        Self { entries, decided_after, omitted, ..self }
    }

    /// The same behind a PROXY header, which went before all else.
    pub fn announced(mut self, at: Duration, header: &[u8]) -> Self {
        let first = self.entries.iter().take_while(|entry| entry.event == Event::Connected).count();
        let text = header.escape_ascii().to_string();
        let event = Event::Sent { text, length: header.len() };
        self.entries.insert(first, Entry { at, step: None, event });
        self.decided_after += 1;
        self
    }

    /// The same over TLS: before the first step there was a handshake.
    pub fn secured(mut self, at: Duration, agreed: String) -> Self {
        let first = self.entries.iter().take_while(|entry| entry.event == Event::Connected).count();
        self.entries.insert(first, Entry { at, step: None, event: Event::Secured(agreed) });
        self.decided_after += 1;
        self
    }

    /// The same, of which we slept through a part before the verdict.
    pub fn overslept(mut self, pause: Duration) -> Self {
        let (at, step) = (self.took, None);
        self.entries.insert(self.decided_after, Entry { at, step, event: Event::Overslept(pause) });
        self.decided_after += 1;
        self
    }
}

impl Recorder {
    /// An empty transcript, in which the secrets that `masker` knows will not appear.
    pub fn new(masker: Masker) -> Self {
        let (entries, decided_after, omitted) = (Vec::new(), None, 0);
        Self { masker, entries, decided_after, omitted, hearing: None, rank: None }
    }

    /// Something happened that has no bytes.
    pub fn note(&mut self, at: Duration, step: Option<usize>, event: Event) {
        self.close_hearing();
        self.push(Entry { at, step, event });
    }

    /// A step sent these bytes.
    pub fn sent(&mut self, at: Duration, step: usize, bytes: &[u8]) {
        let text = self.masker.excerpt(bytes, SHOWN);
        self.note(at, Some(step), Event::Sent { text, length: bytes.len() });
    }

    /// These bytes came while a step waited.
    pub fn heard(&mut self, at: Duration, step: usize, bytes: &[u8]) {
        if self.hearing.as_ref().is_none_or(|hearing| hearing.step != step) {
            self.close_hearing();
            self.hearing = Some(Hearing { at, step, kept: Vec::new(), length: 0 });
        }
        let keep = SHOWN + 1 + self.masker.overhang();
        if let Some(hearing) = &mut self.hearing {
            let room = keep.saturating_sub(hearing.kept.len()).min(bytes.len());
            hearing.kept.extend_from_slice(&bytes[..room]);
            hearing.length += bytes.len();
        }
    }

    /// The run gives its target this rank, or none, and why.
    pub fn ranked(&mut self, at: Duration, rank: Result<Rank, String>) {
        self.rank = rank.as_ref().ok().copied();
        self.note(at, None, Event::Ranked(rank));
    }

    /// The verdict stands; what follows is a farewell.
    pub fn decided(&mut self) {
        self.close_hearing();
        self.decided_after = Some(self.entries.len());
    }

    /// The run is over; its verdict came after `took`.
    pub fn finish(mut self, took: Duration, verdict: Verdict) -> Transcript {
        self.close_hearing();
        let Self { entries, decided_after, omitted, rank, .. } = self;
        let decided_after = decided_after.unwrap_or(entries.len());
        Transcript { entries, decided_after, omitted, took, verdict, rank }
    }

    fn close_hearing(&mut self) {
        if let Some(Hearing { at, step, kept, length }) = self.hearing.take() {
            let text = self.masker.excerpt(&kept, SHOWN);
            self.push(Entry { at, step: Some(step), event: Event::Heard { text, length } });
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() < ENTRIES {
            self.entries.push(entry);
        } else {
            self.omitted += 1;
        }
    }
}

impl fmt::Display for Transcript {
    /// A line an entry, and one for the verdict where it fell; no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.entries.split_at(self.decided_after.min(self.entries.len()));
        for entry in before {
            writeln!(f, "{entry}")?;
        }
        if self.omitted > 0 {
            writeln!(f, "                   … {} more not kept", self.omitted)?;
        }
        write!(f, "{}  ", Stamp(self.took))?;
        match &self.verdict {
            Verdict::Passed => f.write_str("passed")?,
            Verdict::Failed(fault) => write!(f, "failed: {fault}")?,
            Verdict::CouldNotRun(trouble) => write!(f, "could not run: {trouble}")?,
        }
        for entry in after {
            write!(f, "\n{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", Stamp(self.at))?;
        match (&self.event, self.step) {
            (Event::Heard { text, length: 0 }, _) => write!(f, "     heard {text}"),
            (Event::Heard { text, length }, _) => write!(f, "     heard {text} ({length} bytes)"),
            (Event::Closed, _) => f.write_str("     the target closed"),
            (Event::Error(words), _) => write!(f, "     {words}"),
            (event, Some(step)) => write!(f, "{:>3}  {event}", step + 1),
            (event, None) => write!(f, "     {event}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Secured(agreed) => f.write_str(agreed),
            Self::Sent { text, .. } => write!(f, "send {text}"),
            Self::Heard { text, .. } => write!(f, "heard {text}"),
            Self::Met(command) => write!(f, "{command}: met"),
            Self::Waited(pause) => write!(f, "waited {pause:?}"),
            Self::Overslept(pause) => {
                write!(
                    f,
                    "this process was not run for {} ms, which does not count",
                    pause.as_millis()
                )
            }
            Self::Closed => f.write_str("the target closed"),
            Self::Error(words) => f.write_str(words),
            Self::Ranked(Ok(rank)) => write!(f, "rank {rank}"),
            Self::Ranked(Err(why)) => write!(f, "no rank: {why}"),
        }
    }
}

/// A time since the start of a run, in milliseconds, in a column of its own.
struct Stamp(Duration);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.2} ms", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{Action, Part, Script, Step, Template};
    use crate::health::fault::{Fault, FaultKind};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn with_secret(secret: &str) -> Recorder {
        let parts = vec![Part::Secret(secret.as_bytes().to_vec())];
        let step = Step { action: Action::Send(Template { parts }), timeout: None };
        Recorder::new(Masker::of(&Script { steps: vec![step], ..Script::default() }))
    }

    #[test]
    fn it_reads_as_the_story_of_the_run() {
        let mut recorder = with_secret("hunter2");
        recorder.note(ms(0), None, Event::Connected);
        recorder.sent(ms(1), 0, b"AUTH hunter2\r\n");
        recorder.heard(ms(2), 1, b"-WRONG");
        recorder.heard(ms(3), 1, b"PASS hunter2\r\n");
        recorder.note(ms(3), Some(1), Event::Met("expect \"-WRONG\"".to_owned()));
        recorder.note(ms(4), None, Event::Closed);
        let verdict = Verdict::Failed(Fault::unstepped(FaultKind::Closed));
        assert_eq!(
            recorder.finish(ms(5), verdict).to_string(),
            concat!(
                "     0.00 ms       connected\n",
                "     1.00 ms    1  send \"AUTH ***\\r\\n\"\n",
                "     2.00 ms       heard \"-WRONGPASS ***\\r\\n\" (20 bytes)\n",
                "     3.00 ms    2  expect \"-WRONG\": met\n",
                "     4.00 ms       the target closed\n",
                "     5.00 ms  failed: the target closed the connection first",
            )
        );
    }

    #[test]
    fn an_echoed_secret_is_masked_even_when_it_comes_in_pieces() {
        let mut recorder = with_secret("hunter2");
        for byte in b"you said hunter2" {
            recorder.heard(ms(1), 0, &[*byte]);
        }
        let shown = recorder.finish(ms(2), Verdict::Passed).to_string();
        assert!(shown.contains("you said ***"), "{shown}");
    }

    #[test]
    fn a_flood_leaves_a_small_transcript() {
        let mut recorder = with_secret("hunter2");
        for _ in 0..1000 {
            recorder.heard(ms(1), 0, &[b'x'; 1000]);
        }
        for _ in 0..1000 {
            recorder.sent(ms(1), 1, &[b'y'; 1000]);
        }
        let transcript = recorder.finish(ms(2), Verdict::Passed);
        assert_eq!(transcript.entries.len(), ENTRIES);
        assert_eq!(transcript.omitted, 1001 - ENTRIES);
        assert!(transcript.to_string().len() < ENTRIES * (SHOWN + 64));
        assert!(transcript.to_string().contains("(1000000 bytes)"));
    }
}
