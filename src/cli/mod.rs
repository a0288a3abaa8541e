//! Floor 8: what a person types.

pub mod args;
