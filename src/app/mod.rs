//! Floor 7: the one process. Knows all rooms and holds no rule.
