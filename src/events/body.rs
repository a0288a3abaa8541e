//! The body that a webhook is sent: its template, filled with what can be said of an event. Pure.

use std::fmt::Write as _;

use crate::config::events::{BodyPiece, BodyTemplate};
use crate::events::event::Event;
use crate::state::wall_clock::WallTime;

/// The body for an event that is sent at `now`.
pub fn fill(template: &BodyTemplate, event: &Event, now: WallTime) -> String {
    let mut body = String::new();
    for piece in &template.pieces {
        match piece {
            BodyPiece::Text(text) => body.push_str(text),
            BodyPiece::Fact(fact) if template.is_json => {
                escape(&mut body, &event.fact(*fact, now));
            }
            BodyPiece::Fact(fact) => body.push_str(&event.fact(*fact, now)),
        }
    }
    body
}

/// Adds a text as it stands between the quotes of a JSON string.
fn escape(body: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => body.push_str("\\\""),
            '\\' => body.push_str("\\\\"),
            '\n' => body.push_str("\\n"),
            '\r' => body.push_str("\\r"),
            '\t' => body.push_str("\\t"),
            // Writing to a string does not fail.
            c if c.is_control() => drop(write!(body, "\\u{:04x}", u32::from(c))),
            c => body.push(c),
        }
    }
}
