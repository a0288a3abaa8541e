//! `stagedoor status | tree | reload | upgrade | restart`: talks to a running process over its control socket.
//!
//! Exit codes: 0 done, 1 the process said no, 2 the settings are wrong, 3 no process answers.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::admin::command::{Command, Reply};
use crate::cli::sources::SettingsArgs;
use crate::cli::{output, show};
use crate::config::load;
use crate::config::problem::Problem;

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

/// A reload may look names up; nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(65);

/// Sends one command to the running process and prints its answer.
pub fn main(talk: &TalkArgs, command: &Command) -> ExitCode {
    let socket = match &talk.socket {
        Some(socket) => socket.clone(),
        None => match configured_socket(talk) {
            Ok(socket) => socket,
            Err(code) => return code,
        },
    };
    match ask(&socket, command) {
        Ok(reply) => {
            let text = if talk.json { show::json(&reply) } else { show::text(&reply) };
            output::print(&text);
            match reply {
                Reply::Error(_) => ExitCode::from(1),
                Reply::Ok(_)
                | Reply::Status(_)
                | Reply::Tree(_)
                | Reply::Reload(_)
                | Reply::Upgrade(_) => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("stagedoor: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// `admin.socket`, with the layers that the running process was started with.
fn configured_socket(talk: &TalkArgs) -> Result<PathBuf, ExitCode> {
    let loaded = load::load_settings(&talk.settings.sources());
    output::tell(&loaded.problems);
    if loaded.problems.iter().any(Problem::is_error) {
        return Err(ExitCode::from(2));
    }
    loaded.node.control_socket.ok_or_else(|| {
        eprintln!(
            "stagedoor: the node settings name no control socket (`admin.socket`): name the \
             process's own with --socket"
        );
        ExitCode::from(3)
    })
}

/// Sends one command and reads the answer.
///
/// # Errors
/// If nobody answers, or not in time, or with something else than a reply.
pub fn ask(socket: &Path, command: &Command) -> anyhow::Result<Reply> {
    let shown = socket.display();
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            bail!(
                "no running stagedoor answers at {shown}: start one with `stagedoor run`, or name \
                 the socket of one with --socket"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("cannot reach {shown}")),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", serde_json::to_string(command)?).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).with_context(|| format!("no answer at {shown}"))?;
    serde_json::from_str(&line).with_context(|| format!("{shown} answers something else: {line:?}"))
}
