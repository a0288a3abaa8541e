//! A log line: one record, as text for people or as JSON for machines.
//!
//! Every session writes one, so that it is written in one go: no value is ever a thing of its own.
//! What a peer chose has been escaped by whoever logs it; control characters that are left are
//! escaped here.

use std::fmt::{self, Write};

use humantime::Rfc3339Timestamp;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

const DIM: &str = "\x1b[2m";
const OFF: &str = "\x1b[0m";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `2026-11-23T03:10:00.123Z info  text key=value`, coloured on a terminal.
    Text,
    /// `{"time":…,"level":…,"message":…,"key":…}`.
    Json,
}

/// Adds `record` to `line`, as text.
///
/// # Errors
/// What a value says of itself; the line is of no use then.
pub(super) fn write_text(
    line: &mut String,
    time: Rfc3339Timestamp,
    record: &Record<'_>,
    colour: bool,
) -> Result<(), Error> {
    let (on, dim, off) = match (colour, record.level()) {
        (false, _) => ("", "", ""),
        (true, Level::Error) => ("\x1b[31m", DIM, OFF),
        (true, Level::Warn) => ("\x1b[33m", DIM, OFF),
        (true, Level::Info) => ("\x1b[32m", DIM, OFF),
        (true, Level::Debug | Level::Trace) => (DIM, DIM, OFF),
    };
    let level = name_of(record.level());
    write!(line, "{dim}{time}{off} {on}{level:<5}{off} ")?;
    let start = line.len();
    line.write_fmt(*record.args())?;
    clean_from(line, start);
    let end = line.len();
    // The sentence is for people, the rest for those who look closer.
    line.push_str(dim);
    let bare = line.len();
    record.key_values().visit(&mut Pairs { line, form: Form::Text })?;
    if line.len() == bare {
        line.truncate(end);
    } else {
        line.push_str(off);
    }
    line.push('\n');
    Ok(())
}

/// Adds `record` to `line`, as a JSON object.
///
/// # Errors
/// What a value says of itself; the line is of no use then.
pub(super) fn write_json(
    line: &mut String,
    time: Rfc3339Timestamp,
    record: &Record<'_>,
) -> Result<(), Error> {
    let level = name_of(record.level());
    write!(line, "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":")?;
    let start = line.len();
    line.write_fmt(*record.args())?;
    quote_from(line, start);
    record.key_values().visit(&mut Pairs { line, form: Form::Json })?;
    line.push_str("}\n");
    Ok(())
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The key-values of a record, in the order in which they are told.
struct Pairs<'a> {
    line: &'a mut String,
    form: Form,
}

/// One value. Those that are absent are left out with their keys.
struct Shown<'a> {
    line: &'a mut String,
    form: Form,
    is_absent: bool,
}

// === impl Pairs ===

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let start = self.line.len();
        let (before, after) = match self.form {
            Form::Text => (" ", "="),
            Form::Json => (",\"", "\":"),
        };
        // Not formatted: that would be a tenth of the line's cost.
        for part in [before, key.as_str(), after] {
            self.line.push_str(part);
        }
        let mut shown = Shown { line: self.line, form: self.form, is_absent: false };
        value.visit(&mut shown)?;
        if shown.is_absent {
            self.line.truncate(start);
        }
        Ok(())
    }
}

// === impl Shown ===

impl Shown<'_> {
    fn number(&mut self, number: impl fmt::Display) -> Result<(), Error> {
        Ok(write!(self.line, "{number}")?)
    }

    /// What stands behind `start` is the text of a value.
    fn finish(&mut self, start: usize) {
        match self.form {
            Form::Text => quote_if_needed(self.line, start),
            Form::Json => quote_from(self.line, start),
        }
    }
}

impl<'v> VisitValue<'v> for Shown<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        let start = self.line.len();
        write!(self.line, "{value}")?;
        self.finish(start);
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.is_absent = true;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.number(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.number(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        if !value.is_finite() {
            return self.visit_str(if value.is_nan() { "nan" } else { "infinite" });
        }
        // More than a thousandth nobody reads.
        Ok(write!(self.line, "{:?}", (value * 1000.0).round() / 1000.0)?)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.number(value)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        let start = self.line.len();
        self.line.push_str(value);
        self.finish(start);
        Ok(())
    }
}

/// Makes what stands behind `start` one word, by quotes if it is not.
fn quote_if_needed(line: &mut String, start: usize) {
    let is_word = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'=';
    let text = &line.as_bytes()[start..];
    if !text.is_empty() && text.iter().copied().all(is_word) {
        return;
    }
    if needs_quotes(&line[start..]) {
        quote_from(line, start);
    }
    clean_from(line, start);
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
}

/// Makes what stands behind `start` a JSON string.
fn quote_from(line: &mut String, start: usize) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if line.as_bytes()[start..].iter().copied().all(is_plain) {
        line.insert(start, '"');
        line.push('"');
        return;
    }
    let text = serde_json::Value::String(line.split_off(start));
    // Writing to a string does not fail.
    write!(line, "{text}").ok();
}

