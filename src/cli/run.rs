//! `stagedoor run`: loads the configuration, says everything that is wrong with it, and runs.
//!
//! Exit codes: 0 stopped as asked, 1 could not start, 2 the configuration has an error, 70 a part
//! of it could not be kept running.

use std::process::ExitCode;

use crate::config::load::{Loaded, Sources, load};
use crate::config::model::LogFormat;
use crate::config::render;
use crate::telemetry::log::{Form, start};

/// Runs a proxy until it is told to stop.
pub fn main(sources: Sources) -> ExitCode {
    let Loaded { model, problems, .. } = load(&sources);
    eprint!("{}", render::text(&problems, std::io::IsTerminal::is_terminal(&std::io::stderr())));
    let Some(model) = model else { return ExitCode::from(2) };
    let form = match model.node.log.format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    match start(form, &model.node.log.level) {
        Ok(log) => ExitCode::from(crate::app::run::run(model, sources, &log)),
        Err(error) => {
            eprintln!("stagedoor: cannot log: {error}");
            ExitCode::from(1)
        }
    }
}
