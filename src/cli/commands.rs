//! The commands: each goes to the file that carries it out, and comes back with its exit code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::admin::command::Command as Asked;
use crate::cli::args::{Command, CommandLine};
use crate::cli::{control, output, run, schema, settings, validate};

/// Reads the command line, runs the command it names, and returns the exit code.
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Validate(args) => validate::main(&args),
        Command::Status(talk) => control::main(&talk, &Asked::Status),
        Command::Tree(talk) => control::main(&talk, &Asked::Tree),
        Command::Reload(talk) => control::main(&talk, &Asked::Reload),
        Command::Restart(args) => {
            control::main(&args.talk, &Asked::Restart { component: args.component })
        }
        #[cfg(feature = "chaos")]
        Command::Chaos(args) => {
            let asked = Asked::Chaos { component: args.component, fault: args.fault };
            control::main(&args.talk, &asked)
        }
        Command::Config(args) => settings::main(&args),
        Command::Schema(args) => schema::main(args.file),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "stagedoor", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
    }
}
