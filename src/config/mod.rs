//! Floor 1: files become a model. A model that exists is valid.

pub mod address;
pub mod check;
pub mod defaults;
pub mod diff;
pub mod environment;
pub mod escape;
pub mod file;
pub mod json;
pub mod layers;
pub mod load;
pub mod merge;
pub mod model;
pub mod names;
pub mod place;
pub mod problem;
pub mod read;
pub mod render;
pub mod schema;
pub mod secrets;
pub mod shape;
pub mod spelling;
pub mod toml;
pub mod tree;
pub mod validate;
