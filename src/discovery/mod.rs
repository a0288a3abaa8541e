//! Floor 3: where targets come from.

pub mod connecting;
pub mod discoverer;
pub mod document;
pub mod fetch;
pub mod history;
pub mod kept;
pub mod list;
pub mod look_up;
pub mod name_list;
pub mod name_server;
pub mod names;
pub mod own;
pub mod reading;
pub mod resolv_conf;
pub mod resolver;
