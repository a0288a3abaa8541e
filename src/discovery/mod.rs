//! Floor 3: where targets come from.

pub mod discoverer;
pub mod document;
pub mod fetch;
pub mod history;
pub mod list;
pub mod look_up;
pub mod own;
pub mod resolver;
