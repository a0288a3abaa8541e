//! What a script knows while it runs (its target and its captures), and templates filled from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::check::{Action, Asking, Comparison, Matcher, Operator, Part, Script, Template};
use crate::config::names::TargetAddress;
use crate::health::shown::Masker;

/// Of a command's own bytes, this many are shown in messages.
const SHOWN: usize = 64;

/// The target and what has been captured so far.
#[derive(Debug, Clone)]
pub struct Facts {
    host: String,
    port: u16,
    captures: BTreeMap<Arc<str>, Vec<u8>>,
}

/// `${capture.NAME}` was needed before anything was captured under that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCapture(pub Arc<str>);

impl Facts {
    /// What is known of `target` before the script starts.
    pub fn of(target: &TargetAddress) -> Self {
        Self { host: target.host(), port: target.port(), captures: BTreeMap::new() }
    }

    /// Keeps a capture; a later one under the same name replaces it.
    pub fn capture(&mut self, name: &str, value: &[u8]) {
        self.captures.insert(name.into(), value.to_vec());
    }

    /// The template with its holes filled.
    pub fn fill(&self, template: &Template) -> Result<Vec<u8>, NoCapture> {
        let mut filled = Vec::new();
        for part in &template.parts {
            match part {
                Part::Bytes(bytes) | Part::Secret(bytes) => filled.extend_from_slice(bytes),
                Part::TargetHost => filled.extend_from_slice(self.host.as_bytes()),
                Part::TargetPort => filled.extend_from_slice(self.port.to_string().as_bytes()),
                Part::Capture(name) => match self.captures.get(name) {
                    Some(value) => filled.extend_from_slice(value),
                    None => return Err(NoCapture(name.clone())),
                },
            }
        }
        Ok(filled)
    }

    /// Words with their holes filled as one RESP command: an array of bulk strings.
    pub fn command(&self, words: &[Template]) -> Result<Vec<u8>, NoCapture> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = self.fill(word)?;
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(&word);
            command.extend_from_slice(b"\r\n");
        }
        Ok(command)
    }
}

/// Does `left operator right` hold? Both numeric: as numbers; else only `==` and `!=` can hold.
pub fn holds(left: &[u8], operator: Operator, right: &[u8]) -> bool {
    match (number(left), number(right)) {
        (Some(left), Some(right)) => match operator {
            Operator::Less => left < right,
            Operator::LessOrEqual => left <= right,
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
            Operator::GreaterOrEqual => left >= right,
            Operator::Greater => left > right,
        },
        (Some(_), None) | (None, _) => match operator {
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
            Operator::Less
            | Operator::LessOrEqual
            | Operator::GreaterOrEqual
            | Operator::Greater => false,
        },
    }
}

/// A number exactly as far as it matters: integers up to 128 bits are never rounded.
#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn real(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "compared with a real number")]
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(right)),
            (Self::Whole(_) | Self::Real(_), Self::Real(_)) | (Self::Real(_), Self::Whole(_)) => {
                self.real().partial_cmp(&other.real())
            }
        }
    }
}

fn number(bytes: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if let Ok(whole) = text.parse() {
        return Some(Number::Whole(whole));
    }
    // Words such as `inf` and `nan` are text here.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|_| numeric).map(Number::Real)
}

/// A command as a person would write it, its secrets masked and its holes left as holes.
pub fn describe(action: &Action, masker: &Masker) -> String {
    match action {
        Action::Send(template) => format!("send {}", quoted(template, masker)),
        Action::SendResp(words) => {
            let words = words.iter().map(|word| quoted(word, masker));
            format!("send_resp {}", words.collect::<Vec<_>>().join(" "))
        }
        Action::Expect(matcher) => match matcher {
            Matcher::Bytes(template) => format!("expect {}", quoted(template, masker)),
            Matcher::Regex(pattern) => format!("expect_regex {:?}", pattern.regex().as_str()),
        },
        Action::Reject(matcher) => match matcher {
            Matcher::Bytes(template) => format!("reject {}", quoted(template, masker)),
            Matcher::Regex(pattern) => format!("reject {:?}", pattern.regex().as_str()),
        },
        Action::ExpectClose => "expect_close".to_owned(),
        Action::Compare(Comparison { left, operator, right }) => {
            format!("compare {} {} {}", bare(left, masker), symbol(*operator), bare(right, masker))
        }
        Action::Wait(pause) => format!("wait {pause:?}"),
        Action::Starttls(Asking::Nothing) => "starttls".to_owned(),
        Action::Starttls(Asking::Smtp) => "starttls \"smtp\"".to_owned(),
        Action::Starttls(Asking::Postgres) => "starttls \"postgres\"".to_owned(),
    }
}

