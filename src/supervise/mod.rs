//! Floor 1: restarts. Knows nothing of proxies, nor of any other room.
