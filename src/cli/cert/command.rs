//! The commands, and what they share: a store that the settings name, and how they end.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::cert::add::{self, AddArgs};
use crate::cli::cert::list::{self, ListArgs};
use crate::cli::cert::remove::{self, RemoveArgs};
use crate::cli::cert::show::{self, ShowArgs};

/// What is to be done with the store.
#[derive(Debug, Clone, Subcommand)]
pub enum CertCommand {
    /// Put a certificate into the store, with its chain and its key, and print its ID.
    ///
    /// What is expired, encrypted, in the store already, or has the key of another certificate is
    /// refused. A key for a certificate that is stored without one completes it.
    Add(AddArgs),
    /// List what is in the store, and which services use it.
    List(ListArgs),
    /// Show everything about one certificate.
    Show(ShowArgs),
    /// Remove a certificate that no service uses.
    Remove(RemoveArgs),
}

/// Runs one.
pub fn main(command: &CertCommand) -> ExitCode {
    match command {
        CertCommand::Add(args) => add::main(args),
        CertCommand::List(args) => list::main(args),
        CertCommand::Show(args) => show::main(args),
        CertCommand::Remove(args) => remove::main(args),
    }
}