/// A template of a script as a person would write it.
pub fn shown(template: &Template, script: &Script) -> String {
    bare(template, &Masker::of(script))
}

/// The operator as it is written.
pub fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::GreaterOrEqual => ">=",
        Operator::Greater => ">",
    }
}

/// A text as it is written, in quotes: its secrets masked and its holes left as holes.
pub fn quoted(template: &Template, masker: &Masker) -> String {
    format!("\"{}\"", bare(template, masker))
}

fn bare(template: &Template, masker: &Masker) -> String {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Bytes(bytes) => {
                let excerpt = masker.excerpt(bytes, SHOWN);
                text.push_str(&excerpt[1..excerpt.len() - 1]);
            }
            Part::Secret(_) => text.push_str("***"),
            Part::TargetHost => text.push_str("${target.host}"),
            Part::TargetPort => text.push_str("${target.port}"),
            Part::Capture(name) => {
                text.push_str("${capture.");
                text.push_str(name);
                text.push('}');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::of(&TargetAddress::Ip("[::1]:7001".parse().unwrap()));
        facts.capture("lag", b"12");
        facts
    }

    #[test]
    fn holes_are_filled_from_the_target_and_the_captures() {
        let parts = vec![
            Part::Bytes(b"at ".to_vec()),
            Part::TargetHost,
            Part::Bytes(b":".to_vec()),
            Part::TargetPort,
            Part::Secret(b" s".to_vec()),
            Part::Capture("lag".into()),
        ];
        assert_eq!(facts().fill(&Template { parts }), Ok(b"at ::1:7001 s12".to_vec()));
        let missing = Template { parts: vec![Part::Capture("other".into())] };
        assert_eq!(facts().fill(&missing), Err(NoCapture("other".into())));
    }

    #[test]
    fn words_become_a_command_whatever_they_hold() {
        let words =
            [Template::literal("AUTH"), Template::literal("a \"b\r\n"), Template::default()];
        let command = facts().command(&words).unwrap();
        assert_eq!(command, b"*3\r\n$4\r\nAUTH\r\n$6\r\na \"b\r\n\r\n$0\r\n\r\n");
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_all_else_as_bytes() {
        for (left, operator, right, expected) in [
            ("9", Operator::Less, "10", true),
            ("10", Operator::LessOrEqual, "10.0", true),
            ("9007199254740993", Operator::Greater, "9007199254740992", true),
            (" 7 ", Operator::Equal, "7", true),
            ("-1", Operator::GreaterOrEqual, "0", false),
            ("1e3", Operator::Equal, "1000", true),
            ("master", Operator::Equal, "master", true),
            ("master", Operator::NotEqual, "slave", true),
            ("a", Operator::Less, "b", false),
            ("nan", Operator::Equal, "nan", true),
            ("", Operator::Less, "1", false),
            ("10", Operator::Less, "inf", false),
        ] {
            let held = holds(left.as_bytes(), operator, right.as_bytes());
            assert_eq!(held, expected, "{left} {} {right}", symbol(operator));
        }
    }

    #[test]
    fn a_command_is_described_with_its_secrets_masked() {
        let parts = vec![
            Part::Bytes(b"AUTH ".to_vec()),
            Part::Secret(b"hunter2".to_vec()),
            Part::Bytes(b"\r\n".to_vec()),
        ];
        let action = Action::Send(Template { parts });
        assert_eq!(describe(&action, &Masker::default()), r#"send "AUTH ***\r\n""#);
        let action = Action::Compare(Comparison {
            left: Template { parts: vec![Part::Capture("lag".into())] },
            operator: Operator::Less,
            right: Template::literal("10"),
        });
        assert_eq!(describe(&action, &Masker::default()), "compare ${capture.lag} < 10");
    }
}
