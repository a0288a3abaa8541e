//! Failovers of real databases under clients that write through the proxy: who acknowledged each
//! write, and what became of it.

pub(crate) mod account;
pub(crate) mod cast;
pub(crate) mod figures;
pub(crate) mod moments;
pub(crate) mod postgres_scenario;
pub(crate) mod postgres_session;
pub(crate) mod redis_session;
pub(crate) mod scenario;
pub(crate) mod session;
pub(crate) mod writers;

mod postgres;
mod redis;
