//! The command line: every command, and the exit codes they share.
//!
//! A command's own arguments stand in its own file.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::admin::command::Command as Asked;
use crate::cli::cert::command::CertCommand;
#[cfg(feature = "chaos")]
use crate::cli::control::ChaosArgs;
use crate::cli::control::{RestartArgs, TalkArgs};
use crate::cli::demo::play::DemoArgs;
use crate::cli::probe::ProbeArgs;
use crate::cli::schema::SchemaArgs;
use crate::cli::settings::ConfigArgs;
use crate::cli::sources::RunArgs;
use crate::cli::validate::ValidateArgs;
use crate::cli::{cert, control, demo, output, probe, run, schema, settings, validate};

const EXIT_CODES: &str = "Exit codes: 0 all is well, 1 it failed, or the running process said no, \
                          2 the configuration or the command line is wrong, 3 no running process \
                          answers, 70 a part of it could not be kept running.";

/// A supervised TCP proxy: clients always reach the one right server, on failover too.
#[derive(Debug, Parser)]
#[command(name = "stagedoor", version, about, after_help = EXIT_CODES)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Run(RunArgs),
    /// Check everything that is written, and show what it means.
    Validate(ValidateArgs),
    /// Run the checks of a service once, here and now, and show every step.
    Probe(ProbeArgs),
    /// Watch failovers: two small Redis servers, the proxy in front of them, clients that write.
    ///
    /// Nothing has to be installed. It takes half a minute, ends by itself or on Ctrl-C, and says
    /// what became of every write.
    Demo(DemoArgs),
    /// Show what a running process serves, and how its targets are.
    Status(TalkArgs),
    /// Show the supervision tree of a running process.
    Tree(TalkArgs),
    /// Have a running process read its configuration again.
    Reload(TalkArgs),
    /// Have a running process start its program anew, and leave new clients to that.
    ///
    /// Put the new program in the place of the old one first. No client is refused or cut: the
    /// sessions of the old process live on in it, and it ends with the last of them.
    Upgrade(TalkArgs),
    /// Restart one component of a running process, or one arbiter.
    Restart(RestartArgs),
    /// Hit a component of a running process with a fault.
    #[cfg(feature = "chaos")]
    Chaos(ChaosArgs),
    /// Keep certificates: what is in the store, and what goes in and out.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Show every setting of the process, and where its value comes from.
    Config(ConfigArgs),
    /// Print the JSON Schema of a file, for editors.
    Schema(SchemaArgs),
    /// Print what a shell needs to complete commands.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Reads the command line, runs the command it names, and returns the exit code.
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Validate(args) => validate::main(&args),
        Command::Probe(args) => probe::main(&args),
        Command::Demo(args) => demo::play::main(&args),
        Command::Status(talk) => control::main(&talk, &Asked::Status),
        Command::Tree(talk) => control::main(&talk, &Asked::Tree),
        Command::Reload(talk) => control::main(&talk, &Asked::Reload),
        Command::Upgrade(talk) => control::main(&talk, &Asked::Upgrade),
        Command::Restart(args) => {
            control::main(&args.talk, &Asked::Restart { component: args.component })
        }
        #[cfg(feature = "chaos")]
        Command::Chaos(args) => {
            let asked = Asked::Chaos { component: args.component, fault: args.fault };
            control::main(&args.talk, &asked)
        }
        Command::Cert(command) => cert::command::main(&command),
        Command::Config(args) => settings::main(&args),
        Command::Schema(args) => schema::main(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "stagedoor", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        CommandLine::command().debug_assert();
    }
}
