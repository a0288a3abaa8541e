//! Floor 1: what the process says of itself.

pub mod counts;
pub mod escape;
pub mod line;
pub mod line_budget;
pub mod log;
pub mod log_writer;
pub mod standing_fault;
