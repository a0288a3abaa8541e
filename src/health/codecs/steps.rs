//! The steps of a check in PostgreSQL's protocol: their names, what is noted of them, and the
//! faults at them.

use std::sync::Arc;

use crate::config::check::PostgresCheck;
use crate::health::fault::{Fault, FaultKind, FaultStep};
use crate::health::fill::quoted;
use crate::health::shown::Masker;

/// Starting up, and logging in if anybody does.
pub const LOG_IN: usize = 0;
/// Asking, until the answer is whole.
pub const QUERY: usize = 1;
/// Judging the answer.
pub const EXPECT: usize = 2;

/// What happened in between, for the transcript. All text is escaped, capped and masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The server said this.
    Heard {
        /// The messages.
        words: String,
        /// How many bytes they have.
        length: usize,
    },
    /// A step was met: the step, and what it is.
    Met(usize, String),
}

/// A step as a person would say it.
pub fn describe(step: usize, check: &PostgresCheck, masker: &Masker) -> String {
    let shown = |template| quoted(template, masker);
    match (step, &check.login, &check.question) {
        (QUERY, _, Some(question)) => format!("query {}", shown(&question.query)),
        (EXPECT, _, Some(question)) => {
            format!("expect {}", question.expect.as_ref().map(shown).unwrap_or_default())
        }
        (_, Some(login), _) => format!("log in as {}", shown(&login.user)),
        (_, None, _) => "start up".to_owned(),
    }
}

/// The fault of a step. `heard` is fit for people already.
pub fn fault(
    index: usize,
    kind: FaultKind,
    heard: String,
    check: &PostgresCheck,
    masker: &Masker,
) -> Fault {
    let deciding = match check.question.as_ref().map(|question| question.expect.is_some()) {
        Some(true) => EXPECT,
        Some(false) => QUERY,
        None => LOG_IN,
    };
    let command = Arc::from(describe(index, check, masker));
    let step = Some(FaultStep { index, command, deciding: index == deciding });
    Fault { step, kind, heard }
}
