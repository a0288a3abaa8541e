//! What `probe` prints of one run of a check: the transcript for people, an object for machines.
//!
//! Every text of a peer in it comes from the transcript, escaped and masked already.

use std::time::Duration;

use serde_json::{Value, json};

use crate::health::fault::Fault;
use crate::health::transcript::{Entry, Event, Transcript};
use crate::health::verdict::Verdict;

const GREEN: &str = "\x1b[1;32m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Whom a run asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The service; `None`: a check file by itself.
    pub service: Option<String>,
    /// What people call the target; `None`: the check speaks for none.
    pub target: Option<String>,
    /// Where it was asked.
    pub address: String,
    /// A witness was asked about the target.
    pub witness: bool,
}

/// The whole run: whom it asked, the transcript, its verdict in colour.
pub fn whole(asked: &Asked, run: &Transcript, colour: bool) -> String {
    // The verdict stands where it fell: before what was sent as a farewell.
    let verdict = run.decided_after.min(run.entries.len()) + usize::from(run.omitted > 0);
    let mut shown = format!("{}\n", paint(&asked.to_string(), BOLD, colour));
    for (index, line) in run.to_string().lines().enumerate() {
        if index == verdict {
            shown.push_str(&paint(line, colour_of(&run.verdict), colour));
        } else {
            shown.push_str(line);
        }
        shown.push('\n');
    }
    shown
}

/// The run in one line, for a verdict that is not news.
pub fn line(asked: &Asked, run: &Transcript, now: &str) -> String {
    let verdict = match &run.verdict {
        Verdict::Passed => "still passed".to_owned(),
        Verdict::Failed(fault) => match &fault.step {
            Some(step) => format!("still failed at step {}", step.index + 1),
            None => format!("still failed: {}", fault.kind),
        },
        Verdict::CouldNotRun(_) => "still could not run".to_owned(),
    };
    format!("{now}  {:>9.2} ms  {verdict}  {asked}\n", millis(run.took))
}

/// How many of several passed.
pub fn tally(passed: usize, count: usize, colour: bool) -> String {
    let hue = if passed == count { GREEN } else { RED };
    format!("{}\n", paint(&format!("{passed} of {count} checks passed"), hue, colour))
}

/// The run for machines.
pub fn json(asked: &Asked, run: &Transcript) -> Value {
    let (verdict, reason, step) = match &run.verdict {
        Verdict::Passed => ("passed", None, None),
        Verdict::Failed(fault) => {
            let step = fault.step.as_ref().map(|step| step.index + 1);
            ("failed", Some(fault.to_string()), step)
        }
        Verdict::CouldNotRun(trouble) => ("could_not_run", Some(trouble.to_string()), None),
    };
    json!({
        "service": asked.service,
        "target": asked.target,
        "address": asked.address,
        "witness": asked.witness,
        "verdict": verdict,
        "reason": reason,
        "failed_step": step,
        "rank": run.rank.map(|rank| rank.to_string()),
        "took_ms": millis(run.took),
        "entries": run.entries.iter().map(entry).collect::<Value>(),
        "decided_after": run.decided_after,
        "omitted": run.omitted,
    })
}

/// Is a verdict no news after another? What was heard may differ, and the place not.
pub fn is_same(before: &Verdict, now: &Verdict) -> bool {
    match (before, now) {
        (Verdict::Failed(before), Verdict::Failed(now)) => {
            let step = |fault: &Fault| fault.step.as_ref().map(|it| it.index);
            before.kind == now.kind && step(before) == step(now)
        }
        (Verdict::Passed, _) | (Verdict::Failed(_), _) | (Verdict::CouldNotRun(_), _) => {
            before == now
        }
    }
}

fn entry(entry: &Entry) -> Value {
    let (event, text, bytes) = match &entry.event {
        Event::Connected => ("connected", None, None),
        Event::Secured(agreed) => ("secured", Some(agreed.clone()), None),
        Event::Sent { text, length } => ("sent", Some(text.clone()), Some(*length)),
        Event::Heard { text, length } => ("heard", Some(text.clone()), Some(*length)),
        Event::Met(command) => ("met", Some(command.clone()), None),
        Event::Waited(pause) => ("waited", Some(format!("{pause:?}")), None),
        Event::Overslept(pause) => ("overslept", Some(format!("{pause:?}")), None),
        Event::Closed => ("closed", None, None),
        Event::Error(words) => ("error", Some(words.clone()), None),
        Event::Ranked(Ok(rank)) => ("ranked", Some(rank.to_string()), None),
        Event::Ranked(Err(why)) => ("unranked", Some(why.clone()), None),
    };
    json!({
        "at_ms": millis(entry.at),
        "step": entry.step.map(|step| step + 1),
        "event": event,
        "text": text,
        "bytes": bytes,
    })
}

fn colour_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => GREEN,
        Verdict::Failed(_) => RED,
        Verdict::CouldNotRun(_) => YELLOW,
    }
}

fn paint(text: &str, hue: &str, colour: bool) -> String {
    if colour { format!("{hue}{text}{PLAIN}") } else { text.to_owned() }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

// === impl Asked ===

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "{service} · ")?;
        }
        match &self.target {
            Some(target) if self.witness => write!(f, "{} about {target}", self.address),
            Some(target) if *target == self.address => f.write_str(target),
            Some(target) => write!(f, "{target} ({})", self.address),
            None if self.service.is_some() => write!(f, "{} (of no target)", self.address),
            None => f.write_str(&self.address),
        }
    }
}
