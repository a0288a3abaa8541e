//! Floor 3: what is known of targets. Knows nothing of sessions.

pub mod snapshot;
