//! What was written → the model: every rule that a schema cannot say, every problem at once.

pub mod access;
pub mod asked;
pub mod certificates;
pub mod checks;
pub mod client_auth;
pub mod cross;
pub mod directory;
pub mod discovery;
pub mod http;
pub mod leader;
pub mod limits;
pub mod mould;
pub mod node;
pub mod pins;
pub mod pool;
pub mod postgres;
pub mod proxy_protocol;
pub mod rank;
pub mod report;
pub mod script;
pub mod service;
pub mod starttls;
pub mod tls;
pub mod transport;
pub mod upstream;
pub mod witness;
