//! Floor 3: what is known of targets. Knows nothing of sessions.

pub mod fault;
pub mod fill;
pub mod framing;
pub mod resp;
pub mod search;
pub mod shown;
pub mod snapshot;
pub mod transcript;
pub mod verdict;
