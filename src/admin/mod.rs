//! Floor 6: how a running process is asked and told things.
