//! `stagedoor schema`: the JSON Schemas that the parser itself goes by.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::output;
use crate::config::schema;

/// `schema`.
#[derive(Debug, Clone, Copy, Args)]
pub struct SchemaArgs {
    /// Which file.
    #[arg(value_enum, default_value = "definition")]
    pub file: SchemaFile,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFile {
    /// A service definition.
    Definition,
    /// Node settings.
    Settings,
    /// A check that `check` names.
    Check,
}

/// Prints one.
pub fn main(args: SchemaArgs) -> ExitCode {
    output::print_json(match args.file {
        SchemaFile::Definition => schema::definition(),
        SchemaFile::Settings => schema::settings(),
        SchemaFile::Check => schema::check_file(),
    });
    ExitCode::SUCCESS
}
