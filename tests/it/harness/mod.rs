//! What every test of behaviour is made of: the real binary, real servers, scripted targets.

pub(crate) mod balancer;
pub(crate) mod black_hole;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod directory;
pub(crate) mod eventually;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod injection;
pub(crate) mod load;
pub(crate) mod name_server;
pub(crate) mod network;
pub(crate) mod page;
pub(crate) mod pattern;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod sentinel;
pub(crate) mod shelf;
pub(crate) mod speaker;
pub(crate) mod stagedoor;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod tls_target;
