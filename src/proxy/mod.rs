//! Floor 5: the life of a connection.
