//! Floor 3: where targets come from.

pub mod document;
pub mod list;
pub mod look_up;
pub mod resolver;
