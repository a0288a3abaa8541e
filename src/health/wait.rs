//! One wait of a script for what the target says: an expect and the rejects that go with it.
//!
//! Everything that can end a wait does so at one byte of the stream. The earliest wins, so the
//! outcome is the same however the stream was cut into reads.

use crate::health::fault::FaultKind;
use crate::health::found::{Found, Match};
use crate::health::framing::{Exchange, Known, Span};
use crate::health::search::Search;

/// More unread bytes than this fail the check.
pub const UNREAD_LIMIT: usize = 64 * 1024;

/// A wait that is under way.
#[derive(Debug)]
pub struct Wait {
    /// The step that the script stands at.
    pub step: usize,
    /// What would end it well.
    pub goal: Goal,
    /// What would end it badly, with the step that says so.
    pub rejects: Vec<(usize, Search)>,
}

/// What would end a wait well.
#[derive(Debug)]
pub enum Goal {
    /// This is heard.
    Expect(Search),
    /// The target closes its side.
    Close,
    /// The reply ends and no reject was heard: a script's last step is a `reject`.
    Quiet,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Met {
        /// What was heard; `None` where nothing was looked for.
        matched: Option<Match>,
        /// How many of the unread bytes it took to know.
        needed: usize,
    },
    /// Badly.
    Failed {
        /// The step that failed.
        step: usize,
        /// Why.
        kind: FaultKind,
        /// Where in the unread bytes the telling part is.
        heard: std::ops::Range<usize>,
    },
}

/// What is known of the stream when a wait looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Unread<'a> {
    /// The bytes that no step has consumed.
    pub bytes: &'a [u8],
    /// The position of the first of them in the whole stream.
    pub base: u64,
    /// No more will come, and why.
    pub end: Option<&'a FaultKind>,
}

/// What can end a wait, in the order that decides between two at one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Limit,
    Reject(usize),
    TooCostly(usize),
    Malformed,
    Expect,
    Answered,
    End,
}

impl Wait {
    /// Looks at what came. `None`: nothing has ended the wait yet.
    pub fn look(&mut self, unread: Unread<'_>, exchange: &mut Exchange) -> Option<Outcome> {
        let (at, cause) = self.earliest(unread, exchange)?;
        let so_far = &unread.bytes[..at.min(unread.bytes.len())];
        let failed = |step, kind, heard| Some(Outcome::Failed { step, kind, heard });
        match cause {
            Cause::Limit => failed(self.step, FaultKind::Limit, 0..at),
            Cause::Reject(step) => failed(step, FaultKind::Rejected, tail(at)),
            Cause::TooCostly(step) => failed(step, FaultKind::TooCostly, 0..at),
            Cause::Malformed => failed(self.step, FaultKind::Malformed, tail(at)),
            Cause::Expect => match self.matched(so_far) {
                Some(matched) => Some(Outcome::Met { matched: Some(matched), needed: at }),
                None => failed(self.step, FaultKind::TooCostly, 0..at),
            },
            Cause::Answered => Some(self.answered(so_far, unread.base, exchange)),
            Cause::End => Some(self.ended(unread)),
        }
    }

    /// A regex matches already, but more bytes could still change its match.
    pub fn is_undecided(&self, unread: &[u8]) -> bool {
        self.matched(unread).is_some()
    }

    /// What happened at the earliest byte.
    fn earliest(&mut self, unread: Unread<'_>, exchange: &mut Exchange) -> Option<(usize, Cause)> {
        let mut events = Vec::with_capacity(4);
        for (step, search) in &mut self.rejects {
            match search.feed(&unread.bytes[search.fed()..]) {
                Found::At(at) => events.push((at, Cause::Reject(*step))),
                Found::TooCostly(at) => events.push((at, Cause::TooCostly(*step))),
                Found::NotYet => {}
            }
        }
        if let Goal::Expect(search) = &mut self.goal {
            match search.feed(&unread.bytes[search.fed()..]) {
                Found::At(at) => events.push((at, Cause::Expect)),
                Found::TooCostly(at) => events.push((at, Cause::TooCostly(self.step))),
                Found::NotYet => {}
            }
        }
        match (exchange.look(unread.bytes, unread.base), &self.goal) {
            (Some(Known::Malformed { at }), _) => {
                events.push((offset(at, unread.base), Cause::Malformed));
            }
            (Some(Known::Answered { at }), Goal::Expect(_) | Goal::Quiet) => {
                events.push((offset(at, unread.base), Cause::Answered));
            }
            (Some(Known::Answered { .. }), Goal::Close) | (None, _) => {}
        }
        if unread.bytes.len() > UNREAD_LIMIT {
            events.push((UNREAD_LIMIT + 1, Cause::Limit));
        }
        if unread.end.is_some() {
            events.push((unread.bytes.len(), Cause::End));
        }
        events.into_iter().min()
    }

    /// The reply is complete, and nothing was decided before its end.
    fn answered(&self, reply: &[u8], base: u64, exchange: &Exchange) -> Outcome {
        if let Some(outcome) = self.all_there_is(reply) {
            return outcome;
        }
        if let Some(Span { start, end }) = exchange.error_since(base) {
            let heard = offset(start, base)..offset(end, base);
            return Outcome::Failed { step: self.step, kind: FaultKind::ErrorReply, heard };
        }
        match self.goal {
            Goal::Quiet => Outcome::Met { matched: None, needed: reply.len() },
            Goal::Expect(_) | Goal::Close => Outcome::Failed {
                step: self.step,
                kind: FaultKind::Contradicted,
                heard: offset(exchange.last_answer(), base).min(reply.len())..reply.len(),
            },
        }
    }

    /// No more will come.
    fn ended(&self, unread: Unread<'_>) -> Outcome {
        let kind = unread.end.cloned().unwrap_or(FaultKind::Closed);
        let heard = 0..unread.bytes.len();
        let failed = Outcome::Failed { step: self.step, kind: kind.clone(), heard: heard.clone() };
        if kind != FaultKind::Closed {
            return failed;
        }
        if let Some(outcome) = self.all_there_is(unread.bytes) {
            return outcome;
        }
        match self.goal {
            Goal::Close => Outcome::Met { matched: None, needed: 0 },
            Goal::Quiet if !heard.is_empty() => Outcome::Met { matched: None, needed: heard.end },
            Goal::Quiet | Goal::Expect(_) => failed,
        }
    }

    /// A regex that more bytes could have changed is decided by what there is.
    fn all_there_is(&self, stream: &[u8]) -> Option<Outcome> {
        for (step, reject) in &self.rejects {
            if let Some(Match { end, .. }) = reject.matched(stream) {
                let (step, kind, heard) = (*step, FaultKind::Rejected, tail(end));
                return Some(Outcome::Failed { step, kind, heard });
            }
        }
        let needed = stream.len();
        self.matched(stream).map(|matched| Outcome::Met { matched: Some(matched), needed })
    }

    fn matched(&self, stream: &[u8]) -> Option<Match> {
        match &self.goal {
            Goal::Expect(search) => search.matched(stream),
            Goal::Close | Goal::Quiet => None,
        }
    }
}

/// The index of `position` in bytes that begin at `base`.
fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position.saturating_sub(base)).unwrap_or(usize::MAX)
}

/// The last bytes before `end`: a person wants to see what it was in.
fn tail(end: usize) -> std::ops::Range<usize> {
    end.saturating_sub(48)..end
}
