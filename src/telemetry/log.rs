//! The log: env_logger says which records are wanted, `line` how they read, and the log's writer
//! puts them on standard error, so that nobody who logs ever waits.
//!
//! A record is an event in lower case with key-values.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use env_logger::{Builder, Logger};
use log::{Log, Metadata, Record};

use crate::telemetry::line::{Form, write_json, write_text};
use crate::telemetry::log_writer::LogWriter;

thread_local! {
    /// The line in the making: its room is used again by the next.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Room for a longer line is not kept.
const LONGEST: usize = 4096;

/// The log of the process: where it goes, and what of it is wanted now.
#[derive(Clone)]
pub struct LogControl {
    form: Form,
    colour: bool,
    writer: LogWriter,
    filter: Arc<ArcSwap<Logger>>,
}

/// Starts logging to standard error; `filter` is env_logger's (`info`, `stagedoor=debug`).
///
/// # Errors
/// If the log's thread cannot be started or a logger has been set already.
pub fn start(form: Form, filter: &str) -> io::Result<LogControl> {
    let writer = LogWriter::start(io::stderr())?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let control = LogControl::new(form, colour, filter, writer);
    log::set_boxed_logger(Box::new(control.clone())).map_err(io::Error::other)?;
    control.set_filter(filter);
    Ok(control)
}

// === impl LogControl ===

impl LogControl {
    fn new(form: Form, colour: bool, filter: &str, writer: LogWriter) -> Self {
        Self { form, colour, writer, filter: Arc::new(ArcSwap::from_pointee(wanted(filter))) }
    }

    /// Changes what is wanted, from the next record on.
    pub fn set_filter(&self, filter: &str) {
        let wanted = wanted(filter);
        log::set_max_level(wanted.filter());
        self.filter.store(Arc::new(wanted));
    }

    /// Waits until what was logged so far is written, but about `limit` at the longest.
    pub fn flush_within(&self, limit: Duration) {
        self.writer.flush_within(limit);
    }
}

/// Only asked which records are wanted; it never writes one.
fn wanted(filter: &str) -> Logger {
    Builder::new().parse_filters(filter).build()
}

#[expect(clippy::disallowed_types, reason = "shown, and nothing waits by it")]
fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(std::time::SystemTime::now())
}

impl Log for LogControl {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.load().matches(record) {
            return;
        }
        // Taken, and not borrowed: a value that logs while it is shown finds another one.
        let mut line = LINE.take();
        line.clear();
        let now = now();
        let written = match self.form {
            Form::Text => write_text(&mut line, now, record, self.colour),
            Form::Json => write_json(&mut line, now, record),
        };
        match written {
            Ok(()) => self.writer.write(line.as_bytes()),
            Err(_) => self.writer.lose(),
        }
        if line.capacity() <= LONGEST {
            LINE.set(line);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

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

    /// Logs while it is shown, or cannot be shown at all.
    struct Odd<'a>(Option<&'a LogControl>);

    impl fmt::Display for Odd<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let log = self.0.ok_or(fmt::Error)?;
            say(log, log::Level::Warn, format_args!("inner"));
            f.write_str("outer")
        }
    }

    fn say(log: &LogControl, level: log::Level, words: fmt::Arguments<'_>) {
        log.log(&Record::builder().args(words).level(level).build());
    }

    #[test]
    fn what_is_wanted_is_written_in_whole_lines_and_what_cannot_be_is_counted() {
        let sink = Sink::default();
        let writer = LogWriter::start(sink.clone()).unwrap();
        let log = LogControl::new(Form::Text, false, "warn", writer);
        say(&log, log::Level::Info, format_args!("unwanted"));
        say(&log, log::Level::Warn, format_args!("{}", Odd(Some(&log))));
        say(&log, log::Level::Warn, format_args!("{}", Odd(None)));
        log.filter.store(Arc::new(wanted("info/wan.ed")));
        say(&log, log::Level::Info, format_args!("wanted"));
        say(&log, log::Level::Info, format_args!("other"));
        log.flush_within(Duration::from_secs(10));
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let words: Vec<&str> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["inner", "outer", "wanted", "here"], "{text}");
    }
}
