//! The command line: every command and its arguments. What they do is `commands`' to say.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::environment::Environment;
use crate::config::layers::SettingsSources;
use crate::config::load::Sources;

/// Read where no `--config` is given, if it is there.
const USUAL_FILE: &str = "/etc/stagedoor/stagedoor.toml";

const EXIT_CODES: &str = "Exit codes: 0 all is well, 1 it failed, or the running process said no, \
                          2 the configuration or the command line is wrong, 3 no running process \
                          answers, 70 a part of it could not be kept running.";

/// A supervised TCP proxy: clients always reach the one right server, on failover too.
#[derive(Debug, Parser)]
#[command(name = "stagedoor", version, about, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy.
    Run(RunArgs),
    /// Check everything that is written, and show what it means.
    Validate(ValidateArgs),
    /// Show what a running process serves, and how its targets are.
    Status(TalkArgs),
    /// Show the supervision tree of a running process.
    Tree(TalkArgs),
    /// Have a running process read its configuration again.
    Reload(TalkArgs),
    /// Restart one component of a running process, or one arbiter.
    Restart(RestartArgs),
    /// Hit a component of a running process with a fault.
    #[cfg(feature = "chaos")]
    Chaos(ChaosArgs),
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

/// How a running process is reached.
#[derive(Debug, Clone, Args)]
pub struct TalkArgs {
    /// Its control socket. Default: `admin.socket` of the node settings.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where the node settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Print for machines.
    #[arg(long)]
    pub json: bool,
}

/// `restart`.
#[derive(Debug, Clone, Args)]
pub struct RestartArgs {
    /// Its name, as `stagedoor tree` shows it, such as `router/0` or `arbiter/data/0`.
    pub component: String,
    /// How the process is reached.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `chaos`.
#[cfg(feature = "chaos")]
#[derive(Debug, Clone, Args)]
pub struct ChaosArgs {
    /// Its name, as `stagedoor tree` shows it.
    pub component: String,
    /// `panic`, `wedge`, `stop`, `hang:MILLISECONDS`, or `kill` for an arbiter.
    pub fault: String,
    /// How the process is reached.
    #[command(flatten)]
    pub talk: TalkArgs,
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        CommandLine::command().debug_assert();
    }
}
