//! Floor 2: bytes meet sockets. Knows no routes and no health.
