//! stagedoor: a supervised layer-4 proxy on the actix actor framework.
//!
//! `ARCHITECTURE.md` is the map of these rooms: which floor each is on, what each may never know.
//! Imports only point down; `tests/it/floors.rs` holds that.

pub mod cli;

pub mod app;

pub mod admin;

pub mod proxy;

pub mod routing;

pub mod discovery;
pub mod events;
pub mod health;

pub mod net;
pub mod state;

pub mod config;
pub mod supervise;
pub mod telemetry;
pub mod wire;
