//! `stagedoor run`: load everything, tell of every problem, run.

use std::process::ExitCode;

use crate::cli::output;
use crate::cli::sources::RunArgs;
use crate::config::environment;
use crate::config::load;

/// Runs the proxy until it is told to stop.
pub fn main(args: &RunArgs) -> ExitCode {
    let loaded = load::load(&args.sources(environment::lowest_port()));
    output::tell(&loaded.problems);
    if loaded.model.is_some() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
