//! `stagedoor cert`: what is in the certificate store, and what goes in and out.

pub mod command;

pub mod add;
pub mod list;
pub mod outcome;
pub mod remove;
pub mod row;
pub mod show;
pub mod usage;
