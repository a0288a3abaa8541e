//! Floor 3: where targets come from.

pub mod look_up;
pub mod resolver;
