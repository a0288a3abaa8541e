//! Floor 3: where targets come from.

pub mod resolver;
