//! Floor 4: pure decisions: which target gets a connection. Never awaits.
