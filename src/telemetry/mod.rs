//! Floor 1: what the process says of itself.
