//! Denials: why a service turns a client away before it reaches any target.

use std::fmt;

use crate::proxy::sources::Excess;
use crate::telemetry::counts::{Count, ServiceCounts};

/// Why a client is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Its address is not among those that are served.
    Access,
    /// Its address comes too often.
    Rate,
    /// Its address has as many sessions as it may have.
    OverSource,
    /// The service has as many sessions as it may have.
    OverService,
}

// === impl Denial ===

impl Denial {
    /// Where it is counted.
    pub fn count(self, counts: &ServiceCounts) -> &Count {
        match self {
            Self::Access => &counts.refused_by_access,
            Self::Rate => &counts.refused_by_rate,
            Self::OverSource => &counts.refused_by_source,
            Self::OverService => &counts.refused_by_service,
        }
    }
}

impl From<Excess> for Denial {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Sessions => Self::OverSource,
            Excess::Rate => Self::Rate,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "their addresses are not served",
            Self::Rate => "over connection_rate_per_ip",
            Self::OverSource => "over max_connections_per_ip",
            Self::OverService => "over max_connections",
        })
    }
}
