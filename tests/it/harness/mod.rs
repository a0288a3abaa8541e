//! What every test of behaviour is made of: the real binary, real servers, scripted targets.

pub mod client;
pub mod eventually;
pub mod port;
pub mod redis;
pub mod stagedoor;
pub mod target;
