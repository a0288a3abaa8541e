//! Floor 1: bytes to meaning and back, with no IO and no clock.
