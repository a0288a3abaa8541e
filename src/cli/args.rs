//! The command line: every command, its arguments, its exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::{output, run, schema, settings, validate};
use crate::config::environment::Environment;
use crate::config::layers::SettingsSources;
use crate::config::load::Sources;

/// Read where no `--config` is given, if it is there.
const USUAL_FILE: &str = "/etc/stagedoor/stagedoor.toml";

const EXIT_CODES: &str = "Exit codes: 0 all is well, 1 it failed while running, 2 the \
                          configuration or the command line is wrong.";

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

/// Where the node settings come from.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// A file of node settings; later ones win. Default: /etc/stagedoor/stagedoor.toml, if there.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Set one node setting, over all files and variables.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where the node settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Service definitions, and folders of them. Default: `services` of the node settings.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// `validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// What to check.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// `config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Where the node settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// `schema`.
#[derive(Debug, Clone, Copy, Args)]
pub struct SchemaArgs {
    /// Which file.
    #[arg(value_enum, default_value = "definition")]
    pub file: SchemaFile,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaFile {
    /// A service definition.
    Definition,
    /// Node settings.
    Settings,
    /// A script that `uptime_tests.check` names.
    Check,
}

/// Reads the command line, runs the command it names, and returns the exit code.
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Validate(args) => validate::main(&args),
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

// === impl SettingsArgs ===

impl SettingsArgs {
    /// The layers, with the environment of this process.
    pub fn sources(&self) -> SettingsSources {
        SettingsSources {
            config_files: self.config.clone(),
            usual_file: Some(PathBuf::from(USUAL_FILE)),
            env: Environment::of_process(),
            set: self.set.clone(),
        }
    }
}

// === impl RunArgs ===

impl RunArgs {
    /// Everything to load. Ports below `lowest_port` are refused.
    pub fn sources(&self, lowest_port: u16) -> Sources {
        Sources { settings: self.settings.sources(), paths: self.paths.clone(), lowest_port }
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
