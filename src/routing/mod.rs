//! Floor 4: pure decisions: which target gets a connection. Never awaits.

pub mod table;

pub mod choice;
pub mod hello;
pub mod pool;

pub mod balance;
