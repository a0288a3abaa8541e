//! Behaviour, as one test binary: a file a behaviour, one harness.

mod definitions;
mod formats;
mod meaning;
mod settings;
mod shipped;
