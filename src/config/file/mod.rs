//! What a user writes, as serde structs: Tyk's field names, and a JSON Schema made from them.

pub mod definition;
pub mod discovery;
pub mod events;
pub mod foreign;
pub mod limits;
pub mod pins;
pub mod proxy;
pub mod scalars;
pub mod settings;
pub mod target_file;
pub mod tls;
pub mod transport;
pub mod uptime;
