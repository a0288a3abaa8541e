//! The log: env_logger behind `log`, as lines for people or as JSON for machines.
//!
//! A record is an event in lower case with key-values. What a peer chose has been escaped by
//! whoever logs it; control characters that are left are escaped here.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger, WriteStyle};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Log, Metadata, Record};

use crate::telemetry::log_writer::LogWriter;

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

/// The log of the process: where it goes, and what of it is wanted now.
#[derive(Clone)]
pub struct LogControl {
    form: Form,
    writer: LogWriter,
    logger: Arc<ArcSwap<Logger>>,
}

/// Starts logging to standard error; `filter` is env_logger's (`info`, `stagedoor=debug`).
///
/// # Errors
/// If the log's thread cannot be started or a logger has been set already.
pub fn start(form: Form, filter: &str) -> io::Result<LogControl> {
    let writer = LogWriter::start(io::stderr())?;
    let logger = Arc::new(ArcSwap::from_pointee(logger(form, filter, &writer, is_colourful())));
    let control = LogControl { form, writer, logger };
    log::set_boxed_logger(Box::new(control.clone())).map_err(io::Error::other)?;
    control.set_filter(filter);
    Ok(control)
}

fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn logger(form: Form, filter: &str, writer: &LogWriter, colour: bool) -> Logger {
    // env_logger takes a pipe for no terminal, and would strip colours off it again.
    let style = if colour { WriteStyle::Always } else { WriteStyle::Never };
    let mut builder = Builder::new();
    builder
        .write_style(style)
        .parse_filters(filter)
        .target(env_logger::Target::Pipe(Box::new(writer.clone())));
    match form {
        Form::Text => builder.format(move |line, record| write_text(line, record, colour)),
        Form::Json => builder.format(write_json),
    };
    builder.build()
}

impl LogControl {
    /// Changes what is wanted, from the next record on.
    pub fn set_filter(&self, filter: &str) {
        let logger = logger(self.form, filter, &self.writer, is_colourful());
        log::set_max_level(logger.filter());
        self.logger.store(Arc::new(logger));
    }

    /// Waits until what was logged so far is written, but about `limit` at the longest.
    pub fn flush_within(&self, limit: Duration) {
        self.writer.flush_within(limit);
    }
}

impl Log for LogControl {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.logger.load().log(record);
    }

    fn flush(&self) {}
}

fn write_text(line: &mut Formatter, record: &Record<'_>, colour: bool) -> io::Result<()> {
    let (on, dim, off) = match (colour, record.level()) {
        (false, _) => ("", "", ""),
        (true, log::Level::Error) => ("\x1b[31m", DIM, OFF),
        (true, log::Level::Warn) => ("\x1b[33m", DIM, OFF),
        (true, log::Level::Info) => ("\x1b[32m", DIM, OFF),
        (true, log::Level::Debug | log::Level::Trace) => (DIM, DIM, OFF),
    };
    let level = record.level().as_str().to_ascii_lowercase();
    let text = clean(&record.args().to_string());
    let mut pairs = Pairs::default();
    record.key_values().visit(&mut pairs).map_err(io::Error::other)?;
    write!(line, "{dim}{}{off} {on}{level:<5}{off} {text}", line.timestamp_millis())?;
    if pairs.0.is_empty() {
        return writeln!(line);
    }
    // The sentence is for people, the rest for those who look closer.
    write!(line, "{dim}")?;
    for (key, value) in pairs.0 {
        let value = match value.as_str() {
            Some(text) if !needs_quotes(text) => text.to_owned(),
            Some(_) | None => value.to_string(),
        };
        write!(line, " {key}={}", clean(&value))?;
    }
    writeln!(line, "{off}")
}

fn write_json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut pairs = Pairs::default();
    record.key_values().visit(&mut pairs).map_err(io::Error::other)?;
    let mut object = serde_json::Map::new();
    object.insert("time".into(), line.timestamp_millis().to_string().into());
    object.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    object.insert("message".into(), record.args().to_string().into());
    object.extend(pairs.0);
    writeln!(line, "{}", serde_json::Value::Object(object))
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=')
}

/// Replaces control characters, so that no text can move a cursor or forge a line: what follows a
/// line break is indented, as no line of the log is.
fn clean(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let clean = |c: char| match c {
        '\n' => "\n    ".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.into(),
    };
    text.trim_end().chars().map(clean).collect()
}

/// The key-values of a record, sorted by key order of insertion being of no meaning.
#[derive(Default)]
struct Pairs(BTreeMap<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if is_absent(&value) {
            return Ok(());
        }
        let value = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            // More than a millisecond's thousandth nobody reads.
            ((number * 1000.0).round() / 1000.0).into()
        } else if let Some(flag) = value.to_bool() {
            flag.into()
        } else {
            value.to_string().into()
        };
        self.0.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}

/// A `None`: such a pair is left out.
fn is_absent(value: &Value<'_>) -> bool {
    value.to_borrowed_str().is_none() && value.to_string() == "None"
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(clean("a\nb\x1b[2J\n"), "a\n    b\\u{1b}[2J");
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_gets_colours_and_a_file_none() {
        let line = |colour| {
            let sink = Sink::default();
            let writer = LogWriter::start(sink.clone()).unwrap();
            let pairs = [("key", 1)];
            let record = Record::builder()
                .args(format_args!("said"))
                .level(log::Level::Warn)
                .key_values(&pairs)
                .build();
            logger(Form::Text, "info", &writer, colour).log(&record);
            writer.flush_within(Duration::from_secs(10));
            let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            text.split_once(' ').unwrap().1.to_owned()
        };
        assert_eq!(line(false), "warn  said key=1\n");
        assert_eq!(line(true), "\x1b[33mwarn \x1b[0m said\x1b[2m key=1\x1b[0m\n");
    }

    #[test]
    fn what_is_absent_is_left_out_and_numbers_are_short() {
        let (none, text, number) = (None::<u64>, "None", 1.234_567);
        let pairs = [
            ("none", Value::from_debug(&none)),
            ("text", Value::from(text)),
            ("number", Value::from(number)),
        ];
        let mut seen = Pairs::default();
        for (key, value) in pairs {
            seen.visit_pair(Key::from_str(key), value).unwrap();
        }
        let seen: Vec<String> =
            seen.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(seen, ["number=1.235", "text=\"None\""]);
    }

    #[test]
    fn values_with_blanks_or_quotes_are_quoted() {
        assert!(needs_quotes("a b") && needs_quotes("") && needs_quotes("a\"b"));
        assert!(!needs_quotes("127.0.0.1:80"));
    }
}
