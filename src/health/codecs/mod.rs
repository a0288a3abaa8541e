//! What a script cannot say: protocols with a login of their own. Pure, as scripts are.

pub mod backend;
pub mod login;
pub mod postgres;
#[cfg(test)]
mod postgres_tests;
pub mod steps;