/// Replaces control characters behind `start`, so that no text can move a cursor or forge a line:
/// what follows a line break is indented, as no line of the log is.
fn clean_from(line: &mut String, start: usize) {
    let is_harmless = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if line.as_bytes()[start..].iter().copied().all(is_harmless) {
        return;
    }
    let text = line.split_off(start);
    if !text.contains(char::is_control) {
        return line.push_str(&text);
    }
    for c in text.trim_end().chars() {
        match c {
            '\n' => line.push_str("\n    "),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use log::kv::{Source, ToValue};
    use proptest::prelude::*;

    use super::*;

    fn cleaned(text: &str) -> String {
        let mut line = format!("> {text}");
        clean_from(&mut line, 2);
        line.split_off(2)
    }

    fn record<'a>(args: fmt::Arguments<'a>, pairs: &'a dyn Source) -> Record<'a> {
        Record::builder().args(args).level(Level::Warn).key_values(pairs).build()
    }

    fn time() -> Rfc3339Timestamp {
        humantime::format_rfc3339_millis(
            humantime::parse_rfc3339("2026-11-26T17:00:01.5Z").unwrap(),
        )
    }

    fn text(args: fmt::Arguments<'_>, pairs: &dyn Source, colour: bool) -> String {
        let mut line = String::new();
        write_text(&mut line, time(), &record(args, pairs), colour).unwrap();
        line
    }

    fn json(args: fmt::Arguments<'_>, pairs: &dyn Source) -> serde_json::Value {
        let mut line = String::new();
        write_json(&mut line, time(), &record(args, pairs)).unwrap();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(cleaned("a\nb\x1b[2J\n"), "a\n    b\\u{1b}[2J");
        assert_eq!(cleaned("grün"), "grün");
    }

    #[test]
    fn a_terminal_gets_colours_and_a_file_none() {
        let pairs = [("key", 1)];
        let time = "2026-11-26T17:00:01.500Z";
        let plain = text(format_args!("said"), &pairs, false);
        assert_eq!(plain, format!("{time} warn  said key=1\n"));
        let coloured = text(format_args!("said"), &pairs, true);
        let expected = "\x1b[33mwarn \x1b[0m said\x1b[2m key=1\x1b[0m\n";
        assert_eq!(coloured, format!("\x1b[2m{time}\x1b[0m {expected}"));
        assert!(text(format_args!("said"), &[("key", None::<u8>)], true).ends_with(" said\n"));
    }

    #[test]
    fn values_are_words_and_what_is_absent_is_left_out() {
        let check = |value: Value<'_>, expected: &str| {
            let line = text(format_args!("said"), &[("key", value)], false);
            assert_eq!(line.split_once(" said").unwrap().1, format!("{expected}\n"));
        };
        check(None::<u64>.to_value(), "");
        check(Value::from("None"), " key=None");
        check(Value::from(1.234_567), " key=1.235");
        check(Value::from(-7_i64), " key=-7");
        check(Value::from(true), " key=true");
        check(Value::from_display(&"127.0.0.1:80"), " key=127.0.0.1:80");
        check(Value::from_display(&"a b"), " key=\"a b\"");
        check(Value::from("a=b"), " key=\"a=b\"");
        check(Value::from("a\"b"), " key=\"a\\\"b\"");
        check(Value::from(""), " key=\"\"");
        check(Value::from("grün"), " key=grün");
        check(Value::from("a\nb"), " key=\"a\\nb\"");
        check(Value::from("a\u{7f}b"), " key=a\\u{7f}b");
        check(Value::from("a\u{85}b"), " key=\"a\\u{85}b\"");
    }

    #[test]
    fn a_line_for_machines_is_one_object() {
        let pairs: [(&str, Value<'_>); 4] = [
            ("n", Value::from(7)),
            ("text", Value::from("a \"b\"\n")),
            ("none", None::<u64>.to_value()),
            ("nan", Value::from(f64::NAN)),
        ];
        let expected = serde_json::json!({
            "time": "2026-11-26T17:00:01.500Z", "level": "warn", "message": "said \"it\"",
            "n": 7, "text": "a \"b\"\n", "nan": "nan",
        });
        assert_eq!(json(format_args!("said \"{}\"", "it"), &pairs), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_said_a_line_is_a_line(said in ".*", value in ".*") {
            let pairs = [("key", &*value)];
            let object = json(format_args!("{said}"), &pairs);
            prop_assert_eq!(&object["message"], &said);
            prop_assert_eq!(&object["key"], &value);
            let line = text(format_args!("{said}"), &pairs, false);
            let lines: Vec<&str> = line.trim_end_matches('\n').split('\n').collect();
            prop_assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{:?}", line);
            let is_harmless = |c: char| c == '\n' || !c.is_control();
            prop_assert!(line.chars().all(is_harmless), "{:?}", line);
        }
    }
}
