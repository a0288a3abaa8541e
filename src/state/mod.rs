//! Floor 2: what outlives the process, in files of one folder.

pub mod folder;
pub mod keeper;
pub mod page;
pub mod wall_clock;

#[cfg(test)]
mod keeper_tests;
