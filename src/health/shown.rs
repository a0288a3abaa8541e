//! What a peer said, made fit for people: escaped, capped, and with every secret masked.
//!
//! Nothing that came from the wire, and nothing that was sent to it, is shown by any other way.

use std::fmt::Write as _;

use crate::config::check::{Part, Script, Template};

/// What stands where a secret stood.
const MASK: &str = "***";

/// A piece of a secret at the edge of an excerpt is masked from this length on.
const TELLING: usize = 4;

/// The secrets of one script, so that they are masked wherever they turn up: in what is sent, and
/// in what a peer echoes.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    secrets: Vec<Vec<u8>>,
}

impl Masker {
    /// Everything in `script` that must not be shown.
    pub fn of(script: &Script) -> Self {
        Self::of_templates(script.steps.iter().flat_map(|step| step.action.templates()))
    }

    /// Everything in these texts that must not be shown.
    pub fn of_templates<'a>(templates: impl Iterator<Item = &'a Template>) -> Self {
        let mut secrets: Vec<Vec<u8>> = templates
            .flat_map(|template| &template.parts)
            .filter_map(|part| match part {
                Part::Secret(bytes) if !bytes.is_empty() => Some(bytes.clone()),
                Part::Secret(_)
                | Part::Bytes(_)
                | Part::TargetHost
                | Part::TargetPort
                | Part::Capture(_) => None,
            })
            .collect();
        secrets.sort();
        secrets.dedup();
        Self { secrets }
    }

    /// Are these bytes one of the secrets?
    pub fn is_secret(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|secret| secret == bytes)
    }

    /// How many bytes beyond an excerpt's cap must be at hand so that no secret is cut in two.
    pub fn overhang(&self) -> usize {
        self.secrets.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// `bytes` in quotes, escaped, of which at most `cap` are shown; `…` says that more follows.
    pub fn excerpt(&self, bytes: &[u8], cap: usize) -> String {
        let at_hand = &bytes[..bytes.len().min(cap.saturating_add(self.overhang()))];
        let hidden = self.hidden(at_hand);
        let mut text = String::with_capacity(at_hand.len().min(cap) + 8);
        text.push('"');
        let mut in_secret = false;
        for (byte, hide) in at_hand.iter().zip(hidden).take(cap) {
            if hide && !in_secret {
                text.push_str(MASK);
            } else if !hide {
                push_escaped(&mut text, *byte);
            }
            in_secret = hide;
        }
        if bytes.len() > cap {
            text.push('…');
        }
        text.push('"');
        text
    }

    /// For each byte: does it belong to a secret?
    fn hidden(&self, bytes: &[u8]) -> Vec<bool> {
        let mut hidden = vec![false; bytes.len()];
        for secret in &self.secrets {
            for (at, window) in bytes.windows(secret.len()).enumerate() {
                if window == secret.as_slice() {
                    hidden[at..at + secret.len()].fill(true);
                }
            }
            // An excerpt may begin or end inside an echo: the rest of it is in another excerpt.
            for length in (TELLING..secret.len().min(bytes.len() + 1)).rev() {
                if bytes.starts_with(&secret[secret.len() - length..]) {
                    hidden[..length].fill(true);
                }
                if bytes.ends_with(&secret[..length]) {
                    hidden[bytes.len() - length..].fill(true);
                }
            }
        }
        hidden
    }
}

/// Writes one byte the way a script would spell it.
fn push_escaped(text: &mut String, byte: u8) {
    match byte {
        b'\r' => text.push_str("\\r"),
        b'\n' => text.push_str("\\n"),
        b'\t' => text.push_str("\\t"),
        b'\\' => text.push_str("\\\\"),
        b'"' => text.push_str("\\\""),
        b' '..=b'~' => text.push(char::from(byte)),
        _ => write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail"),
    }
}

/// What a person wants to see of an answer: not the end of the line before, nor a RESP header.
pub fn useful(heard: &[u8]) -> &[u8] {
    let text = heard.trim_ascii_start();
    let Some(header) = text.strip_prefix(b"$") else { return text };
    let digits = header.iter().take_while(|byte| byte.is_ascii_digit()).count();
    header[digits..]
        .strip_prefix(b"\r\n")
        .filter(|body| digits > 0 && !body.is_empty())
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::Action;
    use crate::config::check::Step;

    fn masker(secrets: &[&str]) -> Masker {
        let parts = secrets.iter().map(|secret| Part::Secret(secret.as_bytes().to_vec())).collect();
        let action = Action::Send(Template { parts });
        Masker::of(&Script { steps: vec![Step { action, timeout: None }], ..Script::default() })
    }

    fn check(secrets: &[&str], bytes: &[u8], cap: usize, expected: &str) {
        assert_eq!(masker(secrets).excerpt(bytes, cap), expected);
    }

    #[test]
    fn bytes_are_shown_as_a_script_spells_them() {
        check(&[], b"+PONG\r\n\t\\\"\x00\x1b\xff", 64, r#""+PONG\r\n\t\\\"\x00\x1b\xff""#);
        check(&[], b"", 64, r#""""#);
    }

    #[test]
    fn what_is_beyond_the_cap_is_only_announced() {
        check(&[], b"0123456789", 4, "\"0123…\"");
        check(&[], b"0123", 4, "\"0123\"");
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        check(&["hunter2"], b"AUTH hunter2\r\n", 64, r#""AUTH ***\r\n""#);
        check(&["hunter2"], b"-ERR hunter2 and hunter2", 64, r#""-ERR *** and ***""#);
        check(&["x", "xyz"], b"axyzb", 64, "\"a***b\"");
    }

    #[test]
    fn a_secret_that_the_cap_would_cut_is_masked_all_the_same() {
        check(&["hunter2"], b"AUTH hunter2\r\n", 8, "\"AUTH ***…\"");
    }

    #[test]
    fn half_an_echo_at_an_edge_is_masked() {
        check(&["hunter2"], b"AUTH hunt", 64, "\"AUTH ***\"");
        check(&["hunter2"], b"nter2 was wrong", 64, "\"*** was wrong\"");
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        check(&[""], b"abc", 64, "\"abc\"");
    }
}
