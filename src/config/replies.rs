//! Replies: can their end be known, so that a wrong one need not be waited out? Pure.

use crate::config::check::{Action, Framing, Script, Step};
use crate::config::validate::script::literal;

/// When the end of a script's replies is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Always: what is no RESP fails.
    Known,
    /// If the target answers in RESP, which shows when the script runs.
    IfResp,
    /// Never.
    Unknown,
}

/// When the end of this script's replies is known.
pub fn ends(script: &Script) -> Ends {
    let may_be_resp = || {
        let asks = |action: &Action| match action {
            Action::Send(template) => {
                literal(template).is_none_or(|bytes| may_be_resp_command(&bytes))
            }
            Action::SendResp(_)
            | Action::Expect(_)
            | Action::Reject(_)
            | Action::ExpectClose
            | Action::Compare(_)
            | Action::Wait(_)
            | Action::Starttls(_) => true,
        };
        // What was said before TLS counts no more.
        let steps = &script.steps[script.starttls().map_or(0, |step| step + 1)..];
        steps.iter().all(|step| asks(&step.action)) && asks_before_it_expects(steps)
    };
    match script.framing {
        Framing::Resp => Ends::Known,
        Framing::Detect if may_be_resp() => Ends::IfResp,
        Framing::Detect | Framing::None => Ends::Unknown,
    }
}

/// An inline command or an array of bulk strings; what it really is shows when it runs.
fn may_be_resp_command(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first == b'*' || first.is_ascii_alphabetic())
        || bytes.starts_with(b"+")
}

/// A server that speaks first speaks no RESP.
fn asks_before_it_expects(steps: &[Step]) -> bool {
    let first = steps.iter().find(|step| !matches!(step.action, Action::Wait(_)));
    first.is_some_and(|step| matches!(step.action, Action::Send(_) | Action::SendResp(_)))
}
