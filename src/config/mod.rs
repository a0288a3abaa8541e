//! Floor 1: files become a model. A model that exists is valid.

pub mod check;
pub mod model;
pub mod names;
