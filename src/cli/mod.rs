//! Floor 8: what a person types.

pub mod args;

pub mod cert;
pub mod control;
pub mod demo;
pub mod probe;
pub mod run;
pub mod schema;
pub mod settings;
pub mod validate;

pub mod output;
pub mod show;
pub mod show_detection;
pub mod show_probe;
pub mod show_status;
pub mod show_tls;
pub mod sources;
