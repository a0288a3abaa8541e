//! The command line: every command, its arguments, its exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::admin::command::Command as Asked;
use crate::cli::{control, run};
use crate::config::environment::Environment;
use crate::config::layers::SettingsSources;
use crate::config::load::Sources;

#[derive(Parser)]
#[command(name = "stagedoor", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run {
        #[arg(long)]
        config: Vec<PathBuf>,
        #[arg(long)]
        set: Vec<String>,
        paths: Vec<PathBuf>,
    },
    Status(Talk),
    Tree(Talk),
    Reload(Talk),
    Restart {
        component: String,
        #[command(flatten)]
        talk: Talk,
    },
    #[command(hide = true)]
    Chaos {
        component: String,
        fault: String,
        #[command(flatten)]
        talk: Talk,
    },
}

#[derive(clap::Args)]
struct Talk {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    json: bool,
}

/// Reads the command line, runs the command it names, and returns the exit code.
pub fn main() -> ExitCode {
    let talk = |talk: Talk, command| control::main(&talk.socket, &command, talk.json);
    match Args::parse().command {
        Command::Run { config, set, paths } => {
            let settings = SettingsSources {
                config_files: config,
                usual_file: None,
                env: Environment::of_process(),
                set,
            };
            run::main(Sources { settings, paths, lowest_port: 0 })
        }
        Command::Status(args) => talk(args, Asked::Status),
        Command::Tree(args) => talk(args, Asked::Tree),
        Command::Reload(args) => talk(args, Asked::Reload),
        Command::Restart { component, talk: args } => talk(args, Asked::Restart { component }),
        Command::Chaos { component, fault, talk: args } => {
            talk(args, Asked::Chaos { component, fault })
        }
    }
}
