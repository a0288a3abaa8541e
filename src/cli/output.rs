//! What commands print: results on standard output, problems on standard error.
//!
//! A reader that has gone away (`| head`) is nobody's error: what cannot be printed is dropped.

use std::io::{IsTerminal, Write};

use crate::config::problem::Problem;
use crate::config::render;

/// Prints a result.
pub fn print(text: &str) {
    drop(try_print(text));
}

/// The same for who goes on printing for ever, and has to know when nobody reads any more.
///
/// # Errors
/// What the system says.
pub fn try_print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Do results go to a terminal?
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// May results be in colour?
pub fn in_colour() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints a value for machines, on one or more lines.
pub fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}

/// Tells of problems, with their lines, and how many there are.
pub fn tell(problems: &[Problem]) {
    let mut err = std::io::stderr().lock();
    let terminal = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = render::text(problems, terminal);
    let tally = render::tally(problems);
    if !tally.is_empty() {
        text.push_str(&tally);
        text.push('\n');
    }
    drop(err.write_all(text.as_bytes()));
}
