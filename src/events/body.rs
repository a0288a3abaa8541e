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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::events::Fact;
    use crate::events::event::tests::down;

    #[test]
    fn the_default_body_is_json_whatever_is_put_into_it() {
        let now = WallTime::now();
        for reason in ["", "plain", "\"quoted\" \\ \r\n\t\u{0}\u{1b}\u{7f}\u{85} é 😀", "${event}"]
        {
            let event = down(6379, reason);
            let body = fill(&BodyTemplate::default(), &event, now);
            let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
            let expected = json!({
                "event": "HostDown", "message": "Uptime test failed", "url": "tcp://x:1",
                "response_code": "0", "tcp_error": "true", "host": "10.0.0.1", "api_id": "a1",
                "service": "redis", "target": "redis-1", "address": "10.0.0.1:6379",
                "from": "up", "to": "down", "reason": reason,
                "since": event.since.to_string(), "time": now.to_string(),
            });
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn a_text_that_is_no_json_is_filled_as_it_is() {
        let pieces = vec![BodyPiece::Fact(Fact::Reason), BodyPiece::Text("\"".to_owned())];
        let body =
            fill(&BodyTemplate { pieces, is_json: false }, &down(1, "\"a\""), WallTime::now());
        assert_eq!(body, "\"a\"\"");
    }
}
