//! `stagedoor run`: loads the configuration, says everything that is wrong with it, and runs.
//!
//! Exit codes: 0 stopped as asked, 1 could not start, 2 the configuration has an error, 70 a part
//! of it could not be kept running.

use std::process::ExitCode;

use crate::cli::output;
use crate::cli::sources::RunArgs;
use crate::config::environment;
use crate::config::load::load;
use crate::config::model::LogFormat;
use crate::config::origin::Configuration;
use crate::config::problem::{Problem, Severity};
use crate::telemetry::line::Form;
use crate::telemetry::log::start;

/// Runs a proxy until it is told to stop.
pub fn main(args: &RunArgs) -> ExitCode {
    let sources = args.sources(environment::lowest_port());
    let mut loaded = load(&sources);
    let configuration = Configuration::of(&mut loaded);
    let problems = loaded.problems;
    let Some(configuration) = configuration else {
        output::tell(&problems);
        return ExitCode::from(2);
    };
    let form = match configuration.model.node.log.format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    let log = match start(form, &configuration.model.node.log.level) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("stagedoor: cannot log: {error}");
            return ExitCode::from(1);
        }
    };
    match form {
        Form::Text => output::tell(&problems),
        // Nothing but JSON goes where machines read JSON.
        Form::Json => problems.iter().for_each(log_problem),
    }
    ExitCode::from(crate::app::run::run(configuration, sources, &log))
}

fn log_problem(problem: &Problem) {
    let level = match problem.severity {
        Severity::Error => log::Level::Error,
        Severity::Warning => log::Level::Warn,
        Severity::Notice => log::Level::Info,
    };
    log::log!(level, key:% = problem.key, file = &*problem.place.source().name; "{}", problem.what);
}
