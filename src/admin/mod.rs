//! Floor 6: how a running process is asked and told things. It never reaches into an actor's
//! state: it asks.

pub mod control;

pub mod command;
pub mod view;
