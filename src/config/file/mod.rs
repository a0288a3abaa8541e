//! What a user writes, as serde structs: Tyk's field names, and a JSON Schema made from them.

pub mod definition;
pub mod foreign;
pub mod limits;
pub mod pins;
pub mod proxy;
pub mod scalars;
pub mod settings;
pub mod tls;
pub mod uptime;
