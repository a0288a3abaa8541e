//! Floor 8: what a person types.

pub mod args;
pub mod output;
pub mod run;
pub mod schema;
pub mod settings;
pub mod sources;
pub mod validate;
