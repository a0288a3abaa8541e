//! Floor 8: what a person types.

pub mod args;

pub mod control;
pub mod run;
pub mod show;
