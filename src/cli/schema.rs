//! `stagedoor schema`: the JSON Schemas that the parser itself goes by.

use std::process::ExitCode;

use crate::cli::args::SchemaFile;
use crate::cli::output;
use crate::config::schema;

/// Prints one.
pub fn main(file: SchemaFile) -> ExitCode {
    output::print_json(match file {
        SchemaFile::Definition => schema::definition(),
        SchemaFile::Settings => schema::settings(),
        SchemaFile::Check => schema::check_file(),
    });
    ExitCode::SUCCESS
}
