//! The arguments that say what to load, shared by all commands that load something.

use std::path::PathBuf;

use clap::Args;

use crate::config::environment::Environment;
use crate::config::layers::SettingsSources;
use crate::config::load::Sources;

/// Read where no `--config` is given, if it is there.
const USUAL_FILE: &str = "/etc/stagedoor/stagedoor.toml";

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

/// Everything that is run: `run` and `validate`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Where the node settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Service definitions, and folders of them. Default: `services` of the node settings.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
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
