//! The command line: every command, its arguments, its exit codes.

use std::process::ExitCode;

/// Reads the command line, runs the command it names, and returns the exit code.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
