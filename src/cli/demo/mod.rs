//! `stagedoor demo`: two servers that speak enough Redis, a real proxy in front of them, clients
//! that write through it, and one failover after the other, shown and accounted for.

pub mod play;

pub mod clients;
pub mod proxy;
pub mod servers;
pub mod stage;

pub mod frame;
#[cfg(test)]
mod frame_tests;
pub mod paint;
pub mod scene;
pub mod screen;
pub mod told;
pub mod view;

pub mod info;
pub mod pair;
#[cfg(test)]
mod pair_tests;
pub mod request;
pub mod side;
pub mod story;
pub mod tally;
